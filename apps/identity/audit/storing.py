"""Write entries as rows: short transactions of many rows, each row of which the database takes."""

import logging
from collections.abc import Sequence
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from apps.core import clock, sql
from apps.identity.audit.chains import chains_of
from apps.identity.audit.entry import Entry
from apps.identity.models import AuditEvent

logger = logging.getLogger(__name__)

# Of one transaction: SQLite has one writer at a time, and the product's own writes come first.
MOST_ROWS = 100
_NOT_TAKEN = (DataError, IntegrityError, OverflowError, ValueError, TypeError)


def store(entries: Sequence[Entry]) -> None:
    """Write them in their order. Raises what the database says when it cannot be written just now."""
    for start in range(0, len(entries), MOST_ROWS):
        rows = _rows(entries[start : start + MOST_ROWS])
        try:
            _insert(rows)
        except _NOT_TAKEN:
            for row in rows:
                _insert_anyhow(row)


def _rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    offset = clock.now() - timezone.now()  # `created` is told on the database's clock
    chains = chains_of(entry.links for entry in entries)
    return [
        {"created": entry.at + offset, **entry.columns, "correlation_chain": chain}
        for entry, chain in zip(entries, chains, strict=True)
    ]


def _insert(rows: Sequence[dict[str, Any]]) -> None:
    with transaction.atomic():
        sql.insert(AuditEvent, rows)


def _insert_anyhow(row: dict[str, Any]) -> None:
    """Write a row that others must not wait for; one that the database never takes goes without what is in the way."""
    try:
        _insert([row])
    except _NOT_TAKEN as error:
        logger.error("An audit event of type %s is kept in part only: %s", row["event_type"], type(error).__name__)
        kept = ("created", "category", "event_type", "outcome", "actor_identity", "request_id", "http_status")
        _insert([{**{name: row[name] for name in kept}, "details": {"incomplete": True}}])
