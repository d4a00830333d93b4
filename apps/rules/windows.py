"""
Hold matches back: dedupe, aggregate, throttle, in this order (events.md section 6).

The logic works on a store of moments, one for each event that counted; the engine's store is a table, the back-test's
lies in memory. Every group (rule, kind, key) is looked at and changed under one lock.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

KINDS = ("dedupe", "aggregate", "throttle")
SHOWN_EVENTS = 100  # ids of an aggregate's events that templates see
SHOWN_PAYLOADS = 20
LONGEST_KEY = 200  # characters; a longer one is kept by its digest, an index has no room for more
DEFAULT_MAX_DELAYED = 1000
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Group:
    """What counts together: one kind of window of one rule, for one key ("" without key)."""

    rule_id: int
    kind: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An event that counted, and when."""

    at: datetime
    event_id: int


class WindowStore(Protocol):
    """The moments of groups. Called with the group locked."""

    def lock(self, group: Group) -> None: ...

    def newest(self, group: Group, *, after: datetime, nth: int = 1) -> datetime | None:
        """Return the nth newest moment later than ``after``, None when there are fewer."""

    def count(self, group: Group, *, after: datetime) -> int: ...

    def entries(self, group: Group, *, after: datetime) -> list[Entry]:
        """Return the entries later than ``after``, oldest first."""

    def add(self, group: Group, entry: Entry, *, expires_at: datetime) -> None: ...

    def clear(self, group: Group) -> None:
        """Forget all moments of the group."""


@dataclass(frozen=True, kw_only=True)
class Aggregated:
    """The events whose number fired an aggregate, oldest first; the last is the one that fired it."""

    count: int
    first_created: datetime
    last_created: datetime
    event_ids: tuple[int, ...]  # the newest 100
    key: str | None


