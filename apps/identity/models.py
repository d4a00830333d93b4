"""Who acts: identities, permission sets, and the answers kept for idempotency keys."""

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.utils.crypto import salted_hmac

from apps.core.fields import JSONList, RefField, Text
from apps.core.models import BaseQuerySet, ImmutableRow, Row

SYSTEM_LOGIN = "system"  # row 1, made by a migration: executor of what no person stands behind
SENSOR_PREFIX = "sensor:"  # of the logins of sensors; nobody else may take one
ADMIN_SET_REF = "core.admin"


class IdentityQuerySet(BaseQuerySet["Identity"]):
    def people(self) -> "IdentityQuerySet":
        """Everyone who could sign in: not the built-in identity, not the sensors."""
        return self.exclude(login=SYSTEM_LOGIN).exclude(login__startswith=SENSOR_PREFIX)

    def named(self, name: str) -> "Identity | None":
        """Return the identity with this id or, where there is none or the text is no number, this login."""
        if name.isascii() and name.isdigit() and len(name) < 19:
            found = self.filter(pk=int(name)).first()
            if found is not None:
                return found
        return self.filter(login=name).first()

    def get_by_natural_key(self, login: str) -> "Identity":
        return self.get(login=login)


class Identity(Row, AbstractBaseUser):
    """A person or a machine that signs in; there is no super-user flag."""

    login = Text(max_length=255, unique=True)
    display_name = Text(max_length=255, null=True, blank=True)
    password_hash = models.TextField(null=True, blank=True, editable=False)
    attributes = models.JSONField(default=dict, db_default={}, blank=True)
    frozen = models.BooleanField(default=False, db_default=False)
    auth_provider = Text(max_length=20, default="local", db_default="local", editable=False)
    external_id = models.TextField(null=True, blank=True, editable=False)
    last_login_at = models.DateTimeField(null=True, blank=True, editable=False)
    tokens_valid_after = models.DateTimeField(null=True, blank=True, editable=False)

    # The columns of the base class that ours replace.
    password = None  # type: ignore[assignment]
    last_login = None

    USERNAME_FIELD = "login"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = IdentityQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        db_table = "identity"
        ordering = ("login",)
        verbose_name_plural = "identities"

    def __str__(self) -> str:
        return self.login

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        return not self.frozen

    @property
    def is_built_in(self) -> bool:
        return self.login == SYSTEM_LOGIN

    @property
    def is_sensor(self) -> bool:
        return self.login.startswith(SENSOR_PREFIX)

    def get_session_auth_hash(self) -> str:
        """Sign every session out when the password changes (django.contrib.auth's contract)."""
        return self._session_hash(settings.SECRET_KEY)

    def get_session_auth_fallback_hash(self) -> Any:
        """Keep sessions alive while the secret is changed (django.contrib.auth's contract)."""
        return map(self._session_hash, settings.SECRET_KEY_FALLBACKS)

    def _session_hash(self, secret: str) -> str:
        password_hash = self.password_hash or ""
        return salted_hmac("attune.identity.session", password_hash, secret=secret, algorithm="sha256").hexdigest()


class PermissionSet(Row):
    """A named list of grants, given to identities directly or through roles."""

    ref = RefField(unique=True)
    pack = models.BigIntegerField(null=True, blank=True, editable=False)  # the packs app keeps it: no key upwards
    pack_ref = RefField(null=True, blank=True, editable=False)
    label = Text(max_length=255, null=True, blank=True)
    description = models.TextField(null=True, blank=True)
    grants = JSONList(default=list, db_default=[], blank=True)

    class Meta:
        db_table = "permission_set"
        ordering = ("ref",)

    def __str__(self) -> str:
        return self.ref


class PermissionAssignment(ImmutableRow):
    """An identity holds a permission set."""

    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, db_column="identity", related_name="assignments")
    permset = models.ForeignKey(
        PermissionSet, on_delete=models.CASCADE, db_column="permset", related_name="assignments"
    )

    class Meta:
        db_table = "permission_assignment"
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=["identity", "permset"], name="permission_assignment_pair"),)

    def __str__(self) -> str:
        return f"{self.identity_id} holds {self.permset_id}"


class RoleSource(models.TextChoices):
    MANUAL = "manual"
    OIDC = "oidc"
    LDAP = "ldap"


class IdentityRoleAssignment(Row):
    """An identity has a role; ``managed`` ones are kept by a directory."""

    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, db_column="identity", related_name="roles")
    role = Text(max_length=255)
    source = Text(max_length=20, choices=RoleSource, default=RoleSource.MANUAL, db_default="manual")
    managed = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "identity_role_assignment"
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=["identity", "role"], name="identity_role_assignment_pair"),)

    def __str__(self) -> str:
        return f"{self.identity_id} is {self.role}"


