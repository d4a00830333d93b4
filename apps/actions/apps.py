from django.apps import AppConfig


class ActionsConfig(AppConfig):
    name = "apps.actions"

    def ready(self) -> None:
        from apps.actions import visibility  # models are not loaded before ready
        from apps.actions.loader import ActionLoader
        from apps.actions.models import Action
        from apps.keys import owners
        from apps.packs.registry import register_loader

        register_loader(ActionLoader())
        owners.register("action", Action)
        visibility.describe()
