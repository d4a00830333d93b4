"""
Which rules a sensor serves, and notices of their changes.

Each sensor has a version, raised in the transaction that changes one of its rules, so that the notices of a sensor
have the order of the commits and none appears behind one that was read. Whoever follows (a supervisor, a long poll)
is rung when that happened in this process; other processes look at the versions twice a second.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any

from django.db import transaction
from django.db.models import F

from apps.core import sql
from apps.events.models import Sensor, SensorNotice, Trigger
from apps.events.rule_port import RuleUse, rule_port

logger = logging.getLogger(__name__)

KEPT = 1000  # notices of a sensor; who is further behind takes the list of rules, which is always whole
_TIDY_EVERY = 100

Entry = dict[str, Any]


# --- Changes -----------------------------------------------------------------------------------------------------


def rule_changed(event_type: str, use: RuleUse) -> None:
    """
    Note that a rule was created, updated, enabled, disabled or deleted; in the transaction that does it.

    ``event_type`` is ``RuleCreated``, ``RuleUpdated``, ``RuleEnabled``, ``RuleDisabled`` or ``RuleDeleted``.
    """
    sensor_id = Trigger.objects.filter(ref=use.trigger_ref).values_list("sensor", flat=True).first()
    if sensor_id is None or not _raise_version(sensor_id):
        return
    version = _version(sensor_id)
    SensorNotice.objects.create(
        sensor_id=sensor_id,
        version=version,
        event_type=event_type,
        rule=use.id,
        rule_ref=use.ref,
        trigger_ref=use.trigger_ref,
        trigger_params=dict(use.trigger_params),
    )
    if version % _TIDY_EVERY == 0:
        SensorNotice.objects.filter(sensor=sensor_id, version__lte=version - KEPT).delete()
    transaction.on_commit(ring)


def sensors_changed(*, refs: Iterable[str], **_signal: Any) -> None:
    """Note that sensors, or the triggers they serve, were changed; in the transaction that does it."""
    for sensor_id in Sensor.objects.filter(ref__in=list(refs)).order_by("pk").values_list("pk", flat=True):
        _raise_version(sensor_id)
    transaction.on_commit(ring)


def _raise_version(sensor_id: int) -> int:
    """Raise the version and keep the sensor's row locked until the end of the transaction."""
    rows = Sensor.objects.filter(pk=sensor_id)
    return rows.update(rules_version=F("rules_version") + 1, updated=F("updated"))


def _version(sensor_id: int) -> int:
    return Sensor.objects.values_list("rules_version", flat=True).get(pk=sensor_id)


# --- What there is -----------------------------------------------------------------------------------------------


def entry_of(use: RuleUse) -> Entry:
    """Return a rule as sensors are given it (``ATTUNE_SENSOR_TRIGGERS``)."""
    return {
        "id": use.id,
        "ref": use.ref,
        "trigger_ref": use.trigger_ref,
        "trigger_params": use.trigger_params,
        "config": use.trigger_params,
    }


def rules_of(trigger_refs: Iterable[str]) -> list[Entry]:
    """Return the enabled rules of these triggers as sensors are given them, in order of ref."""
    return [entry_of(use) for use in rule_port.of_triggers(list(trigger_refs), enabled_only=True)]


def state_of(sensor: Sensor, since: int | None) -> dict[str, Any]:
    """Return version, rules and the notices since a version (none without one) of a sensor, as the API shows them."""
    version = _version(sensor.pk)  # before the rules: what comes between is told again, never left out
    triggers = sensor.triggers.order_by("ref").values_list("ref", flat=True)
    notices = SensorNotice.objects.filter(sensor=sensor, version__gt=since) if since is not None else ()
    return {
        "version": version,
        "rules": rules_of(triggers),
        "changes": [notice_data(notice) for notice in sorted(notices, key=lambda notice: notice.version)],
    }


def notice_data(notice: SensorNotice) -> dict[str, Any]:
    """Return a notice in the form it has wherever it is shown (events.md section 8)."""
    return {
        "event_type": notice.event_type,
        "rule_id": notice.rule,
        "rule_ref": notice.rule_ref,
        "trigger_ref": notice.trigger_ref,
        "trigger_type": notice.trigger_ref,
        "trigger_params": notice.trigger_params,
        "timestamp": notice.created.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def versions_of(sensor_ids: Iterable[int]) -> dict[int, int]:
    """Return the versions of sensors by id."""
    wanted = list(sensor_ids)
    places = ", ".join(["%s"] * len(wanted))
    rows = sql.fetch(f"SELECT id, rules_version FROM sensor WHERE id IN ({places})", wanted) if wanted else []
    return {int(pk): int(version) for pk, version in rows}


def fingerprint() -> Any:
    """Return what differs whenever a sensor, its rules or its triggers were changed; asked all the time, so cheap."""
    return sql.fetch("SELECT count(*), max(updated), sum(rules_version) FROM sensor")


# --- The bell of this process ------------------------------------------------------------------------------------

_lock = threading.Lock()
_listeners: list[Callable[[], object]] = []


def listen(listener: Callable[[], object]) -> None:
    """Have this called, in whichever thread commits a change, after each one."""
    with _lock:
        _listeners.append(listener)


def stop_listening(listener: Callable[[], object]) -> None:
    with _lock:
        _listeners.remove(listener)


def ring() -> None:
    """Tell everybody in this process who follows that something may have changed."""
    with _lock:
        listeners = list(_listeners)
    for listener in listeners:
        try:
            listener()
        except Exception:  # the change is committed; whoever missed it looks by itself before long
            logger.exception("%r could not be told of a change", listener)
