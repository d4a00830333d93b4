"""What the scheduler does once an hour."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.identity.models import IdempotencyRecord
from attune.housekeeping import Housekeeping

pytestmark = pytest.mark.django_db


def make_record(key: str, age: timedelta) -> IdempotencyRecord:
    return IdempotencyRecord.objects.create(
        scope="test", key=key, request_hash="0", response_status=201, expires_at=timezone.now() - age
    )


def test_answers_kept_for_repeats_go_when_their_time_is_over_and_once_an_hour() -> None:
    housekeeping = Housekeeping()
    make_record("old", timedelta(seconds=1))
    make_record("young", -timedelta(hours=1))

    housekeeping.turn()
    assert list(IdempotencyRecord.objects.values_list("key", flat=True)) == ["young"]

    make_record("later", timedelta(seconds=1))
    housekeeping.turn()
    assert IdempotencyRecord.objects.count() == 2
