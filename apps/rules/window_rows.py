"""The engine's store of windows: rows that change in the event's transaction, so limits hold with any number of processes."""

from datetime import datetime

from django.db import connection

from apps.core import sql
from apps.rules.models import RuleWindow
from apps.rules.windows import Entry, Group, kept_key


class WindowRows:
    """One row for each moment. The lock lasts until the transaction ends."""

    def lock(self, group: Group) -> None:
        if connection.vendor == "postgresql":  # SQLite's one writer is alone as it is
            name = f"rule_window:{group.rule_id}:{group.kind}:{group.key}"
            sql.fetch("SELECT 1 FROM pg_advisory_xact_lock(hashtextextended(%s, 0))", [name.replace("\0", "")])

    def newest(self, group: Group, *, after: datetime, nth: int = 1) -> datetime | None:
        rows = RuleWindow.objects.filter(**_of(group), window_start__gt=after).order_by("-window_start")
        found = rows.values_list("window_start", flat=True)[nth - 1 : nth]
        return next(iter(found), None)

    def count(self, group: Group, *, after: datetime) -> int:
        return RuleWindow.objects.filter(**_of(group), window_start__gt=after).count()

    def entries(self, group: Group, *, after: datetime) -> list[Entry]:
        rows = RuleWindow.objects.filter(**_of(group), window_start__gt=after).order_by("window_start")
        return [Entry(at=at, event_id=ids[0]) for at, ids in rows.values_list("window_start", "last_events")]

    def add(self, group: Group, entry: Entry, *, expires_at: datetime) -> None:
        row = {
            "rule": group.rule_id,
            "kind": group.kind,
            "group_key": kept_key(group.key),
            "window_start": entry.at,
            "count": 1,
            "last_events": [entry.event_id],
            "expires_at": expires_at,
        }
        sql.insert(RuleWindow, [row])

    def clear(self, group: Group) -> None:
        RuleWindow.objects.filter(**_of(group)).delete()


def _of(group: Group) -> dict[str, object]:
    return {"rule": group.rule_id, "kind": group.kind, "group_key": kept_key(group.key)}


def forget_expired(now: datetime) -> int:
    """Delete what no window reaches any more; return how many rows."""
    return RuleWindow.objects.filter(expires_at__lte=now).delete()[0]
