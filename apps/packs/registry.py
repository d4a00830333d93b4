"""
Who loads which kind of component: each app hands its loaders over in ``ready()``, so that packs knows none of them.

    from apps.packs.registry import register_loader
    register_loader(ActionLoader())

A folder of a pack for which there is no loader is ignored.
"""

from collections.abc import Collection
from typing import Protocol

from apps.packs.components import Component
from apps.packs.models import Pack

# The order in which components are loaded, so that each finds what it refers to (packs.md section 2).
LOAD_ORDER = (
    "permission_sets",
    "runtimes",
    "triggers",
    "actions",
    "workflows",
    "policies",
    "queues",
    "rules",
    "sensors",
)
# A file in one of these that is no YAML ends the loading of the pack's components.
STRICT_FOLDERS = frozenset({"permission_sets", "runtimes", "triggers", "actions", "sensors"})


class ComponentLoader(Protocol):
    """Stores one kind of component. Both methods are called inside the registration's transaction."""

    folder: str

    def load(self, pack: Pack, component: Component) -> None:
        """Create or update the component by its ref. Raises FaultyComponent when it cannot be used."""

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        """Delete the pack's managed components that are not among these; return a message for each that had to stay."""


_loaders: dict[str, ComponentLoader] = {}


def register_loader(loader: ComponentLoader) -> None:
    """Let a loader take care of its folder; it replaces the folder's loader of before."""
    if loader.folder not in LOAD_ORDER:
        raise ValueError(f"Packs have no component folder '{loader.folder}'")
    _loaders[loader.folder] = loader


def loaders() -> list[ComponentLoader]:
    """Return the loaders in the order in which they work."""
    return [_loaders[folder] for folder in LOAD_ORDER if folder in _loaders]
