"""
Encrypting anew under another key, while everything runs (auth.md section 8).

A batch is one short transaction that holds its rows, so that no write in between is lost; what a batch has done stays
done, whatever happens to the next one. Processes that still have the old key read what they wrote; whoever has the
new one reads both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db import models, transaction
from django.db.models import F, Q

from apps.core.cipher import CannotDecrypt, Cipher, configured_cipher
from apps.keys.models import Key, SecretValue

BATCH: Final = 100
# As long as a process with the old configuration writes, there is more to do; some day that is the operator's turn.
MOST_PASSES: Final = 5


@dataclass(frozen=True, kw_only=True)
class _Table:
    model: type[models.Model]
    column: str
    noun: str
    # Of rows that are encrypted with nobody knows what.
    nameless: Q
    # What an update leaves as it is.
    kept: dict[str, Any]

    @property
    def rows(self) -> "models.QuerySet[Any]":
        return self.model._default_manager.all()


TABLES: Final = (
    _Table(
        model=Key,
        column="value",
        noun="keys",
        nameless=Q(encrypted=True, encryption_key_hash__isnull=True),
        kept={"updated": F("updated")},
    ),
    _Table(
        model=SecretValue,
        column="encrypted_value",
        noun="secret values",
        nameless=Q(encryption_key_hash__isnull=True),
        kept={},
    ),
)


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A row that no configured key decrypts."""

    noun: str
    row: str
    reason: str


@dataclass(kw_only=True)
class Rotation:
    """What a rotation has come to. ``left`` are rows that were written with an older key meanwhile."""

    rotated: int = 0
    unreadable: list[Unreadable]
    left: bool = False

    @property
    def complete(self) -> bool:
        return not self.unreadable and not self.left


def key_ids(table: _Table) -> Iterator[str]:
    """Yield the ids of the keys under which a table's values are encrypted, along the index from one to the next."""
    last = ""
    while True:
        rows = table.rows.filter(encryption_key_hash__gt=last).order_by("encryption_key_hash")
        found = rows.values_list("encryption_key_hash", flat=True).first()
        if found is None:
            return
        yield found
        last = found


def unknown_keys() -> list[tuple[str, str]]:
    """Return (what is encrypted, id of the key) for every key that is needed and not configured."""
    known = configured_cipher().key_ids
    return [(table.noun, key_id) for table in TABLES for key_id in key_ids(table) if key_id not in known]


def rotate(*, batch: int = BATCH, tell: Callable[[str, int], None] = lambda _noun, _number: None) -> Rotation:
    """
    Encrypt everything under the present key; ``tell`` hears after each batch how many of what were done.

    May be stopped at any moment and be called again, by several at once, too.
    """
    cipher = configured_cipher()
    rotation = Rotation(unreadable=[])
    for table in TABLES:
        for _pass in range(MOST_PASSES):
            older = [key_id for key_id in key_ids(table) if key_id != cipher.key_id]
            unreadable: list[Unreadable] = []
            done = sum(_rotate_from(key_id, table, cipher, batch, tell, unreadable) for key_id in older)
            rotation.rotated += done
            if not done:
                break
        else:
            rotation.left = True
        rotation.unreadable += unreadable + list(_nameless(table))
    return rotation


def _rotate_from(
    key_id: str, table: _Table, cipher: Cipher, batch: int, tell: Callable[[str, int], None], faults: list[Unreadable]
) -> int:
    done, last = 0, 0
    while True:
        with transaction.atomic():
            rows = table.rows.filter(encryption_key_hash=key_id, pk__gt=last).order_by("pk")
            held = list(rows.select_for_update(of=("self",))[:batch])
            changed = sum(_encrypt_anew(row, table, cipher, faults) for row in held)
        if not held:
            return done
        done, last = done + changed, held[-1].pk
        if changed:
            tell(table.noun, done)


def _encrypt_anew(row: Any, table: _Table, cipher: Cipher, faults: list[Unreadable]) -> bool:
    try:
        plain = cipher.decrypt(getattr(row, table.column), row.encryption_key_hash)
    except CannotDecrypt as error:
        faults.append(Unreadable(noun=table.noun, row=str(row), reason=str(error)))
        return False
    values = {table.column: cipher.encrypt(plain), "encryption_key_hash": cipher.key_id}
    table.rows.filter(pk=row.pk).update(**values, **table.kept)
    return True


def _nameless(table: _Table) -> Iterator[Unreadable]:
    for row in table.rows.filter(table.nameless).order_by("pk").iterator():
        yield Unreadable(noun=table.noun, row=str(row), reason="It does not say with which key it was encrypted.")


def delete_unknown() -> dict[str, int]:
    """Delete what was encrypted with keys that are not configured: it is lost. Return how many, by what they are."""
    known = configured_cipher().key_ids
    deleted: dict[str, int] = {}
    for table in TABLES:
        for key_id in key_ids(table):
            if key_id not in known:
                number = table.rows.filter(encryption_key_hash=key_id).delete()[0]
                deleted[table.noun] = deleted.get(table.noun, 0) + number
    return deleted
