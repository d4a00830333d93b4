"""``manage.py attune_run``: run an action from the shell."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandParser

from apps.actions.models import Action
from apps.core.commands import INTERRUPTED, ConsoleCommand, Problem, given_json
from apps.core.parameter_text import declared_parameters, value_of
from apps.executions.api.serializers import execution_data
from apps.executions.errors import AlreadyFinished
from apps.executions.following import Following, Readers, exit_code_of
from apps.executions.logs import Stream
from apps.executions.models import Execution
from apps.executions.services import ExecutionRequest, cancel_execution, request_execution
from apps.identity.models import Identity
from apps.workers.environment_names import check_env_vars


class Command(ConsoleCommand):
    help = (
        "Run an action and, if you like, stay until it has ended.\n\n"
        "The command asks for an execution; a worker runs it. One works inside `manage.py up`, others are started with\n"
        "`celery -A attune worker`. While nothing can run it, the command says what it waits for, on standard error.\n\n"
        "With --wait or --follow the exit status is that of the action: its exit code, 1 when it failed without one,\n"
        "124 when it ran out of time, 130 when it was cancelled; 2 says that this command was used wrongly.\n"
        "Ctrl-C cancels the execution and waits for its end; a second Ctrl-C leaves it to itself."
    )
    examples = """
Examples:
  manage.py attune_run core.echo --param message="hello, world" --follow
  manage.py attune_run core.sleep --param seconds=5 --wait
  manage.py attune_run deploy.site --params-json '{"hosts": ["a", "b"], "force": true}'
  manage.py attune_run deploy.site --params-json @deploy.json --follow --timeout 600
  manage.py attune_run core.echo --param message=hi --wait --json

Without --wait and --follow it prints the id and returns; look later with `manage.py execution_show ID`.
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action_ref", help="what to run, e.g. core.echo (GET /api/v1/actions lists them)")
        parser.add_argument(
            "--param", action="append", default=[], metavar="NAME=VALUE", dest="params",
            help="a parameter; VALUE is read by the action's schema: numbers and true/false as such, lists and objects "
            "as JSON, anything else as text. May be given many times",
        )  # fmt: skip
        parser.add_argument(
            "--params-json", metavar="JSON",
            help="parameters as a JSON object; @FILE reads it from a file, @- from standard input. --param wins",
        )  # fmt: skip
        parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="an environment variable")
        stay = parser.add_mutually_exclusive_group()
        stay.add_argument("--wait", action="store_true", help="wait for the end, then print the output")
        stay.add_argument("--follow", action="store_true", help="print the output while it is written")
        parser.add_argument(
            "--json", action="store_true",
            help="print the execution as JSON, as the API gives it; with --follow the output goes to standard error",
        )  # fmt: skip
        parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="time limit of the run")
        parser.add_argument("--priority", type=_priority, metavar="N", help="-100 to 100, higher starts first")
        parser.add_argument("--check", action="store_true", help="refuse parameters that break the action's schema")
        parser.add_argument("--as", metavar="LOGIN", dest="login", help="on whose behalf (default: system)")

    def handle(self, *_args: Any, **options: Any) -> None:
        execution = request_execution(_request(options))
        if options["wait"] or options["follow"]:
            sys.exit(self._stay(execution, options))
        if options["json"]:
            execution.refresh_from_db()
            self.write_json(execution_data(execution))
        else:
            self.stdout.write(f"Execution {execution.pk} of {execution.action_ref} was asked for.")

    def _stay(self, execution: Execution, options: Mapping[str, Any]) -> int:
        output = self._output_to_stderr if options["json"] else self._output
        readers = Readers(output=output if options["follow"] else None, remark=self._remark)
        with Following(execution.pk, readers) as following:
            try:
                ended = following.until_end()
            except KeyboardInterrupt:
                self._cancel(execution.pk)
                try:
                    ended = following.until_end()
                except KeyboardInterrupt:
                    self._remark(f"Execution {execution.pk} is left to itself")
                    return INTERRUPTED
        self._print_end(ended, options)
        return exit_code_of(ended)

    def _cancel(self, execution_id: int) -> None:
        self._remark(f"Cancelling execution {execution_id}; Ctrl-C again leaves it to itself")
        try:
            cancel_execution(execution_id, by=None, reason="Ctrl-C")
        except AlreadyFinished:
            return  # it ended by itself at the same moment

    def _print_end(self, execution: Execution, options: Mapping[str, Any]) -> None:
        if options["json"]:
            self.write_json(execution_data(execution))
        elif options["wait"]:
            with Following(execution.pk, Readers(output=self._output)) as following:
                following.until_end()
        if execution.status != "completed":
            self._remark(f"Execution {execution.pk} ended {execution.status}{_why(execution)}")

    def _output(self, stream: Stream, text: str) -> None:
        place = self.stdout if stream == "stdout" else self.stderr
        place.write(text, style_func=str, ending="")
        place.flush()

    def _output_to_stderr(self, _stream: Stream, text: str) -> None:
        self._output("stderr", text)

    def _remark(self, sentence: str) -> None:
        self.stderr.write(f"attune: {sentence}", style_func=str)
        self.stderr.flush()


