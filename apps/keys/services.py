"""What callers may ask of keys: create, change, delete, read the value."""

from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import Q, QuerySet, Value

from apps.core import clock
from apps.core.cipher import configured_cipher
from apps.core.errors import ConflictError
from apps.keys.models import Key
from apps.keys.owners import Owner

UNSET: Any = object()


class KeyExists(ConflictError):
    """A key with this ref, or this name of the same owner, exists already"""


def live_keys() -> "QuerySet[Key]":
    """Return the keys that have not expired, by ref; an expired one reads as absent."""
    return Key.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=clock.now())).order_by("ref")


@transaction.atomic
def create_key(
    *, ref: str, owner: Owner, name: str, value: Any, encrypted: bool = False, expires_at: datetime | None = None
) -> Key:
    """Store a new key. Raises OwnerNotFound, BadRequest (owner and type disagree), KeyExists."""
    columns = owner.columns()
    _make_room(ref, columns, name)
    key = Key(ref=ref, name=name, expires_at=expires_at, **columns)
    _set_value(key, value, encrypted=encrypted)
    key.clean_fields(exclude=["owner", "owner_identity", "owner_pack", "value"])
    key.save(force_insert=True)
    return Key.objects.get(pk=key.pk)


@transaction.atomic
def update_key(
    key: Key, *, name: str = UNSET, value: Any = UNSET, encrypted: bool = UNSET, expires_at: datetime | None = UNSET
) -> Key:
    """Change a key; a new value raises its version. ``encrypted`` alone stores the present value anew."""
    key = Key.objects.select_for_update(of=("self",)).get(pk=key.pk)
    if name is not UNSET:
        key.name = name
    if expires_at is not UNSET:
        key.expires_at = expires_at
    if value is not UNSET or (encrypted is not UNSET and encrypted != key.encrypted):
        plain = plain_value(key) if value is UNSET else value
        _set_value(key, plain, encrypted=key.encrypted if encrypted is UNSET else encrypted)
        key.version += value is not UNSET
    key.clean_fields(exclude=["owner", "owner_identity", "owner_pack", "value"])
    key.save()
    return Key.objects.get(pk=key.pk)


def plain_value(key: Key) -> Any:
    """Return the value as it was given. Raises UnknownKey, CannotDecrypt."""
    if not key.encrypted:
        return key.value
    return configured_cipher().decrypt(key.value, key.encryption_key_hash or "")


def forget_owner(owner_type: str, owner_id: int) -> int:
    """Delete the keys of an action or sensor that is deleted; return how many."""
    return Key.objects.filter(**{"owner_type": owner_type, f"owner_{owner_type}": owner_id}).delete()[0]


def forget_expired(now: datetime) -> int:
    """Delete the keys whose time is over; return how many."""
    return Key.objects.filter(expires_at__lte=now).delete()[0]


def _make_room(ref: str, columns: dict[str, Any], name: str) -> None:
    """An expired key reads as absent, so it is in nobody's way. Raises KeyExists."""
    same_name = Q(**columns, name=name)
    Key.objects.filter(Q(ref=ref) | same_name, expires_at__lte=clock.now()).delete()
    if Key.objects.filter(ref=ref).exists():
        raise KeyExists(f"Key '{ref}' already exists")
    if Key.objects.filter(same_name).exists():
        raise KeyExists(f"This owner has a key named '{name}' already")


def _set_value(key: Key, value: Any, *, encrypted: bool) -> None:
    key.encrypted = encrypted
    if not encrypted:
        # JSON's null is a value; None alone would be no value at all.
        key.value = Value(None, models.JSONField()) if value is None else value
        key.encryption_key_hash = None
        return
    cipher = configured_cipher()
    key.value, key.encryption_key_hash = cipher.encrypt(value), cipher.key_id
