"""The ids of rules that events and firings keep: rules lie above this app, so no foreign key clears them."""

from apps.events.models import Event, TimerFire


def forget_rule(rule_id: int) -> None:
    """Clear the id of a rule that is deleted; its ref stays on events and firings."""
    Event.objects.filter(rule=rule_id).update(rule=None)
    TimerFire.objects.filter(rule=rule_id).update(rule=None)
