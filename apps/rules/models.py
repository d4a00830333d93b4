"""What is to happen when something happens: rules, what they decided, and what came of it."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from apps.actions.models import Action
from apps.core.fields import JSONList, RefField, Text
from apps.core.models import BaseQuerySet, ImmutableRow, Row
from apps.core.refs import validate_component_ref
from apps.events.models import Trigger
from apps.identity.models import Identity
from apps.packs.models import Pack


class RuleQuerySet(BaseQuerySet["Rule"]):
    def enabled(self) -> "RuleQuerySet":
        return self.filter(enabled=True)


class Rule(Row):
    """A trigger and criteria on one side, an action and its parameters on the other."""

    ref = RefField(unique=True, validators=[validate_component_ref])
    pack = models.ForeignKey(Pack, on_delete=models.CASCADE, db_column="pack", related_name="rules")
    pack_ref = RefField()
    label = Text(max_length=255)
    description = models.TextField(null=True, blank=True)
    action = models.ForeignKey(
        Action, on_delete=models.SET_NULL, null=True, blank=True, db_column="action", related_name="rules"
    )
    action_ref = RefField()
    trigger = models.ForeignKey(
        Trigger, on_delete=models.SET_NULL, null=True, blank=True, db_column="trigger", related_name="rules"
    )
    trigger_ref = RefField()
    conditions = models.JSONField(default=list, db_default=[], blank=True)
    action_params = models.JSONField(default=dict, db_default={}, blank=True)
    trigger_params = models.JSONField(default=dict, db_default={}, blank=True)
    permission_set_refs = JSONList(null=True, blank=True)
    enabled = models.BooleanField(default=True, db_default=True)
    is_adhoc = models.BooleanField(default=False, db_default=False)
    owner_identity = models.ForeignKey(
        Identity, on_delete=models.SET_NULL, null=True, blank=True, db_column="owner_identity", related_name="+"
    )
    priority = models.IntegerField(null=True, blank=True, validators=[MinValueValidator(-100), MaxValueValidator(100)])
    dedupe = models.JSONField(null=True, blank=True)
    aggregate = models.JSONField(null=True, blank=True)
    throttle = models.JSONField(null=True, blank=True)
    alert_on_failure = models.BooleanField(default=False, db_default=False)

    objects = RuleQuerySet.as_manager()  # type: ignore[misc]  # every model replaces its base's manager so

    class Meta:
        db_table = "rule"
        ordering = ("ref",)
        constraints = (
            models.CheckConstraint(
                condition=Q(priority__isnull=True) | Q(priority__gte=-100, priority__lte=100),
                name="rule_priority_range",
            ),
        )
        # Matching: the enabled rules of an event's trigger, in order of ref.
        indexes = (models.Index(fields=["trigger_ref", "ref"], name="rule_trigger_ref"),)

    def __str__(self) -> str:
        return self.ref


class WindowKind(models.TextChoices):
    DEDUPE = "dedupe"
    AGGREGATE = "aggregate"
    THROTTLE = "throttle"


class RuleWindow(Row):
    """A counter of dedupe, aggregate or throttle, changed in the event's transaction."""

    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, db_column="rule", db_index=False, related_name="windows")
    kind = Text(max_length=10, choices=WindowKind)
    group_key = models.TextField()
    window_start = models.DateTimeField()
    count = models.IntegerField(default=0, db_default=0)
    last_events = JSONList(default=list, db_default=[])
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "rule_window"
        constraints = (
            models.UniqueConstraint(fields=["rule", "kind", "group_key", "window_start"], name="rule_window_once"),
        )
        indexes = (models.Index(fields=["expires_at"], name="rule_window_expires"),)

    def __str__(self) -> str:
        return f"{self.kind} of rule {self.rule_id}"


class EnforcementStatus(models.TextChoices):
    CREATED = "created"
    PROCESSED = "processed"
    DISABLED = "disabled"


class EnforcementCondition(models.TextChoices):
    ANY = "any"
    ALL = "all"


class EnforcementQuerySet(BaseQuerySet["Enforcement"]):
    def newest_first(self) -> "EnforcementQuerySet":
        return self.order_by("-created", "-id")