@dataclass(frozen=True, kw_only=True)
class Passage:
    """
    What the windows say of one match: ``outcome`` None lets it pass at once, ``delayed`` from ``not_before`` on,
    every other outcome holds it back.
    """

    outcome: str | None = None
    reason: str | None = None
    key: str | None = None
    not_before: datetime | None = None
    aggregated: Aggregated | None = None

    @property
    def held_back(self) -> bool:
        return self.outcome is not None and self.outcome != "delayed"


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The three settings of a rule, None where it has none."""

    dedupe: Mapping[str, Any] | None = None
    aggregate: Mapping[str, Any] | None = None
    throttle: Mapping[str, Any] | None = None

    def __bool__(self) -> bool:
        return self.dedupe is not None or self.aggregate is not None or self.throttle is not None


def pass_windows(
    windows: Windows,
    *,
    rule_id: int,
    entry: Entry,
    created: datetime,
    store: WindowStore,
    render_key: Callable[[str], str],
) -> Passage:
    """
    Count a match that happened at ``entry.at`` and return whether it passes. ``render_key`` renders a key template.

    An aggregate counts by the time at which the event was ``created``, which templates see; the others hold back what
    happens from now on.
    """
    passage = Passage()
    if windows.dedupe is not None:
        passage = _dedupe(windows.dedupe, _group(rule_id, "dedupe", windows.dedupe, render_key), entry, store)
        if passage.held_back:
            return passage
    if windows.aggregate is not None:
        arrived = Entry(at=created, event_id=entry.event_id)
        passage = _aggregate(
            windows.aggregate, _group(rule_id, "aggregate", windows.aggregate, render_key), arrived, store
        )
        if passage.held_back:
            return passage
    if windows.throttle is not None:
        aggregated = passage.aggregated
        passage = _throttle(windows.throttle, _group(rule_id, "throttle", windows.throttle, render_key), entry, store)
        return Passage(**{**passage.__dict__, "aggregated": aggregated})
    return passage


def kept_key(key: str) -> str:
    """Return the text under which a key is kept."""
    key = key.replace("\0", "\ufffd")  # PostgreSQL keeps no U+0000
    if len(key) <= LONGEST_KEY:
        return key
    return f"{key[: LONGEST_KEY // 2]}#{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _group(rule_id: int, kind: str, settings: Mapping[str, Any], render_key: Callable[[str], str]) -> Group:
    template = settings.get("key")
    return Group(rule_id=rule_id, kind=kind, key=render_key(template) if isinstance(template, str) else "")


def _shown_key(settings: Mapping[str, Any], group: Group) -> str | None:
    return group.key if settings.get("key") is not None else None


def _span(settings: Mapping[str, Any]) -> timedelta:
    return timedelta(seconds=settings["window_seconds"])


def _dedupe(settings: Mapping[str, Any], group: Group, entry: Entry, store: WindowStore) -> Passage:
    span = _span(settings)
    store.lock(group)
    accepted = store.newest(group, after=entry.at - span)
    if accepted is None:
        _replace(store, group, entry, span)
        return Passage(key=_shown_key(settings, group))
    until = accepted + span
    if settings.get("extend"):
        until = entry.at + span
        _replace(store, group, entry, span)
    return Passage(
        outcome="deduplicated",
        key=_shown_key(settings, group),
        reason=f"An event with the same key came at {_text(accepted)}; further ones are dropped until {_text(until)}",
    )


def _replace(store: WindowStore, group: Group, entry: Entry, span: timedelta) -> None:
    store.clear(group)
    store.add(group, entry, expires_at=entry.at + span)


def _aggregate(settings: Mapping[str, Any], group: Group, entry: Entry, store: WindowStore) -> Passage:
    span, wanted = _span(settings), settings["count"]
    store.lock(group)
    since = entry.at - span
    counted = store.count(group, after=since) + 1
    if counted < wanted:
        first = store.newest(group, after=since, nth=counted - 1) if counted > 1 else None
        _add(store, group, entry, span)
        until = (first or entry.at) + span
        return Passage(
            outcome="aggregating",
            key=_shown_key(settings, group),
            reason=f"{counted} of {wanted} events within {settings['window_seconds']} s so far; "
            f"the first of them counts until {_text(until)}",
        )
    entries = [*store.entries(group, after=since), entry]
    store.clear(group)
    aggregated = Aggregated(
        count=len(entries),
        first_created=min(each.at for each in entries),  # two that came together may have been counted in any order
        last_created=max(each.at for each in entries),
        event_ids=tuple(each.event_id for each in entries[-SHOWN_EVENTS:]),
        key=_shown_key(settings, group),
    )
    return Passage(key=_shown_key(settings, group), aggregated=aggregated)


def _throttle(settings: Mapping[str, Any], group: Group, entry: Entry, store: WindowStore) -> Passage:
    span, most = _span(settings), settings["max"]
    store.lock(group)
    fullest = store.newest(group, after=entry.at - span, nth=most)
    if fullest is None:
        _add(store, group, entry, span)
        return Passage(key=_shown_key(settings, group))
    free_at = fullest + span
    limit = f"{most} in {settings['window_seconds']} s"
    if settings.get("on_limit", "drop") != "delay":
        reason = f"The limit of {limit} is reached; the next one passes from {_text(free_at)} on"
        return Passage(outcome="throttled", key=_shown_key(settings, group), reason=reason)
    waiting = store.count(group, after=entry.at)
    most_delayed = settings.get("max_delayed", DEFAULT_MAX_DELAYED)
    if waiting >= most_delayed:
        again_at = (store.newest(group, after=entry.at, nth=most_delayed) if most_delayed else None) or free_at
        reason = (
            f"The limit of {limit} is reached and {waiting} executions are delayed already; "
            f"the next one is taken from {_text(again_at)} on"
        )
        return Passage(outcome="throttled", key=_shown_key(settings, group), reason=reason)
    _add(store, group, Entry(at=free_at, event_id=entry.event_id), span)
    reason = f"The limit of {limit} is reached; this one is delayed until {_text(free_at)}"
    return Passage(outcome="delayed", key=_shown_key(settings, group), reason=reason, not_before=free_at)


def _add(store: WindowStore, group: Group, entry: Entry, span: timedelta) -> None:
    """Add a moment; two of a group are never the same one, and none is older than the newest."""
    newest = store.newest(group, after=entry.at - span)
    at = entry.at if newest is None else max(entry.at, newest + _TICK)
    store.add(group, Entry(at=at, event_id=entry.event_id), expires_at=at + span)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class MemoryWindows:
    """Moments in memory, for the back-test."""

    def __init__(self) -> None:
        self._entries: dict[Group, list[Entry]] = {}

    def lock(self, group: Group) -> None:
        """One thread alone has this store."""

    def newest(self, group: Group, *, after: datetime, nth: int = 1) -> datetime | None:
        entries = self._entries.get(group, [])
        if len(entries) < nth:
            return None
        at = entries[-nth].at
        return at if at > after else None

    def count(self, group: Group, *, after: datetime) -> int:
        return len(self.entries(group, after=after))

    def entries(self, group: Group, *, after: datetime) -> list[Entry]:
        entries = self._entries.get(group, [])
        return entries[bisect_right(entries, after, key=lambda entry: entry.at) :]

    def add(self, group: Group, entry: Entry, *, expires_at: datetime) -> None:
        self._entries.setdefault(group, []).append(entry)

    def clear(self, group: Group) -> None:
        self._entries.pop(group, None)
