from django.apps import AppConfig
from django.db.models.signals import pre_delete


class QueuesConfig(AppConfig):
    name = "apps.queues"

    def ready(self) -> None:
        from apps.core import rounds  # models are ready only now
        from apps.executions.signals import execution_finished
        from apps.packs.models import Pack
        from apps.packs.registry import register_loader
        from apps.queues import alerts, receivers, sweep, visibility
        from apps.queues.loader import QueueLoader
        from apps.queues.models import WorkQueue

        execution_finished.connect(receivers.on_execution_finished, dispatch_uid="queues.execution_finished")
        pre_delete.connect(receivers.on_queue_going, sender=WorkQueue, dispatch_uid="queues.queue_going")
        pre_delete.connect(receivers.on_pack_going, sender=Pack, dispatch_uid="queues.pack_going")
        rounds.register(rounds.Round(name="queues", work=sweep.sweep, next_due=sweep.next_due))
        rounds.register(rounds.Round(name="queue alerts", work=alerts.look, every_seconds=60.0))
        register_loader(QueueLoader())
        visibility.describe()
