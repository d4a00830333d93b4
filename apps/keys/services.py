"""What callers may ask of keys: create, change, delete, read the value."""

from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import Q, QuerySet, Value

from apps.core import clock
from apps.core.cipher import configured_cipher
from apps.core.deletions import delete_once
from apps.core.errors import ConflictError, NotFound
from apps.identity import audit
from apps.keys import owners
from apps.keys.models import OWNER_IDS, Key
from apps.keys.owners import Owner

UNSET: Any = object()
# Told by the database, checked ahead of this, or anything at all.
_NOT_CLEANED = ("owner", "owner_identity", "owner_pack", "value")


class KeyExists(ConflictError):
    """A key with this ref, or this name of the same owner, exists already"""


def live_keys() -> "QuerySet[Key]":
    """Return the keys that have not expired, by ref; an expired one reads as absent."""
    return Key.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=clock.now())).order_by("ref")


def new_key(
    *, ref: str, owner: Owner, name: str, value: Any, encrypted: bool = False, expires_at: datetime | None = None
) -> Key:
    """Return a key that is not stored yet (``store``). Raises OwnerNotFound, BadRequest (owner and type disagree)."""
    key = Key(ref=ref, name=name, expires_at=expires_at, **owner.columns())
    _set_value(key, value, encrypted=encrypted)
    key.clean_fields(exclude=_NOT_CLEANED)
    return key


@transaction.atomic
def store(key: Key) -> Key:
    """Store a new key and return it. Raises KeyExists, OwnerNotFound when the owner is gone meanwhile."""
    owners.hold(key)
    _make_room(key)
    key.save(force_insert=True)
    _record("created", key)
    return Key.objects.select_related("owner_identity").get(pk=key.pk)


def create_key(
    *, ref: str, owner: Owner, name: str, value: Any, encrypted: bool = False, expires_at: datetime | None = None
) -> Key:
    """Make and store a key. Raises OwnerNotFound, BadRequest (owner and type disagree), KeyExists."""
    return store(new_key(ref=ref, owner=owner, name=name, value=value, encrypted=encrypted, expires_at=expires_at))


def locked(key_id: int) -> Key:
    """Return the key, and let nobody else change it until this transaction ends. Raises NotFound."""
    key = live_keys().select_for_update(of=("self",)).filter(pk=key_id).first()
    if key is None:
        raise NotFound("The key was deleted meanwhile")
    return key


@transaction.atomic
def update_key(
    key: Key, *, name: str = UNSET, value: Any = UNSET, encrypted: bool = UNSET, expires_at: datetime | None = UNSET
) -> Key:
    """
    Change a key; a new value raises its version. ``encrypted`` alone stores the present value anew.

    Raises NotFound, KeyExists (the new name), UnknownKey and CannotDecrypt (the present value is needed).
    """
    key = locked(key.pk)
    changed = {"updated"}  # and no more: a null that was read is not the null that JSON has
    if name is not UNSET and name != key.name:
        key.name = name
        _make_room(key)
        changed.add("name")
    if expires_at is not UNSET:
        key.expires_at = expires_at
        changed.add("expires_at")
    if value is not UNSET or (encrypted is not UNSET and encrypted != key.encrypted):
        plain = plain_value(key) if value is UNSET else value
        _set_value(key, plain, encrypted=key.encrypted if encrypted is UNSET else encrypted)
        key.version += value is not UNSET
        changed |= {"value", "encrypted", "encryption_key_hash", "version"}
    key.clean_fields(exclude=_NOT_CLEANED)
    key.save(update_fields=changed)
    _record("updated", key, changed=sorted(changed - {"updated", "encryption_key_hash"}))
    return Key.objects.select_related("owner_identity").get(pk=key.pk)


@transaction.atomic
def delete_key(key: Key) -> None:
    """Delete a key. Raises NotFound when it is gone already."""
    key_id = key.pk
    delete_once(key)
    key.pk = key_id  # for the caller and the trail: what it was
    _record("deleted", key)


def read_value(key: Key, *, decrypt: bool) -> Any:
    """
    Return the value for somebody to see, which goes into the audit trail; None for one that may not be decrypted.

    Raises UnknownKey, CannotDecrypt.
    """
    shown = plain_value(key) if decrypt or not key.encrypted else None
    _record("decrypted" if decrypt and key.encrypted else "read", key)
    return shown


def plain_value(key: Key) -> Any:
    """Return the value as it was given. Raises UnknownKey, CannotDecrypt."""
    if not key.encrypted:
        return key.value
    return configured_cipher().decrypt(key.value, key.encryption_key_hash or "")


def forget_expired(now: datetime) -> int:
    """Delete the keys whose time is over; return how many."""
    return Key.objects.filter(expires_at__lte=now).delete()[0]


def _record(what: str, key: Key, **details: Any) -> None:
    audit.record(
        f"secret.key.{what}",
        resource_type="key",
        resource_id=key.pk,
        resource_ref=key.ref,
        details={"owner_type": key.owner_type, "encrypted": key.encrypted, **details},
    )


def _make_room(key: Key) -> None:
    """An expired key reads as absent, so it is in nobody's way. Raises KeyExists."""
    owner = {column: getattr(key, column) for column in ("owner_type", *OWNER_IDS)}
    same_name = Q(**owner, name=key.name)
    others = Key.objects.exclude(pk=key.pk).filter(Q(ref=key.ref) | same_name)
    others.filter(expires_at__lte=clock.now()).delete()
    for taken in others.values_list("ref", flat=True):
        if taken == key.ref:
            raise KeyExists(f"Key '{key.ref}' already exists")
        raise KeyExists(f"This owner has a key named '{key.name}' already")


def _set_value(key: Key, value: Any, *, encrypted: bool) -> None:
    key.encrypted = encrypted
    if not encrypted:
        # JSON's null is a value; None alone would be no value at all.
        key.value = Value(None, models.JSONField()) if value is None else value
        key.encryption_key_hash = None
        return
    cipher = configured_cipher()
    key.value, key.encryption_key_hash = cipher.encrypt(value), cipher.key_id
