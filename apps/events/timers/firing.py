"""
Fire the timers that are due (events.md section 9). Any number of schedulers may.

A timer's row is claimed with SKIP LOCKED; firing rows, events and the new due time are one transaction with the claim.
A scheduler that dies gives everything back by that alone, and (rule, due time) is unique besides.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import DateTimeField, Value

from apps.core import clock, sql
from apps.core.fields import Now
from apps.events.alerts import Alert, raise_alert
from apps.events.models import Timer, TimerFire, TimerFireOutcome, TimerState, Trigger
from apps.events.rule_port import RuleUse
from apps.events.schedules.errors import InvalidSchedule
from apps.events.schedules.misfire import Decision, Firing, decide
from apps.events.schedules.plan import Plan, read
from apps.events.services import EventRequest, store_event
from apps.events.timers.kinds import SENSOR_REF
from apps.events.timers.payloads import Fired, payload_of

logger = logging.getLogger(__name__)

# Small transactions: a claim given back costs little, and on SQLite everybody else who writes waits for this one.
MOST_TIMERS_AT_ONCE = 50
MOST_FIRINGS_AT_ONCE = 50  # of one timer that makes up for what it missed
_LONGEST_BATCH_SECONDS = {"sqlite": 0.05, "postgresql": 0.2}
# A claim whose scheduler vanished without closing its connection is given back after this (within 5 s are promised).
_CLAIM_LIMIT = "SET LOCAL idle_in_transaction_session_timeout = '4s'"


@dataclass(frozen=True)
class Pending:
    """Whether timers are due already, and in how many seconds the next one is that is not yet; None: none is."""

    overdue: bool
    next_seconds: float | None


def pending(now: datetime | None = None) -> Pending:
    """Return what there is to fire and to wait for: one look into an index."""
    now = now or clock.now()
    table, active = Timer._meta.db_table, TimerState.ACTIVE.value
    earliest = f'SELECT MIN(next_fire_at) FROM "{table}" WHERE state = %s'
    moment = sql.adapt(Timer, "next_fire_at", now)
    [(first, following)] = sql.fetch(
        f"SELECT ({earliest}), ({earliest} AND next_fire_at > %s)", [active, active, moment]
    )
    first_at, following_at = (sql.convert(Timer, "next_fire_at", value) for value in (first, following))
    return Pending(
        overdue=first_at is not None and first_at <= now,
        next_seconds=None if following_at is None else (following_at - now).total_seconds(),
    )


def next_due_seconds(now: datetime | None = None) -> float | None:
    """Return in how many seconds the next timer is due, 0 when one is already; None without active timers."""
    found = pending(now)
    return 0.0 if found.overdue else found.next_seconds


def fire_due(now: datetime | None = None) -> int:
    """Fire what is due, everything that no other scheduler has in hand; return how many events there were."""
    fired, failed = 0, set[int]()
    while pending(now).overdue:
        batch = _Batch(now, failed)
        fired += batch.fire()
        if not batch.claimed:
            break
    return fired


class _Batch:
    """A few due timers, fired in one transaction."""

    def __init__(self, now: datetime | None, failed: set[int]) -> None:
        # The database's own, not our estimate of it: nothing fires before its time.
        self._clock = Now() if now is None else Value(now, output_field=DateTimeField())
        self._is_given = now is not None
        self._claimed = 0.0
        self._failed = failed  # not to be tried again in this round
        self.claimed = False

    def fire(self) -> int:
        began = time.monotonic()
        fired = 0
        with transaction.atomic():
            timers = self._claim()
            self.claimed = bool(timers)
            triggers = Trigger.objects.select_related("sensor").in_bulk(
                {timer.trigger_ref for timer in timers}, field_name="ref"
            )
            for timer in timers:
                fired += self._fire_one(timer, triggers.get(timer.trigger_ref))
                if time.monotonic() - began > _LONGEST_BATCH_SECONDS[connection.vendor]:
                    break
        return fired

    def _claim(self) -> list[Timer]:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(_CLAIM_LIMIT)
        due = Timer.objects.filter(state=TimerState.ACTIVE, next_fire_at__lte=self._clock).order_by("next_fire_at")
        if self._failed:
            due = due.exclude(pk__in=self._failed)
        due = due.annotate(claimed_at=self._clock)
        timers: list[Timer] = list(due.select_for_update(skip_locked=True, no_key=True)[:MOST_TIMERS_AT_ONCE])
        self._claimed = time.monotonic()
        return timers

    def _moment(self, timer: Timer) -> datetime:
        """Return the time by the clock that the claim was made by."""
        claimed_at: datetime = vars(timer)["claimed_at"]
        return claimed_at if self._is_given else claimed_at + timedelta(seconds=time.monotonic() - self._claimed)

    def _fire_one(self, timer: Timer, trigger: Trigger | None) -> int:
        try:
            return self._fire_or_look(timer, trigger)
        except (OperationalError, InterfaceError):
            raise  # the database's trouble, not this timer's
        except Exception:
            logger.exception("The timer of rule %s could not fire; the next round tries again", timer.rule_ref)
            self._failed.add(timer.pk)
            return 0

    def _fire_or_look(self, timer: Timer, trigger: Trigger | None) -> int:
        try:
            with transaction.atomic():
                return _fire(timer, trigger, self._moment(timer), again=False)
        except IntegrityError:
            with transaction.atomic():
                return _fire(timer, trigger, self._moment(timer), again=True)


def _fire(timer: Timer, trigger: Trigger | None, now: datetime, *, again: bool) -> int:
    """Fire one timer; ``again``: a due time has its row already, so look which (the clock was put back)."""
    if trigger is None:  # deleted behind the product's back
        timer.set(state=TimerState.STOPPED, next_fire_at=None)
        return 0
    try:
        plan = read(timer.kind, timer.spec)
    except InvalidSchedule as error:  # a zone that new zone data do not know any more
        timer.set(state=TimerState.INVALID, error=str(error), next_fire_at=None)
        return 0
    assert timer.next_fire_at is not None
    decision = decide(
        plan, anchor=timer.anchored_at, next_fire_at=timer.next_fire_at, now=now, at_most=MOST_FIRINGS_AT_ONCE
    )
    firings = _not_fired_before(timer, decision) if again else list(decision.firings)
    for place, firing in enumerate(firings):
        following = firings[place + 1].due_at if place + 1 < len(firings) else decision.next_fire_at
        count = timer.execution_count + place + 1
        _store(timer, trigger, plan, Fired(firing=firing, fired_at=now, execution_count=count, next_fire_at=following))
    _record_skipped(timer, decision, now)
    _advance(timer, decision, firings, now)
    if decision.last_missed_at is not None:
        _report_missed(timer, decision)
    return len(firings)


def _not_fired_before(timer: Timer, decision: Decision) -> list[Firing]:
    """Return the firings without those that have their row already."""
    due = [firing.due_at for firing in decision.firings]
    known = set(TimerFire.objects.filter(rule=timer.rule, due_at__in=due).values_list("due_at", flat=True))
    return [firing for firing in decision.firings if firing.due_at not in known]


def _store(timer: Timer, trigger: Trigger, plan: Plan, fired: Fired) -> None:
    use = RuleUse(
        id=timer.rule,
        ref=timer.rule_ref,
        trigger_id=trigger.pk,
        trigger_ref=trigger.ref,
        trigger_params=timer.spec,
        enabled=True,
    )
    request = EventRequest(
        trigger=trigger, payload=payload_of(plan, fired), source=trigger.sensor, source_ref=SENSOR_REF, rule=use
    )
    event = store_event(request)
    _record(timer, fired.firing.due_at, fired.fired_at, event.pk)


def _record(timer: Timer, due_at: datetime, fired_at: datetime, event: int | None) -> None:
    outcome = TimerFireOutcome.SKIPPED if event is None else TimerFireOutcome.FIRED
    row = {"rule": timer.rule, "rule_ref": timer.rule_ref, "due_at": due_at, "fired_at": fired_at, "event": event}
    sql.insert(TimerFire, [{**row, "outcome": outcome.value}])


def _record_skipped(timer: Timer, decision: Decision, now: datetime) -> None:
    """Keep the newest due time that was missed for good: one row, however many there were."""
    skipped_at = decision.skipped_at
    if skipped_at is None or TimerFire.objects.filter(rule=timer.rule, due_at=skipped_at).exists():
        return
    _record(timer, skipped_at, now, None)


def _advance(timer: Timer, decision: Decision, firings: list[Firing], now: datetime) -> None:
    values = {
        "next_fire_at": decision.next_fire_at,
        "state": (TimerState.ACTIVE if decision.next_fire_at is not None else TimerState.FINISHED).value,
        "execution_count": timer.execution_count + len(firings),
        "missed_count": timer.missed_count + decision.dropped,
        "updated": now,
    }
    if firings:
        values |= {"last_due_at": firings[-1].due_at, "last_fired_at": now}
    if decision.last_missed_at is not None:
        values["last_missed_at"] = decision.last_missed_at
    sql.update(Timer, values, '"id" = %s', [timer.pk])


def _report_missed(timer: Timer, decision: Decision) -> None:
    """Tell that due times were missed, at most once an hour for a timer."""
    assert decision.last_missed_at is not None
    made_up = sum(firing.misfire for firing in decision.firings)
    raise_alert(
        Alert(
            severity="warning",
            category="timer",
            failure_type="timer_missed",
            component_type="rule",
            component_id=timer.rule,
            component_ref=timer.rule_ref,
            summary=f"The timer of rule '{timer.rule_ref}' missed due times: {decision.dropped} dropped, {made_up} made up",
            details={"dropped": decision.dropped, "made_up": made_up, "misfire": timer.misfire},
            correlation_id=f"timer:{timer.rule}:missed:{decision.last_missed_at:%Y%m%dT%H}",
        )
    )
