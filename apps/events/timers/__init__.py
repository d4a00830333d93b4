"""
Timers (events.md section 9): one row per rule of a timer trigger, and what fires them.

``arm`` and ``disarm`` belong to the transaction that changes a rule; ``fire_due`` and ``pending`` are the scheduler's,
which waits on ``bell`` between them. When a timer fires is decided in ``apps.events.schedules``.
"""

from apps.events.timers.arming import arm, disarm, hold
from apps.events.timers.bell import bell
from apps.events.timers.firing import fire_due, next_due_seconds, pending
from apps.events.timers.kinds import KIND_OF_TRIGGER

__all__ = ["KIND_OF_TRIGGER", "arm", "bell", "disarm", "fire_due", "hold", "next_due_seconds", "pending"]
