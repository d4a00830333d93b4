"""The ``config`` of a queue (execution.md section 18): what may stand in it, and how it is read. Pure."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ACK_VERSION = 1
SOURCES = ("literal", "pack_config", "keystore")
DEFAULT = 1  # of concurrency and of the size of a batch
LARGEST = 10_000  # of both: beyond it one transaction would take too long
_LONGEST_DELAY_SECONDS = 86_400
_LARGEST_RETRY_LIMIT = 1_000_000
_LONGEST_TEXT = 1024


@dataclass(frozen=True, kw_only=True)
class Tunable:
    """A number that stands here, in the pack's config, or in a key."""

    source: str = "literal"
    value: int | None = None
    path: str | None = None
    key_ref: str | None = None
    fallback: int | None = None


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """A config as it is used. ``group_by_path`` None with ``coalescing``: all items are one group."""

    concurrency: Tunable = Tunable(value=DEFAULT)
    batch_size: Tunable = Tunable(value=DEFAULT)
    retry_limit: int = 0
    delay_seconds: float = 0.0
    coalescing: bool = False
    group_by_path: str | None = None
    across_priorities: bool = False


def read_config(config: Any) -> QueueConfig:
    """Return a config that ``config_problems`` found good; one that plain SQL made bad counts as an empty one."""
    if not isinstance(config, Mapping) or config_problems(config, batch=True):
        return QueueConfig()
    dispatch = _given(config.get("dispatch") or {})
    coalescing = _given(dispatch.get("coalescing") or {})
    return QueueConfig(
        concurrency=_tunable(dispatch.get("concurrency")),
        batch_size=_tunable(dispatch.get("batch_size")),
        retry_limit=dispatch.get("retry_limit", 0),
        delay_seconds=float(dispatch.get("inter_execution_delay_seconds", 0)),
        coalescing=coalescing.get("enabled", False),
        group_by_path=coalescing.get("group_by_path"),
        across_priorities=coalescing.get("across_priorities", False),
    )


def _tunable(settings: Mapping[str, Any] | None) -> Tunable:
    return Tunable(**_given(settings)) if settings else Tunable(value=DEFAULT)


def count_of(value: Any) -> int | None:
    """Return the number that a value spells, None unless it is a whole one within the limits."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    return value if type(value) is int and 1 <= value <= LARGEST else None


# --- What may stand in it -----------------------------------------------------------------------------------------


def config_problems(config: Mapping[str, Any], *, batch: bool) -> list[str]:
    """Return what is wrong, as sentences that name the key; nothing when it can be used."""
    return list(_problems(config, batch=batch))


def _problems(config: Mapping[str, Any], *, batch: bool) -> Iterator[str]:
    yield from _fields("config", config, {"dispatch": _object, "ack_contract": _object})
    dispatch = config.get("dispatch")
    if isinstance(dispatch, Mapping):
        yield from _fields("config.dispatch", dispatch, _DISPATCH)
        for name in ("concurrency", "batch_size"):
            if isinstance(dispatch.get(name), Mapping):
                yield from _tunable_problems(f"config.dispatch.{name}", dispatch[name])
        if isinstance(dispatch.get("coalescing"), Mapping):
            yield from _fields("config.dispatch.coalescing", dispatch["coalescing"], _COALESCING)
        if not batch:
            for name in ("batch_size", "coalescing"):
                if dispatch.get(name) is not None:
                    yield f"config.dispatch.{name} is allowed only with batch_mode 'batch'"
    contract = config.get("ack_contract")
    if isinstance(contract, Mapping):
        yield from _fields("config.ack_contract", contract, {"version": _version})


def _tunable_problems(place: str, settings: Mapping[str, Any]) -> Iterator[str]:
    yield from _fields(place, settings, _TUNABLE)
    needed = {"literal": "value", "pack_config": "path", "keystore": "key_ref"}
    source = settings.get("source")
    if source is None:
        yield f"{place}.source is required"
    elif source in SOURCES and settings.get(needed[source]) is None:
        yield f"{place}.{needed[source]} is required with source '{source}'"


_Check = Callable[[Any], str]


def _fields(place: str, settings: Mapping[str, Any], known: Mapping[str, _Check]) -> Iterator[str]:
    """Yield what is wrong with the members of an object; null means the same as no member."""
    for name, value in _given(settings).items():
        if name not in known:
            yield f"{place}.{name} is unknown; known are {', '.join(known)}"
        elif problem := known[name](value):
            yield f"{place}.{name} {problem}"


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in settings.items() if value is not None}


def _object(value: Any) -> str:
    return "" if isinstance(value, Mapping) else "must be an object"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _text(value: Any) -> str:
    fits = isinstance(value, str) and 1 <= len(value.strip()) <= _LONGEST_TEXT and "\0" not in value
    return "" if fits else f"must be a text of 1 to {_LONGEST_TEXT} characters"


def _source(value: Any) -> str:
    return "" if isinstance(value, str) and value in SOURCES else f"must be one of {', '.join(SOURCES)}"


def _count(value: Any) -> str:
    return "" if type(value) is int and 1 <= value <= LARGEST else f"must be a whole number from 1 to {LARGEST}"


def _limit(value: Any) -> str:
    fits = type(value) is int and 0 <= value <= _LARGEST_RETRY_LIMIT
    return "" if fits else f"must be a whole number from 0 to {_LARGEST_RETRY_LIMIT}"


def _delay(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    fits = is_number and 0 <= value <= _LONGEST_DELAY_SECONDS
    return "" if fits else f"must be a number from 0 to {_LONGEST_DELAY_SECONDS}"


def _version(value: Any) -> str:
    return "" if type(value) is int and value == ACK_VERSION else f"must be {ACK_VERSION}"


_TUNABLE: dict[str, _Check] = {
    "source": _source,
    "value": _count,
    "path": _text,
    "key_ref": _text,
    "fallback": _count,
}
_DISPATCH: dict[str, _Check] = {
    "concurrency": _object,
    "batch_size": _object,
    "retry_limit": _limit,
    "inter_execution_delay_seconds": _delay,
    "coalescing": _object,
}
_COALESCING: dict[str, _Check] = {"enabled": _flag, "group_by_path": _text, "across_priorities": _flag}
