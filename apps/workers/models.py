"""How programs are run (runtimes, environments) and who is alive to run them (workers, leases)."""

import uuid

from django.db import models

from apps.core.fields import JSONList, RefField, Text
from apps.core.models import HistoryRow, Row
from apps.identity.models import Identity
from apps.packs.models import Pack


class Runtime(Row):
    """How a kind of program is started: interpreter, inline code, environment, detection."""

    ref = RefField(unique=True)
    pack = models.ForeignKey(
        Pack, on_delete=models.CASCADE, null=True, blank=True, db_column="pack", related_name="runtimes"
    )
    pack_ref = RefField(null=True, blank=True)
    description = models.TextField(null=True, blank=True)
    name = Text(max_length=255)
    aliases = JSONList(default=list, db_default=[], blank=True)
    distributions = models.JSONField(default=dict, db_default={}, blank=True)
    installation = models.JSONField(null=True, blank=True)
    execution_config = models.JSONField(default=dict, db_default={}, blank=True)
    auto_detected = models.BooleanField(default=False, db_default=False)
    detection_config = models.JSONField(default=dict, db_default={}, blank=True)

    class Meta:
        db_table = "runtime"
        ordering = ("ref",)

    def __str__(self) -> str:
        return self.ref

    @property
    def names(self) -> frozenset[str]:
        """Every name a worker may offer it by, in lower case."""
        return frozenset({self.name.lower(), *(str(alias).lower() for alias in self.aliases)})


class RuntimeVersion(Row):
    """One version of a runtime that an action may ask for."""

    runtime = models.ForeignKey(Runtime, on_delete=models.CASCADE, db_column="runtime", related_name="versions")
    runtime_ref = RefField()
    version = Text(max_length=50)
    version_major = models.IntegerField(null=True)
    version_minor = models.IntegerField(null=True)
    version_patch = models.IntegerField(null=True)
    execution_config = models.JSONField(default=dict, db_default={}, blank=True)
    distributions = models.JSONField(default=dict, db_default={}, blank=True)
    is_default = models.BooleanField(default=False, db_default=False)
    available = models.BooleanField(default=False, db_default=False)
    verified_at = models.DateTimeField(null=True, blank=True)
    meta = models.JSONField(default=dict, db_default={}, blank=True)

    class Meta:
        db_table = "runtime_version"
        constraints = (models.UniqueConstraint(fields=["runtime", "version"], name="runtime_version_pair"),)

    def __str__(self) -> str:
        return f"{self.runtime_ref} {self.version}"


class EnvironmentStatus(models.TextChoices):
    PENDING = "pending"
    INSTALLING = "installing"
    READY = "ready"
    FAILED = "failed"
    OUTDATED = "outdated"


class PackEnvironment(Row):
    """The dependencies of one pack for one runtime: a virtual environment, a node_modules folder."""

    pack = models.ForeignKey(Pack, on_delete=models.CASCADE, db_column="pack", related_name="environments")
    pack_ref = RefField()
    runtime = models.ForeignKey(Runtime, on_delete=models.CASCADE, db_column="runtime", related_name="environments")
    runtime_ref = RefField()
    runtime_version = models.TextField(default="", db_default="", blank=True)
    path = models.TextField()
    status = Text(max_length=20, choices=EnvironmentStatus, default=EnvironmentStatus.PENDING, db_default="pending")
    manifest_checksum = models.TextField(null=True, blank=True)
    installed_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "pack_environment"
        ordering = ("pack_ref", "runtime_ref", "runtime_version")
        constraints = (
            models.UniqueConstraint(fields=["pack", "runtime", "runtime_version"], name="pack_environment_triple"),
        )

    def __str__(self) -> str:
        return f"{self.pack_ref} {self.runtime_ref} {self.runtime_version}".rstrip()


class WorkerType(models.TextChoices):
    LOCAL = "local"
    REMOTE = "remote"
    CONTAINER = "container"


class WorkerRole(models.TextChoices):
    ACTION = "action"
    SENSOR = "sensor"
    HYBRID = "hybrid"


class WorkerStatus(models.TextChoices):
    ACTIVE = "active"
    INACTIVE = "inactive"
    BUSY = "busy"
    ERROR = "error"


class Worker(Row):
    """A process (by name) that runs executions."""

    name = Text(max_length=255, unique=True)
    worker_type = Text(max_length=20, choices=WorkerType, default=WorkerType.LOCAL, db_default="local")
    worker_role = Text(max_length=20, choices=WorkerRole, default=WorkerRole.ACTION, db_default="action")
    runtime = models.ForeignKey(
        Runtime, on_delete=models.SET_NULL, null=True, blank=True, db_column="runtime", related_name="+"
    )
    host = models.TextField(null=True, blank=True)
    port = models.IntegerField(null=True, blank=True)
    status = Text(
        max_length=20, choices=WorkerStatus, null=True, blank=True, default=WorkerStatus.ACTIVE, db_default="active"
    )
    capabilities = models.JSONField(null=True, blank=True)
    meta = models.JSONField(null=True, blank=True)
    last_heartbeat = models.DateTimeField(null=True, blank=True)
    cordoned = models.BooleanField(default=False, db_default=False)
    cordon_reason = models.TextField(null=True, blank=True)
    cordoned_by = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, blank=True, db_column="cordoned_by", related_name="+"
    )
    cordoned_at = models.DateTimeField(null=True, blank=True)
    draining = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "worker"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class WorkerLease(Row):
    """Who works under a worker's name just now, and until when; renewed every few seconds, so it is narrow."""

    worker = models.OneToOneField(Worker, on_delete=models.CASCADE, db_column="worker", related_name="lease")
    holder = models.UUIDField(default=uuid.uuid4)
    generation = models.IntegerField(default=1, db_default=1)
    renewed_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "worker_lease"

    def __str__(self) -> str:
        return f"lease of worker {self.worker_id}, generation {self.generation}"


class WorkerHistory(HistoryRow):
    """What became of a worker; its heartbeat is not tracked."""

    class Meta:
        db_table = "worker_history"
        verbose_name_plural = "worker history"
        indexes = (models.Index(fields=["entity_id", "-time", "-id"], name="worker_history_entity"),)

    def __str__(self) -> str:
        return f"{self.operation} {self.entity_ref}"
