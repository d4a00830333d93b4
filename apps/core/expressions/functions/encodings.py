"""Functions that turn values into another notation and back, and the time."""

import base64
import binascii
import hashlib
import json
import math
import re
from datetime import UTC
from typing import Any
from urllib.parse import quote, quote_plus

from apps.core.expressions.budget import MAX_ITEMS, Run, check_text_size
from apps.core.expressions.errors import ExpressionError, LimitExceeded
from apps.core.expressions.functions.base import Function, text, wrong
from apps.core.expressions.values import json_form, string_form

MAX_JSON_NESTING = 200  # as in the body of a request
# To the end of the text where the end is missing, or each quote would be read on from anew.
_JSON_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_KEPT_IN_URL = re.compile(rb"[A-Za-z0-9_.~/-]+")
_KEPT_IN_QUERY = re.compile(rb"[A-Za-z0-9_.~ -]+")
_NOT_STORED = re.compile("[\x00\ud800-\udfff]")


def to_json(run: Run, value: Any) -> str:
    return "null" if value is None else _json_of(run, value)


def _json_of(run: Run, value: Any) -> str:
    written = json_form(run, value)
    check_text_size(len(written))
    return written


def from_json(run: Run, value: Any) -> Any:
    """Return the value that JSON text says. What the API would refuse in a body is refused here too."""
    check_text_size(len(text(value)))
    run.charge(len(value) // 16)
    bare = _JSON_STRING.sub("", value)
    run.charge(bare.count(",") // 2 + bare.count("[") + bare.count("{"))
    if bare.count(",") >= MAX_ITEMS:
        raise LimitExceeded(f"the JSON has more than {MAX_ITEMS:,} values")
    _check_nesting(bare)
    try:
        read = json.loads(value, parse_constant=_no_constant, parse_float=_float)
    except json.JSONDecodeError as error:
        raise ExpressionError(f"the string is no JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:  # also integers of more than 4300 digits
        raise ExpressionError(f"the string is no JSON: {error}") from None
    if "\\u" in value and _NOT_STORED.search(json.dumps(read, ensure_ascii=False).replace("\\u0000", "\x00")):
        raise ExpressionError("the JSON holds U+0000 or half a surrogate pair")
    return read


def _check_nesting(bare: str) -> None:
    if bare.count("[") + bare.count("{") <= MAX_JSON_NESTING:
        return
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", bare):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_JSON_NESTING:
            raise LimitExceeded(f"the JSON is nested deeper than {MAX_JSON_NESTING}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is none")


def _float(written: str) -> float:
    found = float(written)
    if not math.isfinite(found):
        raise ValueError("a number is too large")
    return found


def now(run: Run) -> str:
    return run.now().astimezone(UTC).isoformat().replace("+00:00", "Z")


def sha256(run: Run, value: Any) -> str:
    return hashlib.sha256(_bytes(run, value)).hexdigest()


def base64_encode(run: Run, value: Any) -> str:
    check_text_size((len(text(value)) + 2) // 3 * 4)
    encoded = _bytes(run, value)
    check_text_size((len(encoded) + 2) // 3 * 4)
    return base64.b64encode(encoded).decode()


def base64_decode(run: Run, value: Any) -> str:
    """Return the text whose UTF-8 bytes a string encodes, in either alphabet, padded or not."""
    run.charge_text(len(text(value)) * 2)
    compact = "".join(value.split()).rstrip("=")
    try:
        decoded = base64.b64decode(
            compact.replace("-", "+").replace("_", "/") + "=" * (-len(compact) % 4), validate=True
        ).decode()
    except (binascii.Error, ValueError):
        raise ExpressionError("the string is no base64 of a text in UTF-8") from None
    if "\x00" in decoded:
        raise ExpressionError("the text holds U+0000")
    check_text_size(len(decoded))
    return decoded


def urlencode(run: Run, value: Any) -> str:
    """Return a string for a URL, its slashes kept, or an object as query string."""
    if value.__class__ is dict:
        run.charge(4 * len(value))
        parts = (f"{_quoted(run, key, query=True)}={_quoted(run, value[key], query=True)}" for key in sorted(value))
        return _joined(parts)
    if value.__class__ is list or value is None:
        raise wrong("a string, a number, a boolean or an object", value)
    return _quoted(run, value, query=False)


def _joined(parts: Any) -> str:
    size, found = 0, []
    for part in parts:
        size += len(part) + 1
        check_text_size(size)
        found.append(part)
    return "&".join(found)


def _quoted(run: Run, value: Any, *, query: bool) -> str:
    encoded = _bytes(run, string_form(run, value))
    run.charge(len(encoded) // 32)  # byte by byte
    kept = _KEPT_IN_QUERY if query else _KEPT_IN_URL
    check_text_size(len(encoded) + 2 * len(kept.sub(b"", encoded)))
    return quote_plus(encoded, safe="") if query else quote(encoded)


def _bytes(run: Run, value: Any) -> bytes:
    run.charge_text(len(text(value)) * 2)
    try:
        return value.encode()  # type: ignore[no-any-return]  # a string
    except UnicodeEncodeError:
        raise ExpressionError("the string holds half a surrogate pair") from None


ENCODINGS = {
    "to_json": Function(to_json, 1, 1),
    "from_json": Function(from_json, 1, 1),
    "now": Function(now, 0, 0),
    "sha256": Function(sha256, 1, 1),
    "base64_encode": Function(base64_encode, 1, 1),
    "base64_decode": Function(base64_decode, 1, 1),
}
ENCODING_FILTERS = {
    "tojson": ENCODINGS["to_json"],
    "urlencode": Function(urlencode, 1, 1),
}
