"""Work queues: items that wait for executions of a dispatch action."""

from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL

from apps.actions.models import Action
from apps.core.fields import JSONList, RefField, Text
from apps.core.models import BaseQuerySet, Row
from apps.core.refs import validate_queue_ref
from apps.executions.models import Execution
from apps.identity.models import Identity
from apps.packs.models import Pack
from apps.rules.models import Enforcement


class UpdateStrategy(models.TextChoices):
    IMMUTABLE = "immutable"
    REPLACE = "replace"
    MERGE_PATCH = "merge_patch"


class BatchMode(models.TextChoices):
    SINGLE = "single"
    BATCH = "batch"


class WorkQueue(Row):
    """Items that API, rules or actions enqueue, and the action whose executions work them off (execution.md 18)."""

    ref = RefField(unique=True, validators=[validate_queue_ref])
    pack = models.ForeignKey(
        Pack, on_delete=models.SET_NULL, null=True, blank=True, db_column="pack", related_name="queues"
    )
    pack_ref = RefField(null=True, blank=True)
    # Made without a pack; a queue of a pack, whoever made it, is not changed or deleted by itself.
    is_adhoc = models.BooleanField(default=False, db_default=False)
    from_file = models.BooleanField(default=False, db_default=False, editable=False)  # and goes when its file goes
    label = Text(max_length=255)
    description = models.TextField(null=True, blank=True)
    enabled = models.BooleanField(default=True, db_default=True)
    accepting_new_items = models.BooleanField(default=True, db_default=True)
    dispatch_action = models.ForeignKey(
        Action, on_delete=models.SET_NULL, null=True, blank=True, db_column="dispatch_action", related_name="queues"
    )
    dispatch_action_ref = RefField()
    default_priority = models.IntegerField(default=0, db_default=0)
    allow_pending_update = models.BooleanField(default=False, db_default=False)
    update_strategy = Text(max_length=15, choices=UpdateStrategy, default=UpdateStrategy.REPLACE, db_default="replace")
    batch_mode = Text(max_length=10, choices=BatchMode, default=BatchMode.SINGLE, db_default="single")
    item_schema = models.JSONField(default=dict, db_default={}, blank=True)
    action_params = models.JSONField(default=dict, db_default={}, blank=True)
    permission_set_refs = JSONList(null=True, blank=True)
    config = models.JSONField(default=dict, db_default={}, blank=True)
    max_depth = models.IntegerField(null=True, blank=True)
    # Whose rights stand behind what it dispatches; null: the built-in identity.
    owner_identity = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, blank=True, db_column="owner_identity", related_name="+"
    )
    last_dispatch_at = models.DateTimeField(null=True, editable=False)
    # Since when operators know that it is full, or does not get shorter; null while it is as it should be.
    told_full_at = models.DateTimeField(null=True, editable=False)
    told_stuck_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "work_queue"
        ordering = ("ref",)
        constraints = (
            models.CheckConstraint(
                condition=Q(max_depth__isnull=True) | Q(max_depth__gt=0), name="work_queue_max_depth_positive"
            ),
        )

    def __str__(self) -> str:
        return self.ref


class ItemStatus(models.TextChoices):
    QUEUED = "queued"
    LEASED = "leased"
    RETRY = "retry"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


PENDING = (ItemStatus.QUEUED, ItemStatus.RETRY)  # it waits for a dispatch
UNSETTLED = (*PENDING, ItemStatus.LEASED)


