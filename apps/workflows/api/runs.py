"""Runs of workflows: one as it is now, and one on paper."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.fields import Body, JSONObject
from apps.core.api.grants import by_object, filtered
from apps.core.api.views import AttuneViewSet
from apps.core.errors import BadRequest, ValidationFailed
from apps.executions.api.base import ExecutionViews
from apps.workflows.engine.dry_run import STATUSES
from apps.workflows.engine.paper import dry_run_of
from apps.workflows.engine.showing import run_data
from apps.workflows.models import WorkflowDefinition
from apps.workflows.visibility import visible_to


class RunTaskSerializer(serializers.Serializer):
    """One task of a run, in one iteration."""

    name = serializers.CharField()
    iteration = serializers.IntegerField(allow_null=True)
    status = serializers.CharField()
    outcome = serializers.CharField(allow_null=True)
    executions = serializers.ListField(child=serializers.IntegerField())
    waiting_for = serializers.ListField(child=serializers.CharField())
    transitions = serializers.ListField(child=serializers.DictField(), help_text="{index, when, fired, error}")
    published = serializers.DictField()
    triggered_by = serializers.CharField(allow_null=True)
    block = serializers.CharField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    reused_from = serializers.IntegerField(required=False)


class RunSerializer(serializers.Serializer):
    """A run of a workflow; secrets are markers."""

    id = serializers.IntegerField(allow_null=True)
    execution = serializers.IntegerField()
    workflow_def = serializers.IntegerField(allow_null=True)
    task_graph = serializers.JSONField(allow_null=True)
    variables = serializers.DictField()
    current_tasks = serializers.ListField(child=serializers.CharField())
    completed_tasks = serializers.ListField(child=serializers.CharField())
    failed_tasks = serializers.ListField(child=serializers.CharField())
    skipped_tasks = serializers.ListField(child=serializers.CharField())
    status = serializers.CharField()
    error_message = serializers.CharField(allow_null=True)
    paused = serializers.BooleanField()
    pause_reason = serializers.CharField(allow_null=True)
    created = serializers.DateTimeField()
    updated = serializers.DateTimeField()
    tasks = RunTaskSerializer(many=True)


class StepSerializer(serializers.Serializer):
    """One task of a dry run; ``input`` of one with items is a list."""

    task = serializers.CharField()
    iteration = serializers.IntegerField(allow_null=True)
    items = serializers.IntegerField(allow_null=True)
    input = serializers.JSONField(allow_null=True)
    outcome = serializers.CharField(allow_null=True)
    transitions = serializers.ListField(child=serializers.DictField(), help_text="{index, when, fired, error}")
    published = serializers.DictField()


class DryRunSerializer(serializers.Serializer):
    status = serializers.CharField()
    result = serializers.DictField()
    steps = StepSerializer(many=True)
    variables = serializers.DictField()
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]  # the contract's name


class DryRunBody(Body):
    parameters = JSONObject(required=False)
    results = JSONObject(required=False)


class RunViewSet(ExecutionViews):
    """An execution as the workflow it is."""

    grants: ClassVar = {"workflow": by_object("executions:read")}

    @extend_schema(responses=RunSerializer)
    def workflow(self, request: Request, pk: str) -> Response:
        """Show the run of a workflow: its variables, and each of its tasks."""
        execution = self.get_object()
        if execution.workflow_def is None:
            raise BadRequest(f"Execution {execution.pk} is no workflow")
        return envelopes.single(run_data(execution))


class DryRunViewSet(AttuneViewSet[WorkflowDefinition]):
    """A workflow on paper."""

    queryset = WorkflowDefinition.objects.order_by("ref")
    visible_to = staticmethod(visible_to)
    lookup_field = "ref"
    noun = "Workflow"
    grants: ClassVar = {"dry_run": filtered("actions:read")}

    @extend_schema(request=DryRunBody, responses=DryRunSerializer)
    def dry_run(self, request: Request, ref: str) -> Response:
        """Run a workflow with given results of its tasks; nothing is executed or stored."""
        workflow = self.get_object()
        body = self.validated(DryRunBody)
        results = body.get("results") or {}
        _check_results(results)
        return envelopes.single(dry_run_of(workflow, body.get("parameters") or {}, results))


def _check_results(results: dict[str, Any]) -> None:
    """Raise ValidationFailed for what is no result of a task."""
    for name, given in results.items():
        for one in given if isinstance(given, list) else [given]:
            if not isinstance(one, dict) or one.get("status", "completed") not in STATUSES:
                message = f"Must be {{status?, result?}} or a list of these; status is one of {', '.join(STATUSES)}."
                raise ValidationFailed(details=[{"field": f"results.{name}", "message": message}])
