"""
Figures of events inside one process: from an event's commit to the first moment of the action, and what rules cost.

Run by ``bench/run.py`` with the stack in the environment; prints one JSON object.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")

import django

django.setup()

from django.core.management import call_command
from django.db import transaction

from apps.actions.models import Action
from apps.events.models import Trigger
from apps.events.services import EventRequest, store_event
from apps.executions.models import Execution
from apps.packs.models import Pack
from apps.packs.services import load_core_pack
from apps.rules.models import Rule
from attune.celery import app
from attune.embedded import EmbeddedWorker
from bench.engine import Finished, rest
from bench.figures import median_ms, percentile_ms, timed

EVENTS = 200
RULES = 50
TELL_TIME = "echo $EPOCHREALTIME"  # of the action's own shell
PAYLOAD = {"host": "db1", "severity": "high", "count": 3}
EXPRESSION = "event.payload.severity in ['high', 'critical'] and event.payload.count >= {}"


def make_trigger(name: str) -> Trigger:
    pack = Pack.objects.get(ref="core")
    return Trigger.objects.create(ref=f"core.{name}", label=name, pack=pack, pack_ref="core")


def make_rule(trigger: Trigger, number: int, **fields: Any) -> Rule:
    ref = f"{trigger.ref}{number}"
    action = fields.pop("action", None) or Action.objects.get(ref="core.echo")
    return Rule.objects.create(
        ref=ref, label=ref, pack=trigger.pack, pack_ref="core", trigger=trigger, trigger_ref=trigger.ref, action=action,
        action_ref=action.ref, **fields,
    )  # fmt: skip


def commit_to_start(finished: Finished) -> dict[str, float]:
    """An event's commit to the first line of the action that a rule starts, beside a bare start of the same shell."""
    echo = Action.objects.get(ref="core.echo")
    action = Action.objects.create(
        ref="core.bench_time", label="bench", pack=echo.pack, pack_ref="core", entrypoint=TELL_TIME, is_adhoc=True,
        runtime=echo.runtime,
    )  # fmt: skip
    trigger = make_trigger("bench_start")
    make_rule(trigger, 1, action=action, conditions={"expression": EXPRESSION.format(3)})
    whole, bare = [], []
    for _ in range(EVENTS):
        finished.moments.clear()
        committed: list[float] = []
        with transaction.atomic():
            transaction.on_commit(lambda committed=committed: committed.append(time.time()))
            store_event(EventRequest(trigger=trigger, payload=PAYLOAD))
        finished.wait(count=1)
        (execution_id,) = finished.moments
        started = Execution.objects.values_list("result__stdout", flat=True).get(pk=execution_id)
        whole.append(float(started) - committed[0])
        rest()
        began = time.time()
        done = subprocess.run(["/bin/bash", "-c", TELL_TIME], capture_output=True, check=True)
        bare.append(float(done.stdout) - began)
    return {"p50_ms": median_ms(whole), "p95_ms": percentile_ms(whole, 95), "bare_ms": median_ms(bare)}


def deciding() -> dict[str, float]:
    """An event that no rule is there for, and one that many rules look at and none matches."""
    alone, looked_at = make_trigger("bench_alone"), make_trigger("bench_rules")
    for number in range(RULES):
        make_rule(looked_at, number, conditions={"expression": EXPRESSION.format(4 + number)})
    times: dict[str, list[float]] = {"alone": [], "looked_at": []}
    for _ in range(EVENTS):
        for name, trigger in (("alone", alone), ("looked_at", looked_at)):
            times[name].append(
                timed(lambda trigger=trigger: store_event(EventRequest(trigger=trigger, payload=PAYLOAD)))
            )
    return {"alone_ms": median_ms(times["alone"]), "rules_ms": median_ms(times["looked_at"]), "rules": RULES}


def main() -> None:
    call_command("migrate", verbosity=0)
    load_core_pack()
    worker = EmbeddedWorker(app)
    worker.start()
    worker.wait_ready()
    try:
        figures = {"start": commit_to_start(Finished()), "deciding": deciding()}
    finally:
        worker.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
