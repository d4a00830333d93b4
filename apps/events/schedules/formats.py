"""Formats of parameter schemas, so that wrong settings of a timer are refused when a rule is saved."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

from apps.events.schedules import values, zones
from apps.events.schedules.cron import CronTimes
from apps.events.schedules.errors import InvalidSchedule
from apps.events.schedules.rrule_parts import check_until, read_rule


def _holds(read: Callable[[str], object]) -> Callable[[str], bool]:
    def holds(value: str) -> bool:
        try:
            read(value)
        except InvalidSchedule:
            return False
        return True

    return holds


def _any_zone() -> ZoneInfo:
    return zones.read_zone("UTC")


# name, check, what is said of a text that does not pass
FORMATS: tuple[tuple[str, Callable[[str], bool], str], ...] = (
    (
        "cron",
        _holds(CronTimes),
        "is not a cron expression (second minute hour day-of-month month day-of-week, such as 0 30 9 * * mon-fri)",
    ),
    (
        "rrule",
        _holds(lambda value: read_rule(value, _any_zone())),
        "is not a recurrence rule (RFC 5545, such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=9, with DTSTART as dtstart)",
    ),
    (
        "rrule-until",
        _holds(lambda value: check_until(value, _any_zone())),
        "is not a time such as 20261231T080000Z or 2026-12-31T08:00:00Z",
    ),
    ("time-zone", _holds(zones.read_zone), "is not the name of a time zone, such as Europe/Berlin"),
    (
        "local-date-time",
        _holds(lambda value: values.moment(value, "")),
        "is not a time of RFC 3339, such as 2026-03-01T09:00:00Z (without an offset: local)",
    ),
)
