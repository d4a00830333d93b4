import pytest

from apps.events.models import Sensor
from apps.events.sensors.placement import best_worker, may_stay, why_nowhere
from apps.workers.fitness import Offer
from apps.workers.models import Runtime


def sensor(**fields):
    runtime = Runtime(ref="core.python", name="python", aliases=["python3"])
    return Sensor(**{"ref": "lab.watcher", "runtime": runtime, **fields})


def offer(worker_id=1, **fields):
    defaults = {
        "name": f"w{worker_id}",
        "role": "sensor",
        "is_active": True,
        "lease_valid": True,
        "cordoned": False,
        "draining": False,
        "slots": 5,
        "runtimes": {"python": ["3.12.4"]},
    }
    return Offer(worker_id=worker_id, **{**defaults, **fields})


@pytest.mark.parametrize("role", ["sensor", "hybrid"])
def test_workers_for_sensors_take_them(role):
    assert best_worker(sensor(), [offer(role=role)]) == 1


@pytest.mark.parametrize(
    "unfit",
    [
        {"role": "action"},
        {"slots": 0},
        {"runtimes": {"shell": []}},
        {"cordoned": True},
        {"draining": True},
        {"is_active": False},
        {"lease_valid": False},
        {"taints": [{"key": "gpu", "effect": "no_schedule"}]},
    ],
)
def test_worker_that_cannot_is_left_out(unfit):
    assert best_worker(sensor(), [offer(**unfit)]) is None
    assert best_worker(sensor(), [offer(**unfit), offer(2)]) == 2


def test_selector_tolerations_affinity_and_version_count():
    demanding = sensor(
        runtime_version_constraint=">=3.11",
        worker_selector={"zone": "eu"},
        worker_tolerations=[{"key": "gpu", "operator": "exists"}],
        worker_affinity={"anti_affinity": [{"match_labels": {"disk": "slow"}}]},
    )
    taints = [{"key": "gpu", "effect": "no_schedule"}]

    assert best_worker(demanding, [offer(labels={"zone": "eu"}, taints=taints)]) == 1
    assert best_worker(demanding, [offer(labels={"zone": "us"}, taints=taints)]) is None
    assert best_worker(demanding, [offer(labels={"zone": "eu", "disk": "slow"})]) is None
    assert best_worker(demanding, [offer(labels={"zone": "eu"}, runtimes={"python": ["3.9.2"]})]) is None


def test_preference_wins_over_free_slots_and_those_over_the_lot():
    preferring = sensor(
        worker_affinity={"preferred": [{"weight": 1, "preference": {"match_labels": {"disk": "ssd"}}}]}
    )
    offers = [offer(1, slots=9), offer(2, slots=1, labels={"disk": "ssd"}), offer(3, slots=3)]

    assert best_worker(preferring, offers) == 2
    assert best_worker(sensor(), offers) == 1


def test_equal_workers_share_the_sensors_and_agree_on_it():
    offers = [offer(1), offer(2), offer(3)]
    refs = [f"lab.s{number}" for number in range(60)]

    chosen = [best_worker(sensor(ref=ref), offers) for ref in refs]

    assert chosen == [best_worker(sensor(ref=ref), offers[::-1]) for ref in refs]
    assert min(chosen.count(worker) for worker in (1, 2, 3)) > 8


def test_what_runs_stays_on_a_cordoned_worker_but_not_on_one_that_could_never_take_it():
    assert may_stay(sensor(), offer(cordoned=True))
    assert not may_stay(sensor(worker_selector={"zone": "eu"}), offer())


def test_what_hinders_is_told_worker_by_worker():
    offers = [offer(1, cordoned=True), offer(2, slots=0)]

    assert why_nowhere(sensor(), offers) == "w1: cordoned, w2: no free slot for sensors"
    assert why_nowhere(sensor(), []) == "no worker takes sensors"
