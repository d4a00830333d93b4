"""Whether a grant holds for an object: all its constraints must match, and it must reach what is another's (auth.md 4.2)."""

from typing import TYPE_CHECKING, Any, Final

from apps.identity.grants.compiled import Constraint, Grant
from apps.identity.grants.facts import LACKING, Facts
from apps.identity.grants.lineage import Origin, lineage

if TYPE_CHECKING:
    from apps.identity.callers import Caller

# What belongs to another identity opens only to a grant that names one of these.
REACHING_OTHERS: Final[dict[str, frozenset[str]]] = {
    "packs": frozenset({"pack_refs", "refs", "ids", "owner"}),
    "keys": frozenset({"owner", "owner_types", "owner_refs", "refs", "ids"}),
}
PRIVATE = "private"


def holds(grant: Grant, facts: Facts, caller: "Caller") -> bool:
    """Return True when the grant holds for the object."""
    return not failing(grant, facts, caller) and reaches(grant, facts, caller)


def failing(grant: Grant, facts: Facts, caller: "Caller") -> Constraint | None:
    """Return the first constraint that does not match, None when all do."""
    return next((each for each in grant.constraints if not matches(each, facts, caller)), None)


def reaches(grant: Grant, facts: Facts, caller: "Caller") -> bool:
    """Return True unless the object is another's, or private, and the grant says nothing of that."""
    if grant.resource == "artifacts":
        return facts.visibility != PRIVATE or grant.speaks_of_objects
    speaking = REACHING_OTHERS.get(grant.resource)
    return speaking is None or not is_anothers(facts, caller) or bool(grant.names & speaking)


def is_anothers(facts: Facts, caller: "Caller") -> bool:
    """Return True for what belongs to an identity that is not the caller's."""
    return has_owner(facts) and not is_own(facts, caller)


def has_owner(facts: Facts) -> bool:
    return facts.owner_identity is not LACKING and facts.owner_identity is not None


def is_own(facts: Facts, caller: "Caller") -> bool:
    """Return True for what belongs to the calling identity."""
    match facts.owner_identity:
        case int(owner):
            return owner == caller.identity_id
        case str(owner):
            return caller.holder is not None and owner == caller.holder.login
        case _:
            return False


def of_the_caller(grant: Grant, caller: "Caller") -> bool:
    """Return True when what the grant asks of the caller is there; of objects it may ask more."""
    return all(matches(each, Facts(), caller) for each in grant.constraints if each.name == "attributes")


def matches(constraint: Constraint, facts: Facts, caller: "Caller") -> bool:
    """Return True when the object has the property."""
    wanted: Any = constraint.value
    match constraint.name:
        case "pack_refs":
            return facts.pack_ref in wanted
        case "refs":
            return facts.ref in wanted
        case "ids":
            return facts.id in wanted
        case "owner":
            return _owner(wanted, facts, caller)
        case "owner_types":
            return facts.owner_type in wanted
        case "owner_refs":
            return bool(_texts(facts.owner_ref) & wanted)
        case "visibility":
            return facts.visibility in wanted
        case "execution_scope":
            return _scope(wanted, facts, caller)
        case "encrypted":
            return facts.encrypted is wanted
        case "attributes":
            return _attributes(wanted, caller)
        case _:
            return False


def _texts(value: str | frozenset[str] | None) -> frozenset[str]:
    if value is None:
        return frozenset()
    return frozenset({value}) if isinstance(value, str) else value


def _owner(wanted: str, facts: Facts, caller: "Caller") -> bool:
    if facts.owner_identity is LACKING:
        return False
    match wanted:
        case "self":
            return is_own(facts, caller)
        case "none":
            return not has_owner(facts)
        case _:
            return True


def _scope(wanted: str, facts: Facts, caller: "Caller") -> bool:
    if facts.execution_id is None:
        return False
    if wanted == "any":
        return True
    if caller.is_execution:
        is_origin, origin = facts.execution_id == caller.execution_id, Origin(execution_id=caller.execution_id)
    else:
        is_origin = caller.identity_id is not None and facts.executor_id == caller.identity_id
        origin = Origin(executor_id=caller.identity_id)
    return is_origin or (wanted == "descendants" and lineage(facts.execution_id, origin))


def _attributes(wanted: dict[str, Any], caller: "Caller") -> bool:
    held = caller.holder.attributes if caller.holder is not None else None
    if not isinstance(held, dict):
        return not wanted
    return all(name in held and same(held[name], value) for name, value in wanted.items())


def same(one: Any, other: Any) -> bool:
    """Return True for equal JSON values; true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
