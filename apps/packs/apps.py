from django.apps import AppConfig


class PacksConfig(AppConfig):
    name = "apps.packs"

    def ready(self) -> None:
        from apps.packs import receivers, visibility  # noqa: F401  # models are not loaded before ready
        from apps.packs.permission_sets import PermissionSetLoader
        from apps.packs.registry import register_loader

        register_loader(PermissionSetLoader())
        visibility.describe()
