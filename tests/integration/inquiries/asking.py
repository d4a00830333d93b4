"""Tasks of a workflow that ask a person, as rows: they run, and wait for their inquiry."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.actions.models import Action
from apps.executions.engines import ASK_REF, INQUIRY, engine_named
from apps.executions.models import Execution
from apps.inquiries.models import Inquiry
from tests.factories import make_action, make_execution, make_pack

# As packs/core/actions/ask.yaml has them.
PARAMETERS = {
    "prompt": {"type": "string", "required": True, "default": "Approval required"},
    "response_schema": {"type": "object"},
    "assigned_to": {"type": "integer"},
}


def make_ask() -> Action:
    """The action core.ask."""
    known = Action.objects.filter(ref=ASK_REF).first()
    pack = make_pack(ref="core") if known is None else None
    return known or make_action(pack=pack, ref=ASK_REF, runtime=None, param_schema=PARAMETERS)


def make_run(**fields: Any) -> Execution:
    """A workflow that runs."""
    return make_execution(**{"status": "running", "started_at": timezone.now(), **fields})


def make_task(run: Execution, name: str = "build", **fields: Any) -> Execution:
    """A task of the workflow, an ordinary one that runs."""
    task = {"workflow_execution": 1, "task_name": name, "timeout_seconds": fields.pop("timeout_seconds", None)}
    defaults = {"status": "running", "started_at": timezone.now(), "parent": run, "root": run.root or run.pk}
    return make_execution(**{**defaults, "depth": run.depth + 1, "workflow_task": task, **fields})


def make_asking(run: Execution | None = None, **fields: Any) -> Execution:
    """A task that has just begun to run core.ask; ``config`` holds its parameters."""
    run = run or make_run(action=make_action())
    return start(make_task(run, "ask", **{"action": make_ask(), **fields}))


def start(execution: Execution) -> Execution:
    """Let the engine begin with it, as dispatch does; return it as it is then."""
    engine = engine_named(INQUIRY)
    assert engine is not None
    with transaction.atomic():
        engine.start(execution)
    execution.refresh_from_db()
    return execution


def make_inquiry(**fields: Any) -> Inquiry:
    """A question about an ordinary execution."""
    execution = fields.pop("execution", None) or make_execution()
    return Inquiry.objects.create(**{"execution": execution, "prompt": "Really?", **fields})