def _why(execution: Execution) -> str:
    """Return the error as the end of a sentence; of one that is long, its last line, as its output was shown."""
    result = execution.result if isinstance(execution.result, dict) else {}
    lines = str(result.get("error") or "").strip().splitlines()
    return f": {lines[-1]}" if lines else ""


def _number(text: str, smallest: int, largest: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = smallest - 1
    if not smallest <= number <= largest:
        raise argparse.ArgumentTypeError(f"must be a whole number from {smallest} to {largest}, not {text!r}")
    return number


def _seconds(text: str) -> int:
    return _number(text, 1, 604_800)


def _priority(text: str) -> int:
    return _number(text, -100, 100)


def _request(options: Mapping[str, Any]) -> ExecutionRequest:
    action = Action.objects.select_related("pack", "runtime").filter(ref=options["action_ref"]).first()
    if action is None:
        raise Problem(_unknown(options["action_ref"]))
    return ExecutionRequest(
        action=action,
        parameters={**_from_json(options["params_json"]), **_from_words(options["params"], action)},
        env_vars=_environment(options["env"]),
        executor=_identity(options["login"]),
        timeout_seconds=options["timeout"],
        priority=options["priority"],
        validate=options["check"],
    )


def _unknown(ref: str) -> str:
    near = Action.objects.filter(ref__icontains=ref.rpartition(".")[2] or ref).order_by("ref")
    names = list(near.values_list("ref", flat=True)[:5]) or list(
        Action.objects.order_by("ref").values_list("ref", flat=True)[:5]
    )
    hint = f" There is, for example: {', '.join(names)}." if names else " No action is registered yet."
    return f"There is no action '{ref}'.{hint}"


def _identity(login: str | None) -> Identity | None:
    if login is None:
        return None
    identity = Identity.objects.filter(login=login).first()
    if identity is None:
        raise Problem(f"There is no identity '{login}'.")
    return identity


def _pair(word: str, option: str) -> tuple[str, str]:
    name, separator, text = word.partition("=")
    if not separator or not name:
        raise Problem(f"{option} {word!r} is not of the form NAME=VALUE.")
    return name, text


def _environment(words: Sequence[str]) -> dict[str, str]:
    variables = dict(_pair(word, "--env") for word in words)
    for name, problem in check_env_vars(variables).items():
        raise Problem(f"The environment variable '{name}' {problem}.")
    return variables


def _from_words(words: Sequence[str], action: Action) -> dict[str, Any]:
    declared = {parameter.name: parameter for parameter in declared_parameters(action.param_schema)}
    found = {}
    for name, text in (_pair(word, "--param") for word in words):
        try:
            found[name] = value_of(declared.get(name), text)
        except ValueError as error:
            raise Problem(f"Parameter '{name}' {error}.") from None
    return found


def _from_json(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    found = given_json(given, "--params-json")
    if not isinstance(found, dict):
        raise Problem('--params-json must be a JSON object such as {"message": "hello"}.')
    return found
