"""What is done about once an hour, by every scheduler: small, harmless when several do it, never in the way."""

import logging
import time

from django.db import connection

from apps.core import clock
from apps.identity import idempotency, throttle
from apps.identity.audit import retention as audit_retention
from apps.keys import services as keys
from apps.rules.window_rows import forget_expired

logger = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0


class Housekeeping:
    """Turn it as often as you like; it works once an hour."""

    def __init__(self) -> None:
        self._due_at = time.monotonic()
        self._audit_is_left = False

    def turn(self) -> None:
        """Do what is due. A fault is logged and tried again an hour later."""
        if time.monotonic() < self._due_at:
            self._go_on()
            return
        self._due_at = time.monotonic() + EVERY_SECONDS
        try:
            idempotency.forget_old()
            throttle.forget_old()
            keys.forget_expired(clock.now())
            forget_expired(clock.now())
            self._audit_is_left = audit_retention.forget_old()
            _refresh_statistics()
        except Exception:
            logger.exception("The hourly housekeeping failed; it comes again in an hour")

    def _go_on(self) -> None:
        """A busy day's audit events are more than one turn deletes: the next turns go on."""
        if not self._audit_is_left:
            return
        try:
            self._audit_is_left = audit_retention.forget_old()
        except Exception:
            self._audit_is_left = False
            logger.exception("Old audit events could not be removed; it comes again in an hour")


def _refresh_statistics() -> None:
    """SQLite chooses indexes by statistics that nobody else keeps; the limit bounds what looking costs."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA analysis_limit=1000")
            cursor.execute("PRAGMA optimize")
