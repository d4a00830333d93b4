"""System checks: settings that are fine one by one and make no sense together."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register()
def check_secret(app_configs: Sequence[Any] | None, **_options: Any) -> list[CheckMessage]:
    if len(settings.JWT_SECRET.encode()) >= 32:
        return []
    return [
        Warning(
            "ATTUNE_JWT_SECRET has fewer than 32 bytes: tokens signed with it can be forged by trying.",
            hint="Set a random text of 32 characters or more; python3 -c 'import secrets; print(secrets.token_urlsafe())'",
            id="attune.W001",
        )
    ]


@register()
def check_stack(app_configs: Sequence[Any] | None, **_options: Any) -> list[CheckMessage]:
    on_sqlite = settings.DATABASES["default"]["ENGINE"] == settings.SQLITE
    if not on_sqlite or settings.CELERY_BROKER_URL.startswith("memory:"):
        return []
    return [
        Warning(
            "CELERY_BROKER_URL reaches other machines, the SQLite database does not: workers there see nothing.",
            hint="Set DATABASE_URL=postgres://..., or leave CELERY_BROKER_URL out.",
            id="attune.W002",
        )
    ]
