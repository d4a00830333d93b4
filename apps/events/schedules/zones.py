"""Time zones, from the ``tzdata`` package and nowhere else: every host then has the same rules."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from apps.events.schedules.errors import InvalidSchedule

_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return every IANA name there is."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def read_zone(name: object, field: str = "timezone") -> ZoneInfo:
    """Return the zone of that IANA name."""
    if not isinstance(name, str) or name not in zone_names():
        raise InvalidSchedule(field, "is not the name of a time zone, such as Europe/Berlin")
    return _loaded(name)


@cache  # bounded by the names there are
def _loaded(name: str) -> ZoneInfo:
    with resources.files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A change of the offset: at moment ``at`` (UTC) the local clock is put from ``before`` to ``after``."""

    at: datetime
    before: datetime
    after: datetime

    @property
    def forward(self) -> bool:
        """Whether local times are left out; otherwise some come twice."""
        return self.after > self.before


def jump_over(local: datetime, zone: ZoneInfo) -> Jump | None:
    """Return the change that leaves out or repeats this local time (naive); None for an ordinary one."""
    first, second = _offsets(local, zone)
    if first == second:
        return None
    # The change lies between the two readings of the local time.
    low, high = sorted((local - first, local - second))
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if _offset_at(middle, zone) == second:
            high = middle
        else:
            low = middle
    at = high if _offset_at(low, zone) != second else low
    return Jump(at=at.replace(tzinfo=UTC), before=at + first, after=at + second)


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment of a local time: one that is left out means the change itself, a repeated one its first."""
    jump = jump_over(local, zone)
    if jump is not None and jump.forward:
        return jump.at
    return (local - _offsets(local, zone)[0]).replace(tzinfo=UTC)


def to_local(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the local time of a moment (naive)."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _offsets(local: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """Return the offsets of a local time: of its first reading and of its second; alike when there is but one."""
    first, second = zone.utcoffset(local), zone.utcoffset(local.replace(fold=1))
    assert first is not None
    assert second is not None
    return first, second


def _offset_at(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset
