"""
``make bench``: the figures of architecture section 9, each beside its bare floor of the same run, on both stacks.

``--waiting N`` adds dispatch beside N waiting executions (a million takes a few minutes).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.figures import Figure, print_table
from tests.services import ServicesMissing, running_services


def measure(script: str, environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """Run one script of this folder against a fresh state directory and return what it printed."""
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as directory:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
        done = subprocess.run(
            [sys.executable, str(ROOT / "bench" / script), *arguments],
            env={**kept, **environment, "ATTUNE_STATE_DIR": f"{directory}/state", "ATTUNE_LOG_LEVEL": "error"},
            stdout=subprocess.PIPE,
            cwd=ROOT,
            check=True,
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def figures_of_events(events: dict[str, Any]) -> list[Figure]:
    """Turn the numbers of ``bench/events.py`` into lines of the table."""
    start, deciding = events["start"], events["deciding"]
    each_us = (deciding["rules_ms"] - deciding["alone_ms"]) / deciding["rules"] * 1000
    return [
        Figure(
            name="event commit to the action's first moment, p50 (p95)",
            value=f"{start['p50_ms']:.2f} ms ({start['p95_ms']:.2f} ms)",
            floor=f"{start['bare_ms']:.2f} ms bare start",
            ratio=f"+{start['p50_ms'] - start['bare_ms']:.2f} ms",
            goal="",
        ),
        Figure(
            name=f"store an event, {deciding['rules']} rules look at it and none matches",
            value=f"{deciding['rules_ms']:.2f} ms",
            floor=f"{deciding['alone_ms']:.2f} ms without rules",
            ratio=f"+{each_us:.0f} us a rule",
            goal="",
        ),
    ]


def figures_of_workflows(workflows: dict[str, Any]) -> list[Figure]:
    """Turn the numbers of ``bench/workflows.py`` into lines of the table."""
    light, heavy, fan = workflows["light"], workflows["heavy"], workflows["fan_out"]
    return [
        Figure(
            name="workflow: chain of 40 light Python tasks",
            value=f"{light['seconds']:.2f} s",
            floor="",
            ratio=f"{light['seconds'] / 40 * 1000:.1f} ms a task",
            goal="< 0.6 s",
        ),
        Figure(
            name="workflow: end of a task to the dispatch of the next, p50 (p99)",
            value=f"{light['gap_p50_ms']:.1f} ms ({light['gap_p99_ms']:.1f} ms)",
            floor="",
            ratio="",
            goal="p99 < 50 ms",
        ),
        Figure(
            name="workflow: chain of 10 fibo(33)",
            value=f"{heavy['seconds']:.2f} s",
            floor=f"{heavy['bare_seconds']:.2f} s in one bare process",
            ratio=f"+{(heavy['seconds'] / heavy['bare_seconds'] - 1) * 100:.1f} %",
            goal="<= 3 %",
        ),
        Figure(
            name="workflow: an item of 1,000",
            value=f"{fan['many_ms']:.2f} ms",
            floor=f"{fan['few_ms']:.2f} ms an item of 100",
            ratio=f"{fan['many_ms'] / fan['few_ms']:.2f} x",
            goal="<= 1.20 x",
        ),
    ]


def figures_of(engine: dict[str, Any], server: dict[str, Any], *, embedded: bool) -> list[Figure]:
    """Turn the numbers into the lines of the table."""
    over, drain, python, submit, accept, idle = (
        engine["overhead"], engine["drain"], engine["python"], server["submit"], server["accept"], server["idle"]
    )  # fmt: skip
    lines = [
        Figure(
            name="shell execution, request commit to result commit",
            value=f"{over['whole_ms']:.2f} ms",
            floor=f"{over['bare_ms']:.2f} ms bare run",
            ratio=f"+{over['whole_ms'] - over['bare_ms']:.2f} ms",
            goal="<= +3 ms" if embedded else "",
        ),
        Figure(
            name="drain of 1,000 core.echo",
            value=f"{drain['per_second']:.0f}/s",
            floor=f"{drain['bare_per_second']:.0f}/s two bare threads",
            ratio=f"{drain['per_second'] / drain['bare_per_second']:.2f} x",
            goal=">= 0.30 x" if embedded else ">= 0.20 x",
        ),
        Figure(
            name="inline Python action, request to result commit",
            value=f"{python['whole_ms']:.2f} ms",
            floor=f"{python['bare_ms']:.2f} ms python3 -c pass",
            ratio=f"{python['whole_ms'] / python['bare_ms']:.2f} x",
            goal="<= 0.35 x (its process alone: bench/process.py)",
        ),
        Figure(
            name="submit over HTTP to recorded, p50",
            value=f"{submit['p50_ms']:.2f} ms",
            floor=f"{submit['floor_ms']:.2f} ms GET /health",
            ratio=f"+{submit['p50_ms'] - submit['floor_ms']:.2f} ms",
            goal="<= 8 ms" if embedded else "<= 15 ms",
        ),
        Figure(
            name="POST /api/v1/executions/execute, 4 connections",
            value=f"{accept['per_second']:.0f}/s",
            floor=f"{accept['floor_per_second']:.0f}/s GET /health",
            ratio=f"{accept['per_second'] / accept['floor_per_second']:.2f} x",
            goal="",
        ),
        Figure(
            name="idle, the whole product",
            value=f"{idle['cpu_percent']:.2f} % of a core",
            floor="",
            ratio=f"{idle['rss_mb']:.0f} MB",
            goal="<= 1 %, <= 200 MB",
        ),
    ]
    if "dispatch" in engine:
        rates = engine["dispatch"]
        lines.append(
            Figure(
                name=f"dispatch passes beside {rates['waiting']:,} waiting",
                value=f"{rates['waiting_per_second']:.0f}/s",
                floor=f"{rates['empty_per_second']:.0f}/s empty queue",
                ratio=f"{rates['waiting_per_second'] / rates['empty_per_second']:.2f} x",
                goal=">= 0.9 x",
            )
        )
    return lines


def on_services(script: str, *arguments: str) -> dict[str, Any]:
    """Run one script on a PostgreSQL and a Redis of its own. Raises ServicesMissing."""
    with running_services(durable=True) as services:
        return measure(script, services, *arguments)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--waiting", type=int, default=0, help="also measure dispatch beside so many waiting executions"
    )
    parser.add_argument("--stack", choices=("sqlite", "postgresql", "both"), default="both")
    options = parser.parse_args()
    extra = ("--waiting", str(options.waiting)) if options.waiting else ()
    if options.stack != "postgresql":
        lines = figures_of(measure("engine.py", {}, *extra), measure("server.py", {}), embedded=True)
        lines += figures_of_events(measure("events.py", {})) + figures_of_workflows(measure("workflows.py", {}))
        print_table("SQLite, one process", lines)
    if options.stack != "sqlite":
        try:
            engine = on_services("engine.py", *extra)
            lines = figures_of(engine, on_services("server.py"), embedded=False)
            lines += figures_of_events(on_services("events.py")) + figures_of_workflows(on_services("workflows.py"))
        except ServicesMissing as missing:
            print(f"\nPostgreSQL + Redis was not measured: {missing}")
            return 1
        print_table("PostgreSQL + Redis", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
