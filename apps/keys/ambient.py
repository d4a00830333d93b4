"""Ambient keys: what every run of an action is given beside its parameters (execution.md section 8)."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from apps.core import sql
from apps.core.cipher import CannotDecrypt, configured_cipher

# Along the index of (owner_type, owner, name); most executions find nothing there, or little.
_AMBIENT = """
SELECT owner_type, name, ref, encrypted, encryption_key_hash, value FROM key
WHERE ((owner_type = 'system' AND owner = 'system') OR (owner_type = 'pack' AND owner = %s)
OR (owner_type = 'action' AND owner = %s)) AND (expires_at IS NULL OR expires_at > {now}) ORDER BY name
"""
_RANK = {"system": 0, "pack": 1, "action": 2}  # the later one wins


class KeyNotReadable(Exception):
    """An ambient key of the action cannot be decrypted"""


@dataclass(frozen=True)
class AmbientKeys:
    """Values by name of the key. ``secrets`` are those of encrypted keys: they must not be shown."""

    values: dict[str, Any] = field(default_factory=dict)
    secrets: list[Any] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class _Stored:
    rank: int
    ref: str
    encrypted: bool
    key_id: str | None
    text: str

    def value(self) -> Any:
        stored = json.loads(self.text)
        if not self.encrypted:
            return stored
        try:
            return configured_cipher().decrypt(stored, self.key_id or "")
        except CannotDecrypt as error:
            raise KeyNotReadable(f"Key '{self.ref}' cannot be decrypted. {error}") from None


def ambient_keys(*, pack_id: int, action_id: int, wanted: Any) -> AmbientKeys:
    """
    Return the keys of the system, the pack and the action, as far as the action wants them; one query.

    ``wanted`` is ``ambient_keys`` of the action: "all", "none" or names. Raises KeyNotReadable.
    """
    if wanted == "none" or wanted == []:
        return AmbientKeys()
    names: Collection[str] | None = wanted if isinstance(wanted, list) else None
    chosen: dict[str, _Stored] = {}
    for owner_type, name, ref, encrypted, key_id, text in sql.fetch(
        _AMBIENT.format(now=sql.now_text()), [str(pack_id), str(action_id)]
    ):
        stored = _Stored(_RANK[owner_type], ref, bool(encrypted), key_id, text)
        if (names is None or name in names) and (name not in chosen or chosen[name].rank < stored.rank):
            chosen[name] = stored
    # Only now: one that is replaced by another need not be readable.
    values = {name: stored.value() for name, stored in chosen.items()}
    return AmbientKeys(values, [values[name] for name, stored in chosen.items() if stored.encrypted])
