"""Packs: components shipped and versioned together."""

from django.db import models

from apps.core.fields import JSONList, RefField, Text
from apps.core.models import Row
from apps.core.refs import validate_pack_ref, validate_version
from apps.identity.models import Identity

CORE_REF = "core"


class Pack(Row):
    """A folder of components as it was last registered, with the operator's configuration of it."""

    ref = RefField(unique=True, validators=[validate_pack_ref])
    label = Text(max_length=255)
    description = models.TextField(null=True, blank=True)
    version = Text(max_length=50, validators=[validate_version])
    conf_schema = models.JSONField(default=dict, db_default={}, blank=True)
    config = models.JSONField(default=dict, db_default={}, blank=True)
    meta = models.JSONField(default=dict, db_default={}, blank=True)
    tags = JSONList(default=list, db_default=[], blank=True)
    runtime_deps = JSONList(default=list, db_default=[], blank=True)
    dependencies = JSONList(default=list, db_default=[], blank=True)
    is_standard = models.BooleanField(default=False, db_default=False)
    installers = JSONList(default=list, db_default=[], blank=True)
    source_type = models.TextField(null=True, blank=True)
    source_url = models.TextField(null=True, blank=True)
    source_ref = models.TextField(null=True, blank=True)
    checksum = models.TextField(null=True, blank=True)
    checksum_verified = models.BooleanField(default=False, db_default=False)
    installed_at = models.DateTimeField(null=True, blank=True)
    installed_by = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, blank=True, db_column="installed_by", related_name="+"
    )
    installation_method = models.TextField(null=True, blank=True)
    storage_path = models.TextField(null=True, blank=True)
    preload = JSONList(default=list, db_default=[], blank=True)
    warnings = JSONList(default=list, db_default=[], blank=True)

    class Meta:
        db_table = "pack"
        ordering = ("ref",)

    def __str__(self) -> str:
        return self.ref
