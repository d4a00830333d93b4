"""Why a caller may do something, or what is missing: which permission set, role and constraint decide."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.core.errors import BadRequest, NotFound
from apps.identity.grants.catalogue import ACTIONS
from apps.identity.grants.compiled import Grant
from apps.identity.grants.deciding import allows, known, opens
from apps.identity.grants.facts import Facts, facts_of, find
from apps.identity.grants.matching import failing, of_the_caller, reaches

if TYPE_CHECKING:
    from django.db.models import Model

    from apps.identity.callers import Caller


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One grant, and how it decides; ``permission_set`` is None for what takes no grant or none gives."""

    message: str
    permission_set: str | None = None
    role: str | None = None
    constraint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer, and the grants that give it; when it is no, those that come closest."""

    allowed: bool
    because: list[Reason] = field(default_factory=list)


# What takes no grant, by resource: (caller, action, row) -> why, None when it takes one.
Exception_ = Callable[["Caller", str, Any], str | None]
_exceptions: dict[str, Exception_] = {}


def register_exception(resource: str, reason: Exception_) -> None:
    """Say which objects of a resource take no grant, as the views of its app decide."""
    _exceptions[resource] = reason


def explain(caller: "Caller", resource: str, action: str, ref: str | None, *, asker: "Caller | None") -> Explanation:
    """
    Return whether the caller may do it (on the object of this ref), and why.

    An object that the asker may not read is explained as if only its name were known, so that nothing is learned of
    it; an operator at the shell (None) reads all. Raises BadRequest for what no grant can name, NotFound for an object that is absent.
    """
    name = f"{resource}:{action}"
    if not known(name):
        possible = ", ".join(sorted(ACTIONS.get(resource, ACTIONS)))
        raise BadRequest(f"There is no '{name[:80]}': one of {possible}")
    if caller.holder is not None and caller.holder.frozen and caller.token_type == "access":
        return Explanation(allowed=False, because=[Reason(message=f"Identity '{caller.holder.login}' is frozen")])
    if ref is None:
        return _on_any(caller, name)
    row = find(resource, ref)
    sees_all = asker is None or asker.allows("permissions:read")
    if row is not None and (sees_all or _may_read(asker, resource, row)):
        return _on(caller, name, row)
    named = facts_of_ref(ref)
    if sees_all or (asker is not None and allows(asker, f"{resource}:read", named)):
        raise NotFound(f"There is no '{ref[:200]}' among {resource}")
    return _on(caller, name, named)


def facts_of_ref(ref: str) -> Facts:
    """Return what the name of an object alone tells."""
    number = int(ref) if ref.isascii() and ref.isdigit() and len(ref) < 19 else None
    pack_ref, _dot, _name = ref.partition(".")
    return Facts(ref=ref, pack_ref=pack_ref, id=number, execution_id=number)


def _may_read(asker: "Caller | None", resource: str, row: "Model") -> bool:
    assert asker is not None
    return allows(asker, f"{resource}:read", row) or _without_grant(asker, resource, "read", row) is not None


def _without_grant(caller: "Caller", resource: str, action: str, row: object) -> str | None:
    reason = _exceptions.get(resource)
    return None if reason is None or isinstance(row, Facts) else reason(caller, action, row)


def _on_any(caller: "Caller", name: str) -> Explanation:
    giving = [grant for grant in caller.grants.giving(name) if of_the_caller(grant, caller)]
    if giving:
        return Explanation(allowed=True, because=[_gives(grant, name) for grant in giving])
    return Explanation(allowed=False, because=list(_missing(caller, name, Facts())))


def _on(caller: "Caller", name: str, row: object) -> Explanation:
    resource, _, action = name.partition(":")
    facts = facts_of(row)
    giving = caller.grants.giving(name)
    holding = [grant for grant in giving if not failing(grant, facts, caller) and reaches(grant, facts, caller)]
    if holding:
        return Explanation(allowed=True, because=[_gives(grant, name) for grant in holding])
    if why := _without_grant(caller, resource, action, row):
        return Explanation(allowed=True, because=[Reason(message=why)])
    if opens(caller, name, facts):
        return Explanation(allowed=True, because=[Reason(message=f"{name} takes no grant of its own on this object")])
    return Explanation(allowed=False, because=list(_missing(caller, name, facts)))


def _gives(grant: Grant, name: str) -> Reason:
    under = "; ".join(map(str, grant.constraints))
    return Reason(
        permission_set=grant.source.set_ref,
        role=grant.source.role,
        constraint=under or None,
        message=f"{_set(grant)} gives {name}" + (f" where {under}" if under else ""),
    )


def _missing(caller: "Caller", name: str, facts: Facts) -> Iterator[Reason]:
    giving = caller.grants.giving(name)
    for grant in giving:
        unmet = failing(grant, facts, caller)
        why = f"not here: {unmet}" if unmet else "but not on what belongs to another identity, or is private"
        yield Reason(
            permission_set=grant.source.set_ref,
            role=grant.source.role,
            constraint=str(unmet) if unmet else None,
            message=f"{_set(grant)} gives {name}, {why}",
        )
    for grant in caller.grants.broken.get(name, ()):
        yield Reason(
            permission_set=grant.source.set_ref,
            role=grant.source.role,
            constraint=grant.broken,
            message=f"{_set(grant)} names {name}, but this grant never holds: {grant.broken}",
        )
    if not giving:
        yield Reason(message=f"No permission set gives {name}")


def _set(grant: Grant) -> str:
    by_role = f" (by role '{grant.source.role}')" if grant.source.role is not None else ""
    return f"Permission set '{grant.source.set_ref}'{by_role}"
