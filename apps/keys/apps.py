from django.apps import AppConfig


class KeysConfig(AppConfig):
    name = "apps.keys"

    def ready(self) -> None:
        from apps.keys import visibility  # models are not loaded before ready

        visibility.describe()
