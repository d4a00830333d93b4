"""
Who may see which packs (auth.md section 5): standard packs everybody who is signed in.

A pack that is not standard belongs to whoever installed it, and opens to others only by a grant that speaks of it.
"""

from typing import TYPE_CHECKING, Any

from django.db.models import Q

from apps.identity.grants import NOTHING, Columns, Facts, any_of, condition, facts, narrowed
from apps.identity.grants.explaining import register_exception
from apps.identity.grants.opening import pack_facts
from apps.packs.models import Pack

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller


def _owner(caller: "Caller", word: str) -> Q:
    if word == "none":
        return Q(is_standard=True) | Q(installed_by__isnull=True)
    return NOTHING if caller.identity_id is None else Q(is_standard=False, installed_by=caller.identity_id)


COLUMNS = Columns(refs="ref", pack_refs="ref", owner=_owner)


def visible_to(caller: "Caller") -> "QuerySet[Pack]":
    """Return the packs that the caller may read, by ref."""
    return narrowed(Pack.objects.order_by("ref"), readable(caller))


def readable(caller: "Caller") -> Q:
    """Return the condition of the packs that the caller may read."""
    return any_of(allowed(caller, "packs:read"), Q(is_standard=True))


def allowed(caller: "Caller", grant: str) -> Q:
    """Return the condition of the packs on which the caller may do this by a grant."""
    return condition(caller, grant, COLUMNS)


def facts_of(pack: Pack) -> Facts:
    owner = None if pack.is_standard else pack.installed_by_id
    return Facts(id=pack.pk, ref=pack.ref, pack_ref=pack.ref, owner_identity=owner)


def facts_of_ref(ref: str) -> Facts | None:
    pack = Pack.objects.only("ref", "is_standard", "installed_by").filter(ref=ref).first()
    return None if pack is None else facts_of(pack)


def facts_of_new(caller: "Caller", ref: str | None) -> Facts:
    """Return the facts of a pack that the caller brings."""
    return Facts(ref=ref, pack_ref=ref, owner_identity=caller.identity_id)


def _open_to_all(_caller: "Caller", action: str, pack: Any) -> str | None:
    return "Standard packs are read without a grant" if action == "read" and pack.is_standard else None


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Pack, facts_of, resource="packs")
    pack_facts.register(facts_of_ref)
    register_exception("packs", _open_to_all)
