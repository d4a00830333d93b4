"""What the database refuses is the same answer on SQLite and on PostgreSQL, also when two break a rule together."""

import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from apps.core.api import handler
from apps.identity.models import Identity
from apps.packs.models import Pack
from apps.workers.models import Runtime
from tests.clients import signed_in
from tests.factories import make_action, make_admin, make_execution, make_identity, make_pack, make_runtime

PACK = {"ref": "shop", "label": "Shop", "version": "1.0.0"}


def translated(work):
    with pytest.raises(Exception) as caught, transaction.atomic():  # whatever it is, it is translated
        work()
    error = handler.translate(caught.value)
    return error.status, error.code, error.message


@pytest.mark.django_db
def test_taken_ref_is_a_conflict():
    make_pack(ref="shop")
    assert translated(lambda: Pack.objects.create(**PACK)) == (409, "CONFLICT", "Already exists (ref)")


@pytest.mark.django_db(transaction=True)
def test_absent_referenced_row_is_unprocessable():
    status, code, message = translated(lambda: Pack.objects.create(**PACK, installed_by_id=999_999))
    assert (status, code) == (422, "UNPROCESSABLE_ENTITY")
    assert message.startswith("Referenced entity does not exist (")


@pytest.mark.django_db
def test_broken_check_is_a_validation_error():
    status, code, message = translated(lambda: make_execution(priority=500))
    assert (status, code) == (422, "VALIDATION_ERROR")
    assert "execution" not in message


@pytest.mark.django_db
def test_missing_value_is_a_validation_error():
    assert translated(lambda: Pack.objects.create(**{**PACK, "label": None}))[:2] == (422, "VALIDATION_ERROR")


@pytest.mark.django_db
def test_number_beyond_its_column_is_a_validation_error():
    assert translated(lambda: Identity.objects.filter(pk=1).update(id=2**70))[:2] == (422, "VALIDATION_ERROR")


@pytest.mark.django_db
def test_deletion_that_others_stand_in_the_way_of_names_them():
    runtime = make_runtime()
    make_action(runtime=runtime)
    make_action(runtime=runtime)

    assert translated(runtime.delete) == (422, "UNPROCESSABLE_ENTITY", "It is still used by 2 actions")
    assert Runtime.objects.filter(pk=runtime.pk).exists()


def test_model_validation_is_told_by_its_gravest_kind():
    def told(error):
        found = handler.translate(error)
        return found.status, found.code, found.message

    assert told(ValidationError({"ref": ValidationError("Bad ref.", code="format")}))[:2] == (
        422,
        "UNPROCESSABLE_ENTITY",
    )
    assert told(ValidationError({"ref": ValidationError("Taken.", code="unique")})) == (
        409,
        "CONFLICT",
        "Already exists (ref)",
    )
    assert told(ValidationError("a and b disagree", code="between_fields")) == (400, "BAD_REQUEST", "a and b disagree")
    assert told(ValidationError({"label": "Too long."})) == (422, "VALIDATION_ERROR", "label: Too long.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls("tests.integration.core.example")
def test_two_creations_at_once_are_one_creation_and_one_conflict():
    admin = make_admin()
    start = threading.Barrier(4)
    statuses = []

    def create():
        client = signed_in(admin)
        start.wait()
        answer = client.post("/api/v1/packs", PACK)
        statuses.append((answer.status_code, answer.json().get("error")))
        connection.close()

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses, key=str) == [(201, None)] + [(409, "Already exists (ref)")] * 3


@pytest.mark.django_db
def test_integrity_error_has_no_sql_in_its_answer():
    make_identity(login="anna")
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        make_identity(login="anna")
    body = handler.body_of(handler.translate(caught.value))
    assert body == {"error": "Already exists (login)", "code": "CONFLICT", "status": 409}
