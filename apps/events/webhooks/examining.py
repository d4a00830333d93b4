"""
The checks of a request that need no database, in their order, and what a request brings that passed them.

``ahead_of_rate`` and ``behind_rate`` are two calls, since the rate is counted in between (events.md 10.2, 10.4).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings

from apps.core.api.idempotency import Guard, checked_key
from apps.core.errors import BadRequest, Forbidden
from apps.events.models import Trigger
from apps.events.webhooks import bodies, config, presets, secrets, signatures, traces, window
from apps.events.webhooks.bodies import Wrapped
from apps.events.webhooks.config import WebhookConfig
from apps.events.webhooks.requests import Delivery
from apps.events.webhooks.services import WebhooksDisabled
from apps.events.webhooks.signatures import Sent, Verified

SOURCE = "webhook"  # source_ref of the events
_SHORTEST_SECRET = 8  # a shorter one is found in any header
# A signed time may lie a window ahead, and its signature must not be forgotten before it lies a window behind.
_SIGNATURES_KEPT_FOR = timedelta(seconds=2 * config.LONGEST_REPLAY_WINDOW_SECONDS)


class TooLarge(BadRequest):
    """Payload too large"""

    def __init__(self, limit_kb: int) -> None:
        super().__init__(f"Payload too large. Maximum size: {limit_kb} KB")


class RawDisabled(BadRequest):
    """Raw mode is switched off for this webhook"""


class AddressRefused(Forbidden):
    """This address may not send to this webhook"""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What a request brings that passed every check but those that need the database."""

    payload: Any
    config: Mapping[str, Any]
    guards: tuple[Guard, ...] = ()  # what it is known by, should it come again
    challenge: Mapping[str, Any] | None = None  # to be given back instead of storing an event


