"""
Try a rule on the stored events of its trigger, oldest first; nothing is stored and nothing runs.

Dedupe, aggregate and throttle count in memory, with the time of each event as the present.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from django.db.models import Min, Q

from apps.events.models import Event
from apps.events.secrets import real_payloads
from apps.rules.drafts import Draft
from apps.rules.judging import EventView, Judgement, judge
from apps.rules.views import payloads_of
from apps.rules.windows import MemoryWindows

LONGEST_WORK_SECONDS: Final = 30.0
_PAGE = 200  # events read at once; a payload has up to 1 MiB
_MOST_SHOWN_BYTES = 64 * 1024  # of the rendered parameters of a sample
_COLUMNS = ("id", "trigger", "payload", "config", "source_ref", "created")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which events are looked at: from ``since`` on, before ``until``, at most ``limit``."""

    since: datetime
    until: datetime
    limit: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One event and what the rule would have made of it."""

    event: int
    created: datetime
    judgement: Judgement


@dataclass(kw_only=True)
class Bucket:
    """One hour."""

    events: int = 0
    matched: int = 0


@dataclass(kw_only=True)
class Report:
    """
    What would have happened. ``next_since``: where it stopped, None at the end of the span.

    ``buckets`` by the start of their hour, those with events alone.
    """

    events_examined: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    next_since: datetime | None = None
    oldest_event_at: datetime | None = None
    buckets: dict[datetime, Bucket] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)


def backtest(draft: Draft, span: Span, *, samples: int, work_seconds: float = LONGEST_WORK_SECONDS) -> Report:
    """
    Return what the rule would have made of the events in the span; it stops at the limit, or after so much work.

    Events that are bound to another rule are left out. ``samples``: how many are shown; matches first, then errors,
    then the rest, the newest of each first.
    """
    report = Report(oldest_event_at=_oldest(draft.trigger_ref))
    kept = _Samples(samples)
    windows = MemoryWindows()
    ends_at = time.monotonic() + work_seconds
    for event in _events(draft, span):
        if report.events_examined >= span.limit or time.monotonic() >= ends_at:
            report.next_since = event.created
            break
        judgement = judge(draft.view, event, windows=windows, at=event.created, payloads_of=payloads_of)
        _count(report, event, judgement)
        kept.offer(event, judgement)
    report.samples = kept.chosen()
    return report


def _count(report: Report, event: EventView, judgement: Judgement) -> None:
    report.events_examined += 1
    report.outcomes[judgement.outcome] += 1
    hour = event.created.replace(minute=0, second=0, microsecond=0)
    bucket = report.buckets.setdefault(hour, Bucket())
    bucket.events += 1
    bucket.matched += judgement.matched


class _Samples:
    """Keeps the newest of each kind while older ones go by."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._matches: deque[Sample] = deque(maxlen=number)
        self._errors: deque[Sample] = deque(maxlen=number)
        self._others: deque[Sample] = deque(maxlen=number)

    def offer(self, event: EventView, judgement: Judgement) -> None:
        assert event.id is not None
        kind = self._errors if judgement.outcome == "error" else self._others
        kind = self._matches if judgement.matched else kind
        kind.append(Sample(event=event.id, created=event.created, judgement=_slim(judgement)))

    def chosen(self) -> list[Sample]:
        newest_first = [*reversed(self._matches), *reversed(self._errors), *reversed(self._others)]
        return newest_first[: self._number]


def _slim(judgement: Judgement) -> Judgement:
    """Leave out parameters that are too large to be kept for each of a hundred samples."""
    shown = judgement.shown_params
    if shown is not None and len(json.dumps(shown)) > _MOST_SHOWN_BYTES:
        shown = None
    return replace(judgement, params=None, shown_params=shown)


def _oldest(trigger_ref: str) -> datetime | None:
    found: datetime | None = Event.objects.filter(trigger_ref=trigger_ref).aggregate(oldest=Min("created"))["oldest"]
    return found


def _events(draft: Draft, span: Span) -> Iterator[EventView]:
    """Yield the events of the span, oldest first, a page of them in memory at a time."""
    out_schema = draft.trigger.out_schema if draft.trigger is not None else None
    rows = Event.objects.filter(trigger_ref=draft.trigger_ref, created__lt=span.until).order_by("created", "id")
    unbound = Q(rule=None, rule_ref=None)
    rows = rows.filter(unbound | Q(rule=draft.rule_id) if draft.rule_id is not None else unbound)
    page = rows.filter(created__gte=span.since)
    while found := list(page.values_list(*_COLUMNS)[:_PAGE]):
        real = real_payloads({pk: payload for pk, _trigger, payload, *_rest in found}) if out_schema else {}
        for pk, trigger_id, payload, config, source_ref, created in found:
            yield EventView(
                id=pk,
                trigger_id=trigger_id,
                trigger_ref=draft.trigger_ref,
                payload=real.get(pk, payload),
                config=config,
                source_ref=source_ref,
                created=created,
                out_schema=out_schema,
            )
        last_pk, last_created = found[-1][0], found[-1][-1]
        page = rows.filter(created__gte=last_created).filter(Q(created__gt=last_created) | Q(pk__gt=last_pk))