class Enforcement(ImmutableRow):
    """One rule that matched one event: what asks for the execution, once."""

    rule = models.ForeignKey(
        Rule, on_delete=models.SET_NULL, null=True, db_column="rule", db_index=False, related_name="enforcements"
    )
    rule_ref = RefField()
    trigger_ref = RefField()
    config = models.JSONField(null=True)
    event = models.BigIntegerField(null=True)  # outlives the event
    status = Text(max_length=10, choices=EnforcementStatus, default=EnforcementStatus.CREATED, db_default="created")
    payload = models.JSONField()
    condition = Text(max_length=3, choices=EnforcementCondition, default=EnforcementCondition.ALL, db_default="all")
    conditions = models.JSONField(default=list, db_default=[])
    resolved_at = models.DateTimeField(null=True)

    objects = EnforcementQuerySet.as_manager()  # type: ignore[misc]  # every model replaces its base's manager so

    class Meta:
        db_table = "enforcement"
        constraints = (models.UniqueConstraint(fields=["rule", "event"], name="enforcement_once"),)
        indexes = (
            models.Index(fields=["created", "id"], name="enforcement_created"),
            models.Index(fields=["rule", "created", "id"], name="enforcement_rule"),
            models.Index(fields=["rule_ref", "created", "id"], name="enforcement_rule_ref"),
            models.Index(fields=["trigger_ref", "created", "id"], name="enforcement_trigger_ref"),
            models.Index(fields=["event"], condition=Q(event__isnull=False), name="enforcement_event"),
            # The filter by status, and the sweep for what was never processed: nearly all are processed.
            models.Index(
                fields=["status", "created", "id"], condition=~Q(status="processed"), name="enforcement_unprocessed"
            ),
        )

    def __str__(self) -> str:
        return f"{self.rule_ref} #{self.pk}"


class Outcome(models.TextChoices):
    MATCHED = "matched"
    NOT_MATCHED = "not_matched"
    ERROR = "error"
    DEDUPLICATED = "deduplicated"
    AGGREGATING = "aggregating"
    THROTTLED = "throttled"
    DELAYED = "delayed"
    TRIGGER_DISABLED = "trigger_disabled"
    RULE_DISABLED = "rule_disabled"


class RuleDecisionQuerySet(BaseQuerySet["RuleDecision"]):
    def newest_first(self) -> "RuleDecisionQuerySet":
        return self.order_by("-created", "-id")


class RuleDecision(ImmutableRow):
    """What one rule made of one event, and why. Exactly one for each rule that was considered."""

    event = models.BigIntegerField()  # outlives the event
    rule = models.ForeignKey(
        Rule, on_delete=models.SET_NULL, null=True, db_column="rule", db_index=False, related_name="decisions"
    )
    rule_ref = RefField()
    trigger_ref = RefField()
    outcome = Text(max_length=20, choices=Outcome)
    reason = models.TextField(null=True)
    error = models.TextField(null=True)
    key = models.TextField(null=True)
    criteria = JSONList(default=list, db_default=[])
    params_warnings = JSONList(default=list, db_default=[])
    enforcement = models.ForeignKey(
        Enforcement,
        on_delete=models.SET_NULL,
        null=True,
        db_column="enforcement",
        db_index=False,
        related_name="decisions",
    )
    duration_us = models.IntegerField()

    objects = RuleDecisionQuerySet.as_manager()  # type: ignore[misc]  # every model replaces its base's manager so

    class Meta:
        db_table = "rule_decision"
        constraints = (models.UniqueConstraint(fields=["event", "rule"], name="rule_decision_once"),)
        indexes = (
            models.Index(fields=["rule", "created", "id"], name="rule_decision_rule"),
            models.Index(fields=["rule_ref", "created", "id"], name="rule_decision_rule_ref"),
            models.Index(fields=["created", "id"], name="rule_decision_created"),
            models.Index(
                fields=["enforcement"], condition=Q(enforcement__isnull=False), name="rule_decision_enforcement"
            ),
        )

    def __str__(self) -> str:
        return f"{self.rule_ref} on event {self.event}: {self.outcome}"

    @property
    def matched(self) -> bool:
        """Whether an enforcement was made."""
        return self.outcome in (Outcome.MATCHED, Outcome.DELAYED)
