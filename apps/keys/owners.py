"""
Who may own a key, and how an owner is found by its ref. Actions and sensors live in higher apps, which register::

    owners.register("action", Action)        # in ready(); rows with ``ref`` and ``pack_ref``
"""

from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Model
from django.db.models.signals import post_delete

from apps.core.errors import BadRequest
from apps.identity.models import Identity
from apps.keys.models import Key, OwnerType
from apps.packs.models import Pack


class OwnerNotFound(BadRequest):
    """The owner of the key does not exist"""


_models: dict[str, type[Model]] = {OwnerType.PACK: Pack}


def register(owner_type: str, model: type[Model]) -> None:
    """Let rows of a higher app own keys; these go with their owner, in the transaction that deletes it."""

    def keys_go(*, instance: Model, **_signal: Any) -> None:
        Key.objects.filter(**{"owner_type": owner_type, f"owner_{owner_type}": instance.pk}).delete()

    _models[owner_type] = model
    post_delete.connect(keys_go, sender=model, weak=False, dispatch_uid=f"keys.{owner_type}")


def pack_ref_of(owner_type: str, ref: str) -> str | None:
    """Return the ref of the pack that an action or sensor belongs to; None when there is no such owner."""
    model = _models.get(owner_type)
    return None if model is None else model._default_manager.filter(ref=ref).values_list("pack_ref", flat=True).first()


def hold(key: Key) -> None:
    """
    Keep the action or sensor that owns the key from being deleted until this transaction ends.

    No foreign key does it for these. Raises OwnerNotFound when it is gone already.
    """
    model = _models.get(key.owner_type)
    if model in (None, Pack):
        return
    own_id = getattr(key, f"owner_{key.owner_type}")
    if not model._default_manager.select_for_update(no_key=True).filter(pk=own_id).values("pk").first():
        raise OwnerNotFound(f"owner_{key.owner_type}: there is no {key.owner_type} {own_id}")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """An owner as a request names it: the ids and refs of all kinds, of which one is to remain."""

    owner_type: str
    owner: str | None = None
    owner_identity: int | None = None
    owner_pack: int | None = None
    owner_pack_ref: str | None = None
    owner_action: int | None = None
    owner_action_ref: str | None = None
    owner_sensor: int | None = None
    owner_sensor_ref: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of a key with this owner. Raises OwnerNotFound, BadRequest when the fields disagree."""
        found = self._with_ids()
        given = {name for name in _IDS if getattr(found, name) is not None}
        wanted = set() if self.owner_type == OwnerType.SYSTEM else {f"owner_{self.owner_type}"}
        if given != wanted:
            raise BadRequest(_disagreement(self.owner_type, given))
        if found.owner not in (None, "", _owner_text(found)):
            raise BadRequest(f"'owner' is '{self.owner}', but the other fields name '{_owner_text(found)}'")
        return {
            "owner_type": self.owner_type,
            "owner_identity_id": found.owner_identity,
            "owner_pack_id": found.owner_pack,
            "owner_pack_ref": found.owner_pack_ref,
            "owner_action": found.owner_action,
            "owner_action_ref": found.owner_action_ref,
            "owner_sensor": found.owner_sensor,
            "owner_sensor_ref": found.owner_sensor_ref,
        }

    def _with_ids(self) -> "Owner":
        found = self
        if self.owner_type == OwnerType.IDENTITY and self.owner:
            named = _identity_id(self.owner)
            if self.owner_identity not in (None, named):
                raise BadRequest(f"owner '{self.owner}' and owner_identity {self.owner_identity} are different")
            found = replace(found, owner=None, owner_identity=named)
        if found.owner_identity is not None and not Identity.objects.filter(pk=found.owner_identity).exists():
            raise OwnerNotFound(f"owner_identity: there is no identity {found.owner_identity}")
        for kind in ("pack", "action", "sensor"):
            found = replace(found, **found._of_kind(kind))
        return found

    def _of_kind(self, kind: str) -> dict[str, Any]:
        own_id, ref = getattr(self, f"owner_{kind}"), getattr(self, f"owner_{kind}_ref")
        if own_id is None and ref is None and self.owner_type == kind and self.owner:
            ref = self.owner
        if own_id is None and ref is None:
            return {}
        found_id = _id_of(kind, ref) if ref is not None else own_id
        found_ref = _ref_of(kind, found_id) if found_id is not None else None
        if found_ref is None:
            raise OwnerNotFound(
                f"owner_{kind}{'_ref' if ref is not None else ''}: there is no {kind} '{ref or own_id}'"
            )
        if own_id is not None and own_id != found_id:
            raise BadRequest(f"owner_{kind} {own_id} and owner_{kind}_ref '{ref}' name different rows")
        return {f"owner_{kind}": found_id, f"owner_{kind}_ref": found_ref}


_IDS = ("owner_identity", "owner_pack", "owner_action", "owner_sensor")


def _owner_text(owner: Owner) -> str:
    if owner.owner_type == OwnerType.SYSTEM:
        return "system"
    ref = getattr(owner, f"owner_{owner.owner_type}_ref", None)
    own_id = str(getattr(owner, f"owner_{owner.owner_type}"))
    return owner.owner if owner.owner in (ref, own_id) and owner.owner else own_id


def _disagreement(owner_type: str, given: set[str]) -> str:
    named = ", ".join(sorted(given)) or "no owner"
    if owner_type == OwnerType.SYSTEM:
        return f"A key of the system has no owner id, but {named} is given"
    return f"A key with owner_type '{owner_type}' needs exactly owner_{owner_type}, but {named} is given"


def _identity_id(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    found = Identity.objects.filter(login=text).values_list("pk", flat=True).first()
    if found is None:
        raise OwnerNotFound(f"owner: there is no identity '{text}'")
    return found


def _id_of(kind: str, ref: str) -> int | None:
    model = _models.get(kind)
    return None if model is None else model._default_manager.filter(ref=ref).values_list("pk", flat=True).first()


def _ref_of(kind: str, own_id: int) -> str | None:
    model = _models.get(kind)
    return None if model is None else model._default_manager.filter(pk=own_id).values_list("ref", flat=True).first()
