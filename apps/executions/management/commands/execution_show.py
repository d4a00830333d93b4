"""``manage.py execution_show``: all about one execution."""

import json
from typing import Any

from django.core.management.base import CommandParser

from apps.core.api.history import history_data
from apps.core.commands import ConsoleCommand
from apps.core.markup import absolute, seconds_text, without_secrets
from apps.executions.api.serializers import execution_data
from apps.executions.errors import ExecutionNotFound, LogGone
from apps.executions.logs import STREAMS, open_log
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.services import explain


class Command(ConsoleCommand):
    help = "Show one execution: every state it went through, its result, the end of its log, and why it waits."
    examples = """
Examples:
  manage.py execution_show 42
  manage.py execution_show 42 --lines 200
  manage.py execution_show 42 --json | jq .execution.result
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, metavar="ID", help="id of the execution")
        parser.add_argument("--lines", type=int, default=20, metavar="N", help="last lines of each log (20)")
        parser.add_argument("--json", action="store_true", help="print JSON: execution, history, why")

    def handle(self, *_args: Any, **options: Any) -> None:
        found = Execution.objects.select_related("worker", "executor", "action", "demand", "cancelled_by")
        execution = found.filter(pk=options["id"]).first()
        if execution is None:
            raise ExecutionNotFound(options["id"])
        history = list(ExecutionHistory.objects.filter(entity_id=execution.pk).order_by("time", "id"))
        if options["json"]:
            self.write_json({
                "execution": execution_data(execution),
                "history": [history_data(row) for row in history],
                "why": explain(execution),
            })  # fmt: skip
            return
        self._head(execution)
        self._states(execution, history)
        schema = execution.action.param_schema if execution.action else None
        self._block("Parameters", _pretty(without_secrets(schema, execution.config)))
        self._block("Result", _pretty(execution.result))
        for stream in STREAMS:
            self._log(execution, stream, max(1, options["lines"]))

    def _head(self, execution: Execution) -> None:
        self.stdout.write(f"Execution {execution.pk} of {execution.action_ref}: {execution.status}")
        if not execution.is_finished:
            for reason in explain(execution)["reasons"]:
                self.stdout.write(f"  {reason['message']}")
        facts = [
            ("worker", execution.worker),
            ("asked for by", execution.executor),
            ("created", f"{absolute(execution.created)} UTC"),
            ("not before", execution.not_before and f"{absolute(execution.not_before)} UTC"),
            ("ran", execution.duration_ms is not None and seconds_text((execution.duration_ms or 0) / 1000)),
            ("exit code", None if execution.exit_code is None else str(execution.exit_code)),
            ("attempt", execution.attempt > 1 and execution.attempt),
            ("parent", execution.parent_id),
            ("repeats", execution.retry_of_id),
        ]
        for name, value in facts:
            if value:
                self.stdout.write(f"  {name:<13}{value}")

    def _states(self, execution: Execution, history: list[ExecutionHistory]) -> None:
        self.stdout.write("\nStates")
        for row in history:
            status = (row.new_values or {}).get("status")
            if status is not None:
                after = seconds_text(max(0.0, (row.time - execution.created).total_seconds()))
                note = "  ".join(word for word in (row.actor, row.reason) if word)
                self.stdout.write(f"  {status:<12}+{after:<11}{note}".rstrip())

    def _block(self, head: str, text: str | None) -> None:
        if text is not None:
            self.stdout.write(f"\n{head}\n{text}")

    def _log(self, execution: Execution, stream: Any, lines: int) -> None:
        try:
            log = open_log(execution, stream)
        except LogGone as gone:
            self._block(stream, gone.message)
            return
        with log:
            if not log.size_bytes:
                return
            start = log.tail_start(lines)
            text = b"".join(log.read(start, log.size_bytes)).decode("utf-8", "replace")
        self._block(f"{stream} (its last {lines} lines)" if start else stream, text.rstrip("\n"))


def _pretty(value: Any) -> str | None:
    return None if value is None else json.dumps(value, indent=2, ensure_ascii=False)
