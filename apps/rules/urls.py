"""Routes of rules, decisions and enforcements, and the lists of rules below packs, actions and triggers."""

from django.urls import include, path

from apps.core.api.routers import Router
from apps.executions.api.executions import ExecutionViewSet
from apps.rules.api.decisions import DecisionViewSet
from apps.rules.api.enforcements import EnforcementViewSet
from apps.rules.api.rules import RulesOfViewSet, RuleViewSet
from apps.rules.api.timers import RuleTimerView, RuleUpcomingView
from apps.rules.api.trying import TryingViewSet

router = Router()
router.register("api/v1/rules", RuleViewSet, basename="rule")

_routes = [
    path("rules/test", TryingViewSet.as_view({"post": "test_draft"})),
    path("rules/backtest", TryingViewSet.as_view({"post": "backtest_draft"})),
    path("rules/<str:ref>/test", TryingViewSet.as_view({"post": "test"})),
    path("rules/<str:ref>/backtest", TryingViewSet.as_view({"post": "backtest"})),
    path("rules/<str:ref>/decisions", DecisionViewSet.as_view({"get": "of_rule"})),
    path("rules/<str:ref>/upcoming", RuleUpcomingView.as_view()),
    path("rules/<str:ref>/timer", RuleTimerView.as_view()),
    path("events/<str:pk>/decisions", DecisionViewSet.as_view({"get": "of_event"})),
    path("packs/<str:ref>/rules", RulesOfViewSet.as_view({"get": "of_pack"})),
    path("actions/<str:ref>/rules", RulesOfViewSet.as_view({"get": "of_action"})),
    path("triggers/<str:ref>/rules", RulesOfViewSet.as_view({"get": "of_trigger"})),
    path("enforcements", EnforcementViewSet.as_view({"get": "list"})),
    path("enforcements/<str:pk>", EnforcementViewSet.as_view({"get": "retrieve"})),
    path("enforcements/<str:enforcement>/executions", ExecutionViewSet.as_view({"get": "by_enforcement"})),
]

# Fixed words come before refs.
urlpatterns = [path("api/v1/", include(_routes)), *router.urls]
