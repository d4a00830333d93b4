"""Workflow definitions, their runs, and what each task of a run came to."""

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Coalesce

from apps.core.fields import JSONList, RefField, Text
from apps.core.models import ImmutableRow, Row
from apps.core.refs import validate_component_ref
from apps.executions.models import Execution
from apps.executions.states import Status
from apps.packs.models import Pack


class WorkflowDefinition(Row):
    """
    What a workflow does; the companion action of the same ref runs it.

    ``source_file``: the component file of the pack that defines it (``actions/deploy.yaml``, ``workflows/deploy.yaml``);
    null for one that only the API knows.
    """

    ref = RefField(unique=True, validators=[validate_component_ref])
    pack = models.ForeignKey(Pack, on_delete=models.CASCADE, db_column="pack", related_name="workflows")
    pack_ref = RefField()
    label = Text(max_length=255)
    description = models.TextField(null=True, blank=True)
    version = Text(max_length=50)
    param_schema = models.JSONField(null=True, blank=True)
    out_schema = models.JSONField(null=True, blank=True)
    definition = models.JSONField()  # as it was stored, unknown keys included
    tags = JSONList(default=list, db_default=[], blank=True)
    is_adhoc = models.BooleanField(default=False, db_default=False)
    source_file = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "workflow_definition"
        ordering = ("label", "id")
        indexes = (models.Index(fields=["label", "id"], name="workflow_definition_label"),)

    def __str__(self) -> str:
        return self.ref


class WorkflowRerun(Row):
    """
    What an execution that repeats a workflow is to do, written when it is asked for.

    ``source``: the run whose results are taken over; null when it had not begun. ``task_graph`` as in
    WorkflowExecution, fixed when the rerun is asked for. ``plan``: see rerun/plan.py. What is put over the rendered
    input of tasks may hold secrets: it is kept encrypted apart.
    """

    execution = models.OneToOneField(
        Execution, on_delete=models.CASCADE, db_column="execution", related_name="workflow_rerun"
    )
    source = models.ForeignKey(
        "WorkflowExecution", on_delete=models.SET_NULL, null=True, db_column="source", db_index=False, related_name="+"
    )
    task_graph = models.JSONField()
    plan = models.JSONField()

    class Meta:
        db_table = "workflow_rerun"

    def __str__(self) -> str:
        return f"Rerun #{self.pk}"


class WorkflowExecution(Row):
    """
    One run of a workflow, beside its execution.

    ``task_graph`` is a snapshot: {"ref", "pack_ref", "definition", "param_schema", "out_schema"}. ``variables`` are the
    initial ones. ``deadline``: when the task of an outer workflow that runs this one allows it no more time. ``rerun``:
    what of an earlier run it repeats.
    """

    execution = models.OneToOneField(
        Execution, on_delete=models.CASCADE, db_column="execution", related_name="workflow_execution"
    )
    workflow_def = models.ForeignKey(
        WorkflowDefinition, on_delete=models.SET_NULL, null=True, db_column="workflow_def", related_name="runs"
    )
    variables = models.JSONField(default=dict, db_default={})
    task_graph = models.JSONField()
    status = Text(max_length=20, choices=Status, default=Status.RUNNING, db_default="running")
    error_message = models.TextField(null=True)
    paused = models.BooleanField(default=False, db_default=False)
    pause_reason = models.TextField(null=True)
    deadline = models.DateTimeField(null=True)
    rerun = models.ForeignKey(
        WorkflowRerun, on_delete=models.SET_NULL, null=True, db_column="rerun", db_index=False, related_name="+"
    )

    class Meta:
        db_table = "workflow_execution"
        indexes = (
            models.Index(fields=["status", "id"], condition=Q(status="running"), name="workflow_execution_running"),
            models.Index(
                fields=["deadline"],
                condition=Q(status="running", deadline__isnull=False),
                name="workflow_execution_deadline",
            ),
        )

    def __str__(self) -> str:
        return f"Workflow run #{self.pk}"


