"""Rerun a workflow from some of its tasks (workflows.md section 13)."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.fields import Body, Boolean, JSONObject, TextList
from apps.core.api.grants import by_object
from apps.executions.api.base import ExecutionViews
from apps.executions.api.bodies import ALL_OR_FAILED, refuse_markers
from apps.executions.api.requests import BEYOND_OWN_ACCESS, check_environment
from apps.executions.api.serializers import ExecutionSerializer
from apps.executions.models import Execution
from apps.executions.secrets import edited_config
from apps.identity.grants import Facts, require_delegation
from apps.workflows.rerun.plan import Wish
from apps.workflows.rerun.service import Choice, merged_config, rerun_execution


class Inputs(JSONObject):
    """What is put over the rendered input, by task."""

    default_error_messages = {"objects": "Every value must be a JSON object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        found = super().to_internal_value(data)
        if not all(isinstance(value, dict) for value in found.values()):
            self.fail("objects")
        return found


class RerunBody(Body):
    """What runs again, and with what; everything may be left out."""

    from_tasks = TextList(required=False, help_text="Absent: what failed, and what was not reached because of it.")
    parameters = JSONObject(required=False, help_text="Put over the old parameters.")
    inputs = Inputs(required=False, help_text="{task: {...}}, put over the rendered input of these tasks.")
    rerun_items = serializers.ChoiceField(choices=ALL_OR_FAILED, required=False, default="failed")
    use_current_definition = Boolean(required=False, default=False)


class RerunViewSet(ExecutionViews):
    """A workflow that has ended, once more."""

    grants: ClassVar = {"rerun": by_object("actions:execute")}
    serializer_classes: ClassVar = {"rerun": RerunBody}

    @extend_schema(request=RerunBody, responses={201: ExecutionSerializer})
    def rerun(self, request: Request, pk: str) -> Response:
        """Run tasks of a workflow again, as a new execution; the others are taken over with their results."""
        old = self.get_object()
        self.authorize(old.action or Facts(ref=old.action_ref, pack_ref=old.pack_ref))
        choice = _choice(old, self.validated(RerunBody))
        require_delegation(self.caller, old.permission_set_refs, BEYOND_OWN_ACCESS)
        attempt = rerun_execution(old.pk, by=self.caller.identity, choice=choice)
        return envelopes.created(self.shown(attempt), f"Execution {old.pk} is rerun as {attempt.pk}")


def _choice(old: Execution, body: dict[str, Any]) -> Choice:
    """Raises ValidationFailed for markers that stand for nothing, and for variables that no request may set."""
    parameters, inputs = body.get("parameters"), body.get("inputs") or {}
    refuse_markers(inputs, "inputs")
    if parameters is not None:
        refuse_markers(edited_config(old, merged_config(old, parameters)))
        check_environment(None, parameters, old.action)
    return Choice(
        wish=Wish(from_tasks=body.get("from_tasks"), all_items=body["rerun_items"] == "all"),
        parameters=parameters,
        inputs=inputs,
        use_current_definition=body["use_current_definition"],
    )
