"""The database's clock (execution.md section 1)."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from apps.core import clock


@pytest.mark.postgresql
@pytest.mark.django_db
def test_difference_that_could_not_be_measured_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_measured_at", None)
    monkeypatch.setattr(clock, "_offset", timedelta(hours=1))
    with transaction.atomic():
        with connection.cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("SELECT no_such_column")
        with pytest.raises(DatabaseError):
            clock.now()  # the transaction is broken: the database gives no answer
        transaction.set_rollback(True)

    assert abs(clock.now() - timezone.now()) < timedelta(minutes=1)
