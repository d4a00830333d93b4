from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate, post_save


def forget_rows(**_signal: Any) -> None:
    """Forget the ids this process remembers: the tables may have been emptied (``manage.py flush``)."""
    from apps.actions import cached  # models are ready only now
    from apps.actions.policies import applying
    from apps.executions import demands, log_versions, offers, outages

    cached.forget_actions()
    applying.forget_policies()
    offers.forget_offers()
    demands.forget_demands()
    log_versions.forget_artifacts()
    outages.forget_absences()


class ExecutionsConfig(AppConfig):
    name = "apps.executions"

    def ready(self) -> None:
        from apps.actions.models import Action, Policy  # models are ready only now
        from apps.executions import audited, receivers, visibility, worker_load
        from apps.identity.audit import chains
        from apps.identity.executions import execution_standing
        from apps.workers import load, signals

        post_save.connect(receivers.on_action_saved, sender=Action, dispatch_uid="executions.action_saved")
        for signal in (post_save, post_delete):
            signal.connect(receivers.on_policy_changed, sender=Policy, dispatch_uid="executions.policy_changed")
        signals.lease_over.connect(receivers.on_lease_over, dispatch_uid="executions.lease_over")
        signals.worker_draining.connect(receivers.on_worker_draining, dispatch_uid="executions.draining")
        signals.worker_available.connect(receivers.on_worker_available, dispatch_uid="executions.available")
        signals.environment_built.connect(receivers.on_environment_built, dispatch_uid="executions.built")
        signals.lease_renewed.connect(receivers.on_lease_renewed, dispatch_uid="executions.renewed")
        execution_standing.register(visibility.standing_of)
        chains.register("execution", audited.links_above)
        visibility.describe()
        load.register_load_counter(worker_load.count_by_worker)
        post_migrate.connect(forget_rows, sender=self, dispatch_uid="executions.forget_rows")
