"""``manage.py workflow_validate``: check a workflow file before anybody runs it."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandParser

from apps.actions.models import Action
from apps.core.commands import ConsoleCommand, Problem, given_text
from apps.workflows.checks import checked
from apps.workflows.definition.checking import check, described
from apps.workflows.definition.problems import Entry
from apps.workflows.definition.source import Source, UnreadableSource, entries, read_source

INVALID = 1


class Command(ConsoleCommand):
    help = (
        "Check a workflow definition: its tasks, where they lead, and every expression in it. Nothing is stored.\n\n"
        "FILE is YAML or JSON: a *.workflow.yaml of a pack, a file of its folder workflows/, or the definition that\n"
        "POST /api/v1/workflows takes. '-' reads standard input. Each line of the output says file, line, column, what\n"
        "is wrong, and in brackets the name of the check. The exit status is 0 when it is valid (there may be warnings),\n"
        "1 when it is not, 2 when this command was used wrongly."
    )
    examples = """
Examples:
  manage.py workflow_validate packs/shop/actions/workflows/deploy.workflow.yaml
  manage.py workflow_validate deploy.yaml --offline
  manage.py workflow_validate deploy.yaml --json
  curl -s .../api/v1/workflows/shop.deploy | jq .data.definition | manage.py workflow_validate -
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the file with the definition, '-' for standard input")
        parser.add_argument(
            "--offline", action="store_true", help="do not look in the database whether the actions exist"
        )
        parser.add_argument("--json", action="store_true", help="print JSON, as POST /api/v1/workflows/validate does")

    def handle(self, *_args: Any, **options: Any) -> None:
        file = options["file"]
        text = given_text(f"@{file}")
        try:
            source = read_source(text)
        except UnreadableSource as error:
            found: dict[str, Any] = {"valid": False, "errors": [error.entry], "warnings": [], "graph": None}
        else:
            _refuse_action_file(source)
            found = _checked(source, offline=options["offline"])
        if options["json"]:
            self.write_json(found)
        else:
            self._tell("standard input" if file == "-" else file, found)
        sys.exit(0 if found["valid"] else INVALID)

    def _tell(self, file: str, found: Mapping[str, Any]) -> None:
        self._lines(file, "error", found["errors"])
        self._lines(file, "warning", found["warnings"])
        if found["valid"]:
            graph = found["graph"]
            self.stdout.write(f"{file}: valid; it starts with {', '.join(graph['entry'])}")
        else:
            number = len(found["errors"])
            self.stdout.write(f"{file}: not valid, {number} error{'s' if number > 1 else ''}")

    def _lines(self, file: str, kind: str, found: Sequence[Entry]) -> None:
        for entry in found:
            place = f"{file}:{entry['line']}:{entry['column']}" if entry["line"] else file
            self.stdout.write(f"{place}: {kind}: {entry['message']} [{entry['code']}]")


def _checked(source: Source, *, offline: bool) -> dict[str, Any]:
    result = check(source.value) if offline else checked(source.value, among=Action.objects.all())
    errors = entries(result.errors(strict=True), source)
    return {
        "valid": not errors,
        "errors": errors,
        "warnings": entries(result.warnings(strict=True), source),
        "graph": described(result.graph),
    }


def _refuse_action_file(source: Source) -> None:
    value = source.value
    if isinstance(value, Mapping) and "tasks" not in value and isinstance(value.get("workflow_file"), str):
        raise Problem(f"This is an action file; check the file that it names, actions/{value['workflow_file']}.")
