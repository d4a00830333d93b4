"""
What this app asks about rules. The rules app lies above this one and registers the answers::

    # apps/rules/apps.py, ready()
    rule_port.register(RuleLookup())
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class RuleUse:
    """How a rule uses its trigger: what timers, sensors and bound events need to know of it."""

    id: int
    ref: str
    trigger_id: int | None
    trigger_ref: str
    trigger_params: Mapping[str, Any]
    enabled: bool


class RuleLookup(Protocol):
    def of_triggers(self, trigger_refs: Collection[str], *, enabled_only: bool) -> list[RuleUse]: ...

    def by_id(self, rule_id: int) -> RuleUse | None: ...

    def by_ref(self, ref: str) -> RuleUse | None: ...


class RulePort:
    """Looks rules up; without a rules app there are none."""

    def __init__(self) -> None:
        self._lookup: RuleLookup | None = None

    def register(self, lookup: RuleLookup) -> None:
        self._lookup = lookup

    def of_triggers(self, trigger_refs: Collection[str], *, enabled_only: bool = True) -> list[RuleUse]:
        """Return the rules that use one of these triggers, in order of ref."""
        return self._lookup.of_triggers(trigger_refs, enabled_only=enabled_only) if self._lookup else []

    def by_id(self, rule_id: int) -> RuleUse | None:
        return self._lookup.by_id(rule_id) if self._lookup else None

    def by_ref(self, ref: str) -> RuleUse | None:
        return self._lookup.by_ref(ref) if self._lookup else None


rule_port = RulePort()