@dataclass
class Findings:
    """What the checks found so far, for the log row."""

    hmac_verified: bool | None = None
    ip_allowed: bool | None = None
    idempotency_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def body_within_limit(delivery: Delivery) -> bytes:
    """Return the body. Raises TooLarge for one above the server's own limit."""
    if delivery.body is None:
        raise TooLarge(settings.WEBHOOK_MAX_BODY_BYTES // 1024)
    return delivery.body


class Examination:
    """One request, held against what its trigger asks for."""

    def __init__(self, trigger: Trigger, delivery: Delivery) -> None:
        self.trigger = trigger
        self.delivery = delivery
        self.config: WebhookConfig = config.read(secrets.config_of(trigger))
        self.shown_key = traces.shortened(delivery.key)
        self.findings = Findings(headers=self._kept_headers())
        self._is_raw = delivery.to_raw_url or self.config.plain_url

    def ahead_of_rate(self) -> Wrapped | None:
        """Check body, switch, size and address; return what a wrapped body says, None in raw mode."""
        body = body_within_limit(self.delivery)
        wrapped = None if self._is_raw else bodies.unwrapped(body)
        if not self.trigger.webhook_enabled:
            raise WebhooksDisabled
        if self.delivery.to_raw_url and not self.config.raw_enabled:
            raise RawDisabled
        if len(body) > self.config.size_limit_kb * 1024:
            raise TooLarge(self.config.size_limit_kb)
        self.findings.ip_allowed = self.config.allows(self.delivery.address)
        if self.findings.ip_allowed is False:
            raise AddressRefused
        return wrapped

    def behind_rate(self, wrapped: Wrapped | None) -> Accepted:
        """Check signature and time window, and return what the request brings."""
        verified = self._within_window(self._verified())
        if wrapped is not None:
            return self._accepted(wrapped.payload, verified, wrapped)
        payload = bodies.decoded(
            body_within_limit(self.delivery),
            content_type=self.delivery.headers.get("content-type", ""),
            content_encoding=self.delivery.headers.get("content-encoding", ""),
        )
        return self._accepted(payload, verified, None)

    def _verified(self) -> Verified:
        if self.config.signing is None:
            return Verified()
        self.findings.hmac_verified = False
        asked = self.config.replay
        verified = signatures.check(
            self.config.signing,
            Sent(headers=self.delivery.headers, body=body_within_limit(self.delivery)),
            self.delivery.received_at,
            timestamp_header=asked.timestamp_header if asked is not None and asked.enabled else None,
        )
        self.findings.hmac_verified = True
        return verified

    def _within_window(self, verified: Verified) -> Verified:
        """Check the time, the signed one where there is one; return what still counts of the signature."""
        asked, now = self.config.replay, self.delivery.received_at
        if asked is None:
            if verified.timestamp is not None:  # a preset whose sender signs the time
                window.check(verified.timestamp, now=now, window_seconds=config.DEFAULT_REPLAY_WINDOW_SECONDS)
            return verified
        if not asked.enabled:
            return Verified()
        timestamp = verified.timestamp
        if timestamp is None:
            timestamp = self.delivery.headers.get(asked.timestamp_header.lower())
        window.check(timestamp, now=now, window_seconds=asked.window_seconds)
        return verified

    def _accepted(self, payload: Any, verified: Verified, wrapped: Wrapped | None) -> Accepted:
        if self.config.preset == "slack" and wrapped is None and _is_challenge(payload):
            return Accepted(payload=payload, config={}, challenge={"challenge": payload["challenge"]})
        explicit = self._explicit_key(wrapped)
        delivery_id = presets.delivery_id_of(
            self.config.preset, self.config.delivery_id, self.delivery.headers, payload
        )
        self.findings.idempotency_key = explicit or delivery_id
        scope = f"webhook:{self.trigger.pk}"
        guards = []
        if verified.identity is not None:
            guards.append(_guard(f"{scope} signature", verified.identity, at_least=_SIGNATURES_KEPT_FOR))
        if explicit is not None:
            hashed = _hash_of([payload, wrapped.sent if wrapped is not None else self.delivery.query])
            guards.append(_guard(scope, explicit, request_hash=hashed))
        elif delivery_id is not None:
            guards.append(_guard(f"{scope} delivery", delivery_id))
        known = self._known_raw(payload, delivery_id) if wrapped is None else wrapped.sent
        return Accepted(payload=payload, config=self._event_config(known), guards=tuple(guards))

    def _explicit_key(self, wrapped: Wrapped | None) -> str | None:
        """Return the Idempotency-Key that the caller named. Raises BadRequest for none that could be one, and for two."""
        in_header = self.delivery.headers.get("idempotency-key")
        if self.config.preset == "gitlab" and self.config.delivery_id is None:
            in_header = None  # Gitlab's own name for a delivery, and no promise about its content
        named = {in_header, wrapped.idempotency_key if wrapped is not None else None} - {None}
        if len(named) > 1:
            raise BadRequest("The header Idempotency-Key and the field idempotency_key name different keys")
        key = next(iter(named), None)
        return None if key is None else checked_key(key)

    def _event_config(self, known: Mapping[str, Any]) -> dict[str, Any]:
        always = {"source": SOURCE, "webhook_key": self.shown_key, "received_at": self.delivery.received_text}
        verified = self.findings.hmac_verified
        return {**always, **known, **({} if verified is None else {"hmac_verified": verified})}

    def _known_raw(self, payload: Any, delivery_id: str | None) -> dict[str, Any]:
        headers = self.delivery.headers
        event_type = presets.event_type_of(self.config.preset, headers, payload)
        return {
            "mode": "raw",
            "method": self.delivery.method,
            "content_type": headers.get("content-type"),
            "headers": self.findings.headers,
            "query": bodies.fields_of(self.delivery.query),
            "source_ip": self.delivery.source_ip,
            "user_agent": self.delivery.user_agent,
            **({} if event_type is None else {"event_type": event_type}),
            **({} if delivery_id is None else {"delivery_id": delivery_id}),
        }

    def _kept_headers(self) -> Mapping[str, str]:
        signing = self.config.signing
        values = (signing.secret, signing.previous_secret) if signing else ()
        return traces.kept_headers(
            self.delivery.headers,
            withheld=[signing.header] if signing and signing.header else [],
            secret_values=[value for value in values if value and len(value) >= _SHORTEST_SECRET],
        )


def _guard(scope: str, key: str, *, request_hash: str = "", at_least: timedelta = timedelta(0)) -> Guard:
    return Guard(scope=scope, key=key, request_hash=request_hash, at_least=at_least)


def _is_challenge(payload: Any) -> bool:
    return isinstance(payload, dict) and payload.get("type") == "url_verification" and "challenge" in payload


def _hash_of(content: Any) -> str:
    """Return the hash of what counts as the same content: JSON whatever its spacing and key order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
