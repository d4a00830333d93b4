"""``Idempotency-Key``: one piece of work per key, one answer for all who repeat it."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.response import Response

from apps.core.api import idempotency
from apps.core.errors import ConflictError
from apps.identity.models import IdempotencyRecord
from apps.packs.models import Pack
from tests.clients import signed_in
from tests.factories import make_admin

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.integration.core.example")]

PACKS = "/api/v1/packs"
PACK = {"ref": "shop", "label": "Shop", "version": "1.0.0"}


@pytest.fixture
def admin():
    return make_admin()


@pytest.fixture
def client(admin):
    return signed_in(admin)


def post(client, body=PACK, key="key-1", path=PACKS):
    return client.post(path, body, HTTP_IDEMPOTENCY_KEY=key)


def test_repeat_gets_the_first_answer_again(client):
    first = post(client)
    again = post(client)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert (first.get("Idempotent-Replayed"), again.get("Idempotent-Replayed")) == (None, "true")
    assert Pack.objects.count() == 1


def test_spacing_and_order_of_the_body_do_not_matter(client):
    post(client)
    raw = b'{ "version":"1.0.0",\n "label":"Shop", "ref":"shop" }'
    again = client.generic("POST", PACKS, raw, content_type="application/json", HTTP_IDEMPOTENCY_KEY="key-1")
    assert again.get("Idempotent-Replayed") == "true"


def test_other_body_under_the_same_key_is_refused(client):
    post(client)
    answer = post(client, {**PACK, "ref": "other"})
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert Pack.objects.count() == 1


def test_refused_request_leaves_no_key_behind(client):
    assert post(client, {**PACK, "ref": "X"}).status_code == 422
    assert post(client, {**PACK, "version": "1"}).status_code == 422
    assert IdempotencyRecord.objects.count() == 0
    assert post(client).status_code == 201


def test_failure_undoes_the_work_of_the_request(client):
    post(client, key="other")
    assert post(client, {}, path=f"{PACKS}/rename").status_code == 409
    assert Pack.objects.get().label == "Shop"


def test_keys_of_callers_and_paths_are_apart(client, admin):
    post(client)
    assert signed_in().post(PACKS, PACK, HTTP_IDEMPOTENCY_KEY="key-1").status_code == 409
    assert post(client, path=f"{PACKS}/shop/touch").json()["data"]["label"] == "touched"


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\tb"])
def test_key_that_is_none_is_a_bad_request(client, key):
    assert post(client, key=key).status_code == 400
    assert Pack.objects.count() == 0


def test_key_of_255_characters_is_fine(client):
    assert post(client, key="~" * 255).status_code == 201


def test_key_is_forgotten_after_a_day(client):
    post(client)
    record = IdempotencyRecord.objects.get()
    assert timedelta(hours=23, minutes=59) < record.expires_at - timezone.now() <= timedelta(hours=24)
    IdempotencyRecord.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert post(client).status_code == 409  # done anew: the pack exists


def test_forms_are_told_apart_by_their_files(client):
    def send(content, name="f"):
        raw = (
            f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n{content}\r\n--x--\r\n'
        ).encode()
        return client.generic(
            "POST", "/api/v1/forms", raw, content_type="multipart/form-data; boundary=x", HTTP_IDEMPOTENCY_KEY="form"
        )

    assert send("one").json()["data"]["size"] == 3
    assert send("one").get("Idempotent-Replayed") == "true"
    assert send("two").status_code == 422
    assert send("one", name="g").status_code == 422


def test_reads_ignore_the_header(client):
    assert client.get(PACKS, HTTP_IDEMPOTENCY_KEY="a b").status_code == 200


# --- Several at once --------------------------------------------------------------------------------------------


class Work:
    """A piece of work that stops in the middle until it is told to go on."""

    def __init__(self, *, fails=False):
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.fails = fails

    def __call__(self):
        Pack.objects.create(**PACK)
        self.begun.set()
        assert self.may_end.wait(60)
        if self.fails:
            raise ConflictError("no")
        return Response({"data": 1}, status=201)


def in_thread(outcome, work):
    def run():
        try:
            outcome.append(idempotency.answer_once("scope", "key", "hash", work).status_code)
        except Exception as error:  # the test looks at it
            outcome.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_second_request_is_told_that_the_first_still_runs():
    work, outcome = Work(), []
    thread = in_thread(outcome, work)
    assert work.begun.wait(60)

    with pytest.raises(idempotency.StillRunning) as caught:
        idempotency.answer_once("scope", "key", "hash", work)
    work.may_end.set()
    thread.join()

    assert caught.value.headers == {"Retry-After": "1"}
    assert outcome == [201]
    assert idempotency.answer_once("scope", "key", "hash", work).headers["Idempotent-Replayed"] == "true"
    assert Pack.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_failed_first_request_leaves_the_key_to_the_next():
    work, outcome = Work(fails=True), []
    thread = in_thread(outcome, work)
    assert work.begun.wait(60)
    work.may_end.set()
    thread.join()

    second = Work()
    second.may_end.set()

    assert isinstance(outcome[0], ConflictError)
    assert idempotency.answer_once("scope", "key", "hash", second).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_many_at_once_do_the_work_once(admin):
    start, statuses = threading.Barrier(6), []

    def run():
        client = signed_in(admin)
        start.wait()
        answer = post(client)
        statuses.append(answer.status_code)
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert Pack.objects.count() == IdempotencyRecord.objects.count() == 1
