"""What grants are made of: the resources with their actions, the constraints, and what may be stored (auth.md 4, 7.1)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

# What a grant names beyond these counts for nothing.
ACTIONS: Final[dict[str, frozenset[str]]] = {
    "packs": frozenset({"read", "create", "install", "configure", "delete"}),
    "actions": frozenset({"read", "create", "update", "delete", "execute"}),
    "queues": frozenset({"read", "create", "update", "delete"}),
    "rules": frozenset({"read", "create", "update", "delete"}),
    "triggers": frozenset({"read", "create", "update", "delete"}),
    "executions": frozenset({"read", "update", "cancel", "decrypt"}),
    "events": frozenset({"read"}),
    "enforcements": frozenset({"read", "decrypt"}),
    "inquiries": frozenset({"read", "create", "update", "delete", "respond"}),
    "keys": frozenset({"read", "create", "update", "delete", "decrypt"}),
    "artifacts": frozenset({"read", "create", "update", "delete"}),
    "runtimes": frozenset({"read", "create", "update", "delete"}),
    "workers": frozenset({"read", "manage"}),
    "retention": frozenset({"read", "update"}),
    "identities": frozenset({"read", "create", "update", "delete"}),
    "permissions": frozenset({"read", "manage"}),
    "audit_log": frozenset({"read"}),
}
STANDARD: Final = "standard"  # a pseudo set, valid wherever refs of permission sets are listed

_OF_PACKS = frozenset({"packs", "actions", "queues", "rules", "triggers", "executions", "enforcements", "artifacts"})
# Which resources a stored set may constrain by what; what comes with a pack may do more.
STORABLE: Final[dict[str, frozenset[str]]] = {
    "pack_refs": _OF_PACKS,
    "refs": _OF_PACKS | {"keys"},
    "owner": frozenset({"packs", "keys", "artifacts"}),
    "owner_types": frozenset({"keys", "artifacts"}),
    "visibility": frozenset({"artifacts"}),
    "execution_scope": frozenset({"executions"}),
    "encrypted": frozenset({"keys"}),
    "attributes": frozenset(ACTIONS),
}
OWNERS: Final = ("self", "any", "none")
SCOPES: Final = ("self", "descendants", "any")
VISIBILITIES: Final = ("public", "private")
OWNER_TYPES: Final = ("system", "identity", "pack", "action", "sensor")


def names_of(resource: str) -> list[str]:
    """Return ``resource:action`` for all its actions, sorted."""
    return [f"{resource}:{action}" for action in sorted(ACTIONS[resource])]


def problem_with(constraint: str, value: Any) -> str | None:
    """Return what is wrong with the value of a constraint (of auth.md 4.2), None when nothing is."""
    match constraint:
        case "pack_refs" | "refs" | "owner_refs":
            return None if _all(value, str) else "must be a list of texts"
        case "ids":
            return None if _all(value, int) else "must be a list of whole numbers"
        case "owner":
            return _one_of(value, OWNERS)
        case "execution_scope":
            return _one_of(value, SCOPES)
        case "owner_types":
            return _some_of(value, OWNER_TYPES)
        case "visibility":
            return _some_of(value, VISIBILITIES)
        case "encrypted":
            return None if isinstance(value, bool) else "must be true or false"
        case "attributes":
            return None if isinstance(value, Mapping) else "must be an object"
        case _:
            return "is not a constraint"


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in value)


def _one_of(value: Any, words: Sequence[str]) -> str | None:
    return None if isinstance(value, str) and value in words else f"must be one of {', '.join(words)}"


def _some_of(value: Any, words: Sequence[str]) -> str | None:
    known = isinstance(value, list) and all(isinstance(entry, str) and entry in words for entry in value)
    return None if known else f"must be a list of {', '.join(words)}"


def problems(grants: Any) -> list[str]:
    """Return why these grants may not be stored by PUT ``/permissions/sets/{id}``; an empty list when they may."""
    if not isinstance(grants, list):
        return ["grants must be an array"]
    return [f"grants[{number}]: {problem}" for number, grant in enumerate(grants) for problem in _of_grant(grant)]


def _of_grant(grant: Any) -> Iterator[str]:
    if not isinstance(grant, Mapping):
        yield "must be an object with resource and actions"
        return
    for name in grant.keys() - {"resource", "actions", "constraints"}:
        yield f"unknown key '{str(name)[:80]}'"
    resource, actions = grant.get("resource"), grant.get("actions")
    if not isinstance(resource, str) or resource not in ACTIONS:
        yield f"unknown resource '{str(resource)[:80]}'"
        return
    if not isinstance(actions, list) or not actions:
        yield "actions must name at least one action"
        return
    for action in actions:
        if not isinstance(action, str) or action not in ACTIONS[resource]:
            yield f"'{str(action)[:80]}' is no action of {resource}"
    yield from _of_constraints(resource, grant.get("constraints"))


def _of_constraints(resource: str, constraints: Any) -> Iterator[str]:
    if constraints is None:
        return
    if not isinstance(constraints, Mapping):
        yield "constraints must be an object"
        return
    if "pack_refs" in constraints and "refs" in constraints:
        yield "pack_refs and refs exclude each other"
    for name, value in constraints.items():
        if resource not in STORABLE.get(name, ()):
            known = name in STORABLE or name in ("ids", "owner_refs")
            yield (
                f"constraint '{name}' is not possible on {resource}" if known else f"unknown constraint '{name[:80]}'"
            )
        elif problem := problem_with(name, value):
            yield f"constraint '{name}' {problem}"
