from django.apps import AppConfig
from django.core.checks import register


class IdentityConfig(AppConfig):
    name = "apps.identity"

    def ready(self) -> None:
        from apps.core.api import idempotency  # models cannot be imported before the apps are
        from apps.identity import openapi, visibility  # noqa: F401  # classes of openapi register themselves
        from apps.identity.checks import every_route_is_classified
        from apps.identity.idempotency import Records

        idempotency.use(Records())
        register(every_route_is_classified)
        visibility.describe()
