"""What the server writes about itself: one line per event, readable on a terminal, JSON elsewhere, no secrets."""

import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|authorization|cookie|encryption_key|credential", re.IGNORECASE
)
_SECRET_TEXT = (
    (re.compile(r"(?<=://)([^\s:/@]*):[^\s@/]+@"), r"\1:***@"),  # user:password@ of a URL
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), r"\1***"),
    (re.compile(r"\battune_it_[\w-]+"), "attune_it_***"),
    (re.compile(r"\b(wh_[0-9a-f]{4})[0-9a-f]{24}([0-9a-f]{4})\b"), r"\1...\2"),  # the key of a webhook
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "***"),  # a JWT
)


def without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what is named like a secret, and what looks like one inside a text."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = "***" if _SECRET_NAME.search(key) else _blanked(value)
    return event


def _blanked(text: str) -> str:
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def logging_config(level: str, *, terminal: bool | None = None) -> dict[str, Any]:
    """Return Django's LOGGING; ``terminal`` decides between lines for people and JSON (None: look at stderr)."""
    terminal = sys.stderr.isatty() if terminal is None else terminal
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    for_whom: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        without_secrets,
        structlog.dev.ConsoleRenderer(
            colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
        if terminal
        else structlog.processors.JSONRenderer(default=str),
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "ours": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": for_whom,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            # Django's own configuration gives them handlers; ours is the root's.
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            # Each refused request (401, 404, 405) would be a warning; only our own faults are news.
            "django.request": {"level": "ERROR"},
            # Chatty at "info" about each request, task and connection; their warnings stay.
            **{
                # Uvicorn's own command takes its lines away from the root's handler; here they come back.
                name: {"level": _at_least_warning(level), "propagate": True}
                for name in ("celery", "kombu", "uvicorn", "psycopg.pool")
            },
        },
    }


def _at_least_warning(level: str) -> str:
    return level.upper() if level in ("debug", "error") else "WARNING"
