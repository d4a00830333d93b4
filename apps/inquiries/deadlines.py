"""Deadlines of inquiries: whoever answers too late finds them timed out. Any number of processes may look."""

import logging
from datetime import datetime

from django.db import DatabaseError, transaction
from django.db.models import Min

from apps.core import clock
from apps.inquiries.errors import InquiryNotFound
from apps.inquiries.models import Inquiry, InquiryQuerySet, InquiryStatus
from apps.inquiries.responding import locked, time_out

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500  # in one round; the next round takes the rest


def expire_due() -> int:
    """Time out what nobody answered by its deadline; return how many. What fails is logged and tried again."""
    ended = 0
    due = _with_deadline().filter(timeout_at__lte=clock.now()).order_by("timeout_at", "id")
    for pk in list(due.values_list("pk", flat=True)[:MOST_AT_ONCE]):
        try:
            ended += _expire(pk)
        except InquiryNotFound:
            continue  # deleted meanwhile
        except DatabaseError:
            logger.warning("Inquiry %s could not be timed out, the next round tries again", pk, exc_info=True)
    return ended


def next_due(now: datetime | None = None) -> float | None:
    """Return how many seconds it is until the next deadline, None when there is none."""
    moment: datetime | None = _with_deadline().aggregate(at=Min("timeout_at"))["at"]
    return None if moment is None else max(0.0, (moment - (now or clock.now())).total_seconds())


@transaction.atomic
def _expire(inquiry_id: int) -> bool:
    inquiry, execution = locked(inquiry_id)
    late = inquiry.timeout_at is not None and inquiry.timeout_at <= clock.now()
    if inquiry.status != InquiryStatus.PENDING or not late:
        return False  # answered, cancelled or given more time meanwhile
    time_out(inquiry, execution)
    return True


def _with_deadline() -> InquiryQuerySet:
    return Inquiry.objects.pending().filter(timeout_at__isnull=False)
