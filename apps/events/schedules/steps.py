"""The bound of a search (events.md 9.2: 5 years, 1 second)."""

from datetime import datetime, timedelta

from apps.events.schedules.errors import SearchTooLong
from apps.events.schedules.values import LAST_MOMENT

# Days or times looked at in one search: a third of a second. Counted rather than timed, so that a busy host finds
# what an idle one finds.
MOST_STEPS = 150_000
LONGEST_WAIT = timedelta(days=5 * 366)


class Steps:
    """What is left of one search."""

    def __init__(self, left: int = MOST_STEPS) -> None:
        self._left = left

    def spend(self, number: int = 1) -> None:
        """Use some up; raises SearchTooLong when there are none left."""
        self._left -= number
        if self._left < 0:
            raise SearchTooLong


def horizon(moment: datetime) -> datetime:
    """Return how far a search that begins at this moment (aware) looks."""
    return min(moment, LAST_MOMENT - LONGEST_WAIT) + LONGEST_WAIT
