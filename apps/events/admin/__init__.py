"""
The console's pages of triggers, sensors, timers and webhook requests.

Those of events stand in the rules app: what matters on them is what rules decided.
"""

from apps.events.admin import sensors, timers, triggers, webhooks

__all__ = ["sensors", "timers", "triggers", "webhooks"]
