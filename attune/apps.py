from django.apps import AppConfig


class AttuneConfig(AppConfig):
    name = "attune"

    def ready(self) -> None:
        from attune import checks  # noqa: F401  # registers them; needs the apps to be loaded
