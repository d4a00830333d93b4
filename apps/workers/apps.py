from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "apps.workers"

    def ready(self) -> None:
        from apps.packs.registry import register_loader  # models are not loaded before ready
        from apps.workers import receivers  # noqa: F401  # connects itself
        from apps.workers.loaders import RuntimeLoader

        register_loader(RuntimeLoader())
