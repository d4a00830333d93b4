"""News from below: an execution ended, a pack or a queue goes."""

from typing import Any

from apps.executions.models import Execution
from apps.packs.models import Pack
from apps.queues import services, settlement
from apps.queues.models import WorkQueue


def on_execution_finished(*, execution: Execution, repeated: bool, **_signal: Any) -> None:
    """Settle its items, in the transaction that ends it; while another attempt follows they stay leased."""
    if not repeated:
        settlement.settle_finished(execution)


def on_queue_going(*, instance: WorkQueue, **_signal: Any) -> None:
    """A queue comes before its items, whoever changes both; and nobody else sees to their secrets."""
    list(WorkQueue.objects.select_for_update(no_key=True).filter(pk=instance.pk).values_list("pk"))
    services.forget_secrets(WorkQueue.objects.filter(pk=instance.pk))


def on_pack_going(*, instance: Pack, **_signal: Any) -> None:
    """The queues of its files go with it; those made through the API stay and lose the link."""
    for queue in WorkQueue.objects.filter(pack=instance, is_adhoc=False):
        queue.delete()
    WorkQueue.objects.filter(pack=instance).update(pack=None, pack_ref=None)
