"""Routes of queues and their items."""

from django.urls import path

from apps.core.api.routers import Router
from apps.queues.api.items import ItemViewSet
from apps.queues.api.queues import QueueViewSet

router = Router()
router.register("api/v1/queues", QueueViewSet, basename="queue")

urlpatterns = [
    path("api/v1/queues/<str:ref>/items", ItemViewSet.as_view({"get": "list", "post": "create"})),
    path("api/v1/queues/<str:ref>/items/<str:pk>", ItemViewSet.as_view({"put": "update", "delete": "destroy"})),
    path("api/v1/packs/<str:ref>/queues", QueueViewSet.as_view({"get": "of_pack"})),
    *router.urls,
]
