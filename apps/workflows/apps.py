from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class WorkflowsConfig(AppConfig):
    name = "apps.workflows"

    def ready(self) -> None:
        from apps.actions.models import Action  # models are ready only now
        from apps.core import consequences, rounds
        from apps.executions import engines
        from apps.executions.signals import execution_finished
        from apps.packs.registry import register_loader
        from apps.workflows import receivers, visibility
        from apps.workflows.companions import what_deletion_means
        from apps.workflows.engine import sweep
        from apps.workflows.engine.service import WorkflowEngine
        from apps.workflows.loader import WorkflowActionLoader, WorkflowLoader
        from apps.workflows.models import WorkflowDefinition

        engines.register_task_engine(WorkflowEngine())
        execution_finished.connect(receivers.on_execution_finished, dispatch_uid="workflows.execution_finished")
        rounds.register(rounds.Round(name="workflows", work=sweep.settle))
        rounds.register(rounds.Round(name="workflow tasks put off", work=sweep.go_on, next_due=sweep.next_put_off))
        rounds.register(rounds.Round(name="workflow deadlines", work=sweep.end_overdue, next_due=sweep.next_due))
        register_loader(WorkflowActionLoader())
        register_loader(WorkflowLoader())
        post_save.connect(receivers.on_action_saved, sender=Action, dispatch_uid="workflows.action_saved")
        post_delete.connect(receivers.on_action_deleted, sender=Action, dispatch_uid="workflows.action_deleted")
        post_delete.connect(
            receivers.on_workflow_deleted, sender=WorkflowDefinition, dispatch_uid="workflows.workflow_deleted"
        )
        consequences.register(WorkflowDefinition, what_deletion_means)
        visibility.describe()
