"""Values that are stored to be used: keys with their owners, and the secret parts of other rows."""

from typing import Any

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Cast, Coalesce

from apps.core import clock
from apps.core.fields import RefField, Text
from apps.core.models import ImmutableRow, Row
from apps.core.refs import validate_key_ref
from apps.identity.models import Identity
from apps.packs.models import Pack


class OwnerType(models.TextChoices):
    SYSTEM = "system"
    IDENTITY = "identity"
    PACK = "pack"
    ACTION = "action"
    SENSOR = "sensor"


def restrict_while_live(collector: Any, field: Any, rows: "models.QuerySet[Any]", using: str) -> None:
    """Refuse to delete an owner for the sake of its keys; expired ones read as absent and go with it."""
    expired = Q(expires_at__lte=clock.now())
    models.CASCADE(collector, field, rows.filter(expired), using)
    models.RESTRICT(collector, field, rows.exclude(expired), using)


OWNER_IDS = ("owner_identity_id", "owner_pack_id", "owner_action", "owner_sensor")


def _owner() -> models.Expression:
    """``system``, else the one owner id as text (model.md 4.4)."""
    ids = [Cast(F(name), models.TextField()) for name in OWNER_IDS]
    return Case(
        When(owner_type="system", then=Value("system")), default=Coalesce(*ids), output_field=models.TextField()
    )


class Key(Row):
    """A value or secret under a name, owned by the system, a person, a pack, an action or a sensor."""

    ref = RefField(unique=True, validators=[validate_key_ref])
    owner_type = Text(max_length=20, choices=OwnerType)
    owner_identity = models.ForeignKey(
        Identity, on_delete=restrict_while_live, null=True, blank=True, db_column="owner_identity", related_name="+"
    )
    owner_pack = models.ForeignKey(
        Pack, on_delete=restrict_while_live, null=True, blank=True, db_column="owner_pack", related_name="+"
    )
    # Actions and sensors live in higher apps, which take their keys along when they are deleted.
    owner_action = models.BigIntegerField(null=True, blank=True)
    owner_sensor = models.BigIntegerField(null=True, blank=True)
    owner_pack_ref = RefField(null=True, blank=True)
    owner_action_ref = RefField(null=True, blank=True)
    owner_sensor_ref = RefField(null=True, blank=True)
    owner = models.GeneratedField(expression=_owner(), output_field=models.TextField(), db_persist=True)
    name = Text(max_length=255)
    encrypted = models.BooleanField(default=False, db_default=False)
    encryption_key_hash = Text(max_length=64, null=True, blank=True, editable=False)
    value = models.JSONField()
    expires_at = models.DateTimeField(null=True, blank=True)
    version = models.IntegerField(default=1, db_default=1, editable=False)

    class Meta:
        db_table = "key"
        ordering = ("ref",)
        constraints = (models.UniqueConstraint(fields=["owner_type", "owner", "name"], name="key_name_of_owner"),)
        indexes = (
            # Rotation: what another key encrypted.
            models.Index(
                fields=["encryption_key_hash", "id"],
                condition=Q(encryption_key_hash__isnull=False),
                name="key_encrypted_by",
            ),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="key_expires"),
        )

    def __str__(self) -> str:
        return self.ref


class SecretSource(models.TextChoices):
    PARAMETER = "parameter"
    KEY = "key"
    RESULT = "result"


class SecretValue(ImmutableRow):
    """The secret part of a document of another row, encrypted; the document holds a marker in its place."""

    entity_type = Text(max_length=30)
    entity_id = models.BigIntegerField()
    json_path = models.TextField()
    source_kind = Text(max_length=20, choices=SecretSource)
    source_ref = models.TextField(null=True)
    encrypted_value = models.TextField()
    encryption_key_hash = Text(max_length=64, null=True)

    class Meta:
        db_table = "execution_secret_value"
        constraints = (
            models.UniqueConstraint(
                fields=["entity_type", "entity_id", "json_path"], name="execution_secret_value_place"
            ),
        )
        indexes = (models.Index(fields=["encryption_key_hash", "id"], name="secret_value_encrypted_by"),)

    def __str__(self) -> str:
        return f"{self.entity_type} {self.entity_id} {self.json_path}"
