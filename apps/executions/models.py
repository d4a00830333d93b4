"""One run of an action, its history, and what it stored."""

import json
from functools import cached_property
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, When

from apps.actions.models import Action, ArtifactRetentionPolicy, OnWorkerLost, Policy
from apps.core.fields import JSONList, Now, RandomUUID, RefField, Text
from apps.core.models import BaseQuerySet, HistoryRow, ImmutableRow, Row
from apps.executions.states import ON_A_WORKER, TERMINAL, UNFINISHED, Status
from apps.identity.models import Identity
from apps.workers.models import Worker


class Demand(Row):
    """
    What a waiting execution demands of a worker, shared by all that demand the same.

    Dispatch looks at the heads of the demands that have a free slot, so its cost does not grow with the backlog.
    ``requirements``: {"runtime": [names], "version": text|null, "required": {}, "selector": {}, "tolerations": [],
    "affinity": {}}, and where policies limit the action its ref as "action" and "policies": [[policy id, key of the
    group, kinds of limit]]; ``key`` is the SHA-256 of its canonical JSON.
    """

    key = Text(max_length=64, unique=True)
    requirements = models.JSONField(default=dict, db_default={})

    class Meta:
        db_table = "dispatch_demand"

    def __str__(self) -> str:
        return self.key[:12]

    @property
    def is_limited(self) -> bool:
        """Whether policies limit those in its line."""
        return "policies" in self.requirements

    @cached_property
    def placement_key(self) -> str:
        """The same for all demands that the same workers meet."""
        wanted = {name: value for name, value in self.requirements.items() if name not in ("action", "policies")}
        return json.dumps(wanted, sort_keys=True)


class ExecutionQuerySet(BaseQuerySet["Execution"]):
    def update(self, **fields: Any) -> int:
        """Write; ``updated`` of one that has ended stays the moment at which it ended."""
        moved = Case(When(status__in=TERMINAL, then=F("updated")), default=Now())
        return super().update(**{"updated": moved, **fields})

    def unfinished(self) -> "ExecutionQuerySet":
        return self.filter(status__in=UNFINISHED)

    def finished(self) -> "ExecutionQuerySet":
        return self.filter(status__in=TERMINAL)

    def on_worker(self) -> "ExecutionQuerySet":
        """Those that hold a slot of their worker."""
        return self.filter(status__in=ON_A_WORKER)

    def newest_first(self) -> "ExecutionQuerySet":
        return self.order_by("-created", "-id")


def _self_reference(column: str) -> "models.ForeignKey[Execution | None, Execution | None]":
    return models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, db_column=column, db_index=False, related_name="+"
    )


