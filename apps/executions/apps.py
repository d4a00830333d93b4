from django.apps import AppConfig


class ExecutionsConfig(AppConfig):
    name = "apps.executions"

    def ready(self) -> None:
        from apps.executions import receivers  # models are ready only now
        from apps.workers import signals

        signals.lease_over.connect(receivers.on_lease_over, dispatch_uid="executions.lease_over")
        signals.worker_draining.connect(receivers.on_worker_draining, dispatch_uid="executions.draining")
        signals.worker_available.connect(receivers.on_worker_available, dispatch_uid="executions.available")
        signals.lease_renewed.connect(receivers.on_lease_renewed, dispatch_uid="executions.renewed")
