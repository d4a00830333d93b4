"""What a request says: the wrapped body of events.md 10.2, and any body at all in raw mode (10.4)."""

import base64
import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from rest_framework.exceptions import ParseError

from apps.core.api.parsers import loads
from apps.core.errors import AttuneError, BadRequest, UnsupportedMediaType

_MOST_FIELDS = 10_000
_BINARY = "application/octet-stream"
# Texts in these and no others: some codecs take quadratic time, or turn text into something else.
_CHARSETS = frozenset(
    {
        "utf-8", "ascii", "utf-16", "utf-16-le", "utf-16-be", "koi8-r", "koi8-u", "shift_jis", "euc_jp", "iso2022_jp",
        "euc_kr", "gb2312", "gbk", "gb18030", "big5", "iso8859-1",
        *(f"iso8859-{part}" for part in range(2, 17)), *(f"cp{page}" for page in range(1250, 1259)),
    }
)  # fmt: skip


class InvalidPayload(BadRequest):
    """Invalid JSON payload"""

    def __init__(self, why: str) -> None:
        super().__init__(f"Invalid JSON payload: {why}")


class UnknownEncoding(UnsupportedMediaType):
    """The body must be sent without Content-Encoding"""


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    """A body that wraps the payload; ``sent`` holds those of headers, source_ip and user_agent that were there."""

    payload: Any
    sent: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None


def unwrapped(body: bytes) -> Wrapped:
    """Return what the body of events.md 10.2 says. Raises InvalidPayload."""
    if not body.strip():
        raise InvalidPayload("the body is empty")
    value = _json(body)
    if not isinstance(value, dict):
        raise InvalidPayload("the body must be a JSON object")
    if "payload" not in value:
        raise InvalidPayload("missing field 'payload'")
    for name in ("source_ip", "user_agent", "idempotency_key"):
        if value.get(name) is not None and not isinstance(value[name], str):
            raise InvalidPayload(f"'{name}' must be a string")
    sent = {name: value[name] for name in ("headers", "source_ip", "user_agent") if value.get(name) is not None}
    return Wrapped(payload=value["payload"], sent=sent, idempotency_key=value.get("idempotency_key"))


def decoded(body: bytes, *, content_type: str, content_encoding: str = "") -> Any:
    """Return the payload that a whole body is. Raises InvalidPayload, or UnknownEncoding for a packed body."""
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise UnknownEncoding
    if not body:
        return {}
    kind, charset = _kind_of(content_type)
    if _is_json(kind):
        return _json(body)
    if not kind:
        return _guessed(body)
    if kind == "application/x-www-form-urlencoded":
        return _form(body)
    if kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml"):
        return {"text": _text(body, charset)}
    return {"base64": base64.b64encode(body).decode(), "content_type": content_type}


def fields_of(text: str) -> dict[str, Any]:
    """Return the fields of a form or a query string; a repeated name gives an array. Raises BadRequest."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadRequest(f"There are more than {_MOST_FIELDS} fields") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        _refuse_nul(name, value)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _kind_of(content_type: str) -> tuple[str, str]:
    """Return media type and charset, in lower case, "" for what is not said."""
    message = Message()
    message["content-type"] = content_type.replace("\r", " ").replace("\n", " ")
    kind = content_type.partition(";")[0].strip().lower()
    charset = message.get_param("charset", "")
    return kind, charset if isinstance(charset, str) else ""


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _json(body: bytes) -> Any:
    try:
        return loads(body)
    except ParseError as error:
        raise InvalidPayload(str(error.detail).removeprefix("The request body is not JSON: ")) from None
    except AttuneError as error:
        raise InvalidPayload(error.message) from None


def _guessed(body: bytes) -> Any:
    """Return the payload of a body that does not say what it is."""
    try:
        return loads(body)
    except ParseError:
        pass
    except AttuneError as error:  # JSON it is, but none that could be kept
        raise InvalidPayload(error.message) from None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:
        return {"base64": base64.b64encode(body).decode(), "content_type": _BINARY}
    return {"text": text}


def _form(body: bytes) -> Any:
    found = fields_of(body.decode("utf-8", "replace"))
    only = found.get("payload") if len(found) == 1 else None
    if not isinstance(only, str):
        return found
    try:
        return loads(only.encode())
    except ParseError:
        return found
    except AttuneError as error:
        raise InvalidPayload(error.message) from None


def _text(body: bytes, charset: str) -> str:
    try:
        name = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        name = "utf-8"
    text = body.decode(name if name in _CHARSETS else "utf-8", "replace").removeprefix("\ufeff")
    _refuse_nul(text)
    return text


def _refuse_nul(*texts: str) -> None:
    if any("\x00" in text for text in texts):
        raise BadRequest("Text with the character U+0000 cannot be stored")
