"""What happens, and what tells of it: triggers, sensors, events, timers, webhook requests."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from apps.actions.models import ArtifactRetentionPolicy
from apps.core.fields import JSONList, RandomUUID, RefField, Text
from apps.core.models import BaseQuerySet, HistoryRow, ImmutableRow, Row
from apps.core.refs import validate_component_ref
from apps.packs.models import Pack
from apps.workers.models import Runtime, Worker

# References to rules are plain ids: rules live in a higher app, which keeps the promise of each in its delete path.


class Sensor(Row):
    """A long-running program that watches something and sends events."""

    ref = RefField(unique=True, validators=[validate_component_ref])
    pack = models.ForeignKey(
        Pack, on_delete=models.CASCADE, null=True, blank=True, db_column="pack", related_name="sensors"
    )
    pack_ref = RefField(null=True, blank=True)
    label = Text(max_length=255)
    description = models.TextField(null=True, blank=True)
    entrypoint = models.TextField(max_length=1024)
    runtime = models.ForeignKey(Runtime, on_delete=models.CASCADE, db_column="runtime", related_name="sensors")
    runtime_ref = RefField()
    runtime_version_constraint = models.TextField(null=True, blank=True)
    enabled = models.BooleanField(default=True, db_default=True)
    is_adhoc = models.BooleanField(default=False, db_default=False)
    param_schema = models.JSONField(null=True, blank=True)
    config = models.JSONField(null=True, blank=True)
    worker_selector = models.JSONField(default=dict, db_default={}, blank=True)
    worker_tolerations = JSONList(default=list, db_default=[], blank=True)
    worker_affinity = models.JSONField(default=dict, db_default={}, blank=True)
    log_retention_policy = Text(max_length=20, choices=ArtifactRetentionPolicy, null=True, blank=True)
    log_retention_limit = models.IntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    artifact_retention_policy = Text(max_length=20, choices=ArtifactRetentionPolicy, null=True, blank=True)
    artifact_retention_limit = models.IntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    hot_reload = models.BooleanField(default=False, db_default=False)
    # The lease: where it runs, until when. Taken under a lock on this row, by the id of the worker.
    lease_worker = models.BigIntegerField(null=True, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Raised with each change of the rules that use its triggers; its lock puts their notices in order of commit.
    rules_version = models.BigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        db_table = "sensor"
        ordering = ("ref",)
        constraints = (
            models.CheckConstraint(
                condition=Q(log_retention_limit__isnull=True) | Q(log_retention_limit__gt=0),
                name="sensor_log_retention_limit_positive",
            ),
            models.CheckConstraint(
                condition=Q(artifact_retention_limit__isnull=True) | Q(artifact_retention_limit__gt=0),
                name="sensor_artifact_retention_limit_positive",
            ),
        )

    def __str__(self) -> str:
        return self.ref


class Trigger(Row):
    """A kind of event: what its rules configure, and what its events look like."""

    ref = RefField(unique=True, validators=[validate_component_ref])
    pack = models.ForeignKey(
        Pack, on_delete=models.CASCADE, null=True, blank=True, db_column="pack", related_name="triggers"
    )
    pack_ref = RefField(null=True, blank=True)
    label = Text(max_length=255)
    description = models.TextField(null=True, blank=True)
    enabled = models.BooleanField(default=True, db_default=True)
    is_adhoc = models.BooleanField(default=False, db_default=False)
    param_schema = models.JSONField(null=True, blank=True)
    out_schema = models.JSONField(null=True, blank=True)
    webhook_enabled = models.BooleanField(default=False, db_default=False)
    webhook_key = Text(max_length=64, unique=True, null=True, blank=True)
    webhook_config = models.JSONField(default=dict, db_default={}, blank=True)
    sensor = models.ForeignKey(
        Sensor, on_delete=models.SET_NULL, null=True, blank=True, db_column="sensor", related_name="triggers"
    )
    sensor_ref = RefField(null=True, blank=True)

    class Meta:
        db_table = "trigger"
        ordering = ("ref",)

    def __str__(self) -> str:
        return self.ref


class SensorNotice(ImmutableRow):
    """A change of a rule that uses a trigger of the sensor, numbered by the sensor's ``rules_version``."""

    sensor = models.ForeignKey(
        Sensor, on_delete=models.CASCADE, db_column="sensor", db_index=False, related_name="notices"
    )
    version = models.BigIntegerField()
    event_type = Text(max_length=20)
    rule = models.BigIntegerField()  # outlives the rule
    rule_ref = RefField()
    trigger_ref = RefField()
    trigger_params = models.JSONField(default=dict, db_default={})

    class Meta:
        db_table = "sensor_notice"
        constraints = (models.UniqueConstraint(fields=["sensor", "version"], name="sensor_notice_once"),)

    def __str__(self) -> str:
        return f"{self.event_type} {self.rule_ref}"


