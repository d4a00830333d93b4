"""Create, list, read, change, switch and delete rules."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.actions.visibility import visible_to as visible_actions
from apps.core.api import envelopes
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneViewSet, DestroyMixin, ListMixin, RetrieveMixin
from apps.core.errors import NotFound
from apps.events.visibility import WITH_SENSORS, visible_triggers
from apps.identity.denials import refused
from apps.identity.grants import require_delegation
from apps.packs.visibility import visible_to as visible_packs
from apps.rules import services
from apps.rules.api.serializers import (
    SUMMARY,
    RuleCreateBody,
    RuleSerializer,
    RuleSummarySerializer,
    RuleUpdateBody,
)
from apps.rules.conditions import check_conditions
from apps.rules.models import Rule
from apps.rules.visibility import visible_rules

BEYOND_OWN_ACCESS = "Cannot save a rule with permission sets beyond current access"


class RuleViewSet(ListMixin, RetrieveMixin, DestroyMixin, AttuneViewSet[Rule]):
    """Rules: which action runs when something happens."""

    queryset = Rule.objects.order_by("ref")
    visible_to = staticmethod(visible_rules)
    noun = "Rule"
    serializer_class = RuleSerializer
    serializer_classes: ClassVar = {
        "list": RuleSummarySerializer,
        "enabled": RuleSummarySerializer,
        "create": RuleCreateBody,
        "update": RuleUpdateBody,
    }
    grants: ClassVar = {
        "list": filtered("rules:read"),
        "enabled": filtered("rules:read"),
        "retrieve": filtered("rules:read"),
        "create": "rules:create",
        "update": "rules:update",
        "enable": "rules:update",
        "disable": "rules:update",
        "destroy": "rules:delete",
    }

    def before_denial(self) -> None:
        if self.operation == "create":
            ref = self.request.data.get("ref") if isinstance(self.request.data, dict) else None
            if isinstance(ref, str):
                services.refuse_taken(ref)
        super().before_denial()

    def filter_rows(self, rows: "QuerySet[Rule]") -> "QuerySet[Rule]":
        return rows.only(*SUMMARY)

    @extend_schema(responses=RuleSummarySerializer(many=True))
    @route(detail=False)
    def enabled(self, request: Request) -> Response:
        """List the enabled rules by ref."""
        return self.listed(self.filter_rows(self.rows().filter(enabled=True)))

    @extend_schema(request=RuleCreateBody, responses={201: RuleSerializer})
    def create(self, request: Request) -> Response:
        """Create a rule."""
        data = self.validated(RuleCreateBody)
        services.refuse_taken(data["ref"])
        self.authorize_new(data)
        require_delegation(self.caller, data.get("permission_set_refs"), BEYOND_OWN_ACCESS)
        rule = services.create_rule(**data, owner=self.caller.identity)
        return _warned(envelopes.created(self.shown(rule), "Rule created successfully"), rule)

    @extend_schema(request=RuleUpdateBody, responses=RuleSerializer)
    def update(self, request: Request, ref: str) -> Response:
        """Change a rule; naming its action or trigger links it again."""
        rule = self.get_object()
        data = self.validated(RuleUpdateBody, partial=True)
        if "permission_set_refs" in data and data["permission_set_refs"] != rule.permission_set_refs:
            require_delegation(self.caller, data.get("permission_set_refs"), BEYOND_OWN_ACCESS)
        rule = services.update_rule(rule.pk, data)
        return _warned(envelopes.single(self.shown(rule), "Rule updated successfully"), rule)

    @extend_schema(request=None, responses=RuleSerializer)
    @route(detail=True, methods=["post"])
    def enable(self, request: Request, ref: str) -> Response:
        """Let a rule fire; nothing changes for one that is enabled."""
        rule = services.enable_rule(self.get_object().pk)
        return envelopes.single(self.shown(rule), "Rule enabled successfully")

    @extend_schema(request=None, responses=RuleSerializer)
    @route(detail=True, methods=["post"])
    def disable(self, request: Request, ref: str) -> Response:
        """Keep a rule from firing."""
        rule = services.disable_rule(self.get_object().pk)
        return envelopes.single(self.shown(rule), "Rule disabled successfully")

    def perform_destroy(self, rule: Rule) -> None:
        services.delete_rule(rule.pk)


def _warned(response: Response, rule: Rule) -> Response:
    """Put what is wrong with the syntax of the rule's conditions beside the data; it is stored all the same."""
    if warnings := check_conditions(rule.conditions):
        response.data["warnings"] = warnings
    return response


class RulesOfViewSet(AttuneViewSet[Rule]):
    """The rules of one pack, action or trigger."""

    queryset = Rule.objects.order_by("ref")
    visible_to = staticmethod(visible_rules)
    grants: ClassVar = {
        "of_pack": filtered("rules:read"),
        "of_action": filtered("rules:read"),
        "of_trigger": filtered("rules:read"),
    }
    token_types: ClassVar = {"of_trigger": WITH_SENSORS}

    @extend_schema(responses=RuleSummarySerializer(many=True))
    def of_pack(self, request: Request, ref: str) -> Response:
        """List the rules of a pack by ref."""
        return self._rules_of("Pack", ref, visible_packs(self.caller), self.rows().filter(pack_ref=ref))

    @extend_schema(responses=RuleSummarySerializer(many=True))
    def of_action(self, request: Request, ref: str) -> Response:
        """List the rules that run an action, by ref."""
        return self._rules_of("Action", ref, visible_actions(self.caller), self.rows().filter(action__ref=ref))

    @extend_schema(responses=RuleSummarySerializer(many=True))
    def of_trigger(self, request: Request, ref: str) -> Response:
        """List the rules of a trigger by ref; sensors read here what is asked of them."""
        rows = self._rows_for_sensors(ref) if self.caller.token_type == "sensor" else self.rows()
        return self._rules_of("Trigger", ref, visible_triggers(self.caller), rows.filter(trigger__ref=ref))

    def _rows_for_sensors(self, trigger_ref: str) -> "QuerySet[Rule]":
        if self.caller.trigger_types and trigger_ref not in self.caller.trigger_types:
            raise refused("A sensor can read only the rules of its triggers")
        return self.get_queryset()

    def _rules_of(self, noun: str, ref: str, parents: "QuerySet[Any]", rows: "QuerySet[Rule]") -> Response:
        """Raise NotFound when there is no such parent, or the caller sees neither it nor any of its rules."""
        if not parents.filter(ref=ref).exists() and not rows.exists():
            raise NotFound(f"{noun} '{ref}' not found")
        return self.listed(rows.only(*SUMMARY), RuleSummarySerializer)
