"""Workers over HTTP."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.executions.models import Execution
from apps.executions.states import Status
from apps.workers.models import Worker, WorkerHistory, WorkerLease
from apps.workers.signals import worker_available
from tests.clients import signed_in
from tests.factories import make_action, make_execution, make_identity, make_worker

pytestmark = pytest.mark.django_db

WORKERS = "/api/v1/workers"
KEYS = {
    "id", "name", "worker_type", "worker_role", "host", "port", "status", "last_heartbeat", "heartbeat_age_seconds",
    "heartbeat_stale", "cordoned", "cordon_reason", "cordoned_by", "cordoned_at", "health_state",
    "supported_runtimes", "load", "created", "updated",
}  # fmt: skip
LOAD_KEYS = {
    "requested", "scheduling", "scheduled", "running", "canceling", "total_active", "max_concurrent_executions",
    "utilization_percent", "queue_depth", "sensor_processes_running", "sensor_processes_monitored", "active_rules",
    "max_concurrent_sensors",
}  # fmt: skip


@pytest.fixture
def api():
    return signed_in()


def busy(worker, *statuses):
    action = make_action()
    for status in statuses:
        Execution.objects.filter(pk=make_execution(action=action).pk).update(worker=worker, status=status)


def names(answer):
    assert answer.status_code == 200, answer.data
    return [worker["name"] for worker in answer.data["data"]]


def test_get_has_every_key_and_is_bare(api):
    capabilities = {"runtime_versions": {"python": ["3.11.9"]}, "health": {"status": "healthy", "queue_depth": 3}}
    worker = make_worker(name="w", slots=8, capabilities=capabilities, host="h")
    busy(worker, Status.RUNNING, Status.RUNNING, Status.SCHEDULED, Status.COMPLETED)

    answer = api.get(f"{WORKERS}/{worker.pk}")

    assert answer.status_code == 200
    assert set(answer.data) == KEYS
    assert set(answer.data["load"]) == LOAD_KEYS
    assert answer.data["supported_runtimes"] == [
        {"name": "shell", "versions": []},
        {"name": "python", "versions": ["3.11.9"]},
    ]
    load = answer.data["load"]
    assert (load["running"], load["scheduled"], load["total_active"], load["requested"]) == (2, 1, 3, 0)
    assert (load["max_concurrent_executions"], load["utilization_percent"], load["queue_depth"]) == (8, 37.5, 3)
    assert load["sensor_processes_running"] is None
    assert (answer.data["health_state"], answer.data["heartbeat_stale"]) == ("busy", False)


def test_get_of_no_worker(api):
    assert api.get(f"{WORKERS}/999999").status_code == 404
    assert api.get(f"{WORKERS}/x").status_code == 400


def test_heartbeat_is_the_last_renewal_of_the_lease(api):
    worker = make_worker(last_heartbeat=timezone.now() - timedelta(hours=1))
    WorkerLease.objects.update(renewed_at=timezone.now() - timedelta(seconds=20))

    answer = api.get(f"{WORKERS}/{worker.pk}").data

    assert 19 <= answer["heartbeat_age_seconds"] <= 25
    assert answer["heartbeat_stale"] is False


def test_worker_without_lease_and_heartbeat_is_offline(api):
    worker = make_worker(last_heartbeat=None)
    WorkerLease.objects.all().delete()

    answer = api.get(f"{WORKERS}/{worker.pk}").data

    assert (answer["last_heartbeat"], answer["heartbeat_age_seconds"]) == (None, None)
    assert (answer["heartbeat_stale"], answer["health_state"]) == (True, "offline")


def test_list_by_name_with_filters(api):
    make_worker(name="b")
    make_worker(name="a", cordoned=True)
    make_worker(
        name="c", worker_role="sensor", capabilities={"sensor_processes_running": 2, "max_concurrent_sensors": 8}
    )
    make_worker(name="d", status="inactive")
    make_worker(name="e", status="error")
    old = make_worker(name="f")
    WorkerLease.objects.filter(worker=old).update(renewed_at=timezone.now() - timedelta(seconds=91))
    busy(make_worker(name="g"), Status.CANCELING)

    answer = api.get(WORKERS)
    assert names(answer) == ["a", "b", "c", "d", "e", "f", "g"]
    assert answer.data["items"] == answer.data["data"]
    assert answer.data["pagination"]["page_size"] == 50
    states = {worker["name"]: worker["health_state"] for worker in answer.data["data"]}
    assert states == {
        "a": "cordoned", "b": "active", "c": "busy", "d": "inactive", "e": "error", "f": "offline", "g": "busy"
    }  # fmt: skip
    for state in set(states.values()):
        assert names(api.get(WORKERS, {"health_state": state})) == [name for name, of in states.items() if of == state]
    assert names(api.get(WORKERS, {"role": "sensor"})) == ["c"]
    assert names(api.get(WORKERS, {"status": "inactive,error"})) == ["d", "e"]
    assert names(api.get(WORKERS, {"cordoned": "TRUE"})) == ["a"]
    assert names(api.get(WORKERS, {"health_state": "busy,active", "role": "action"})) == ["b", "g"]
    for bad in ({"role": "boss"}, {"status": "odd"}, {"cordoned": "maybe"}, {"health_state": "well"}):
        assert api.get(WORKERS, bad).status_code == 400


def test_sensor_load_gives_the_utilization_where_executions_have_no_maximum(api):
    capabilities = {
        "max_concurrent_executions": None, "sensor_processes_running": 2, "sensor_processes_monitored": 3,
        "active_rules": 5, "max_concurrent_sensors": 8,
    }  # fmt: skip
    worker = make_worker(capabilities=capabilities)

    load = api.get(f"{WORKERS}/{worker.pk}").data["load"]

    assert (load["utilization_percent"], load["sensor_processes_monitored"], load["active_rules"]) == (25.0, 3, 5)
    assert load["max_concurrent_executions"] is None


@pytest.mark.parametrize("params", [{}, {"health_state": "busy,active"}])
def test_list_makes_the_same_number_of_queries_for_1_and_3(api, params):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert api.get(WORKERS, params).status_code == 200
        return len(captured)

    busy(make_worker(), Status.RUNNING)
    queries()  # what is remembered once per process
    one = queries()
    for _ in range(2):
        busy(make_worker(), Status.RUNNING, Status.SCHEDULED)

    assert queries() == one


def test_cordon_and_uncordon(api, django_capture_on_commit_callbacks):
    worker = make_worker()
    told = []

    def listen(worker_id, **_):
        told.append(worker_id)

    worker_available.connect(listen)
    try:
        answer = api.post(f"{WORKERS}/{worker.pk}/cordon", {"reason": "disk"}, format="json")
        assert (answer.status_code, answer.data["cordoned"], answer.data["cordon_reason"]) == (200, True, "disk")
        assert answer.data["cordoned_by"] is not None
        assert answer.data["cordoned_at"] is not None
        assert answer.data["health_state"] == "cordoned"

        with django_capture_on_commit_callbacks(execute=True):
            answer = api.post(f"{WORKERS}/{worker.pk}/uncordon")
    finally:
        worker_available.disconnect(listen)

    assert answer.status_code == 200
    assert [answer.data[key] for key in ("cordoned", "cordon_reason", "cordoned_by", "cordoned_at")] == [
        False, None, None, None
    ]  # fmt: skip
    assert told == [worker.pk]
    rows = [(row.changed_fields, row.new_values, row.reason) for row in WorkerHistory.objects.order_by("id")]
    assert rows == [(["cordoned"], {"cordoned": True}, "disk"), (["cordoned"], {"cordoned": False}, None)]


def test_cordon_without_body_and_twice(api):
    worker = make_worker()

    assert api.post(f"{WORKERS}/{worker.pk}/cordon").status_code == 200
    answer = api.post(f"{WORKERS}/{worker.pk}/cordon", {"reason": "again"}, format="json")

    assert (answer.status_code, answer.data["cordon_reason"]) == (200, "again")
    assert WorkerHistory.objects.count() == 1
    assert api.post(f"{WORKERS}/{worker.pk}/cordon", {"reason": 7}, format="json").status_code == 422
    assert api.post(f"{WORKERS}/999999/cordon").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_drain_takes_back_what_has_not_started():
    worker = make_worker()
    busy(worker, Status.SCHEDULED, Status.RUNNING)

    answer = signed_in().post(f"{WORKERS}/{worker.pk}/drain", {"reason": "upgrade"}, format="json")

    assert (answer.status_code, answer.data["cordoned"]) == (200, True)
    assert sorted(Execution.objects.values_list("status", "worker")) == [
        ("requested", None),
        ("running", worker.pk),
    ]


def test_history_of_a_worker(api):
    worker, other = make_worker(), make_worker()
    for one in (worker, other):
        api.post(f"{WORKERS}/{one.pk}/cordon", {"reason": "r"}, format="json")
        api.post(f"{WORKERS}/{one.pk}/uncordon")

    answer = api.get(f"{WORKERS}/{worker.pk}/history")

    assert answer.status_code == 200
    assert [row["new_values"] for row in answer.data["data"]] == [{"cordoned": False}, {"cordoned": True}]
    assert {row["entity_id"] for row in answer.data["data"]} == {worker.pk}
    assert {row["entity_ref"] for row in answer.data["data"]} == {worker.name}
    narrowed = api.get(f"{WORKERS}/{worker.pk}/history", {"changed_field": "status"})
    assert narrowed.data["data"] == []
    everything = api.get("/api/v1/history/worker", {"entity_id": other.pk})
    assert len(everything.data["data"]) == 2
    assert api.get(f"{WORKERS}/999999/history").status_code == 404


def test_without_grants_everything_is_refused():
    worker = make_worker(cordoned=True)
    caller = signed_in(make_identity())

    answers = [
        caller.get(WORKERS),
        caller.get(f"{WORKERS}/{worker.pk}"),
        caller.get(f"{WORKERS}/{worker.pk}/history"),
        caller.post(f"{WORKERS}/{worker.pk}/cordon"),
        caller.post(f"{WORKERS}/{worker.pk}/uncordon"),
        caller.post(f"{WORKERS}/{worker.pk}/drain"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 6
    assert answers[0].data["error"] == "Insufficient permissions: workers:read"
    assert answers[3].data["error"] == "Insufficient permissions: workers:manage"
    assert Worker.objects.get().cordoned is True
