"""Tell operators when signatures of a webhook keep being wrong: a secret that was changed on one side, or an attack."""

import logging
from datetime import timedelta

from django.db import transaction

from apps.core import clock
from apps.events.alerts import Alert, raise_alert
from apps.events.models import Trigger, WebhookEventLog

logger = logging.getLogger(__name__)

ENOUGH = 5
WITHIN = timedelta(minutes=10)


def tell(trigger: Trigger) -> None:
    """Raise an alert after five wrong signatures within ten minutes, once per trigger and hour."""
    now = clock.now()
    wrong = WebhookEventLog.objects.filter(trigger=trigger, hmac_verified=False, created__gt=now - WITHIN)
    if len(wrong.order_by("-created").values_list("pk", flat=True)[:ENOUGH]) < ENOUGH:
        return
    try:
        with transaction.atomic():
            raise_alert(_alert(trigger, hour=f"{now:%Y-%m-%dT%H}"))
    except Exception:  # the answer to the sender, and its log row, do not depend on it
        logger.exception("The alert about wrong signatures at %s could not be raised", trigger.ref)


def _alert(trigger: Trigger, *, hour: str) -> Alert:
    return Alert(
        severity="warning",
        category="webhook",
        failure_type="webhook_signature_failures",
        component_type="trigger",
        component_id=trigger.pk,
        component_ref=trigger.ref,
        summary=f"Requests to the webhook of {trigger.ref} keep coming without a right signature",
        details={"failures": ENOUGH, "within_seconds": int(WITHIN.total_seconds())},
        correlation_id=f"webhook-signature:{trigger.pk}:{hour}",
    )
