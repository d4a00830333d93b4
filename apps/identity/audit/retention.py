"""Remove audit events that are older than they are kept (model.md 8.2: target ``audit_events``)."""

import time
from datetime import datetime, timedelta

from django.db import transaction

from apps.core import clock
from apps.identity.models import AuditEvent

KEPT_FOR = timedelta(days=90)
BATCH_ROWS = 500
# Of one go: whoever calls has other things to do, and comes again for the rest.
_SECONDS = 0.5


def forget_old() -> bool:
    """Delete events that are too old, in small transactions; return whether there may be more."""
    oldest = clock.now() - KEPT_FOR
    ends_at = time.monotonic() + _SECONDS
    while _delete_batch(oldest) == BATCH_ROWS:
        if time.monotonic() > ends_at:
            return True
    return False


@transaction.atomic
def _delete_batch(oldest: datetime) -> int:
    """
    Several schedulers may be at it: each takes other rows.

    The rows are found first: as a subquery PostgreSQL may ask for them anew for every row, and each time get others.
    """
    old = AuditEvent.objects.filter(created__lt=oldest).order_by("created").select_for_update(skip_locked=True)
    found = list(old.values_list("pk", flat=True)[:BATCH_ROWS])
    deleted, _by_model = AuditEvent.objects.filter(pk__in=found).delete()
    return deleted
