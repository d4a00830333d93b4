"""Who may see which packs (auth.md section 5): standard packs everybody who is signed in."""

from typing import TYPE_CHECKING

from apps.packs.models import Pack

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller


def visible_to(caller: "Caller") -> "QuerySet[Pack]":
    """Return the packs that the caller may read, by ref."""
    packs = Pack.objects.order_by("ref")
    return packs if caller.allows("packs:read") else packs.filter(is_standard=True)
