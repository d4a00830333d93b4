"""Reading JSON bodies: strict, bounded, and never a fault of the server."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from apps.core.errors import BadRequest, PayloadTooLarge

MAX_DEPTH = 200  # of objects and lists in each other; PostgreSQL and Python both take far more


class StrictJSONParser(BaseParser):
    """JSON in UTF-8 of at most 10 MiB, without U+0000, lone surrogates, NaN or infinite numbers."""

    media_type = "application/json"

    def limit_bytes(self) -> int:
        """Return the size of the largest body it reads."""
        return settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = self.limit_bytes()
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            size = f"{limit // 1024 // 1024} MiB" if limit % 1024**2 == 0 else f"{limit // 1024} KiB"
            raise PayloadTooLarge(f"The request body is larger than {size}")
        return loads(raw)


class StrictFormParser(MultiPartParser):
    """``multipart/form-data`` whose texts and file names could be stored."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        parsed: Any = super().parse(stream, media_type, parser_context)
        texts = [text for values in parsed.data.lists() for text in (values[0], *values[1])]
        texts += [str(file.name) for file in parsed.files.values()]
        if any("\x00" in text for text in texts):
            raise BadRequest("Text with the character U+0000 cannot be stored")
        return parsed


def loads(raw: bytes) -> Any:
    """Return the JSON value of a request body. Raises ParseError or BadRequest."""
    try:
        text = raw.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise BadRequest(f"The JSON is nested more than {MAX_DEPTH} deep") from None
    except UnicodeDecodeError:
        raise ParseError("The request body is not UTF-8") from None
    except ValueError as error:
        why = "a number has too many digits" if "set_int_max_str_digits" in str(error) else error
        raise ParseError(f"The request body is not JSON: {why}") from None
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(value)
    if "\\u" in text:
        check_text(value)
    return value


def check_text(value: Any) -> None:
    """Raise BadRequest when a string anywhere in the value could not be stored."""
    whole = json.dumps(value, ensure_ascii=False)
    try:
        whole.encode()
    except UnicodeEncodeError:
        raise BadRequest("Text with half a surrogate pair cannot be stored") from None
    if "\\u0000" in whole and _has_nul(value):
        raise BadRequest("Text with the character U+0000 cannot be stored")


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\x00" in value
        case dict():
            return any("\x00" in key or _has_nul(entry) for key, entry in value.items())
        case list():
            return any(_has_nul(entry) for entry in value)
        case _:
            return False


def _check_depth(value: Any) -> None:
    level = [value]
    for _depth in range(MAX_DEPTH):
        level = [inner for entry in level for inner in _members(entry) if isinstance(inner, dict | list)]
        if not level:
            return
    raise BadRequest(f"The JSON is nested more than {MAX_DEPTH} deep")


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number
