"""The secrets of a ``webhook_config``: the one place where they are written, read and hidden."""

from collections.abc import Mapping
from typing import Any

# Where a config has secrets: (section, field).
PLACES = (("hmac", "secret"), ("hmac", "previous_secret"))
MARKER = {"$attune_secret": True, "redacted": True}


def is_marker(value: object) -> bool:
    """Whether the value stands for a secret that is not shown; sent back, it means "keep it"."""
    return isinstance(value, Mapping) and value.get("$attune_secret") is True


def stored(secret: str) -> Any:
    """Return what the column keeps of a secret."""
    return secret


def revealed(value: object) -> str | None:
    """Return the secret that the column keeps, None when there is none that could be used."""
    return value if isinstance(value, str) and value else None


def hidden(value: object) -> Any:
    """Return what a client is shown in place of a secret: the marker, or None where there is none."""
    return dict(MARKER) if value is not None else None
