"""
Where the apps hang their routes: an app with an API has ``apps/<app>/urls.py`` with ``urlpatterns``::

    router = Router()                                             # apps.core.api.routers
    router.register("api/v1/actions", ActionViewSet, basename="action")
    urlpatterns = router.urls
"""

from importlib import import_module

from django.apps import apps
from django.urls import URLPattern, URLResolver
from django.utils.module_loading import module_has_submodule

urlpatterns: list[URLPattern | URLResolver] = []
for _config in apps.get_app_configs():
    if _config.name.startswith("apps.") and module_has_submodule(_config.module, "urls"):
        urlpatterns += import_module(f"{_config.name}.urls").urlpatterns