class WorkQueueItem(Row):
    """One thing to be worked off."""

    queue = models.ForeignKey(
        WorkQueue, on_delete=models.CASCADE, db_column="queue", db_index=False, related_name="items"
    )
    queue_ref = RefField()
    item_key = Text(max_length=255, null=True, blank=True)
    # The key while it must be the only one that waits; the database refuses a second.
    pending_key = Text(max_length=255, null=True, blank=True, editable=False)
    # The value at the queue's group_by_path, as canonical JSON, where batches are coalesced by it.
    group_key = models.TextField(null=True, blank=True, editable=False)
    priority = models.IntegerField(default=0, db_default=0)
    status = Text(max_length=10, choices=ItemStatus, default=ItemStatus.QUEUED, db_default="queued")
    payload = models.JSONField(null=True, blank=True)
    metadata = models.JSONField(default=dict, db_default={}, blank=True)
    enqueue_source = Text(max_length=20, default="api", db_default="api")
    requested_by_identity = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, db_column="requested_by_identity", related_name="+"
    )
    requested_by_execution = models.ForeignKey(
        Execution, on_delete=models.SET_NULL, null=True, db_column="requested_by_execution", related_name="+"
    )
    requested_by_enforcement = models.ForeignKey(
        Enforcement, on_delete=models.SET_NULL, null=True, db_column="requested_by_enforcement", related_name="+"
    )
    leased_execution = models.ForeignKey(
        Execution, on_delete=models.SET_NULL, null=True, db_column="leased_execution", related_name="+"
    )
    lease_token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    attempt_count = models.IntegerField(default=0, db_default=0)
    last_error = models.TextField(null=True)
    ack_summary = models.JSONField(null=True)
    not_before = models.DateTimeField(null=True, blank=True)
    attempts = JSONList(
        default=list, db_default=[]
    )  # [{"execution", "at", "status", "error"}], kept until it is purged

    class Meta:
        db_table = "work_queue_item"
        constraints = (
            models.UniqueConstraint(
                fields=["queue", "pending_key"],
                condition=Q(status__in=["queued", "retry"], pending_key__isnull=False),
                name="work_queue_item_pending_key",
            ),
        )
        indexes = (
            models.Index(
                "queue",
                models.F("priority").desc(),
                "created",
                "id",
                condition=Q(status__in=["queued", "retry"]),
                name="work_queue_item_ready",
            ),
            models.Index(
                "queue",
                "group_key",
                models.F("priority").desc(),
                "created",
                "id",
                condition=Q(status__in=["queued", "retry"], group_key__isnull=False),
                name="work_queue_item_group",
            ),
            models.Index(fields=["queue", "status", "-priority", "created", "id"], name="work_queue_item_status"),
            models.Index(fields=["queue", "item_key"], name="work_queue_item_key"),
            models.Index(fields=["lease_expires_at"], condition=Q(status="leased"), name="work_queue_item_lease"),
            # The sweep: whose time comes next.
            models.Index(
                fields=["not_before"],
                condition=Q(status__in=["queued", "retry"], not_before__isnull=False),
                name="work_queue_item_not_before",
            ),
        )

    def __str__(self) -> str:
        return f"{self.queue_ref} #{self.pk}"


class DispatchStatus(models.TextChoices):
    LEASED = "leased"
    DISPATCHED = "dispatched"
    COMPLETED = "completed"
    FAILED = "failed"
    RELEASED = "released"
    CANCELLED = "cancelled"


# Spelled out as in the condition of the index: SQLite uses it for nothing else.
_ACTIVE = RawSQL(  # no part of it comes from elsewhere
    "work_queue_dispatch.status IN ('leased', 'dispatched')", (), output_field=models.BooleanField()
)


class DispatchQuerySet(BaseQuerySet["WorkQueueDispatch"]):
    def active(self) -> "DispatchQuerySet":
        return self.filter(_ACTIVE)


class WorkQueueDispatch(Row):
    """One execution that works off items of a queue."""

    queue = models.ForeignKey(
        WorkQueue, on_delete=models.CASCADE, db_column="queue", db_index=False, related_name="dispatches"
    )
    queue_ref = RefField()
    # The first attempt: a retry of it works on the same items.
    execution = models.OneToOneField(
        Execution, on_delete=models.CASCADE, db_column="execution", related_name="queue_dispatch"
    )
    status = Text(max_length=10, choices=DispatchStatus, default=DispatchStatus.LEASED, db_default="leased")
    leased_item_count = models.IntegerField()

    objects = DispatchQuerySet.as_manager()  # type: ignore[misc]  # every model replaces its base's manager so

    class Meta:
        db_table = "work_queue_dispatch"
        verbose_name_plural = "work queue dispatches"
        indexes = (
            models.Index(
                fields=["queue", "status"],
                condition=Q(status__in=["leased", "dispatched"]),
                name="work_queue_dispatch_active",
            ),
        )

    def __str__(self) -> str:
        return f"{self.queue_ref} -> {self.execution_id}"