class Execution(Row):
    """One run of an action. Only the transition function of ``transitions.py`` writes ``status``."""

    action = models.ForeignKey(
        Action, on_delete=models.SET_NULL, null=True, db_column="action", related_name="executions"
    )
    action_ref = RefField()
    config = models.JSONField(null=True, blank=True)
    env_vars = models.JSONField(null=True, blank=True)
    parent = _self_reference("parent")
    enforcement = models.BigIntegerField(null=True, blank=True)
    executor = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, db_column="executor", db_index=False, related_name="+"
    )
    permission_set_refs = JSONList(default=list, db_default=[], blank=True)
    worker_selector = models.JSONField(null=True, blank=True)
    worker_tolerations = JSONList(null=True, blank=True)
    worker_affinity = models.JSONField(null=True, blank=True)
    artifact_retention_policy = Text(max_length=20, choices=ArtifactRetentionPolicy, null=True, blank=True)
    artifact_retention_limit = models.IntegerField(null=True, blank=True)
    worker = models.ForeignKey(
        Worker, on_delete=models.SET_NULL, null=True, db_column="worker", db_index=False, related_name="executions"
    )
    status = Text(max_length=20, choices=Status, default=Status.REQUESTED, db_default="requested")
    result = models.JSONField(null=True, blank=True)
    started_at = models.DateTimeField(null=True)
    workflow_def = models.BigIntegerField(null=True, blank=True)
    workflow_task = models.JSONField(null=True, blank=True)
    retry_count = models.IntegerField(default=0, db_default=0)
    max_retries = models.IntegerField(null=True)
    retry_reason = Text(max_length=30, null=True)
    original_execution = _self_reference("original_execution")
    epoch = models.IntegerField(default=0, db_default=0)
    attempt = models.IntegerField(default=1, db_default=1)
    not_before = models.DateTimeField(null=True, blank=True)
    priority = models.IntegerField(
        default=0, db_default=0, validators=[MinValueValidator(-100), MaxValueValidator(100)]
    )
    idempotency_key = Text(max_length=255, null=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    held = models.BooleanField(default=False, db_default=False)
    on_worker_lost = Text(max_length=10, choices=OnWorkerLost, default=OnWorkerLost.ABANDON, db_default="abandon")
    max_lost_attempts = models.IntegerField(default=2, db_default=2)
    timeout_seconds = models.IntegerField(null=True)
    limits = models.JSONField(default=dict, db_default={}, blank=True)
    retry_of = _self_reference("retry_of")
    lost_count = models.IntegerField(default=0, db_default=0)
    root = models.BigIntegerField(null=True)
    depth = models.IntegerField(default=0, db_default=0)
    pack_ref = RefField(null=True)
    rule_ref = RefField(null=True)
    trigger_ref = RefField(null=True)
    scheduled_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    cancelled_by = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, db_column="cancelled_by", db_index=False, related_name="+"
    )
    exit_code = models.IntegerField(null=True)
    duration_ms = models.BigIntegerField(null=True)
    succeeded = models.BooleanField(null=True)
    pinned = models.BooleanField(default=False, db_default=False)
    result_artifact = models.ForeignKey(
        "Artifact", on_delete=models.SET_NULL, null=True, db_column="result_artifact", db_index=False, related_name="+"
    )
    result_size_bytes = models.BigIntegerField(null=True)
    correlation_id = models.UUIDField(db_default=RandomUUID())
    # Null while it is not in line: its time has not come, or dispatch has not looked at it yet.
    demand = models.ForeignKey(
        Demand, on_delete=models.SET_NULL, null=True, db_column="demand", db_index=False, related_name="+"
    )

    objects = ExecutionQuerySet.as_manager()  # type: ignore[misc]  # every model replaces its base's manager so

    class Meta:
        db_table = "execution"
        constraints = (
            models.UniqueConstraint(
                fields=["enforcement"], condition=Q(parent=None, retry_count=0), name="execution_once_per_enforcement"
            ),
            models.CheckConstraint(
                condition=Q(priority__gte=-100, priority__lte=100), name="execution_priority_range"
            ),
            models.CheckConstraint(
                condition=Q(artifact_retention_limit__isnull=True) | Q(artifact_retention_limit__gt=0),
                name="execution_artifact_retention_limit_positive",
            ),
        )
        indexes = (
            # Lists, newest first, alone and with one filter each (model.md 6.2).
            models.Index(fields=["created", "id"], name="execution_created"),
            models.Index(fields=["action_ref", "created", "id"], name="execution_action_ref"),
            models.Index(fields=["status", "created", "id"], name="execution_status"),
            models.Index(fields=["worker", "created", "id"], name="execution_worker"),
            models.Index(fields=["executor", "created", "id"], name="execution_executor"),
            models.Index(fields=["pack_ref", "created", "id"], name="execution_pack_ref"),
            models.Index(fields=["correlation_id"], name="execution_correlation"),
            models.Index(
                fields=["rule_ref", "created", "id"], condition=Q(rule_ref__isnull=False), name="execution_rule_ref"
            ),
            models.Index(
                fields=["trigger_ref", "created", "id"],
                condition=Q(trigger_ref__isnull=False),
                name="execution_trigger_ref",
            ),
            models.Index(fields=["enforcement"], condition=Q(enforcement__isnull=False), name="execution_enforcement"),
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="execution_parent"),
            models.Index(fields=["root"], condition=Q(root__isnull=False), name="execution_root"),
            models.Index(
                fields=["original_execution"],
                condition=Q(original_execution__isnull=False),
                name="execution_original",
            ),
            models.Index(
                fields=["exit_code", "created", "id"],
                condition=Q(exit_code__isnull=False) & ~Q(exit_code=0),
                name="execution_exit_code",
            ),
            models.Index(fields=["duration_ms"], condition=Q(duration_ms__isnull=False), name="execution_duration"),
            models.Index(fields=["started_at"], condition=Q(started_at__isnull=False), name="execution_started"),
            # Dispatch: the heads of each demand.
            models.Index(
                "demand",
                models.F("priority").desc(),
                "created",
                "id",
                condition=Q(status="requested", held=False, demand__isnull=False),
                name="execution_in_line",
            ),
            # Dispatch: those whose time comes next.
            models.Index(
                fields=["not_before", "id"],
                condition=Q(status="requested", held=False, demand__isnull=True),
                name="execution_not_in_line",
            ),
            # Sweeps and free slots: what a worker has.
            models.Index(
                fields=["worker", "status"],
                condition=Q(status__in=["scheduled", "running", "canceling"]),
                name="execution_on_worker",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(status__in=["requested", "scheduled"], expires_at__isnull=False),
                name="execution_expires",
            ),
            # Retention.
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="execution_finished"),
        )

    def __str__(self) -> str:
        return f"{self.action_ref} #{self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.status in TERMINAL


class ExecutionHistory(HistoryRow):
    """One transition of an execution (or another tracked change of it)."""

    class Meta:
        db_table = "execution_history"
        verbose_name_plural = "execution history"
        indexes = (
            models.Index(fields=["entity_id", "-time", "-id"], name="execution_history_entity"),
            models.Index(fields=["time", "id"], name="execution_history_time"),
        )

    def __str__(self) -> str:
        return f"{self.operation} execution {self.entity_id}"


