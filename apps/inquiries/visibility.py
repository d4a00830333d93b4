"""Who may see which inquiries (auth.md section 5): with a grant all of them, else those assigned to the caller."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Q

from apps.identity.grants import NOTHING, Columns, Facts, any_of, condition, facts, narrowed
from apps.identity.grants.explaining import register_exception
from apps.inquiries.models import Inquiry, InquiryQuerySet

if TYPE_CHECKING:
    from apps.identity.callers import Caller

COLUMNS = Columns()


def visible_to(caller: "Caller") -> InquiryQuerySet:
    """Return the inquiries that the caller may read, newest first."""
    return narrowed(Inquiry.objects.newest_first(), readable(caller))


def readable(caller: "Caller") -> Q:
    """Return the condition of the inquiries that the caller may read."""
    return any_of(condition(caller, "inquiries:read", COLUMNS), assigned(caller))


def assigned(caller: "Caller") -> Q:
    """Return the condition of the inquiries that only the caller may answer."""
    return NOTHING if caller.identity_id is None else Q(assigned_to=caller.identity_id)


def answerable(caller: "Caller") -> InquiryQuerySet:
    """Return the pending inquiries that wait for somebody like the caller, as far as he may read them."""
    unassigned = Q(assigned_to__isnull=True)
    may = settings.INQUIRIES_OPEN_TO_ALL or caller.allows("inquiries:respond")
    return visible_to(caller).pending().filter(any_of(assigned(caller), unassigned if may else NOTHING))


def _assigned_takes_no_grant(caller: "Caller", action: str, inquiry: Any) -> str | None:
    if action in ("read", "respond") and inquiry.assigned_to_id is not None:
        return "It is assigned to the caller" if inquiry.assigned_to_id == caller.identity_id else None
    return None


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Inquiry, lambda row: Facts(id=row.pk), resource="inquiries", lookup="pk")
    register_exception("inquiries", _assigned_takes_no_grant)
