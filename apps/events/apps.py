from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "apps.events"

    def ready(self) -> None:
        from apps.events import execution_news  # models are ready only now
        from apps.executions.signals import execution_finished

        execution_finished.connect(execution_news.on_execution_finished, dispatch_uid="events.execution_finished")