class AdmissionState(Row):
    """One group of a policy: the row whose lock lets one pass at a time admit executions of the group."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, db_column="policy", related_name="groups")
    group_key = models.TextField()
    next_sequence = models.IntegerField(default=1, db_default=1)

    class Meta:
        db_table = "execution_admission_state"
        constraints = (models.UniqueConstraint(fields=["policy", "group_key"], name="admission_state_once"),)

    def __str__(self) -> str:
        return f"{self.policy_id} {self.group_key}"


class AdmissionEntry(ImmutableRow):
    """One execution that a policy let start. Bookkeeping: who holds a slot is told by the executions themselves."""

    state = models.ForeignKey(
        AdmissionState, on_delete=models.CASCADE, db_column="state", db_index=False, related_name="entries"
    )
    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, db_column="execution", related_name="admissions"
    )
    sequence = models.IntegerField()
    admitted_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "execution_admission_entry"
        verbose_name_plural = "admission entries"
        constraints = (
            models.UniqueConstraint(fields=["state", "execution"], name="admission_entry_execution"),
            models.UniqueConstraint(fields=["state", "sequence"], name="admission_entry_sequence"),
        )
        # Rate limits: how many were let in since.
        indexes = (models.Index(fields=["state", "admitted_at"], name="admission_entry_admitted"),)

    def __str__(self) -> str:
        return f"{self.state_id} #{self.sequence}"


class ArtifactType(models.TextChoices):
    FILE_BINARY = "file_binary"
    FILE_DATATABLE = "file_datatable"
    FILE_IMAGE = "file_image"
    FILE_TEXT = "file_text"
    OTHER = "other"
    PROGRESS = "progress"
    URL = "url"


FILE_BACKED = frozenset(
    {ArtifactType.FILE_BINARY, ArtifactType.FILE_DATATABLE, ArtifactType.FILE_IMAGE, ArtifactType.FILE_TEXT}
)


class OwnerType(models.TextChoices):
    SYSTEM = "system"
    IDENTITY = "identity"
    PACK = "pack"
    ACTION = "action"
    SENSOR = "sensor"


class Visibility(models.TextChoices):
    PUBLIC = "public"
    PRIVATE = "private"


class Artifact(Row):
    """Something an execution or a person stored, with its versions."""

    ref = Text(max_length=255, unique=True)
    scope = Text(max_length=20, choices=OwnerType, default=OwnerType.SYSTEM, db_default="system")
    owner = models.TextField(default="", db_default="", blank=True)
    type = Text(max_length=20, choices=ArtifactType)
    visibility = Text(max_length=10, choices=Visibility, default=Visibility.PRIVATE, db_default="private")
    name = models.TextField(null=True, blank=True)
    description = models.TextField(null=True, blank=True)
    content_type = models.TextField(null=True, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    data = models.JSONField(null=True, blank=True)
    retention_policy = Text(
        max_length=20,
        choices=ArtifactRetentionPolicy,
        default=ArtifactRetentionPolicy.VERSIONS,
        db_default="versions",
    )
    retention_limit = models.IntegerField(default=5, db_default=5)

    class Meta:
        db_table = "artifact"
        constraints = (
            models.CheckConstraint(condition=Q(retention_limit__gt=0), name="artifact_retention_limit_positive"),
        )
        indexes = (models.Index(fields=["created", "id"], name="artifact_created"),)

    def __str__(self) -> str:
        return self.ref


class ArtifactVersion(ImmutableRow):
    """One stored content of an artifact: bytes, JSON, or a file beneath the artifacts directory."""

    artifact = models.ForeignKey(
        Artifact, on_delete=models.CASCADE, db_column="artifact", db_index=False, related_name="versions"
    )
    version = models.IntegerField()
    execution = models.BigIntegerField(null=True)  # outlives the execution
    content_type = models.TextField(null=True)
    size_bytes = models.BigIntegerField(null=True)
    content = models.BinaryField(null=True)
    content_json = models.JSONField(null=True)
    file_path = models.TextField(null=True)
    # Where the file lies beneath the artifacts directory: made of ids by the server, never of a name.
    storage_name = models.TextField(null=True)
    meta = models.JSONField(null=True)
    created_by = models.TextField(null=True)
    sha256 = models.TextField(null=True)

    class Meta:
        db_table = "artifact_version"
        constraints = (
            models.UniqueConstraint(fields=["artifact", "version"], name="artifact_version_pair"),
            models.CheckConstraint(
                condition=(
                    Q(content__isnull=False, content_json__isnull=True, file_path__isnull=True)
                    | Q(content__isnull=True, content_json__isnull=False, file_path__isnull=True)
                    | Q(content__isnull=True, content_json__isnull=True, file_path__isnull=False)
                ),
                name="artifact_version_one_content",
            ),
        )
        indexes = (
            models.Index(
                fields=["execution"], condition=Q(execution__isnull=False), name="artifact_version_execution"
            ),
        )

    def __str__(self) -> str:
        return f"{self.artifact_id} v{self.version}"
