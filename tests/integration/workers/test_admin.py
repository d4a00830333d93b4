"""The console's pages of workers: how they do, and the verbs."""

import pytest
from django.test import Client
from django.urls import reverse

from apps.workers.models import Worker, WorkerHistory
from tests.factories import make_admin, make_execution, make_worker

pytestmark = pytest.mark.django_db

LIST = "/admin/workers/worker/"


@pytest.fixture
def olga():
    return make_admin(login="olga")


@pytest.fixture
def console(olga):
    client = Client()
    client.force_login(olga)
    return client


def page_of(worker, *more):
    return reverse(f"admin:workers_worker_{more[0] if more else 'change'}", args=[worker.pk])


def confirmed(console, worker, verb, **given):
    return console.post(page_of(worker, verb), {"confirmed": "yes", **given}, follow=True)


def buttons(console, worker):
    return [button["title"] for button in console.get(page_of(worker)).context["actions_detail"]]


def test_cordon_and_uncordon(console, olga):
    worker = make_worker(name="w1")
    assert buttons(console, worker) == ["Cordon", "Drain"]

    answer = confirmed(console, worker, "cordon", reason="disk full")

    worker.refresh_from_db()
    assert (worker.cordoned, worker.cordon_reason, worker.cordoned_by) == (True, "disk full", olga)
    assert WorkerHistory.objects.get(entity_id=worker.pk).actor == f"identity:{olga.pk}"
    assert [str(message) for message in answer.context["messages"]] == ["Cordon w1: done"]
    assert buttons(console, worker) == ["Uncordon"]

    confirmed(console, worker, "uncordon")

    worker.refresh_from_db()
    assert (worker.cordoned, worker.cordon_reason) == (False, None)


def test_drain(console):
    worker = make_worker()

    confirmed(console, worker, "drain")

    worker.refresh_from_db()
    assert worker.cordoned is True


def test_asking_changes_nothing(console):
    worker = make_worker()

    for verb in ("cordon", "drain"):
        assert console.get(page_of(worker, verb)).status_code == 200

    worker.refresh_from_db()
    assert worker.cordoned is False


def test_many_are_cordoned_from_the_list(console):
    chosen = [make_worker().pk for _row in range(2)]

    console.post(
        LIST, {"action": "cordon_selected", "_selected_action": chosen, "confirmed": "yes", "reason": "night"}
    )

    assert list(Worker.objects.values_list("cordoned", "cordon_reason")) == [(True, "night")] * 2


def test_the_list_says_how_they_do(console):
    make_worker(name="busy", slots=4)
    make_worker(name="idle", slots=4)
    make_worker(name="gone", status="inactive")
    for status in ("running", "scheduled", "completed"):
        make_execution(status=status, worker=Worker.objects.get(name="busy"))

    text = " ".join(console.get(LIST).content.decode().split())

    assert [text.count(f">{word}</span>") for word in ("busy", "active", "inactive")] == [1, 1, 1]
    assert text.count("2 of 4") == 1
    assert text.count("0 of 4") == 1


@pytest.mark.parametrize("verb", ["cordon", "change"])
def test_a_worker_that_is_gone_leads_to_the_list(console, verb):
    answer = console.get(reverse(f"admin:workers_worker_{verb}", args=[999]), follow=True)

    assert answer.redirect_chain[-1][0] in (LIST, "/admin/")
