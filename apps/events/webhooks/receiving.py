"""
One request to a webhook: checked, stored, logged, answered.

A request that is let in leaves event, decisions, kept answers and log row in one transaction, and is answered after
its commit. One that is refused leaves its log row alone. The rate is counted in that same transaction, under a lock,
so all other checks are made ahead of it: nothing that takes long happens while others wait.
"""

import hashlib
import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import Error as DatabaseProblem
from django.db import IntegrityError, transaction

from apps.core import sql
from apps.core.api import idempotency
from apps.core.api.handler import translate
from apps.core.api.idempotency import KeyReused, StillRunning
from apps.core.collisions import despite_others
from apps.core.errors import AttuneError, NotFound
from apps.events.models import Trigger, WebhookEventLog
from apps.events.services import EventRequest, store_event
from apps.events.webhooks import bodies, failures
from apps.events.webhooks.bodies import Wrapped
from apps.events.webhooks.examining import SOURCE, Accepted, Examination, body_within_limit
from apps.events.webhooks.rates import Counter, RateExceeded
from apps.events.webhooks.requests import Delivery

logger = logging.getLogger(__name__)


class UnknownKey(NotFound):
    """Invalid webhook key"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a sender is told: a JSON body, and whether it was told so before."""

    body: Any
    replayed: bool = False


def receive(delivery: Delivery) -> Answer:
    """Answer a request once what it brings is stored for good. Raises the refusal."""
    trigger = Trigger.objects.filter(webhook_key=delivery.key).first()
    if trigger is None:
        body = body_within_limit(delivery)
        if not delivery.to_raw_url:
            bodies.unwrapped(body)
        raise UnknownKey
    return received(trigger, delivery)


def received(trigger: Trigger, delivery: Delivery) -> Answer:
    """Answer a request whose key is that of this trigger, see ``receive``."""
    return _Reception(Examination(trigger, delivery)).answer()


class _Reception:
    """A request whose key is known."""

    def __init__(self, examination: Examination) -> None:
        self.examination = examination
        self.trigger = examination.trigger
        self.delivery = examination.delivery
        self.counter: Counter | None = None
        if limit := examination.config.rate:
            self.counter = Counter(
                limit=limit,
                trigger_id=self.trigger.pk,
                webhook_key=examination.shown_key,
                source_ip=self.delivery.source_ip,
            )

    def answer(self) -> Answer:
        try:
            wrapped = self.examination.ahead_of_rate()
        except AttuneError as refusal:
            self._log(refusal)
            raise
        settled = self._settled(*self._examined(wrapped))
        if isinstance(settled, AttuneError):
            raise settled
        return settled

    def _examined(self, wrapped: Wrapped | None) -> tuple[Accepted | None, AttuneError | None]:
        """Return what the request brings, or why it is refused."""
        try:
            if self.counter is not None:
                self.counter.check()  # what is over the rate already costs no more; counted for good in the end
            return self.examination.behind_rate(wrapped), None
        except AttuneError as refusal:
            return None, refusal

    def _settled(self, accepted: Accepted | None, refusal: AttuneError | None) -> Answer | AttuneError:
        """Store what there is to store; return the answer or the refusal, of which the log row is there for good."""
        try:
            return despite_others(partial(self._settled_alone, accepted, refusal))
        except StillRunning as still_running:
            return self._settled(None, still_running)
        except IntegrityError as error:
            if not Trigger.objects.filter(pk=self.trigger.pk).exists():
                raise UnknownKey from None  # the trigger was deleted meanwhile, and its log with it
            self._log_failure(error)
            raise
        except Exception as error:
            self._log_failure(error)
            raise

    def _settled_alone(self, accepted: Accepted | None, refusal: AttuneError | None) -> Answer | AttuneError:
        with idempotency.only_one(accepted.guards if accepted else ()):
            return self._settled_here(accepted, refusal)

    def _settled_here(self, accepted: Accepted | None, refusal: AttuneError | None) -> Answer | AttuneError:
        if self.counter is not None and not isinstance(refusal, RateExceeded):
            self.counter.lock()
            try:
                self.counter.check()
            except RateExceeded as exceeded:
                return self._refused(exceeded)
        if accepted is None:
            assert refusal is not None
            return self._refused(refusal)
        try:
            kept = idempotency.kept_answer(accepted.guards)
        except KeyReused as reused:
            return self._refused(reused)
        if kept is not None:
            self._log_row(200, event_id=kept.body["data"]["event_id"])
            return Answer(body=kept.body, replayed=True)
        return self._stored(accepted)

    def _stored(self, accepted: Accepted) -> Answer:
        if accepted.challenge is not None:
            self._log_row(200)
            return Answer(body=accepted.challenge)
        event = store_event(
            EventRequest(
                trigger=self.trigger,
                payload=accepted.payload,
                config=accepted.config,
                source_ref=SOURCE,
                idempotency_key=self.examination.findings.idempotency_key,
            )
        )
        told = {
            "event_id": event.pk,
            "trigger_ref": self.trigger.ref,
            "received_at": self.delivery.received_text,
            "message": "Webhook received successfully",
        }
        if accepted.guards:
            idempotency.keep(accepted.guards, status=200, body={"data": told})
        self._log_row(200, event_id=event.pk)
        return Answer(body={"data": told})

    def _refused(self, refusal: AttuneError) -> AttuneError:
        self._log_row(refusal.status, refusal=refusal)
        if self.examination.findings.hmac_verified is False:
            failures.tell(self.trigger)
        return refusal

    # --- The request log -------------------------------------------------------------------------------------

    def _log(self, refusal: AttuneError) -> None:
        with transaction.atomic():
            self._log_row(refusal.status, refusal=refusal)

    def _log_failure(self, error: Exception) -> None:
        """Write the row of a request that could not be settled, where that is still possible."""
        try:
            self._log(translate(error))
        except DatabaseProblem:
            logger.warning("A request to the webhook of %s could not be logged", self.trigger.ref)

    def _log_row(self, status: int, *, event_id: int | None = None, refusal: AttuneError | None = None) -> None:
        delivery, findings = self.delivery, self.examination.findings
        row = {
            "trigger_id": self.trigger.pk,
            "trigger_ref": self.trigger.ref,
            "webhook_key": self.examination.shown_key,
            "event_id": event_id,
            "source_ip": delivery.source_ip,
            "user_agent": delivery.user_agent,
            "payload_size_bytes": delivery.size,
            "headers": findings.headers,
            "status_code": status,
            "error_message": None if refusal is None else refusal.message,
            "processing_time_ms": round((time.monotonic() - delivery.began) * 1000),
            "hmac_verified": findings.hmac_verified,
            "rate_limited": isinstance(refusal, RateExceeded),
            "ip_allowed": findings.ip_allowed,
            "idempotency_key": findings.idempotency_key,
            "body_sha256": None if delivery.body is None else hashlib.sha256(delivery.body).hexdigest(),
        }
        sql.insert(WebhookEventLog, [row])
