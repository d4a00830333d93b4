"""The test database itself: committed rows are seen by other threads, and built-in rows survive a flush."""

import threading

import pytest
from django.db import connection

from apps.identity.models import Identity


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_committed_row_is_seen_by_another_thread(turn: int) -> None:
    identity = Identity.objects.create(login="someone")
    seen: list[str] = []

    def look() -> None:
        seen.extend(Identity.objects.order_by("pk").values_list("login", flat=True))
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert seen == ["system", "someone"]
    assert identity.pk > 1


@pytest.mark.django_db
def test_system_identity_is_row_one() -> None:
    assert Identity.objects.get(pk=1).login == "system"
