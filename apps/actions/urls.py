"""Routes of actions and policies."""

from django.urls import path

from apps.actions.api.actions import ActionViewSet, PackActionsViewSet
from apps.actions.api.policies import PolicyViewSet
from apps.core.api.routers import Router

router = Router()
router.register("api/v1/actions", ActionViewSet, basename="action")
router.register("api/v1/policies", PolicyViewSet, basename="policy")
urlpatterns = [
    *router.urls,
    path("api/v1/packs/<str:ref>/actions", PackActionsViewSet.as_view({"get": "list"})),
]
