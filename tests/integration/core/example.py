"""An API over two tables, made of the base classes as the product's own are: what the tests here talk to."""

from typing import Any

from django.db import transaction
from rest_framework import serializers
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import refs
from apps.core.api import envelopes, query
from apps.core.api.fields import Boolean, Integer, JSONObject, Patch, Text, TextList, TextMap
from apps.core.api.grants import ANY_TOKEN, by_object, filtered
from apps.core.api.pagination import ExecutionPagination
from apps.core.api.parsers import StrictFormParser
from apps.core.api.routers import Router
from apps.core.api.views import (
    AttuneViewSet,
    CreateMixin,
    DestroyMixin,
    ListMixin,
    RetrieveMixin,
    UpdateMixin,
)
from apps.core.errors import ConflictError
from apps.executions.models import Artifact
from apps.packs.models import Pack


class PackSerializer(serializers.ModelSerializer):
    class Meta:
        model = Pack
        fields = ["id", "ref", "label", "description", "version", "created", "updated"]


class PackCreate(serializers.Serializer):
    ref = Text(max_length=255, validators=[refs.validate_pack_ref])
    label = Text(max_length=255)
    version = Text(max_length=50, validators=[refs.validate_version])
    config = JSONObject(required=False)
    tags = TextList(required=False)
    meta = TextMap(required=False)
    is_standard = Boolean(required=False)
    installed_by = Integer(required=False)


class PackUpdate(serializers.Serializer):
    label = Text(max_length=255)
    description = Patch(Text(max_length=10))


class PackViewSet(ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Pack]):
    """Packs, the simple way."""

    queryset = Pack.objects.order_by("ref")
    visible_to = staticmethod(lambda caller: Pack.objects.order_by("ref").filter(_visible(caller)))
    noun = "Pack"
    serializer_class = PackSerializer
    serializer_classes = {"create": PackCreate, "update": PackUpdate}
    grants = {
        "list": filtered("packs:read"),
        "retrieve": filtered("packs:read"),
        "create": "packs:create",
        "update": "packs:configure",
        "destroy": "packs:delete",
        "touch": by_object("packs:configure"),
        "rename": "packs:configure",
    }
    worked = 0

    def filter_rows(self, rows: Any) -> Any:
        return rows.filter(query.ref_filter("ref", query.text(self.request.query_params, "ref")))

    def perform_create(self, data: dict[str, Any]) -> Pack:
        type(self).worked += 1
        if "installed_by" in data:
            data["installed_by_id"] = data.pop("installed_by")
        with transaction.atomic():
            return Pack.objects.create(**data)

    def perform_update(self, row: Pack, data: dict[str, Any]) -> Pack:
        return row.set(**data)

    def perform_destroy(self, row: Pack) -> None:
        row.delete()

    @route(detail=True, methods=["post"])
    def touch(self, request: Request, **_path: Any) -> Response:
        row = self.get_object()
        self.authorize(row)
        return envelopes.single(self.shown(row.set(label="touched")))

    @route(detail=False, methods=["post"])
    def rename(self, request: Request) -> Response:
        Pack.objects.update(label="renamed")
        raise ConflictError("Renaming everything was a bad idea")


def _visible(caller: Any) -> Any:
    from django.db.models import Q

    return Q() if caller.allows("packs:read") else Q(is_standard=True)


class ArtifactSerializer(serializers.ModelSerializer):
    class Meta:
        model = Artifact
        fields = ["id", "ref", "created"]


class ArtifactViewSet(ListMixin, RetrieveMixin, AttuneViewSet[Artifact]):
    """Artifacts, newest first."""

    queryset = Artifact.objects.all()
    lookup_field = "pk"
    noun = "Artifact"
    serializer_class = ArtifactSerializer
    pagination_class = ExecutionPagination
    grants = {"list": filtered("artifacts:read"), "retrieve": filtered("artifacts:read"), "echo": ANY_TOKEN}
    token_types = {"retrieve": frozenset({"sensor", "worker"})}

    @route(detail=False, methods=["post"])
    def echo(self, request: Request) -> Response:
        return envelopes.single(request.data)


class FormViewSet(AttuneViewSet[Artifact]):
    """Takes a form with a file and tells what it got."""

    parser_classes = (StrictFormParser,)
    grants = {"create": ANY_TOKEN}

    def create(self, request: Request) -> Response:
        file = request.data.get("file")
        return envelopes.created({"name": request.data.get("name"), "size": file.size if file else None}, "Taken")


router = Router()
router.register("api/v1/forms", FormViewSet, basename="form")
router.register("api/v1/packs", PackViewSet, basename="pack")
router.register("api/v1/artifacts", ArtifactViewSet, basename="artifact")
urlpatterns = router.urls

handler404 = "attune.urls.unknown_path"
handler400 = "attune.urls.unreadable"
handler500 = "attune.urls.failed"
