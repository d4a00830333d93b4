"""Timers under the whole product: each tick once, whoever dies."""

import itertools
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.events.models import TimerFire
from apps.packs.models import Pack
from tests.integration.events.timer_lab import payloads_of, timer_of, timer_rule
from tests.processes import Processes, wait_until

pytestmark = pytest.mark.e2e

TICK = {
    "ref": "core.tick",
    "pack_ref": "core",
    "label": "Tick",
    "trigger_ref": "core.intervaltimer",
    "action_ref": "core.echo",
    "trigger_params": {"interval": 1, "unit": "seconds", "misfire": "all"},
    "action_params": {"message": "tick {{ event.payload.execution_count }}"},
}


def data(client: httpx.Client, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def ticks(client: httpx.Client) -> list[dict[str, Any]]:
    """Return the payloads of the events, the oldest first."""
    events = data(client, "events", rule_ref="core.tick", per_page=100)
    return [data(client, f"events/{event['id']}")["payload"] for event in reversed(events)]


def test_killed_product_makes_up_for_every_tick_once(
    processes: Processes, stack: dict[str, str], tmp_path: Path
) -> None:
    first = processes.up(tmp_path, **stack)
    first.wait_ready()
    with first.client() as client:
        assert client.post("/api/v1/rules", json=TICK).status_code == 201
        wait_until(lambda: len(ticks(client)) >= 3, what="three ticks")
    first.kill()
    time.sleep(2.5)  # what passes now is missed

    second = processes.up(tmp_path, **stack)
    second.wait_ready()
    with second.client() as client:
        wait_until(lambda: not ticks(client)[-1].get("misfire"), what="a tick on time")
        assert client.post("/api/v1/rules/core.tick/disable").status_code == 200
        payloads = ticks(client)
        timer = data(client, "rules/core.tick/timer")
        executions = wait_until(
            lambda: [
                execution
                for execution in data(client, "executions", rule_ref="core.tick", per_page=100)
                if execution["status"] == "completed"
            ],
            what="executions",
        )
    second.terminate()  # while its database is there
    assert second.wait() == 0
    assert [payload["execution_count"] for payload in payloads] == list(range(1, len(payloads) + 1))
    assert sum(payload.get("misfire", False) for payload in payloads) >= 2
    assert (timer["state"], timer["missed_count"]) == ("stopped", 0)
    span = datetime.fromisoformat(payloads[-1]["fired_at"]) - datetime.fromisoformat(payloads[0]["fired_at"])
    assert abs(span - timedelta(seconds=len(payloads) - 1)) < timedelta(seconds=1)
    assert executions


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_three_schedulers_fire_each_tick_once_and_one_may_die(processes: Processes, core_pack: Pack) -> None:
    schedulers = [processes.scheduler() for _ in range(3)]
    for scheduler in schedulers:
        scheduler.wait_for("The scheduler runs")
    rules = [timer_rule(params={"interval": 1, "unit": "seconds", "misfire": "all"}) for _ in range(5)]
    wait_until(lambda: timer_of(rules[-1]).execution_count >= 2, what="two ticks")

    schedulers[0].kill()

    wait_until(lambda: timer_of(rules[-1]).execution_count >= 5, what="three more")
    for rule in rules:
        rows = list(TimerFire.objects.filter(rule=rule.pk).order_by("due_at"))
        gaps = {second.due_at - first.due_at for first, second in itertools.pairwise(rows)}
        assert gaps == {timedelta(seconds=1)}
        counts = [payload["execution_count"] for payload in payloads_of(rule)]
        assert counts[: len(rows)] == list(range(1, len(rows) + 1))
        late = [row.fired_at - row.due_at for row in rows]
        assert max(late) < timedelta(seconds=5)
