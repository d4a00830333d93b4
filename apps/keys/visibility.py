"""
Who may read which keys, and change them (auth.md sections 2.7, 5 and 8).

A sensor's token has no grants: it reads and writes the keys that its sensor owns, and reads those of its pack.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from apps.identity.denials import lacking
from apps.identity.grants import Columns, Facts, condition, facts, facts_of, narrowed, owned_by
from apps.identity.models import Identity
from apps.keys import owners
from apps.keys.models import Key, OwnerType
from apps.keys.services import live_keys

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller

# What the routes of keys admit.
WITH_SENSORS = frozenset({"access", "execution", "sensor"})


def _owner_refs(refs: Collection[str]) -> Q:
    """Return the condition of the keys whose owner goes by one of these names (an identity by its id, too)."""
    return (
        Q(owner_pack_ref__in=refs)
        | Q(owner_action_ref__in=refs)
        | Q(owner_sensor_ref__in=refs)
        | Q(owner_identity__login__in=refs)
        | Q(owner_type=OwnerType.IDENTITY, owner__in=refs)
    )


COLUMNS = Columns(
    refs="ref",
    owner=owned_by("owner_identity"),
    owner_types="owner_type",
    owner_refs=_owner_refs,
    encrypted="encrypted",
)


def visible_to(caller: "Caller") -> "QuerySet[Key]":
    """Return the keys that the caller may read, by ref, each with its identity."""
    keys = live_keys().select_related("owner_identity")
    return narrowed(keys, _of_sensor(caller) if _is_sensor(caller) else condition(caller, "keys:read", COLUMNS))


def may(caller: "Caller", action: str, key: Key | Facts) -> bool:
    """Return True when the caller may do this with the key."""
    known = facts_of(key)
    return _sensor_may(caller, action, known) if _is_sensor(caller) else caller.allows(f"keys:{action}", known)


def require(caller: "Caller", action: str, key: Key | Facts | None = None) -> None:
    """Raise Forbidden unless the caller may do this with the key; without one: with some key at all."""
    allowed = _is_sensor(caller) or caller.allows(f"keys:{action}") if key is None else may(caller, action, key)
    if not allowed:
        raise lacking(f"keys:{action}", key)


def require_update(caller: "Caller", key: Key, values: Mapping[str, Any]) -> None:
    """
    Raise Forbidden unless the caller may change the key as it is, have it with these values, and learn no value by it.

    Whoever may not decrypt a key cannot take its encryption off either, but with a new value.
    """
    require(caller, "update", key)
    if values.get("encrypted", key.encrypted) == key.encrypted:
        return
    require(caller, "update", facts_of(key).with_values(values))
    if key.encrypted and "value" not in values:
        require(caller, "decrypt", key)


# --- Sensors ----------------------------------------------------------------------------------------------------


def _is_sensor(caller: "Caller") -> bool:
    return caller.token_type == "sensor"


def _of_sensor(caller: "Caller") -> Q:
    own = Q(owner_type=OwnerType.SENSOR, owner_sensor_ref=caller.login)
    pack_ref = owners.pack_ref_of(OwnerType.SENSOR, caller.login)
    return own | Q(owner_type=OwnerType.PACK, owner_pack_ref=pack_ref) if pack_ref else own


def _sensor_may(caller: "Caller", action: str, known: Facts) -> bool:
    if known.owner_type == OwnerType.SENSOR:
        return known.owner_ref == caller.login
    is_read = action in ("read", "decrypt") and known.owner_type == OwnerType.PACK
    return is_read and known.owner_ref == owners.pack_ref_of(OwnerType.SENSOR, caller.login)


# --- What checks of grants look at ------------------------------------------------------------------------------


def facts_of_key(key: Key) -> Facts:
    """Return what checks look at; of a key of an identity, the login is read with it."""
    return Facts(
        id=key.pk,
        ref=key.ref,
        owner_identity=key.owner_identity_id,
        owner_type=key.owner_type,
        owner_ref=_names_of_owner(key),
        encrypted=key.encrypted,
    )


def _names_of_owner(key: Key) -> str | frozenset[str] | None:
    match key.owner_type:
        case OwnerType.PACK:
            return key.owner_pack_ref
        case OwnerType.ACTION:
            return key.owner_action_ref
        case OwnerType.SENSOR:
            return key.owner_sensor_ref
        case OwnerType.IDENTITY if key.owner_identity_id is not None:
            return frozenset({str(key.owner_identity_id), *_login_of_owner(key)})
        case _:
            return None  # the system has no name that a pack could not have as well


def _login_of_owner(key: Key) -> list[str]:
    """Return the login, if there is one still: the owner of a key that is about to be stored may be deleted."""
    try:
        return [key.owner_identity.login] if key.owner_identity is not None else []
    except Identity.DoesNotExist:
        return []


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Key, facts_of_key, resource="keys")
