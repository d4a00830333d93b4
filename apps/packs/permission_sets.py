"""Loads a pack's permission sets; the model's app is below this one, so packs does it itself."""

from collections.abc import Collection, Mapping
from typing import Any

from apps.identity.models import PermissionSet
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import delete_stale, store


class PermissionSetLoader:
    """Grants of a pack are taken as they are: unknown actions in them grant nothing (auth.md 7.1)."""

    folder = "permission_sets"

    def load(self, pack: Pack, component: Component) -> None:
        grants = component.listing("grants")
        if not all(_is_grant(grant) for grant in grants):
            raise FaultyComponent("grants must be a list of {resource: text, actions: [text]}", key="grants")
        fields = {"label": component.label, "description": component.text("description"), "grants": grants}
        # Made at the first start, ahead of its pack, so that somebody can hold it.
        PermissionSet.objects.filter(ref=component.ref, pack_ref=None).update(pack_ref=pack.ref)
        row = store(PermissionSet, pack, component.ref, fields, pack_value=pack.pk)
        if row.pack != pack.pk:
            row.set(pack=pack.pk)  # the pack was deleted and is back under a new id

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return delete_stale(PermissionSet.objects.filter(pack_ref=pack.ref), kept_refs)


def _is_grant(grant: Any) -> bool:
    return (
        isinstance(grant, Mapping)
        and isinstance(grant.get("resource"), str)
        and isinstance(grant.get("actions"), list)
        and all(isinstance(action, str) for action in grant["actions"])
        and isinstance(grant.get("constraints", {}), Mapping)
    )
