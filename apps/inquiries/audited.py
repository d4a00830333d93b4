"""What the audit trail is told of inquiries; never an answer, which may hold secrets."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from apps.identity import audit
from apps.identity.audit.chains import Link
from apps.inquiries.models import Inquiry

if TYPE_CHECKING:
    from apps.identity.callers import Caller


def asked(verb: str, inquiry: Inquiry, *, by: "Caller | None" = None, **details: Any) -> None:
    """Record ``inquiry.<verb>``; the chain leads to the execution that asked."""
    audit.record(
        f"inquiry.{verb}",
        category="execution",
        actor=by,
        resource_type="inquiry",
        resource_id=inquiry.pk,
        details={"execution": inquiry.execution_id, **details},
    )


def links_above(inquiry_ids: Collection[int]) -> dict[int, Link]:
    """Return the execution of each of these inquiries."""
    rows = Inquiry.objects.filter(pk__in=inquiry_ids).values_list("pk", "execution_id")
    return {pk: ("execution", execution_id) for pk, execution_id in rows}
