"""What policies do to executions just now: the state of one, and the line of an action (api.md sections 5 and 6)."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.actions.models import Action, Policy, QueueStats
from apps.actions.policies.access import visible_to as visible_policies
from apps.actions.visibility import visible_to as visible_actions
from apps.core.api import envelopes
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneViewSet
from apps.core.errors import NotFound
from apps.executions.policy_state import count_queue, groups_of


class GroupStateSerializer(serializers.Serializer):
    key = serializers.DictField()
    active = serializers.IntegerField()
    active_executions = serializers.ListField(child=serializers.IntegerField())
    waiting = serializers.IntegerField()
    oldest_waiting_since = serializers.DateTimeField(allow_null=True)
    started_in_window = serializers.IntegerField(allow_null=True)
    next_slot_at = serializers.DateTimeField(allow_null=True)


class PolicyStateSerializer(serializers.Serializer):
    policy_ref = serializers.CharField()
    groups = GroupStateSerializer(many=True)


class QueueStatsSerializer(serializers.ModelSerializer):
    action_id = serializers.IntegerField(read_only=True)

    class Meta:
        model = QueueStats
        fields = (
            "action_id", "action_ref", "queue_length", "active_count", "max_concurrent", "oldest_enqueued_at",
            "total_enqueued", "total_completed", "last_updated",
        )  # fmt: skip


class PolicyStateViewSet(AttuneViewSet[Policy]):
    """Who holds the slots of a policy, and who waits for them."""

    queryset = Policy.objects.order_by("ref")
    visible_to = staticmethod(visible_policies)
    noun = "Policy"
    grants: ClassVar = {"state": filtered("actions:read")}

    @extend_schema(responses=PolicyStateSerializer)
    def state(self, request: Request, ref: str) -> Response:
        """Show the groups of a policy, those with most waiting first."""
        policy = self.get_object()
        return envelopes.single({"policy_ref": policy.ref, "groups": [group.shown for group in groups_of(policy)]})


class QueueStatsViewSet(AttuneViewSet[Action]):
    """What waits and runs of an action."""

    queryset = Action.objects.order_by("ref")
    visible_to = staticmethod(visible_actions)
    noun = "Action"
    serializer_class = QueueStatsSerializer
    grants: ClassVar = {"queue_stats": filtered("actions:read")}

    @extend_schema(responses=QueueStatsSerializer)
    def queue_stats(self, request: Request, ref: str) -> Response:
        """Show how many executions of an action wait and run."""
        stats = count_queue(self.get_object())
        if stats is None:
            raise NotFound(f"No executions of action '{ref}' have been recorded yet")
        return envelopes.single(self.shown(stats))  # type: ignore[arg-type]  # the rows of the class are actions
