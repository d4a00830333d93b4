"""
What a trigger's ``webhook_config`` asks for, read as it stands in the column, whoever wrote it there; its secrets
are put in ahead of that (``secrets.config_of``).

Reading never fails. What cannot be understood is decided for safety: a check that is there with wrong values admits
nobody, and a section that is there counts unless it says ``enabled: false``. Unknown keys are ignored.
"""

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.api.client import Address, Network
from apps.core.api.query import parse_moment

DEFAULT_SIZE_LIMIT_KB = 1024
DEFAULT_RATE_WINDOW_SECONDS = 60
DEFAULT_REPLAY_WINDOW_SECONDS = 300
# A time may lie that far ahead or behind, so its signature is remembered for twice as long.
LONGEST_REPLAY_WINDOW_SECONDS = 43_200
DEFAULT_TIMESTAMP_HEADER = "X-Webhook-Timestamp"
DEFAULT_ALGORITHM = "sha256"
ALGORITHMS = ("sha256", "sha512", "sha1")

_FIRST_MAPPED = 96  # bits: ::ffff:0:0/96 is the IPv6 form of all of IPv4


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    requests: int
    window_seconds: int


@dataclass(frozen=True, kw_only=True)
class Signing:
    """The check of signatures. Without a preset ``algorithm`` and ``header`` (None: the usual two) count."""

    preset: str | None = None
    algorithm: str = DEFAULT_ALGORITHM
    header: str | None = None
    secret: str | None = None
    secret_key_ref: str | None = None
    previous_secret: str | None = None
    previous_secret_expires_at: datetime | None = None

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that count; of a Key that cannot be had, there is none."""
        if self.secret is None:
            return ()
        expires_at = self.previous_secret_expires_at
        if self.previous_secret is None or expires_at is None or expires_at <= now:
            return (self.secret,)
        return (self.secret, self.previous_secret)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The time window. ``enabled`` False switches off a preset's own."""

    enabled: bool = True
    timestamp_header: str = DEFAULT_TIMESTAMP_HEADER
    window_seconds: int = DEFAULT_REPLAY_WINDOW_SECONDS


@dataclass(frozen=True, kw_only=True)
class DeliveryIdPlace:
    """Where the sender puts the id of a delivery: a header, or a dotted path in the payload."""

    header: str | None = None
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class WebhookConfig:
    """``None`` means: no such check, or (``replay``, ``delivery_id``) what the preset says."""

    size_limit_kb: int = DEFAULT_SIZE_LIMIT_KB
    allowed: tuple[Network, ...] | None = None
    rate: RateLimit | None = None
    signing: Signing | None = None
    raw_enabled: bool = True
    plain_url: bool = False
    replay: Replay | None = None
    delivery_id: DeliveryIdPlace | None = None

    @property
    def preset(self) -> str | None:
        return self.signing.preset if self.signing is not None else None

    def allows(self, address: Address | None) -> bool | None:
        """Whether this client may send; None when nobody asks."""
        if self.allowed is None:
            return None
        if address is None:
            return True
        return any(address in network for network in self.allowed if network.version == address.version)


def read(column: object) -> WebhookConfig:
    """Return what the column asks for."""
    config = column if isinstance(column, Mapping) else {}
    return WebhookConfig(
        size_limit_kb=_positive(config.get("payload_size_limit_kb"), DEFAULT_SIZE_LIMIT_KB),
        allowed=_allowed(config.get("ip_whitelist")),
        rate=_rate(config.get("rate_limit")),
        signing=_signing(config.get("hmac"), config.get("preset")),
        raw_enabled=_raw(config).get("enabled") is not False,
        plain_url=_raw(config).get("plain_url") is True,
        replay=_replay(config.get("replay")),
        delivery_id=_delivery_id(config.get("idempotency")),
    )


def parse_network(text: object) -> Network | None:
    """Return the network of an address or a CIDR range, None when it is neither. IPv4 in its IPv6 form is IPv4."""
    if not isinstance(text, str) or "%" in text:
        return None
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < _FIRST_MAPPED:
        return network
    return ipaddress.ip_network(f"{mapped}/{network.prefixlen - _FIRST_MAPPED}", strict=False)


def _allowed(section: object) -> tuple[Network, ...] | None:
    if not _is_on(section):
        return None
    entries = section.get("ips") if isinstance(section, Mapping) else None
    found = [parse_network(entry) for entry in entries] if isinstance(entries, list) else []
    return tuple(network for network in found if network is not None)


def _rate(section: object) -> RateLimit | None:
    if not isinstance(section, Mapping) or not _is_on(section):
        return None
    requests = _integer(section.get("requests"))
    window = _integer(section.get("window_seconds", DEFAULT_RATE_WINDOW_SECONDS))
    if requests is None or window is None or requests <= 0 or window <= 0:
        return None
    return RateLimit(requests=requests, window_seconds=window)


def _signing(section: object, preset: object) -> Signing | None:
    if preset is None and not _is_on(section):
        return None
    given = section if isinstance(section, Mapping) else {}
    expires_at = given.get("previous_secret_expires_at")
    return Signing(
        preset=None if preset is None else str(preset),
        algorithm=_text(given.get("algorithm")) or DEFAULT_ALGORITHM,
        header=_text(given.get("header")),
        secret=_text(given.get("secret")),
        secret_key_ref=_text(given.get("secret_key_ref")),
        previous_secret=_text(given.get("previous_secret")),
        previous_secret_expires_at=parse_moment(expires_at) if isinstance(expires_at, str) else None,
    )


def _replay(section: object) -> Replay | None:
    if section is None:
        return None
    given = section if isinstance(section, Mapping) else {}
    return Replay(
        enabled=_is_on(section),
        timestamp_header=_text(given.get("timestamp_header")) or DEFAULT_TIMESTAMP_HEADER,
        window_seconds=min(
            _positive(given.get("window_seconds"), DEFAULT_REPLAY_WINDOW_SECONDS), LONGEST_REPLAY_WINDOW_SECONDS
        ),
    )


def _delivery_id(section: object) -> DeliveryIdPlace | None:
    if not isinstance(section, Mapping):
        return None
    place = DeliveryIdPlace(header=_text(section.get("header")), path=_text(section.get("path")))
    return place if place.header or place.path else None


def _raw(config: Mapping[str, Any]) -> Mapping[str, Any]:
    section = config.get("raw")
    return section if isinstance(section, Mapping) else {}


def _is_on(section: object) -> bool:
    if isinstance(section, Mapping):
        return section.get("enabled") is not False
    return section is not None and section is not False


def _integer(value: object) -> int | None:
    match value:
        case bool():
            return None
        case int():
            return value
        case float() if math.isfinite(value):
            return int(value)
        case _:
            return None


def _positive(value: object, default: int) -> int:
    number = _integer(value)
    return number if number is not None and number > 0 else default


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
