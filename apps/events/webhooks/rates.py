"""
How many requests a webhook lets through from one address (events.md 10.3), counted in the request log.

The log's own rows are the count: whatever was let through stands there, from any process, and an index made for it
(``webhook_log_rate``) leads to the one row that decides. A lock makes the next request wait for the row of this one.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from apps.core import clock, sql
from apps.core.errors import TooManyRequests
from apps.events.models import WebhookEventLog
from apps.events.webhooks.config import RateLimit


class RateExceeded(TooManyRequests):
    """Rate limit exceeded"""


@dataclass(frozen=True, kw_only=True)
class Counter:
    """The requests of one client address to one key of a trigger."""

    limit: RateLimit
    trigger_id: int
    webhook_key: str  # shortened, as in the log
    source_ip: str | None

    def lock(self) -> None:
        """Let nobody else count here until this transaction ends. SQLite has one writer at a time anyway."""
        if connection.vendor == "postgresql":
            name = f"attune.webhook {self.trigger_id} {self.webhook_key} {self.source_ip}"
            sql.fetch("SELECT 1 FROM pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])

    def check(self) -> None:
        """Raise RateExceeded when as many requests as are allowed were let through within the window."""
        now = clock.now()
        window = timedelta(seconds=self.limit.window_seconds)
        oldest = self._oldest_counted(since=now - window)
        if oldest is not None:
            wait = math.ceil((oldest + window - now).total_seconds())
            raise RateExceeded(
                f"Rate limit exceeded: {self.limit.requests} requests in {self.limit.window_seconds} s",
                retry_after_seconds=max(1, wait),
            )

    def _oldest_counted(self, *, since: datetime) -> datetime | None:
        """Return when the first of the last ``requests`` was let through, None when there were fewer."""
        rows = WebhookEventLog.objects.filter(
            trigger_id=self.trigger_id,
            webhook_key=self.webhook_key,
            source_ip=self.source_ip,
            rate_limited=False,
            created__gt=since,
        )
        times = rows.order_by("-created").values_list("created", flat=True)
        return next(iter(times[self.limit.requests - 1 : self.limit.requests]), None)
