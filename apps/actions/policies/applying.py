"""
Which policies limit the executions of an action, kept in the process until one of them changes.

The most specific policies count for each kind of limit: those of the action before those of its pack before global
ones; limits shared by several actions hold besides. What an engine runs instead of a worker (workflows, questions)
is limited only by what names its action.
"""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from apps.actions.models import Action, Policy, PolicyMethod, PolicyRevision
from apps.core import sql

CONCURRENCY, RATE, WAITING = "c", "r", "w"
REVISION = "(SELECT mark FROM policy_revision WHERE id = 1)"  # for whoever reads something else anyway

# Plain SQL may have changed a policy without a word.
_TRUSTED_SECONDS = 5.0
_MOST_KEPT = 10_000
ASK_REF = "core.ask"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A policy as dispatch needs it."""

    id: int
    ref: str
    action_ref: str | None
    pack_ref: str | None
    action_refs: tuple[str, ...]
    semaphore: str | None
    parameters: tuple[str, ...]  # sorted, each once
    cancels: bool
    threshold: int | None
    max_executions: int | None
    window_seconds: int | None
    max_waiting: int | None

    @property
    def kinds(self) -> str:
        """The kinds of limit it sets."""
        given = ((CONCURRENCY, self.threshold), (RATE, self.max_executions), (WAITING, self.max_waiting))
        return "".join(kind for kind, value in given if value is not None)


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A policy that limits an action, and the kinds of limit for which it counts there."""

    limit: Limit
    kinds: str


@dataclass(frozen=True, kw_only=True)
class LimitedAction:
    """What decides which policies are about an action."""

    ref: str
    pack_ref: str
    semaphores: tuple[str, ...]
    by_engine: bool


def applying(limits: Iterable[Limit], action: LimitedAction) -> tuple[Applied, ...]:
    """Return the policies that limit the action, by id. Pure."""
    counting: dict[int, str] = {}
    known = {limit.id: limit for limit in limits}
    levels: tuple[list[Limit], ...] = ([], [], [])  # of the action, of its pack, global
    for limit in known.values():
        if limit.action_refs or limit.semaphore is not None:
            if action.ref in limit.action_refs or limit.semaphore in action.semaphores:
                counting[limit.id] = limit.kinds
        elif limit.action_ref is not None:
            if limit.action_ref == action.ref:
                levels[0].append(limit)
        elif not action.by_engine and limit.pack_ref in (None, action.pack_ref):
            levels[1 if limit.pack_ref is not None else 2].append(limit)
    for kind in (CONCURRENCY, RATE, WAITING):
        found = ([limit for limit in level if kind in limit.kinds] for level in levels)
        for limit in next(filter(None, found), []):
            counting[limit.id] = counting.get(limit.id, "") + kind
    return tuple(Applied(limit=known[pk], kinds=kinds) for pk, kinds in sorted(counting.items()))


@dataclass(kw_only=True)
class PolicySet:
    """All enabled policies at one revision."""

    mark: int | None
    limits: dict[int, Limit]
    read_at: float
    _by_action: dict[str, tuple[Applied, ...]] = field(default_factory=dict)
    # What others work out from these policies, for as long as they hold.
    derived: dict[Any, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.limits)

    def applying_to(self, action_ref: str) -> tuple[Applied, ...]:
        """Return the policies that limit executions of the action with this ref, by id; one query the first time."""
        if not self.limits:
            return ()
        found = self._by_action.get(action_ref)
        if found is None:
            action = _limited_action(action_ref)
            if action is None:
                return ()  # not kept: it may come back
            if len(self._by_action) >= _MOST_KEPT:
                self._by_action.clear()
            found = self._by_action[action_ref] = applying(self.limits.values(), action)
        return found


_current: PolicySet | None = None
_noticed: int | None = None


def current_policies() -> PolicySet:
    """Return the policies as far as this process knows; what it has noticed, or a few seconds, make it look again."""
    known = _current
    if known is not None and known.mark == _noticed and time.monotonic() - known.read_at < _TRUSTED_SECONDS:
        return known
    return _read()


def policies_at(mark: int | None) -> PolicySet:
    """Return the policies; ``mark`` is the revision that the caller has just read from the database."""
    notice(mark)
    return current_policies()


def notice(mark: int | None) -> None:
    """The policies are at this revision."""
    global _noticed
    _noticed = mark


def forget_policies() -> None:
    """Forget what this process keeps (the tables were emptied)."""
    global _current, _noticed
    _current = _noticed = None


def change_revision() -> None:
    """Let everybody read the policies anew; call in the transaction that changes them."""
    mark = secrets.randbits(62)  # no counter: a number that was rolled back must not come again
    if not PolicyRevision.objects.filter(pk=1).update(mark=mark):
        PolicyRevision.objects.bulk_create([PolicyRevision(pk=1, mark=mark)], ignore_conflicts=True)
        PolicyRevision.objects.filter(pk=1).update(mark=mark)
    forget_policies()
    transaction.on_commit(forget_policies, robust=True)  # what others have read meanwhile is of before


def _read() -> PolicySet:
    global _current, _noticed
    read_at = time.monotonic()
    ((mark,),) = sql.fetch(f"SELECT {REVISION}")  # first: what is read after it is at least as new
    limits = {policy.pk: limit_of(policy) for policy in Policy.objects.filter(enabled=True).order_by("pk")}
    read = _current, _noticed = PolicySet(mark=mark, limits=limits, read_at=read_at), mark
    return read[0]


def limit_of(policy: Policy) -> Limit:
    """Return a policy as dispatch needs it; rows that plain SQL wrote may hold anything."""
    return Limit(
        id=policy.pk,
        ref=policy.ref,
        action_ref=policy.action_ref,
        pack_ref=policy.pack_ref,
        action_refs=_texts(policy.action_refs),
        semaphore=policy.semaphore,
        parameters=tuple(sorted(set(_texts(policy.parameters)))),
        cancels=policy.method == PolicyMethod.CANCEL,
        threshold=policy.threshold,
        max_executions=policy.max_executions if policy.window_seconds else None,
        window_seconds=policy.window_seconds,
        max_waiting=policy.max_waiting,
    )


def _limited_action(ref: str) -> LimitedAction | None:
    row = Action.objects.filter(ref=ref).values("ref", "pack_ref", "semaphores", "workflow_def").first()
    return None if row is None else as_limited(**row)


def as_limited(*, ref: str, pack_ref: str, semaphores: Any, workflow_def: int | None) -> LimitedAction:
    """Return what decides which policies are about an action with these columns."""
    by_engine = workflow_def is not None or ref == ASK_REF
    return LimitedAction(ref=ref, pack_ref=pack_ref, semaphores=_texts(semaphores), by_engine=by_engine)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def on_policy_changed(**_signal: Any) -> None:
    """A policy was made, changed or deleted."""
    change_revision()


def on_action_saved(*, instance: Action, created: bool, **_signal: Any) -> None:
    """Which policies are about an action depends on its semaphores, and on what runs it."""
    if not created and Policy.objects.exists():
        change_revision()