class SensorProcessStatus(models.TextChoices):
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    BACKOFF = "backoff"


class SensorProcess(Row):
    """How a sensor's process stands on one worker."""

    sensor = models.ForeignKey(Sensor, on_delete=models.CASCADE, db_column="sensor", related_name="processes")
    sensor_ref = RefField()
    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, db_column="worker", related_name="sensor_processes")
    status = Text(max_length=20, choices=SensorProcessStatus)
    pid = models.IntegerField(null=True)
    consecutive_failures = models.IntegerField(default=0, db_default=0)
    last_exit_code = models.IntegerField(null=True)
    last_signal = models.IntegerField(null=True)
    last_started_at = models.DateTimeField(null=True)
    last_stopped_at = models.DateTimeField(null=True)
    next_restart_at = models.DateTimeField(null=True)
    stderr_excerpt = models.TextField(null=True)
    log_artifact_ref = models.TextField(null=True)
    active_rule_count = models.IntegerField(default=0, db_default=0)
    last_alerted_at = models.DateTimeField(null=True)
    last_alerted_failures = models.IntegerField(null=True)

    class Meta:
        db_table = "sensor_process"
        verbose_name_plural = "sensor processes"
        constraints = (models.UniqueConstraint(fields=["sensor", "worker"], name="sensor_process_pair"),)

    def __str__(self) -> str:
        return f"{self.sensor_ref} on worker {self.worker_id}"


class SensorProcessHistory(HistoryRow):
    """A tracked change of a sensor's process."""

    class Meta:
        db_table = "sensor_process_history"
        verbose_name_plural = "sensor process history"
        indexes = (
            models.Index(fields=["entity_id", "-time", "-id"], name="sensor_history_entity"),
            models.Index(fields=["time", "id"], name="sensor_history_time"),
        )

    def __str__(self) -> str:
        return f"{self.operation} sensor process {self.entity_id}"


class EventQuerySet(BaseQuerySet["Event"]):
    def newest_first(self) -> "EventQuerySet":
        return self.order_by("-created", "-id")

    def undecided(self) -> "EventQuerySet":
        """Those that no transaction has decided the rules of."""
        return self.filter(processed_at=None)


class Event(ImmutableRow):
    """Something that happened. Never changed; ``processed_at`` alone is set when its rules have been decided."""

    trigger = models.ForeignKey(
        Trigger, on_delete=models.SET_NULL, null=True, db_column="trigger", db_index=False, related_name="events"
    )
    trigger_ref = RefField()
    config = models.JSONField(null=True, blank=True)
    payload = models.JSONField(null=True, blank=True)
    source = models.ForeignKey(
        Sensor, on_delete=models.SET_NULL, null=True, db_column="source", db_index=False, related_name="events"
    )
    source_ref = models.TextField(null=True, blank=True)
    rule = models.BigIntegerField(null=True, blank=True)
    rule_ref = RefField(null=True, blank=True)
    idempotency_key = Text(max_length=255, null=True, blank=True)
    replay_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, db_column="replay_of", db_index=False, related_name="replays"
    )
    correlation_id = models.UUIDField(db_default=RandomUUID())
    processed_at = models.DateTimeField(null=True, editable=False)

    objects = EventQuerySet.as_manager()  # type: ignore[misc]  # every model replaces its base's manager so

    class Meta:
        db_table = "event"
        indexes = (
            models.Index(fields=["created", "id"], name="event_created"),
            models.Index(fields=["trigger_ref", "created", "id"], name="event_trigger_ref"),
            # The list's filter by id, and setting it null with the trigger.
            models.Index(
                fields=["trigger", "created", "id"], condition=Q(trigger__isnull=False), name="event_trigger"
            ),
            models.Index(
                fields=["rule_ref", "created", "id"], condition=Q(rule_ref__isnull=False), name="event_rule_ref"
            ),
            models.Index(fields=["rule"], condition=Q(rule__isnull=False), name="event_rule"),
            models.Index(fields=["source", "created", "id"], condition=Q(source__isnull=False), name="event_source"),
            models.Index(fields=["replay_of"], condition=Q(replay_of__isnull=False), name="event_replay_of"),
            models.Index(fields=["correlation_id"], name="event_correlation"),
            # The sweep: what nobody has decided.
            models.Index(fields=["id"], condition=Q(processed_at__isnull=True), name="event_undecided"),
        )

    def __str__(self) -> str:
        return f"{self.trigger_ref} #{self.pk}"


class TimerKind(models.TextChoices):
    INTERVAL = "interval"
    CRON = "cron"
    DATETIME = "datetime"
    RRULE = "rrule"


