"""What the audit trail never keeps: values of fields that are named like secrets, texts that look like tokens or keys."""

import json
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
MOST_DETAIL_BYTES = 8 * 1024
LONGEST_TEXT = 1000
# Once details are too large as they are, their texts and lists are cut to this.
_SHORT_TEXT, _SHORT_LIST = 100, 10
_DEEPEST = 20

_SECRET_WORDS = re.compile(
    "passw|passphrase|pwd|secret|token|authorization|cookie|credential|apikey|privatekey|bearer|signature"
)
_SECRET_ENDINGS = ("value", "values")  # of keys
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]")

_SECRET_TEXT = (
    (re.compile(r"(?<=://)([^\s:/@]*):[^\s@/]+@"), rf"\1:{MASK}@"),  # user:password@ of a URL
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"), rf"\1 {MASK}"),
    (re.compile(r"\battune_it_[\w-]+"), MASK),  # an integration token
    (re.compile(r"\bwh_[0-9A-Za-z]{6,}"), MASK),  # the key of a webhook
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.?[\w-]*"), MASK),  # a JWT
)
# What at least one of them begins with; most texts have none of it, and every request has a few texts.
_MAYBE_SECRET = re.compile("://|attune_it_|wh_|eyJ|[Bb][Ee][Aa][Rr][Ee][Rr]|[Bb][Aa][Ss][Ii][Cc]")
# Whatever follows, but for the verbs of a trigger's webhook: a mistyped key is as good as a key.
_WEBHOOK_KEY = re.compile(r"(?i)(/webhooks/+)(?!(?:enable|disable|regenerate|deliveries)$)([^/]+)")


def masked_text(text: str, limit: int = LONGEST_TEXT) -> str:
    """Return the text without what looks like a secret, and without characters that PostgreSQL does not take."""
    if _MAYBE_SECRET.search(text):
        for pattern, replacement in _SECRET_TEXT:
            text = pattern.sub(replacement, text)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def masked_path(path: str) -> str:
    """Return the path of a request with the keys of webhooks hidden."""
    return masked_text(_WEBHOOK_KEY.sub(rf"\1{MASK}", path) if "/webhooks/" in path.lower() else path)


def masked_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return details fit for the trail: no secrets, plain JSON, at most ``MOST_DETAIL_BYTES``."""
    if not details:
        return {}
    clean: dict[str, Any] = _masked(details, 0)
    if _size(clean) <= MOST_DETAIL_BYTES:
        return clean
    cut = {**_cut(clean), "truncated": True}
    if _size(cut) <= MOST_DETAIL_BYTES:
        return cut
    return {"truncated": True, "fields": [name[:_SHORT_TEXT] for name in list(clean)[:_SHORT_LIST]]}


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _is_secret(name: str) -> bool:
    plain = _NOT_OF_A_NAME.sub("", name.lower())
    return plain.endswith(_SECRET_ENDINGS) or _SECRET_WORDS.search(plain) is not None


def _masked(value: Any, depth: int) -> Any:
    match value:
        case None | bool() | int() | float():
            return value if not isinstance(value, float) or value - value == 0 else str(value)  # no NaN, no infinity
        case str():
            return masked_text(value)
        case Mapping():
            if depth >= _DEEPEST:
                return MASK
            return {masked_text(str(name)): _of_field(str(name), inner, depth) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            if depth >= _DEEPEST:
                return MASK
            return [_masked(inner, depth + 1) for inner in value]
        case _:
            return masked_text(str(value))


def _of_field(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool) or not _is_secret(name):
        return _masked(value, depth + 1)
    return MASK


def _cut(value: Any) -> Any:
    match value:
        case str() if len(value) > _SHORT_TEXT:
            return f"{value[: _SHORT_TEXT - 3]}..."
        case dict():
            return {name[:_SHORT_TEXT]: _cut(inner) for name, inner in value.items()}
        case list() if len(value) > _SHORT_LIST:
            return [*map(_cut, value[:_SHORT_LIST]), f"... {len(value) - _SHORT_LIST} more"]
        case list():
            return list(map(_cut, value))
        case _:
            return value
