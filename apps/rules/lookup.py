"""Answers what the app of events asks about rules (``apps.events.rule_port``)."""

from collections.abc import Collection

from apps.core.api.query import MAX_ID
from apps.events.rule_port import RuleUse
from apps.rules.effects import use_of
from apps.rules.models import Rule, RuleQuerySet

_COLUMNS = ("id", "ref", "trigger", "trigger_ref", "trigger_params", "enabled")


class RuleLookup:
    """Rules as their triggers are used by them. A rule that is no longer linked to its trigger uses none."""

    def of_triggers(self, trigger_refs: Collection[str], *, enabled_only: bool) -> list[RuleUse]:
        rows = _rows().filter(trigger_ref__in=trigger_refs, trigger__isnull=False).order_by("ref")
        return [use_of(rule) for rule in (rows.enabled() if enabled_only else rows)]

    def by_id(self, rule_id: int) -> RuleUse | None:
        return _use(_rows().filter(pk=rule_id)) if 0 < rule_id <= MAX_ID else None

    def by_ref(self, ref: str) -> RuleUse | None:
        return _use(_rows().filter(ref=ref))


def _rows() -> RuleQuerySet:
    return Rule.objects.only(*_COLUMNS)


def _use(rows: RuleQuerySet) -> RuleUse | None:
    rule = rows.first()
    return None if rule is None else use_of(rule)
