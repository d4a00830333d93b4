"""Any other runtime: what its row says is all there is to it."""

from apps.workers.runtimes.base import Runtime


class Generic(Runtime):
    """A runtime that is known by its ``execution_config`` only; without an interpreter it cannot run anything."""