class PermissionSetRoleAssignment(ImmutableRow):
    """A role gives a permission set."""

    permset = models.ForeignKey(PermissionSet, on_delete=models.CASCADE, db_column="permset", related_name="roles")
    role = Text(max_length=255)

    class Meta:
        db_table = "permission_set_role_assignment"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=["permset", "role"], name="permission_set_role_assignment_pair"),
        )
        # What a role gives.
        indexes = (models.Index(fields=["role"], name="permission_set_role"),)

    def __str__(self) -> str:
        return f"{self.role} gives {self.permset_id}"


class IntegrationTokenQuerySet(BaseQuerySet["IntegrationToken"]):
    def live(self, now: datetime) -> "IntegrationTokenQuerySet":
        """Those that sign in: not revoked, not expired."""
        return self.filter(models.Q(expires_at__isnull=True) | models.Q(expires_at__gt=now), revoked_at__isnull=True)


class IntegrationToken(Row):
    """A long-lived secret of an identity, kept as its hash, that signs a program in."""

    identity = models.ForeignKey(
        Identity, on_delete=models.CASCADE, db_column="identity", related_name="integration_tokens"
    )
    label = Text(max_length=255)
    description = models.TextField(null=True, blank=True, max_length=2000)
    token_hash = Text(max_length=64, unique=True)
    token_prefix = Text(max_length=32)
    token_suffix = Text(max_length=8)
    created_by = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, db_column="created_by", related_name="+"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True)
    last_used_ip = models.TextField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, db_column="revoked_by", related_name="+"
    )
    revocation_reason = models.TextField(null=True)

    objects = IntegrationTokenQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        db_table = "integration_token"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(revoked_at__isnull=False)
                | models.Q(revoked_by__isnull=True, revocation_reason__isnull=True),
                name="integration_token_revocation",
            ),
            models.CheckConstraint(condition=~models.Q(label=""), name="integration_token_label_not_empty"),
        )

    def __str__(self) -> str:
        return f"{self.label} ({self.token_prefix}...{self.token_suffix})"

    def is_live(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class AuditCategory(models.TextChoices):
    API = "api"
    AUTH = "auth"
    RBAC = "rbac"
    SECRET = "secret"
    ADMIN = "admin"
    EXECUTION = "execution"
    PACK = "pack"


class AuditOutcome(models.TextChoices):
    SUCCESS = "success"
    FAILURE = "failure"
    DENIED = "denied"


class AuditEvent(ImmutableRow):
    """Who did what, when, and with what outcome. Never changed; outlives the identity that acted."""

    category = Text(max_length=20, choices=AuditCategory)
    event_type = Text(max_length=100)
    outcome = Text(max_length=20, choices=AuditOutcome)
    actor_identity = models.BigIntegerField(null=True)
    actor_login = models.TextField(null=True)
    actor_token_type = Text(max_length=20, null=True)
    actor_ip = models.TextField(null=True)
    actor_user_agent = models.TextField(null=True)
    request_id = models.UUIDField(null=True)
    resource_type = models.TextField(null=True)
    resource_id = models.BigIntegerField(null=True)
    resource_ref = models.TextField(null=True)
    http_method = Text(max_length=10, null=True)
    http_path = models.TextField(null=True)
    http_status = models.IntegerField(null=True)
    duration_ms = models.IntegerField(null=True)
    details = models.JSONField(default=dict, db_default={})
    correlation_chain = JSONList(default=list, db_default=[])

    class Meta:
        db_table = "audit_event"
        indexes = (
            models.Index(fields=["created", "id"], name="audit_event_created"),
            models.Index(fields=["category", "created", "id"], name="audit_event_category"),
            models.Index(fields=["event_type", "created", "id"], name="audit_event_type"),
            models.Index(
                fields=["actor_identity", "created", "id"],
                condition=models.Q(actor_identity__isnull=False),
                name="audit_event_actor",
            ),
            models.Index(
                fields=["resource_type", "resource_id", "created", "id"],
                condition=models.Q(resource_type__isnull=False),
                name="audit_event_resource",
            ),
            models.Index(
                fields=["request_id"], condition=models.Q(request_id__isnull=False), name="audit_event_request"
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_type} #{self.pk}"


class IdempotencyRecord(Row):
    """The first answer to a request that carried an ``Idempotency-Key``; written in the transaction it guards."""

    scope = Text(max_length=512)
    key = Text(max_length=255)
    request_hash = Text(max_length=64)
    response_status = models.IntegerField()
    response_body = models.JSONField(null=True)
    resource_type = models.TextField(null=True)
    resource_id = models.BigIntegerField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_record"
        constraints = (models.UniqueConstraint(fields=["scope", "key"], name="idempotency_record_scope_key"),)
        indexes = (models.Index(fields=["expires_at"], name="idempotency_record_expires"),)  # retention

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"


class SignInFailures(Row):
    """Failed attempts to sign in with one login from one address; short-lived."""

    key = Text(max_length=64, unique=True)  # a hash of both
    failures = models.IntegerField()
    since = models.DateTimeField()

    class Meta:
        db_table = "sign_in_failures"
        verbose_name_plural = "sign-in failures"
        indexes = (models.Index(fields=["since"], name="sign_in_failures_since"),)  # deleting old ones

    def __str__(self) -> str:
        return f"{self.failures} since {self.since}"
