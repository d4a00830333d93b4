"""What can be run: actions."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from apps.core.fields import JSONList, Now, RefField, Text
from apps.core.models import Row
from apps.core.refs import validate_component_ref, validate_policy_ref
from apps.packs.models import Pack
from apps.workers.models import Runtime

DEFAULT_TIMEOUT_SECONDS = 300  # when neither request nor action names a limit (execution.md section 9)


class ParameterDelivery(models.TextChoices):
    STDIN = "stdin"
    FILE = "file"


class ParameterFormat(models.TextChoices):
    JSON = "json"
    DOTENV = "dotenv"
    YAML = "yaml"


class OutputFormat(models.TextChoices):
    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    JSONL = "jsonl"


class OnWorkerLost(models.TextChoices):
    """What becomes of a running execution when its worker is lost."""

    ABANDON = "abandon"
    RETRY = "retry"
    FAIL = "fail"


class ArtifactRetentionPolicy(models.TextChoices):
    VERSIONS = "versions"
    DAYS = "days"
    HOURS = "hours"
    MINUTES = "minutes"


def _retention_policy() -> "models.Field[str | None, str | None]":
    return Text(max_length=20, choices=ArtifactRetentionPolicy, null=True, blank=True)


def _retention_limit() -> "models.Field[int | None, int | None]":
    return models.IntegerField(null=True, blank=True, validators=[MinValueValidator(1)])


def _all_keys() -> str:
    return "all"


class Action(Row):
    """Something runnable: a file of a pack or inline code, with its parameters and limits."""

    ref = RefField(unique=True, validators=[validate_component_ref])
    label = Text(max_length=255)
    pack = models.ForeignKey(Pack, on_delete=models.CASCADE, db_column="pack", related_name="actions")
    pack_ref = RefField()
    description = models.TextField(null=True, blank=True)
    entrypoint = models.TextField(max_length=1024)
    runtime = models.ForeignKey(
        Runtime, on_delete=models.RESTRICT, null=True, blank=True, db_column="runtime", related_name="actions"
    )
    runtime_version_constraint = models.TextField(null=True, blank=True)
    required_worker_runtimes = models.JSONField(default=dict, db_default={}, blank=True)
    worker_selector = models.JSONField(default=dict, db_default={}, blank=True)
    worker_tolerations = JSONList(default=list, db_default=[], blank=True)
    worker_affinity = models.JSONField(default=dict, db_default={}, blank=True)
    param_schema = models.JSONField(null=True, blank=True)
    out_schema = models.JSONField(null=True, blank=True)
    parameter_delivery = Text(
        max_length=10, choices=ParameterDelivery, default=ParameterDelivery.STDIN, db_default="stdin"
    )
    parameter_format = Text(max_length=10, choices=ParameterFormat, default=ParameterFormat.JSON, db_default="json")
    output_format = Text(max_length=10, choices=OutputFormat, default=OutputFormat.TEXT, db_default="text")
    is_adhoc = models.BooleanField(default=False, db_default=False)
    workflow_def = models.BigIntegerField(null=True, blank=True, editable=False)  # kept by the workflows app
    timeout_seconds = models.IntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(604800)]
    )
    max_retries = models.IntegerField(
        default=0, db_default=0, validators=[MinValueValidator(0), MaxValueValidator(100)]
    )
    accesses_mcp = models.BooleanField(default=False, db_default=False)
    default_execution_permission_set_refs = JSONList(default=list, db_default=[], blank=True)
    log_retention_policy = _retention_policy()
    log_retention_limit = _retention_limit()
    artifact_retention_policy = _retention_policy()
    artifact_retention_limit = _retention_limit()
    on_worker_lost = Text(max_length=10, choices=OnWorkerLost, default=OnWorkerLost.ABANDON, db_default="abandon")
    max_lost_attempts = models.IntegerField(default=2, db_default=2, validators=[MinValueValidator(1)])
    priority = models.IntegerField(
        default=0, db_default=0, validators=[MinValueValidator(-100), MaxValueValidator(100)]
    )
    limits = models.JSONField(default=dict, db_default={}, blank=True)
    ambient_keys = models.JSONField(default=_all_keys, db_default="all", blank=True)
    strict_parameters = models.BooleanField(default=False, db_default=False)
    semaphores = JSONList(default=list, db_default=[], blank=True)

    class Meta:
        db_table = "action"
        ordering = ("ref",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(priority__gte=-100, priority__lte=100), name="action_priority_range"
            ),
            models.CheckConstraint(
                condition=models.Q(log_retention_limit__isnull=True) | models.Q(log_retention_limit__gt=0),
                name="action_log_retention_limit_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(artifact_retention_limit__isnull=True) | models.Q(artifact_retention_limit__gt=0),
                name="action_artifact_retention_limit_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(timeout_seconds__isnull=True)
                | models.Q(timeout_seconds__gte=1, timeout_seconds__lte=604800),
                name="action_timeout_range",
            ),
            models.CheckConstraint(
                condition=models.Q(max_retries__gte=0, max_retries__lte=100), name="action_max_retries_range"
            ),
            models.CheckConstraint(
                condition=models.Q(max_lost_attempts__gte=1), name="action_max_lost_attempts_positive"
            ),
        )

    def __str__(self) -> str:
        return self.ref


class PolicyMethod(models.TextChoices):
    """What becomes of an execution that a policy does not let start now."""

    CANCEL = "cancel"
    ENQUEUE = "enqueue"


class PolicyScope(models.TextChoices):
    """Whose executions a policy limits; derived from what it names, and the filter of lists."""

    ACTION = "action"
    PACK = "pack"
    GLOBAL = "global"
    SHARED = "shared"


class Policy(Row):
    """A limit on how executions of an action, a pack, several actions, or of everything start (execution.md 17)."""

    ref = RefField(unique=True, validators=[validate_policy_ref])
    name = Text(max_length=255)
    description = models.TextField(null=True, blank=True)
    tags = JSONList(default=list, db_default=[], blank=True)
    pack = models.ForeignKey(
        Pack, on_delete=models.CASCADE, null=True, blank=True, db_column="pack", related_name="policies"
    )
    pack_ref = RefField(null=True, blank=True)
    action = models.ForeignKey(
        Action, on_delete=models.CASCADE, null=True, blank=True, db_column="action", related_name="policies"
    )
    action_ref = RefField(null=True, blank=True)
    action_refs = JSONList(default=list, db_default=[], blank=True)
    semaphore = Text(max_length=255, null=True, blank=True)
    parameters = JSONList(default=list, db_default=[], blank=True)
    method = Text(max_length=10, choices=PolicyMethod, default=PolicyMethod.ENQUEUE, db_default="enqueue")
    threshold = models.IntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    max_executions = models.IntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    window_seconds = models.IntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(2_592_000)]
    )
    max_waiting = models.IntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    enabled = models.BooleanField(default=True, db_default=True)
    # The pack whose files define it; null for one made through the API or the console.
    defined_by = models.ForeignKey(
        Pack, on_delete=models.CASCADE, null=True, blank=True, db_column="defined_by", related_name="+", editable=False
    )

    class Meta:
        db_table = "policy"
        ordering = ("ref",)
        verbose_name_plural = "policies"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(threshold__isnull=True) | models.Q(threshold__gt=0),
                name="policy_threshold_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(max_waiting__isnull=True) | models.Q(max_waiting__gt=0),
                name="policy_max_waiting_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(max_executions__isnull=True, window_seconds__isnull=True)
                | models.Q(max_executions__gt=0, window_seconds__gt=0),
                name="policy_rate_complete",
            ),
            models.CheckConstraint(
                condition=models.Q(threshold__isnull=False)
                | models.Q(max_executions__isnull=False)
                | models.Q(max_waiting__isnull=False),
                name="policy_limits_something",
            ),
        )

    def __str__(self) -> str:
        return self.ref

    @property
    def scope(self) -> PolicyScope:
        if self.action_refs or self.semaphore:
            return PolicyScope.SHARED
        if self.action_ref:
            return PolicyScope.ACTION
        return PolicyScope.PACK if self.pack_ref else PolicyScope.GLOBAL


class PolicyRevision(models.Model):
    """
    One row whose mark is another after every change of what policies say, or of which actions they are about.

    Whoever keeps policies in memory compares it: reading it is cheap, and its lock lets changes come one by one.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    mark = models.BigIntegerField()

    class Meta:
        db_table = "policy_revision"

    def __str__(self) -> str:
        return f"Policies at {self.mark}"


class QueueStats(Row):
    """What waits and runs of one action under its policies, as last counted."""

    action = models.OneToOneField(Action, on_delete=models.CASCADE, db_column="action", related_name="queue_stats")
    action_ref = RefField()
    queue_length = models.IntegerField(default=0, db_default=0)
    active_count = models.IntegerField(default=0, db_default=0)
    max_concurrent = models.IntegerField(default=0, db_default=0)
    oldest_enqueued_at = models.DateTimeField(null=True)
    total_enqueued = models.BigIntegerField(default=0, db_default=0)
    total_completed = models.BigIntegerField(default=0, db_default=0)
    last_updated = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "queue_stats"
        verbose_name_plural = "queue stats"

    def __str__(self) -> str:
        return f"Line of {self.action_ref}"
