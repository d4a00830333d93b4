"""Switching webhooks on and off, their keys and settings."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.core.errors import BadRequest, NotFound
from apps.events.models import Trigger
from apps.events.webhooks import editing, secrets, traces


class WebhooksDisabled(BadRequest):
    """Webhooks are not enabled for this trigger"""


@transaction.atomic
def enable(trigger: Trigger) -> Trigger:
    """Switch the webhook on; a key that is there stays."""
    trigger = _locked(trigger)
    return trigger.set(webhook_enabled=True, webhook_key=trigger.webhook_key or traces.new_key())


@transaction.atomic
def disable(trigger: Trigger) -> Trigger:
    """Switch the webhook off and forget its key: the old URL is dead at once."""
    return _locked(trigger).set(webhook_enabled=False, webhook_key=None)


@transaction.atomic
def regenerate(trigger: Trigger) -> Trigger:
    """Give the webhook another key; the old one is dead at once. Raises WebhooksDisabled."""
    trigger = _locked(trigger)
    if not trigger.webhook_enabled:
        raise WebhooksDisabled(f"Webhooks are not enabled for trigger '{trigger.ref}'")
    return trigger.set(webhook_key=traces.new_key())


@transaction.atomic
def configure(trigger: Trigger, changes: Mapping[str, Any]) -> Trigger:
    """Change sections of the config, see ``editing.edited``. Raises ValidationFailed."""
    trigger = _locked(trigger)
    return secrets.keep(trigger, editing.edited(secrets.kept_config(trigger), changes))


def url_of(trigger: Trigger) -> str | None:
    """Return where senders post to, None while the webhook is off."""
    if not trigger.webhook_enabled or trigger.webhook_key is None:
        return None
    return f"{settings.PUBLIC_API_URL}/api/v1/webhooks/{trigger.webhook_key}"


def _locked(trigger: Trigger) -> Trigger:
    found = Trigger.objects.select_for_update(no_key=True).filter(pk=trigger.pk).first()
    if found is None:
        raise NotFound(f"Trigger '{trigger.ref}' was deleted meanwhile")
    return found
