from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class ActionsConfig(AppConfig):
    name = "apps.actions"

    def ready(self) -> None:
        from apps.actions import visibility  # models are not loaded before ready
        from apps.actions.loader import ActionLoader
        from apps.actions.models import Action, Policy
        from apps.actions.policies import access, applying
        from apps.actions.policies.loader import PolicyLoader
        from apps.keys import owners
        from apps.packs.registry import register_loader

        register_loader(ActionLoader())
        register_loader(PolicyLoader())
        owners.register("action", Action)
        visibility.describe()
        access.describe()
        for signal in (post_save, post_delete):
            signal.connect(applying.on_policy_changed, sender=Policy, dispatch_uid="actions.policy_changed")
        post_save.connect(applying.on_action_saved, sender=Action, dispatch_uid="actions.action_saved")
