"""The four triggers of timers."""

from collections.abc import Mapping
from types import MappingProxyType

SENSOR_REF = "core.timer_sensor"

KIND_OF_TRIGGER: Mapping[str, str] = MappingProxyType(
    {
        "core.intervaltimer": "interval",
        "core.crontimer": "cron",
        "core.datetimetimer": "datetime",
        "core.rruletimer": "rrule",
    }
)
