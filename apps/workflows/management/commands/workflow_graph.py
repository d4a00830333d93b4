"""``manage.py workflow_graph``: draw a workflow."""

from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand, Problem
from apps.workflows.definition.drawing import FORMATS, draw
from apps.workflows.definition.parsing import parse
from apps.workflows.definition.problems import InvalidDefinition
from apps.workflows.models import WorkflowDefinition


class Command(ConsoleCommand):
    help = (
        "Draw a workflow's tasks and the ways between them as text for other programs: Mermaid, which many wikis and\n"
        "code forges show as a picture, or Graphviz. The exit status is 0, or 2 when there is no such workflow."
    )
    examples = """
Examples:
  manage.py workflow_graph shop.deploy
  manage.py workflow_graph shop.deploy --format dot | dot -Tsvg > deploy.svg
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ref", metavar="REF", help="the workflow, e.g. shop.deploy")
        parser.add_argument("--format", choices=FORMATS, default="mermaid", help="mermaid (default) or dot")

    def handle(self, *_args: Any, **options: Any) -> None:
        workflow = WorkflowDefinition.objects.only("ref", "definition").filter(ref=options["ref"]).first()
        if workflow is None:
            raise Problem(f"There is no workflow '{options['ref']}'.")
        try:
            graph = parse(workflow.definition)
        except InvalidDefinition as error:
            raise Problem(f"The definition of '{workflow.ref}' cannot be used: {error}.") from error
        self.stdout.write(draw(graph, options["format"]), ending="")