class TimerState(models.TextChoices):
    ACTIVE = "active"
    STOPPED = "stopped"
    FINISHED = "finished"
    INVALID = "invalid"


class Misfire(models.TextChoices):
    """What becomes of due times that were missed."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class DSTPolicy(models.TextChoices):
    SHIFT = "shift"
    SKIP = "skip"
    BOTH = "both"


class Timer(Row):
    """When a rule of a timer trigger fires next. Its row is the schedule: a restart loses and doubles nothing."""

    rule = models.BigIntegerField(unique=True)
    rule_ref = RefField()
    trigger_ref = RefField()
    kind = Text(max_length=10, choices=TimerKind)
    spec = models.JSONField()
    state = Text(max_length=10, choices=TimerState, default=TimerState.ACTIVE, db_default="active")
    error = models.TextField(null=True)
    timezone = models.TextField(default="UTC", db_default="UTC")
    anchored_at = models.DateTimeField()
    start_at = models.DateTimeField(null=True)
    end_at = models.DateTimeField(null=True)
    next_fire_at = models.DateTimeField(null=True)
    last_due_at = models.DateTimeField(null=True)
    last_fired_at = models.DateTimeField(null=True)
    last_missed_at = models.DateTimeField(null=True)
    execution_count = models.IntegerField(default=0, db_default=0)
    missed_count = models.IntegerField(default=0, db_default=0)
    misfire = Text(max_length=10, choices=Misfire, default=Misfire.SKIP, db_default="skip")
    misfire_grace_seconds = models.IntegerField(default=30, db_default=30)
    misfire_limit = models.IntegerField(default=100, db_default=100)
    dst_policy = Text(max_length=10, choices=DSTPolicy, default=DSTPolicy.SHIFT, db_default="shift")

    class Meta:
        db_table = "timer"
        ordering = ("rule_ref",)
        indexes = (models.Index(fields=["state", "next_fire_at"], name="timer_due"),)

    def __str__(self) -> str:
        return f"timer of {self.rule_ref}"


class TimerFireOutcome(models.TextChoices):
    FIRED = "fired"
    SKIPPED = "skipped"


class TimerFire(ImmutableRow):
    """One due time of a timer, at most one row each: what makes a second firing impossible."""

    rule = models.BigIntegerField(null=True)
    rule_ref = RefField()
    due_at = models.DateTimeField()
    fired_at = models.DateTimeField()
    event = models.ForeignKey(
        Event, on_delete=models.SET_NULL, null=True, db_column="event", db_index=False, related_name="+"
    )
    outcome = Text(max_length=10, choices=TimerFireOutcome)

    class Meta:
        db_table = "timer_fire"
        constraints = (models.UniqueConstraint(fields=["rule", "due_at"], name="timer_fire_once"),)
        indexes = (
            models.Index(fields=["created", "id"], name="timer_fire_created"),  # retention
            models.Index(fields=["event"], condition=Q(event__isnull=False), name="timer_fire_event"),
        )

    def __str__(self) -> str:
        return f"{self.rule_ref} at {self.due_at}"


class WebhookEventLog(ImmutableRow):
    """One request to a webhook whose key was known."""

    trigger = models.ForeignKey(
        Trigger, on_delete=models.CASCADE, db_column="trigger_id", db_index=False, related_name="webhook_requests"
    )
    trigger_ref = RefField()
    webhook_key = Text(max_length=20)
    event_id = models.BigIntegerField(null=True)
    source_ip = models.TextField(null=True)
    user_agent = models.TextField(null=True)
    payload_size_bytes = models.IntegerField(null=True)
    headers = models.JSONField(null=True)
    status_code = models.IntegerField()
    error_message = models.TextField(null=True)
    processing_time_ms = models.IntegerField(null=True)
    hmac_verified = models.BooleanField(null=True)
    rate_limited = models.BooleanField(default=False, db_default=False)
    ip_allowed = models.BooleanField(null=True)
    idempotency_key = models.TextField(null=True)
    body_sha256 = models.TextField(null=True)

    class Meta:
        db_table = "webhook_event_log"
        indexes = (
            models.Index(fields=["trigger", "created", "id"], name="webhook_log_trigger"),
            models.Index(fields=["created", "id"], name="webhook_log_created"),  # retention
            # The rate limit: what was let through from one address lately.
            models.Index(
                fields=["trigger", "webhook_key", "source_ip", "created"],
                condition=Q(rate_limited=False),
                name="webhook_log_rate",
            ),
            # The alert: wrong signatures of late, however many right ones came between.
            models.Index(fields=["trigger", "created"], condition=Q(hmac_verified=False), name="webhook_log_unsigned"),
        )

    def __str__(self) -> str:
        return f"{self.trigger_ref} {self.status_code}"
