"""
The secrets in a pack's ``config``: what its ``conf_schema`` marks as secret is kept encrypted apart, and a marker stands
in its place (auth.md section 10). The keys app lies above this one and keeps them::

    use(store)       # in ready()
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from apps.core.cipher import CannotDecrypt
from apps.core.errors import ConflictError, Detail, ValidationFailed
from apps.core.markers import Path, holds_marker, is_marker, marked, path_of, restored
from apps.core.schemas import secret_names, secret_paths
from apps.packs.models import Pack


class Store(Protocol):
    """Where the values are kept, by JSON pointer."""

    def get(self, pack_id: int) -> Mapping[str, Any]: ...

    def replace(self, pack_id: int, values: Mapping[str, Any]) -> None: ...


class Unreadable(ConflictError):
    """A secret in the config of this pack cannot be decrypted; give all of them anew"""


_stores: list[Store] = []


def use(store: Store) -> None:
    """Keep the values there; called once, when the apps are ready."""
    _stores[:] = [store]


@dataclass(frozen=True, kw_only=True)
class PutAway:
    """Secrets that were taken out of a config; ``keep`` stores them once the pack has its row."""

    values: Mapping[str, Any]

    def keep(self, pack: Pack) -> None:
        _stores[0].replace(pack.pk, self.values)


def put_away(pack: Pack) -> PutAway:
    """
    Replace the secrets in the config of a pack that is about to be saved by markers.

    Markers that stand there mean what is kept for their places, and stay secret whatever the schema says now. Raises
    ValidationFailed for a marker that stands for nothing, Unreadable.
    """
    kept = _kept(pack) if holds_marker(pack.config) else {}
    places: list[Path] = [path for text in kept if (path := path_of(text, pack.config)) and _is_marked(pack, path)]
    config = restored(pack.config, kept)
    if holds_marker(config):
        message = "A marker stands where nothing is kept that it could stand for."
        raise ValidationFailed(details=[Detail(field="config", message=message)])
    pack.config, values = marked(config, [*places, *secret_paths(pack.conf_schema, config)])
    return PutAway(values=values)


def real_config(pack: Pack) -> Any:
    """Return the config with its secrets. Raises CannotDecrypt."""
    return restored(pack.config, _stores[0].get(pack.pk)) if holds_marker(pack.config) else pack.config


def shown_config(pack: Pack) -> Any:
    """Return the config as clients see it: also where somebody wrote plain secrets into the row."""
    return marked(pack.config, secret_paths(pack.conf_schema, pack.config))[0]


def secret_settings(pack: Pack) -> frozenset[str]:
    """Return the names of the settings that are secret, or hold a secret."""
    config = pack.config if isinstance(pack.config, Mapping) else {}
    return secret_names(pack.conf_schema) | {name for name, value in config.items() if holds_marker(value)}


def _kept(pack: Pack) -> Mapping[str, Any]:
    if pack._state.adding:
        return {}
    try:
        return _stores[0].get(pack.pk)
    except CannotDecrypt:
        raise Unreadable from None


def _is_marked(pack: Pack, path: Path) -> bool:
    value = pack.config
    for step in path:
        value = value[step]  # the path was found in it
    return is_marker(value)
