"""
The pack that an object belongs to, asked by its ref. The packs app lies above this one and registers the answer::

    # apps/packs/apps.py, ready()
    pack_facts.register(facts_of_ref)     # (ref) -> Facts | None
"""

from collections.abc import Callable

from apps.identity.grants.facts import Facts


class PackFacts:
    """Looks up the facts of a pack; None when there is no such pack."""

    def __init__(self) -> None:
        self._look_up: Callable[[str], Facts | None] | None = None

    def register(self, look_up: Callable[[str], Facts | None]) -> None:
        self._look_up = look_up

    def __call__(self, ref: str) -> Facts | None:
        return self._look_up(ref) if self._look_up else None


pack_facts = PackFacts()