class TaskStatus(models.TextChoices):
    """``pending`` waits for its join; ``running`` until its last child has ended; ``completed``: also failed and handled."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class TaskOutcome(models.TextChoices):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"


class WorkflowTask(Row):
    """
    One task of a run, in one iteration (null outside cycles).

    ``transitions``: [{"index", "when", "fired", "error"}]; ``published``: what its transitions published, secrets as
    markers. ``error``: why it failed without a child. ``last_execution``: the child that ended last, whose view is
    the task's result. ``joined``: the predecessors of its iteration that its join counted. ``block``: the parallel
    block it belongs to. ``window``: how many of its ``item_count`` children
    run at once; null item_count: one child, no items. ``deadline``: of a parallel block. ``reused_from``: the child of
    an earlier run whose result was taken over.
    """

    workflow_execution = models.ForeignKey(
        WorkflowExecution,
        on_delete=models.CASCADE,
        db_column="workflow_execution",
        db_index=False,
        related_name="tasks",
    )
    name = Text(max_length=255)
    iteration = models.IntegerField(null=True)
    status = Text(max_length=10, choices=TaskStatus, default=TaskStatus.PENDING, db_default="pending")
    triggered_by = models.TextField(null=True)
    triggered_iteration = models.IntegerField(null=True)
    joined = JSONList(default=list, db_default=[])
    transitions = JSONList(default=list, db_default=[])
    published = models.JSONField(default=dict, db_default={})
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    outcome = Text(max_length=10, choices=TaskOutcome, null=True)
    error = models.TextField(null=True)
    last_execution = models.BigIntegerField(null=True)
    block = models.TextField(null=True)
    item_count = models.IntegerField(null=True)
    window = models.IntegerField(null=True)
    deadline = models.DateTimeField(null=True)
    reused_from = models.BigIntegerField(null=True)

    class Meta:
        db_table = "workflow_task"
        constraints = (
            models.UniqueConstraint(
                "workflow_execution", "name", Coalesce("iteration", Value(-1)), name="workflow_task_once"
            ),
        )
        indexes = (
            # Is anything still to be done, and which joins wait: whatever the number of tasks already run.
            models.Index(
                fields=["workflow_execution", "status"],
                condition=Q(status__in=["pending", "running"]),
                name="workflow_task_open",
            ),
            models.Index(
                fields=["workflow_execution", "block", "iteration"],
                condition=Q(block__isnull=False),
                name="workflow_task_block",
            ),
            models.Index(
                fields=["workflow_execution", "outcome"],
                condition=Q(status="failed"),
                name="workflow_task_failed",
            ),
            models.Index(
                fields=["deadline"],
                condition=Q(status="running", deadline__isnull=False),
                name="workflow_task_deadline",
            ),
            # What has ended and was put off: almost always nothing.
            models.Index(
                fields=["workflow_execution"],
                condition=Q(status="running", outcome__isnull=False),
                name="workflow_task_put_off",
            ),
            models.Index(
                fields=["workflow_execution"],
                condition=Q(status="running", error__isnull=False, outcome__isnull=True),
                name="workflow_task_stopping",
            ),
        )

    def __str__(self) -> str:
        return self.name if self.iteration is None else f"{self.name} [{self.iteration}]"


class WorkflowTaskDispatch(Row):
    """
    One child of a task: the guard that nothing is dispatched twice.

    ``execution`` is the first attempt; ``last_attempt`` the one that decided. ``released``: it is not held back by the
    window of its task. ``outcome`` is null until its last attempt has ended.
    """

    workflow_execution = models.ForeignKey(
        WorkflowExecution,
        on_delete=models.CASCADE,
        db_column="workflow_execution",
        db_index=False,
        related_name="dispatches",
    )
    task_name = models.TextField()
    task_index = models.IntegerField(null=True)
    iteration = models.IntegerField(null=True)
    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, null=True, db_column="execution_id", related_name="+"
    )
    last_attempt = models.BigIntegerField(null=True)
    released = models.BooleanField(default=True, db_default=True)
    outcome = Text(max_length=10, choices=TaskOutcome, null=True)

    class Meta:
        db_table = "workflow_task_dispatch"
        constraints = (
            models.UniqueConstraint(
                "workflow_execution",
                "task_name",
                Coalesce("iteration", Value(-1)),
                Coalesce("task_index", Value(-1)),
                name="workflow_task_dispatch_once",
            ),
        )
        indexes = (
            # Those of a task that have not ended, held back ones in order of their index.
            models.Index(
                fields=["workflow_execution", "task_name", "iteration", "released", "task_index"],
                condition=Q(outcome__isnull=True),
                name="workflow_dispatch_open",
            ),
            models.Index(
                fields=["workflow_execution", "task_name", "iteration", "outcome"],
                condition=Q(outcome__isnull=False) & ~Q(outcome="succeeded"),
                name="workflow_dispatch_failed",
            ),
            # The sweep: what runs, and the end of which may have been missed.
            models.Index(
                fields=["execution"],
                condition=Q(outcome__isnull=True, released=True),
                name="workflow_dispatch_running",
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_name} -> {self.execution_id}"


class WorkflowVariable(Row):
    """A variable that a run has published, as last set: reading one does not grow with the tasks already run."""

    workflow_execution = models.ForeignKey(
        WorkflowExecution,
        on_delete=models.CASCADE,
        db_column="workflow_execution",
        db_index=False,
        related_name="published_variables",
    )
    name = Text(max_length=255)
    value = models.JSONField(null=True)  # secrets as markers

    class Meta:
        db_table = "workflow_variable"
        constraints = (models.UniqueConstraint(fields=["workflow_execution", "name"], name="workflow_variable_once"),)

    def __str__(self) -> str:
        return self.name


class WorkflowLogLine(ImmutableRow):
    """One line of a run's log while it runs; at its end they become the version of an artifact."""

    workflow_execution = models.ForeignKey(
        WorkflowExecution, on_delete=models.CASCADE, db_column="workflow_execution", related_name="log_lines"
    )
    level = Text(max_length=5)
    text = models.TextField()

    class Meta:
        db_table = "workflow_log_line"

    def __str__(self) -> str:
        return self.text
