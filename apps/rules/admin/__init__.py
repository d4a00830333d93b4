"""The console's pages of events and rules: what happened, what was decided, why, and what came of it."""

from apps.rules.admin import events, records, rules

__all__ = ["events", "records", "rules"]
