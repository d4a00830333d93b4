"""
What a sensor may send at most, so that one that floods us slows down nobody but itself.

A bucket of tokens per sensor, in each process that serves the API: ATTUNE_SENSOR_EVENTS_PER_SECOND drip into it, five
seconds' worth fit. Whoever finds it empty gets 429, a second later: no thread waits meanwhile.

The workers may be slower than that, and executions start oldest first: a line made by one sensor is before everybody's.
So a sensor is also refused while as many executions as a burst has events wait, all of the last minute and of one of its
triggers. What a slow sensor sends while workers are away is taken, however much of it waits.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError

from apps.core import clock
from apps.core.api import holding
from apps.core.errors import AttuneError
from apps.events.alerts import Alert, raise_alert
from apps.events.models import Sensor, Trigger
from apps.executions.models import Execution
from apps.executions.states import Status
from apps.identity.callers import Caller

logger = logging.getLogger(__name__)

BURST_SECONDS = 5.0
RETRY_AFTER_SECONDS = 1
LOOK_EVERY_SECONDS = 1.0  # for executions that wait
BACKLOG = timedelta(minutes=1)  # older ones that wait are not of a flood
ALERT_EVERY_SECONDS = 3600.0  # while it lasts


class EventFlood(AttuneError):
    """The sensor sends more events than it may; try again later"""

    status, code = 429, "TOO_MANY_REQUESTS"

    def __init__(self, message: str) -> None:
        hold = holding.Hold(seconds=RETRY_AFTER_SECONDS)
        super().__init__(message, headers={"Retry-After": str(RETRY_AFTER_SECONDS), holding.HEADER: hold.text()})


@dataclass
class _Bucket:
    tokens: float
    filled_at: float
    looked_at: float
    behind: bool = False  # too many executions wait
    refused: int = 0
    alerted_at: dict[str, float] = field(default_factory=dict)  # by kind of failure


_lock = threading.Lock()
_buckets: dict[str, _Bucket] = {}


def admit(caller: Caller) -> None:
    """Let a request pass, or raise EventFlood. Only sensors are counted."""
    rate = settings.SENSOR_EVENTS_PER_SECOND
    if caller.token_type != "sensor" or rate <= 0:
        return
    burst = int(rate * BURST_SECONDS)
    bucket = _bucket_of(caller.login, burst)
    _look(bucket, caller.login, burst)
    with _lock:
        now = time.monotonic()
        behind = bucket.behind
        if not behind and _take(bucket, rate, now):
            return
        bucket.refused += 1
        refused_before = bucket.refused - 1
        failure = "event_backlog" if behind else "event_flood"
        alert_due = now - bucket.alerted_at.get(failure, -ALERT_EVERY_SECONDS) >= ALERT_EVERY_SECONDS
        if alert_due:
            bucket.alerted_at[failure] = now
    if behind:
        why = f"Sensor '{caller.login}' sends events faster than actions run: {burst} executions wait already"
    else:
        why = f"Sensor '{caller.login}' sends more than {rate} events per second"
    if alert_due:
        details = {"events_per_second": rate, "refused_before": refused_before}
        _alert(caller.login, failure, f"{why}; the rest is refused", details)
    raise EventFlood(why)


def _bucket_of(login: str, burst: int) -> _Bucket:
    with _lock:
        now = time.monotonic()
        new = _Bucket(tokens=burst, filled_at=now, looked_at=now - LOOK_EVERY_SECONDS)
        return _buckets.setdefault(login, new)


def _look(bucket: _Bucket, sensor_ref: str, most: int) -> None:
    """Note whether too many executions wait, once a second; who comes meanwhile takes the answer that is there."""
    with _lock:
        now = time.monotonic()
        if now - bucket.looked_at < LOOK_EVERY_SECONDS:
            return
        bucket.looked_at = now
    refs = Trigger.objects.filter(sensor_ref=sensor_ref).values_list("ref", flat=True)
    bucket.behind = any(_pile_up(ref, most) for ref in refs)


def _pile_up(trigger_ref: str, most: int) -> bool:
    """Tell whether ``most`` young executions of the trigger wait: whether the one that many back is among them."""
    newest = Execution.objects.filter(trigger_ref=trigger_ref).order_by("-created", "-pk")
    columns = ("status", "held", "not_before", "created")
    return any(
        status == Status.REQUESTED and not held and not_before is None and clock.now() - created < BACKLOG
        for status, held, not_before, created in newest.values_list(*columns)[most - 1 : most]
    )


def _take(bucket: _Bucket, rate: int, now: float) -> bool:
    bucket.tokens = min(rate * BURST_SECONDS, bucket.tokens + (now - bucket.filled_at) * rate)
    bucket.filled_at = now
    if bucket.tokens < 1:
        return False
    bucket.tokens -= 1
    return True


def _alert(sensor_ref: str, failure_type: str, summary: str, details: dict[str, int]) -> None:
    """Say that events are refused; several processes say it once an hour together."""
    sensor_id = Sensor.objects.filter(ref=sensor_ref).values_list("pk", flat=True).first()
    kind = failure_type.removeprefix("event_")
    try:
        raise_alert(
            Alert(
                severity="warning",
                category="sensor",
                failure_type=failure_type,
                component_type="sensor",
                component_id=sensor_id,
                component_ref=sensor_ref,
                worker_role="sensor",
                summary=summary,
                details=details,
                correlation_id=f"sensor:{sensor_id or sensor_ref}:{kind}:{clock.now():%Y-%m-%dT%H}",
            )
        )
    except DatabaseError:
        logger.exception("The alert about the flood of sensor %s could not be stored", sensor_ref)


def forget() -> None:
    """Forget what has been counted in this process."""
    with _lock:
        _buckets.clear()
