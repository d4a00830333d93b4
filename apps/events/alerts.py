"""Tell operators what is wrong: events of the system trigger ``core.alert`` (events.md 8.1)."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from django.db import transaction

from apps.core import clock
from apps.events.models import Event
from apps.events.services import emit
from apps.identity.models import IdempotencyRecord

ALERT_TRIGGER = "core.alert"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One thing that is wrong. There is at most one event per ``correlation_id`` (None: each time anew)."""

    severity: Literal["info", "warning", "error", "critical"]
    category: str
    failure_type: str
    component_type: str
    summary: str
    component_id: int | None = None
    component_ref: str | None = None
    worker_role: Literal["action", "sensor"] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str | None = None


_SCOPE = "alert"
_REMEMBERED_FOR = timedelta(days=30)  # as long as events are kept by default

logger = logging.getLogger(__name__)


@transaction.atomic
def raise_alert(alert: Alert) -> Event | None:
    """Store the alert's event; None when this case has had its alert, or the product does not know the trigger."""
    if alert.correlation_id is not None and not _is_first(alert.correlation_id):
        return None
    logger.warning("Alert (%s, %s): %s", alert.severity, alert.failure_type, alert.summary)
    payload = {
        "severity": alert.severity,
        "category": alert.category,
        "failure_type": alert.failure_type,
        "component_type": alert.component_type,
        "component_id": alert.component_id,
        "component_ref": alert.component_ref,
        "worker_role": alert.worker_role,
        "observed_at": clock.as_text(clock.now()),
        "summary": alert.summary,
        "details": dict(alert.details),
        "correlation_id": alert.correlation_id,
    }
    return emit(ALERT_TRIGGER, {name: value for name, value in payload.items() if value is not None})


def _is_first(correlation_id: str) -> bool:
    digest = hashlib.sha256(correlation_id.encode()).hexdigest()
    _record, created = IdempotencyRecord.objects.get_or_create(
        scope=_SCOPE,
        key=digest,
        defaults={
            "request_hash": digest,
            "response_status": 0,
            "expires_at": clock.now() + _REMEMBERED_FOR,
        },
    )
    return created
