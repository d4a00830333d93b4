"""The ``webhook_config`` of a request, checked key by key (events.md 10.3)."""

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from apps.core.api.fields import Body, Boolean, Integer, Text, TextList
from apps.core.api.query import parse_moment
from apps.events.webhooks import secrets
from apps.events.webhooks.config import (
    ALGORITHMS,
    DEFAULT_ALGORITHM,
    DEFAULT_RATE_WINDOW_SECONDS,
    DEFAULT_REPLAY_WINDOW_SECONDS,
    DEFAULT_TIMESTAMP_HEADER,
    LONGEST_REPLAY_WINDOW_SECONDS,
    parse_network,
)
from apps.events.webhooks.presets import PRESETS

# A rate limit looks at as many rows of the request log as it lets through, and the log is kept for 30 days.
_MOST_REQUESTS, _LONGEST_RATE_WINDOW_SECONDS = 100_000, 2_592_000
_MOST_ADDRESSES = 1000
_LARGEST_LIMIT_KB = 1_048_576
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")


def _refuse_unknown(serializer: serializers.Serializer, data: Any) -> None:
    unknown = sorted(set(data) - set(serializer.fields)) if isinstance(data, dict) else []
    if unknown:
        raise ValidationError({name: [ErrorDetail("This key is not known.", code="unknown")] for name in unknown})


class _Section(Body):
    def to_internal_value(self, data: Any) -> Any:
        _refuse_unknown(self, data)
        return super().to_internal_value(data)


class _HeaderName(Text):
    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        if not _HEADER_NAME.fullmatch(name):
            raise ValidationError("Must be the name of a header.")
        return name


class _Network(Text):
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if parse_network(text) is None:
            raise ValidationError("Must be an address or a range such as 10.0.0.0/8.")
        return text


class _Networks(TextList):
    child = _Network()


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object", "enum": [secrets.MARKER]}]})
class _Secret(Text):
    """A text, or the marker that stands for the stored one."""

    def to_internal_value(self, data: Any) -> Any:
        return dict(secrets.MARKER) if secrets.is_marker(data) else super().to_internal_value(data)


class _Moment(Text):
    def to_internal_value(self, data: Any) -> str:
        found = parse_moment(super().to_internal_value(data))
        if found is None:
            raise ValidationError("Must be a time such as 2026-01-31T12:00:00Z.")
        return found.isoformat().replace("+00:00", "Z")


class _IPWhitelist(_Section):
    enabled = Boolean(default=True)
    ips = _Networks(max_length=_MOST_ADDRESSES, help_text="Addresses and CIDR ranges, IPv4 and IPv6.")


class _RateLimit(_Section):
    enabled = Boolean(default=True)
    requests = Integer(max_value=_MOST_REQUESTS)
    window_seconds = Integer(max_value=_LONGEST_RATE_WINDOW_SECONDS, default=DEFAULT_RATE_WINDOW_SECONDS)


class _HMAC(_Section):
    enabled = Boolean(default=True)
    secret = _Secret(max_length=1000, required=False, help_text="Write-only.")
    secret_key_ref = Text(max_length=255, required=False, help_text="The key whose value is the secret.")
    algorithm = serializers.ChoiceField(choices=ALGORITHMS, default=DEFAULT_ALGORITHM)
    header = _HeaderName(required=False)
    previous_secret = _Secret(max_length=1000, required=False, help_text="Write-only.")
    previous_secret_expires_at = _Moment(required=False)

    def validate(self, attrs: Any) -> Any:
        if "previous_secret" in attrs and "previous_secret_expires_at" not in attrs:
            raise ValidationError({"previous_secret_expires_at": "Says until when previous_secret is accepted."})
        return attrs


class _Raw(_Section):
    enabled = Boolean(default=True)
    plain_url = Boolean(default=False)


class _Replay(_Section):
    enabled = Boolean(default=True)
    timestamp_header = _HeaderName(default=DEFAULT_TIMESTAMP_HEADER)
    window_seconds = Integer(
        min_value=1, max_value=LONGEST_REPLAY_WINDOW_SECONDS, default=DEFAULT_REPLAY_WINDOW_SECONDS
    )


class _Idempotency(_Section):
    header = _HeaderName(required=False)
    path = Text(max_length=1000, required=False, help_text="Dotted, in the payload.")

    def validate(self, attrs: Any) -> Any:
        if len(attrs) != 1:
            raise ValidationError({"header": "Give either header or path."})
        return attrs


class WebhookConfigBody(serializers.Serializer):
    """A section that is there replaces that section, null removes it, absent keeps it."""

    payload_size_limit_kb = Integer(min_value=1, max_value=_LARGEST_LIMIT_KB, required=False, allow_null=True)
    ip_whitelist = _IPWhitelist(required=False, allow_null=True)
    rate_limit = _RateLimit(required=False, allow_null=True)
    hmac = _HMAC(required=False, allow_null=True)
    preset = serializers.ChoiceField(choices=sorted(PRESETS), required=False, allow_null=True)
    raw = _Raw(required=False, allow_null=True)
    replay = _Replay(required=False, allow_null=True)
    idempotency = _Idempotency(required=False, allow_null=True)

    def to_internal_value(self, data: Any) -> Any:
        _refuse_unknown(self, data)
        return super().to_internal_value(data)


class WebhookSettingsBody(serializers.Serializer):
    webhook_config = WebhookConfigBody()
