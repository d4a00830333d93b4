"""Finish what a process left half done (events.md section 1): events whose rules nobody has decided."""

import logging

from apps.core import clock
from apps.events.models import Event
from apps.rules.matching import decide_again

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 200


def decide_undecided() -> int:
    """Decide the events that were stored and not decided; return how many. One that fails waits for the next round."""
    decided = 0
    for event_id in list(Event.objects.undecided().order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE]):
        try:
            decided += decide_again(event_id, clock.now())
        except Exception:
            logger.exception("Event %s cannot be decided; the next round tries again", event_id)
    return decided
