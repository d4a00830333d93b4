"""One event on its way into the trail."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.identity.audit.chains import Link


@dataclass(frozen=True, slots=True)
class Entry:
    """The columns of a row, when it happened on this machine's clock, and where its chain starts."""

    at: datetime
    columns: dict[str, Any]
    links: tuple[Link, ...] = field(default=())
