"""Secret parameters of enforcements (auth.md section 10)."""

from apps.core.markers import holds_marker, restored
from apps.events.models import Event
from apps.events.secrets import real_payload
from apps.keys import secret_store
from apps.rules.models import Enforcement


def with_secret_values(enforcement: Enforcement) -> Enforcement:
    """Return the enforcement, read for showing only, with the values behind its markers."""
    if holds_marker(enforcement.config):
        values = secret_store.get(secret_store.ENFORCEMENT_CONFIG, enforcement.pk)
        enforcement.config = restored(enforcement.config, values)
    if enforcement.event is not None and holds_marker(enforcement.payload):
        event = Event.objects.filter(pk=enforcement.event).first()
        if event is not None:
            enforcement.payload = real_payload(event)
    return enforcement
