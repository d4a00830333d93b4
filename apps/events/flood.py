"""
What a sensor may send at most, so that one that floods us slows down nobody but itself.

A bucket of tokens per sensor, in each process that serves the API: ATTUNE_SENSOR_EVENTS_PER_SECOND drip into it, five
seconds' worth fit. Whoever finds it empty gets 429, a second later: no thread waits meanwhile.
"""

import logging
import threading
import time
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError

from apps.core import clock
from apps.core.api import holding
from apps.core.errors import AttuneError
from apps.events.alerts import Alert, raise_alert
from apps.events.models import Sensor
from apps.identity.callers import Caller

logger = logging.getLogger(__name__)

BURST_SECONDS = 5.0
RETRY_AFTER_SECONDS = 1
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
    refused: int = 0
    alerted_at: float | None = None


_lock = threading.Lock()
_buckets: dict[str, _Bucket] = {}


def admit(caller: Caller) -> None:
    """Let a request pass, or raise EventFlood. Only sensors are counted."""
    rate = settings.SENSOR_EVENTS_PER_SECOND
    if caller.token_type != "sensor" or rate <= 0:
        return
    with _lock:
        now = time.monotonic()
        bucket = _buckets.setdefault(caller.login, _Bucket(tokens=rate * BURST_SECONDS, filled_at=now))
        passes = _take(bucket, rate, now)
        alert_due = not passes and (bucket.alerted_at is None or now - bucket.alerted_at >= ALERT_EVERY_SECONDS)
        if alert_due:
            bucket.alerted_at = now
        refused = bucket.refused
    if passes:
        return
    if alert_due:
        _alert(caller.login, rate, refused)
    raise EventFlood(f"Sensor '{caller.login}' sends more than {rate} events per second")


def _take(bucket: _Bucket, rate: int, now: float) -> bool:
    bucket.tokens = min(rate * BURST_SECONDS, bucket.tokens + (now - bucket.filled_at) * rate)
    bucket.filled_at = now
    if bucket.tokens < 1:
        bucket.refused += 1
        return False
    bucket.tokens -= 1
    return True


def _alert(sensor_ref: str, rate: int, refused: int) -> None:
    """Say that events are refused; several processes say it once an hour together."""
    sensor_id = Sensor.objects.filter(ref=sensor_ref).values_list("pk", flat=True).first()
    try:
        raise_alert(
            Alert(
                severity="warning",
                category="sensor",
                failure_type="event_flood",
                component_type="sensor",
                component_id=sensor_id,
                component_ref=sensor_ref,
                worker_role="sensor",
                summary=f"Sensor '{sensor_ref}' sends more than {rate} events per second; the rest is refused",
                details={"events_per_second": rate, "refused_before": refused - 1},
                correlation_id=f"sensor:{sensor_id or sensor_ref}:flood:{clock.now():%Y-%m-%dT%H}",
            )
        )
    except DatabaseError:
        logger.exception("The alert about the flood of sensor %s could not be stored", sensor_ref)


def forget() -> None:
    """Forget what has been counted in this process."""
    with _lock:
        _buckets.clear()
