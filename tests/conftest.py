"""
What every test may use. Which stack they run on is told by DATABASE_URL and CELERY_BROKER_URL (settings/test.py).

A test that lets threads or processes see its rows takes ``@pytest.mark.django_db(transaction=True)``: only then is
anything committed (and on SQLite the plain ``django_db`` holds the one write lock from its first query on).
"""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models.signals import post_migrate

TESTS = Path(__file__).parent
ON_POSTGRESQL = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what touches database or broker, and leave out what belongs to the other stack."""
    kept, left_out = [], []
    for item in items:
        in_unit = (TESTS / "unit") in item.path.parents
        if not in_unit or item.get_closest_marker("django_db"):
            item.add_marker("stack")
        other = "sqlite" if ON_POSTGRESQL else "postgresql"
        (left_out if item.get_closest_marker(other) else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _restore_built_in_rows(**_signal: Any) -> None:
    """A transactional test empties every table at its end, the rows of migrations too: put those back."""
    from apps.identity.models import Identity  # models cannot be imported before Django is set up

    Identity.objects.get_or_create(pk=1, defaults={"login": "system", "display_name": "Attune"})


@pytest.fixture(scope="session", autouse=True)
def _built_in_rows() -> None:
    post_migrate.connect(_restore_built_in_rows, dispatch_uid="tests.built_in_rows")
