"""News about packs: what this process's worker offers and builds follows them."""

from typing import Any

from django.dispatch import receiver

from apps.packs.signals import pack_deleted, pack_registered
from apps.workers.agent import current_agent
from apps.workers.environments import remove_environments
from apps.workers.signals import environment_built


@receiver(pack_registered, dispatch_uid="workers.pack_registered")
@receiver(environment_built, dispatch_uid="workers.environment_built")
def look_again(**_signal: Any) -> None:
    """Have the worker of this process look at once; others see it with their next renewal."""
    agent = current_agent()
    if agent is not None:
        agent.look_again()


@receiver(pack_deleted, dispatch_uid="workers.pack_deleted")
def remove_what_was_built(*, pack_ref: str, **_signal: Any) -> None:
    """Remove the pack's environments here; workers elsewhere do so with their next renewal."""
    remove_environments(pack_ref)
    look_again()
