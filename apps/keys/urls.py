from apps.core.api.routers import Router
from apps.keys.api.keys import KeyViewSet

router = Router()
router.register("api/v1/keys", KeyViewSet, basename="key")
urlpatterns = router.urls
