"""Taking, renewing and giving up the lease on a worker's name."""

from datetime import timedelta

import pytest
from django.db.models import F

from apps.core.fields import Now
from apps.workers import lease
from apps.workers.holder import this_process
from apps.workers.lease import Claimant, Held, Lease, Renewal, Times
from apps.workers.models import Worker, WorkerHistory, WorkerLease
from apps.workers.signals import lease_over

pytestmark = pytest.mark.django_db(transaction=True)
TIMES = Times(heartbeat=10, lease=30, kill_grace=5)
ELSEWHERE = {"boot_id": "another machine", "pid": 1, "start_time": 1}


def claimant(**changes):
    fields = {"status": "active", "capabilities": {"runtimes": ["shell"]}}
    return Claimant(**{"name": "w1", "fields": fields, "process": ELSEWHERE, **changes})


def run_out():
    """Let the lease end, as time would."""
    WorkerLease.objects.update(
        expires_at=Now() - timedelta(seconds=1), renewed_at=F("renewed_at") - timedelta(seconds=31)
    )


@pytest.fixture
def settled():
    """What the apps above were told to settle."""
    told = []

    def listen(worker, reason, **_):
        told.append((worker.name, reason))

    lease_over.connect(listen)
    yield told
    lease_over.disconnect(listen)


def test_take_new_name_registers_the_worker(settled):
    taken = lease.take(claimant(), TIMES)

    worker = Worker.objects.get()
    row = worker.lease
    assert isinstance(taken, Lease)
    assert (worker.name, worker.status, row.holder, row.generation) == ("w1", "active", taken.holder, 1)
    assert row.expires_at - row.renewed_at == timedelta(seconds=30)
    assert worker.last_heartbeat is not None
    assert settled == []


def test_take_valid_lease_of_another_is_held(settled):
    lease.take(claimant(), TIMES)

    found = lease.take(claimant(), TIMES)

    assert isinstance(found, Held)
    assert 28 < found.seconds_left <= 30
    assert settled == []


def test_take_over_of_a_lease_that_ran_out_settles_its_work(settled):
    first = lease.take(claimant(), TIMES)
    run_out()

    second = lease.take(claimant(), TIMES)

    assert isinstance(second, Lease)
    assert (second.worker_id, second.generation) == (first.worker_id, 2)
    assert second.holder != first.holder
    assert settled == [("w1", "worker_heartbeat_stale")]
    assert lease.renew(first, TIMES)[0] is Renewal.TAKEN


def test_take_over_from_a_process_known_to_be_gone_does_not_wait(settled):
    here = this_process()
    lease.take(claimant(process={**here, "pid": 2**22 + 1, "start_time": 5}), TIMES)

    assert isinstance(lease.take(claimant(process=here), TIMES), Lease)
    assert settled == [("w1", "worker_unavailable")]


def test_take_from_a_living_process_or_guard_of_this_machine_waits():
    here = this_process()
    lease.take(claimant(process=here), TIMES)
    assert isinstance(lease.take(claimant(process=here), TIMES), Held)

    Worker.objects.update(
        meta={"process": {**here, "pid": 2**22 + 1, "guard_pid": here["pid"], "guard_start_time": here["start_time"]}}
    )
    assert isinstance(lease.take(claimant(process=here), TIMES), Held)


def test_take_anew_by_the_holder_itself_settles_what_it_ran(settled):
    first = lease.take(claimant(), TIMES)

    second = lease.take(claimant(former=first.holder), TIMES)

    assert isinstance(second, Lease)
    assert second.generation == 2
    assert settled == [("w1", "worker_unavailable")]


def test_renew_moves_the_end_and_nothing_else():
    taken = lease.take(claimant(), TIMES)
    WorkerLease.objects.update(expires_at=Now() + timedelta(seconds=3))
    updated = Worker.objects.get().updated

    found, renewed = lease.renew(taken, TIMES)

    row = WorkerLease.objects.get()
    assert found is Renewal.RENEWED
    assert row.expires_at - row.renewed_at == timedelta(seconds=30)
    assert renewed.ends_at > taken.ends_at
    assert Worker.objects.get().updated == updated


def test_renew_of_a_lease_that_ran_out_fails():
    taken = lease.take(claimant(), TIMES)
    run_out()

    assert lease.renew(taken, TIMES) == (Renewal.OVER, taken)


def test_renew_without_the_worker_row_counts_as_taken():
    taken = lease.take(claimant(), TIMES)
    Worker.objects.all().delete()

    assert lease.renew(taken, TIMES)[0] is Renewal.TAKEN


def test_give_up_settles_and_lets_the_next_in_at_once(settled):
    taken = lease.take(claimant(), TIMES)

    assert lease.give_up(taken)

    assert Worker.objects.get().status == "inactive"
    assert settled == [("w1", "worker_unavailable")]
    again = lease.take(claimant(), TIMES)
    assert isinstance(again, Lease)
    assert again.generation == 2
    assert Worker.objects.get().status == "active"


def test_give_up_of_a_lost_lease_changes_nothing(settled):
    first = lease.take(claimant(), TIMES)
    run_out()
    lease.take(claimant(), TIMES)
    settled.clear()

    assert not lease.give_up(first)
    assert Worker.objects.get().status == "active"
    assert settled == []


def test_registration_leaves_a_cordon_and_ends_a_drain():
    taken = lease.take(claimant(), TIMES)
    Worker.objects.update(cordoned=True, cordon_reason="disk", draining=True)
    lease.give_up(taken)

    lease.take(claimant(), TIMES)

    worker = Worker.objects.get()
    assert (worker.cordoned, worker.cordon_reason, worker.draining) == (True, "disk", False)


def test_receiver_that_fails_undoes_the_take_over():
    first = lease.take(claimant(), TIMES)
    run_out()

    def fail(**_):
        raise RuntimeError("cannot settle")

    lease_over.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            lease.take(claimant(), TIMES)
    finally:
        lease_over.disconnect(fail)
    assert WorkerLease.objects.get().holder == first.holder


def test_history_shows_registration_lease_and_stop():
    taken = lease.take(claimant(), TIMES)
    lease.give_up(taken)
    lease.take(claimant(fields={"status": "active", "capabilities": {"runtimes": ["python"]}}), TIMES)

    rows = [(row.operation, row.changed_fields, row.reason) for row in WorkerHistory.objects.order_by("id")]
    assert rows == [
        ("INSERT", ["capabilities", "cordoned", "draining", "status", "worker_role"], None),
        ("UPDATE", ["lease_generation"], None),
        ("UPDATE", ["status"], "stopped"),
        ("UPDATE", ["capabilities", "status"], "registered"),
        ("UPDATE", ["lease_generation"], "worker_unavailable"),
    ]
    assert {row.actor for row in WorkerHistory.objects.all()} == {f"worker:{taken.worker_id}"}
