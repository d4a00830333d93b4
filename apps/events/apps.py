from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save, pre_delete


class EventsConfig(AppConfig):
    name = "apps.events"

    def ready(self) -> None:
        from apps.core import rounds, schemas
        from apps.events import (  # models are ready now
            execution_news,
            notices,
            receivers,
            signals,
            stuck,
            triggers,
            visibility,
            worker_alerts,
        )
        from apps.events.loaders import SensorLoader, TriggerLoader
        from apps.events.models import Sensor, SensorProcess, Trigger
        from apps.events.schedules.formats import FORMATS
        from apps.events.sensors import news
        from apps.executions.signals import execution_finished
        from apps.identity.triggers import named_triggers
        from apps.keys import owners
        from apps.packs.registry import register_loader
        from apps.workers.signals import lease_over, worker_available

        execution_finished.connect(execution_news.on_execution_finished, dispatch_uid="events.execution_finished")
        post_save.connect(receivers.on_trigger_saved, sender=Trigger, dispatch_uid="events.trigger_saved")
        post_delete.connect(receivers.on_trigger_deleted, sender=Trigger, dispatch_uid="events.trigger_deleted")
        post_save.connect(receivers.on_sensor_saved, sender=Sensor, dispatch_uid="events.sensor_saved")
        pre_delete.connect(receivers.on_sensor_going, sender=Sensor, dispatch_uid="events.sensor_going")
        post_delete.connect(receivers.on_sensor_deleted, sender=Sensor, dispatch_uid="events.sensor_deleted")
        signals.sensors_changed.connect(notices.sensors_changed, dispatch_uid="events.notices")
        lease_over.connect(news.on_lease_over, dispatch_uid="events.lease_over")
        worker_available.connect(news.on_worker_available, dispatch_uid="events.worker_available")
        post_delete.connect(news.on_process_deleted, sender=SensorProcess, dispatch_uid="events.process_deleted")
        named_triggers.register(triggers.triggers_by_ref)
        register_loader(TriggerLoader())
        register_loader(SensorLoader())
        owners.register("sensor", Sensor)
        rounds.register(rounds.Round(name="worker alerts", work=worker_alerts.look, every_seconds=15.0))
        rounds.register(rounds.Round(name="stuck executions", work=stuck.look, every_seconds=30.0))
        visibility.describe()
        for name, holds, words in FORMATS:
            schemas.register_format(name, holds, words)
