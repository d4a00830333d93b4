"""Put a schedule on the wall clock into a time zone: what changes of the clock do to it (events.md 9.4)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from zoneinfo import ZoneInfo

from apps.events.schedules import zones
from apps.events.schedules.clockface import LocalTimes
from apps.events.schedules.zones import Jump

Note = Literal["dst_shifted", "dst_skipped", "dst_repeated"]

_SECOND = timedelta(seconds=1)


class Policy(StrEnum):
    """What becomes of local times that are left out, and of those that come twice."""

    SHIFT = "shift"  # at the moment of the change; the first time
    SKIP = "skip"  # not at all; the first time
    BOTH = "both"  # at the moment of the change; both times
    ELAPSED = "elapsed"  # not at all; both times: clock changes neither add nor drop a time (cron with hours `*`)

    @property
    def repeats(self) -> bool:
        return self in (Policy.BOTH, Policy.ELAPSED)


@dataclass(frozen=True)
class Due:
    """One due time, in UTC. ``note`` says what a change of the clock did to it; a skipped one does not fire."""

    at: datetime
    note: Note | None = None

    @property
    def fires(self) -> bool:
        return self.note != "dst_skipped"


@dataclass(frozen=True)
class ZonedTimes:
    """A schedule on the wall clock of a zone."""

    times: LocalTimes
    zone: ZoneInfo
    policy: Policy

    def next_after(self, moment: datetime, until: datetime) -> Due | None:
        """Return the first due time later than a moment, skipped ones included; None when there is none."""
        local = zones.to_local(moment, self.zone)
        last = zones.to_local(until, self.zone)
        following = self._following(moment, local, last)
        repeated = self._repeated(moment, local) if self.policy.repeats else None
        if following is None or (repeated is not None and repeated.at < following.at):
            return repeated
        return following

    def _following(self, moment: datetime, local: datetime, last: datetime) -> Due | None:
        while (found := self.times.next_after(local, last)) is not None:
            jump = zones.jump_over(found, self.zone)
            if jump is None:
                return Due(zones.to_utc(found, self.zone))
            due = self._left_out(jump) if jump.forward else self._twice(found, jump, moment)
            if due is not None:
                return due
            local = max(jump.before, jump.after) - _SECOND  # nothing more in what is left out or repeated
        return None

    def _left_out(self, jump: Jump) -> Due | None:
        """Return what becomes of the times that a change leaves out: they all mean the same moment."""
        if self.times.next_after(jump.after - _SECOND, jump.after) is not None:
            return Due(jump.at)  # due by itself
        if self.policy is Policy.ELAPSED:
            return None
        return Due(jump.at, "dst_skipped" if self.policy is Policy.SKIP else "dst_shifted")

    def _twice(self, found: datetime, jump: Jump, moment: datetime) -> Due | None:
        first = jump.at - (jump.before - found)
        if first > moment:
            return Due(first)
        return self._second(found, jump) if self.policy.repeats else None

    def _repeated(self, moment: datetime, local: datetime) -> Due | None:
        """Return the first that comes again after the change, when now is the first of two such hours."""
        jump = zones.jump_over(local, self.zone)
        if jump is None or jump.forward or jump.at <= moment:
            return None
        found = self.times.next_after(jump.after - _SECOND, jump.before - _SECOND)
        return None if found is None else self._second(found, jump)

    def _second(self, found: datetime, jump: Jump) -> Due:
        return Due(jump.at + (found - jump.after), "dst_repeated" if self.policy is Policy.BOTH else None)
