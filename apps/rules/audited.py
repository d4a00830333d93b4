"""What the audit trail is told of enforcements."""

from collections.abc import Collection

from apps.identity.audit.chains import Link
from apps.rules.models import Enforcement


def links_above(enforcement_ids: Collection[int]) -> dict[int, Link]:
    """Return the event of each of these enforcements; it may be gone by now."""
    rows = Enforcement.objects.filter(pk__in=enforcement_ids, event__isnull=False).values_list("pk", "event")
    return {pk: ("event", event_id) for pk, event_id in rows if event_id is not None}
