from django.apps import AppConfig
from django.db.models.signals import post_delete


class KeysConfig(AppConfig):
    name = "apps.keys"

    def ready(self) -> None:
        from apps.keys import secret_store, visibility  # models are not loaded before ready
        from apps.packs import secrets
        from apps.packs.models import Pack

        secrets.use(secret_store.PackConfigs())
        post_delete.connect(secret_store.forget_pack, sender=Pack, dispatch_uid="keys.pack_deleted")
        visibility.describe()
