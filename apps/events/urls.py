"""Routes of triggers, sensors, events and webhooks."""

from django.urls import path

from apps.core.api.routers import Router
from apps.events.api.events import EventViewSet
from apps.events.api.sensor_work import SensorWorkViewSet
from apps.events.api.sensors import PackSensorsViewSet, SensorViewSet
from apps.events.api.triggers import PackTriggersViewSet, TriggerViewSet
from apps.events.api.upcoming import TriggerUpcomingView
from apps.events.api.webhooks import RawWebhookReceiver, TriggerWebhookViewSet, WebhookReceiver

router = Router()
router.register("api/v1/triggers", TriggerViewSet, basename="trigger")
router.register("api/v1/events", EventViewSet, basename="event")
router.register("api/v1/sensors", SensorViewSet, basename="sensor")

_SENSOR = "api/v1/sensors/<str:ref>"
_WEBHOOK = "api/v1/triggers/<str:ref>/webhooks"

urlpatterns = [
    *router.urls,
    path("api/v1/triggers/<str:ref>/upcoming", TriggerUpcomingView.as_view()),
    path("api/v1/packs/<str:ref>/triggers", PackTriggersViewSet.as_view({"get": "list"})),
    path("api/v1/packs/<str:ref>/sensors", PackSensorsViewSet.as_view({"get": "list"})),
    path(f"{_SENSOR}/logs", SensorWorkViewSet.as_view({"get": "logs"})),
    path(f"{_SENSOR}/logs/<str:stream>", SensorWorkViewSet.as_view({"get": "log"})),
    path(f"{_SENSOR}/rules", SensorWorkViewSet.as_view({"get": "rules"})),
    path(_WEBHOOK, TriggerWebhookViewSet.as_view({"get": "retrieve", "put": "update"})),
    path(f"{_WEBHOOK}/enable", TriggerWebhookViewSet.as_view({"post": "enable"})),
    path(f"{_WEBHOOK}/disable", TriggerWebhookViewSet.as_view({"post": "disable"})),
    path(f"{_WEBHOOK}/regenerate", TriggerWebhookViewSet.as_view({"post": "regenerate"})),
    path(f"{_WEBHOOK}/deliveries", TriggerWebhookViewSet.as_view({"get": "deliveries"})),
    path("api/v1/webhooks/<str:webhook_key>", WebhookReceiver.as_view()),
    path("api/v1/webhooks/<str:webhook_key>/raw", RawWebhookReceiver.as_view()),
]
