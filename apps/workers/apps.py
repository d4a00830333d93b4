from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "apps.workers"

    def ready(self) -> None:
        from apps.packs.registry import register_loader  # models are not loaded before ready
        from apps.workers import receivers, visibility  # noqa: F401  # receivers connect themselves
        from apps.workers.loaders import RuntimeLoader

        register_loader(RuntimeLoader())
        visibility.describe()
