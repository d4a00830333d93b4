from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class WorkflowsConfig(AppConfig):
    name = "apps.workflows"

    def ready(self) -> None:
        from apps.actions.models import Action  # models are ready only now
        from apps.core import consequences
        from apps.packs.registry import register_loader
        from apps.workflows import receivers, visibility
        from apps.workflows.companions import what_deletion_means
        from apps.workflows.loader import WorkflowActionLoader, WorkflowLoader
        from apps.workflows.models import WorkflowDefinition

        register_loader(WorkflowActionLoader())
        register_loader(WorkflowLoader())
        post_save.connect(receivers.on_action_saved, sender=Action, dispatch_uid="workflows.action_saved")
        post_delete.connect(receivers.on_action_deleted, sender=Action, dispatch_uid="workflows.action_deleted")
        post_delete.connect(
            receivers.on_workflow_deleted, sender=WorkflowDefinition, dispatch_uid="workflows.workflow_deleted"
        )
        consequences.register(WorkflowDefinition, what_deletion_means)
        visibility.describe()
