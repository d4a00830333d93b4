"""Definitions of workflows as requests and as files of packs."""

from typing import Any

from tests.integration.packs.conftest import api, core_pack, packs_dir, write

__all__ = ["api", "core_pack", "packs_dir", "write"]

TASK = {"name": "a", "action": "core.noop"}


def definition(**keys: Any) -> dict[str, Any]:
    """A definition of one task; keys of the task."""
    return {"tasks": [{**TASK, **keys}]}
