"""
What the tunables of a queue come to: literal numbers, settings of its pack, keys (execution.md section 18).

A key is read with the rights of the queue's owner, since whoever reads the queue sees the number. Without an owner (a
queue of a pack) those of its pack and plain ones of the system are read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.core.cipher import CannotDecrypt
from apps.core.expressions import NOTHING, member_of
from apps.identity.callers import Caller
from apps.keys import services as keys
from apps.keys.models import Key, OwnerType
from apps.keys.visibility import may
from apps.packs.secrets import secret_settings
from apps.queues.config import DEFAULT, Tunable, config_problems, count_of, read_config
from apps.queues.models import BatchMode, WorkQueue


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a queue is worked off now, and what people should know about its settings."""

    concurrency: int
    batch_size: int
    warnings: tuple[str, ...] = ()


def tuning_of(queue: WorkQueue) -> Tuning:
    """Return the numbers that count now; what cannot be resolved is its fallback, else 1, with a warning."""
    config = read_config(queue.config)
    is_batch = queue.batch_mode == BatchMode.BATCH
    warnings = [f"The config is not used: {problem}" for problem in config_problems(queue.config, batch=is_batch)]
    resolved = {}
    for name, tunable in (("concurrency", config.concurrency), ("batch_size", config.batch_size)):
        value, problem = _resolved(queue, tunable)
        resolved[name] = value
        if problem:
            warnings.append(f"{name}: {problem}; {value} is used")
    if not is_batch:
        resolved["batch_size"] = DEFAULT
    return Tuning(**resolved, warnings=tuple(warnings))


def _resolved(queue: WorkQueue, tunable: Tunable) -> tuple[int, str]:
    value, problem = _SOURCES.get(tunable.source, _literal)(queue, tunable)
    number = count_of(value)
    if number is not None:
        return number, ""
    instead = count_of(tunable.fallback) or DEFAULT
    return instead, problem or "what it names is no whole number from 1 on"


def _literal(_queue: WorkQueue, tunable: Tunable) -> tuple[Any, str]:
    return tunable.value, ""


def _pack_config(queue: WorkQueue, tunable: Tunable) -> tuple[Any, str]:
    if queue.pack is None:
        return None, "the queue has no pack whose config could say it"
    first, *names = (tunable.path or "").split(".")
    if first in secret_settings(queue.pack):
        return None, f"the setting '{first}' of the pack is secret"
    value = member_of(queue.pack.config, first)
    for name in names:
        value = member_of(value, name)
    return (None, f"the pack's config has no '{tunable.path}'") if value is NOTHING else (value, "")


def _keystore(queue: WorkQueue, tunable: Tunable) -> tuple[Any, str]:
    key = keys.live_keys().select_related("owner_identity").filter(ref=tunable.key_ref).first()
    if key is None or not _may_read(queue, key):
        return None, f"there is no key '{tunable.key_ref}' that the queue may read"
    try:
        return keys.plain_value(key), ""
    except CannotDecrypt:
        return None, f"the key '{tunable.key_ref}' cannot be decrypted"


def _may_read(queue: WorkQueue, key: Key) -> bool:
    if queue.owner_identity is None:
        of_pack = key.owner_type == OwnerType.PACK and key.owner_pack_ref == queue.pack_ref
        return of_pack or (key.owner_type == OwnerType.SYSTEM and not key.encrypted)
    owner = Caller(holder=queue.owner_identity, token_type="access", login=queue.owner_identity.login)
    return may(owner, "read", key) and (not key.encrypted or may(owner, "decrypt", key))


_SOURCES: dict[str, Callable[[WorkQueue, Tunable], tuple[Any, str]]] = {
    "literal": _literal,
    "pack_config": _pack_config,
    "keystore": _keystore,
}
