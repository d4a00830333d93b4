"""
The audit trail (auth.md section 12): who did what, when, and with what outcome.

Every request leaves one event by itself (``middleware``). What happens to something is recorded where it happens, by
one line::

    audit.record("pack.deleted", resource_type="pack", resource_id=pack.pk, resource_ref=pack.ref)
"""

from apps.identity.audit.origin import Actor, note_actor
from apps.identity.audit.record import record, resource_of_request
from apps.identity.audit.trail import trail

__all__ = ["Actor", "note_actor", "record", "resource_of_request", "trail"]
