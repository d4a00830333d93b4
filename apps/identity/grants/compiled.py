"""Grants as they are checked: read once from the JSON of a set, kept for as long as the text is the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from apps.identity.grants.catalogue import ACTIONS, problem_with

# A constraint on who asks, not on what is asked for.
OF_THE_CALLER = frozenset({"attributes"})
_PLURAL = frozenset({"pack_refs", "refs", "owner_refs", "owner_types", "visibility"})


@dataclass(frozen=True)
class Constraint:
    """One property an object must have; ``value`` is a frozenset where the constraint lists several."""

    name: str
    value: Any

    def __str__(self) -> str:
        shown = sorted(self.value) if isinstance(self.value, frozenset) else self.value
        return f"{self.name}: {json.dumps(shown, ensure_ascii=False)}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a grant comes from: a permission set, and the role that gave it (None: assigned directly)."""

    set_ref: str
    role: str | None = None


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One grant. ``broken`` says why it never matches; such grants count for nothing."""

    resource: str
    actions: frozenset[str]
    constraints: tuple[Constraint, ...]
    source: Source
    broken: str | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(constraint.name for constraint in self.constraints)

    @cached_property
    def speaks_of_objects(self) -> bool:
        """Whether it is constrained: to speak of the caller alone does not count."""
        return bool(self.names - OF_THE_CALLER)


def compiled(text: str, source: Source) -> tuple[Grant, ...]:
    """Return the grants of a set from its JSON; what is no grant, or names no known action, is left out."""
    return tuple(grant for entry in json.loads(text) or () if (grant := _grant(entry, source)) is not None)


def _grant(entry: Any, source: Source) -> Grant | None:
    if not isinstance(entry, Mapping):
        return None
    resource, named = entry.get("resource"), entry.get("actions")
    if not isinstance(resource, str) or not isinstance(named, list):
        return None
    actions = ACTIONS.get(resource, frozenset()).intersection(name for name in named if isinstance(name, str))
    if not actions:
        return None
    given = entry.get("constraints")
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        return Grant(resource=resource, actions=actions, constraints=(), source=source, broken="constraints")
    broken = next((f"{name} {problem}" for name in given if (problem := problem_with(name, given[name]))), None)
    constraints = () if broken else tuple(Constraint(name, _frozen(name, value)) for name, value in given.items())
    return Grant(resource=resource, actions=actions, constraints=constraints, source=source, broken=broken)


def _frozen(name: str, value: Any) -> Any:
    if name == "ids":
        return frozenset(number for number in value if 0 < number < 2**63)  # no other is an id, nor fits a column
    if name in _PLURAL:
        return frozenset(value)
    return Attributes(value) if name == "attributes" else value


class Attributes(dict[str, Any]):
    """Attributes that an identity must have; hashable, since nobody changes them."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none
        return hash(json.dumps(self, sort_keys=True))


class Grants:
    """All that a caller was granted, by ``resource:action``."""

    def __init__(self, grants: tuple[Grant, ...]) -> None:
        self.all = grants
        self._giving: dict[str, list[Grant]] = {}
        self.broken: dict[str, list[Grant]] = {}
        seen: set[tuple[str, str, frozenset[Constraint]]] = set()
        for grant in grants:
            for action in grant.actions:
                name = f"{grant.resource}:{action}"
                if grant.broken is not None:
                    self.broken.setdefault(name, []).append(grant)
                    continue
                meaning = (grant.resource, action, frozenset(grant.constraints))
                if meaning not in seen:  # the same from another set decides nothing more
                    seen.add(meaning)
                    self._giving.setdefault(name, []).append(grant)

    def giving(self, name: str) -> list[Grant]:
        """Return the grants that give ``resource:action``, each under its constraints."""
        return self._giving.get(name, [])

    def __bool__(self) -> bool:
        return bool(self._giving)


NONE = Grants(())


@dataclass(frozen=True)
class HeldSet:
    """A permission set as a caller holds it."""

    ref: str
    role: str | None
    grants_text: str


# By the text of the sets, not by who holds them: a change of either is seen at once.
@lru_cache(maxsize=512)
def grants_in(held: tuple[HeldSet, ...]) -> Grants:
    """Return the grants of these sets together."""
    return Grants(
        tuple(grant for one in held for grant in compiled(one.grants_text, Source(set_ref=one.ref, role=one.role)))
    )
