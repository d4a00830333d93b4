"""Routes of triggers, sensors, events and webhooks."""

from apps.core.api.routers import Router

router = Router()

urlpatterns = [
    *router.urls,
]
