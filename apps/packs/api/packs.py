"""Create, list, read, change, delete packs; register and upload them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.grants import filtered
from apps.core.api.parsers import StrictFormParser
from apps.core.api.views import AttuneViewSet, CreateMixin, DestroyMixin, ListMixin, RetrieveMixin, UpdateMixin
from apps.core.errors import BadRequest, ConflictError
from apps.identity.callers import Caller
from apps.identity.grants import Facts
from apps.packs import services, visibility
from apps.packs.api.serializers import (
    PackCreateBody,
    PackSerializer,
    PackSummarySerializer,
    PackUpdateBody,
    RegisterBody,
    RegisteredSerializer,
    UploadBody,
    UploadedSerializer,
)
from apps.packs.api.uploads import ArchiveUploadHandler
from apps.packs.models import Pack
from apps.packs.registration import Registration


class PackRefTaken(ConflictError):
    """A pack with this ref already exists"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Pack with ref '{ref}' already exists")


class PackViewSet(ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Pack]):
    """Packs: components shipped and versioned together."""

    queryset = Pack.objects.select_related("installed_by").order_by("ref")
    visible_to = staticmethod(visibility.visible_to)
    noun = "Pack"
    serializer_class = PackSerializer
    serializer_classes: ClassVar = {
        "list": PackSummarySerializer,
        "create": PackCreateBody,
        "update": PackUpdateBody,
        "register": RegisterBody,
    }
    grants: ClassVar = {
        "list": filtered("packs:read"),
        "retrieve": filtered("packs:read"),
        "create": "packs:create",
        "update": "packs:configure",
        "destroy": "packs:delete",
        "register": "packs:install",
    }

    def before_denial(self) -> None:
        if self.operation == "create":
            self._refuse_taken(self.request.data.get("ref") if isinstance(self.request.data, dict) else None)
        super().before_denial()

    def facts_of_new(self, data: Mapping[str, Any]) -> Facts:
        return visibility.facts_of_new(self.caller, data.get("ref"))

    def _refuse_taken(self, ref: Any) -> None:
        if isinstance(ref, str) and Pack.objects.filter(ref=ref).exists():
            raise PackRefTaken(ref)

    def perform_create(self, data: dict[str, Any]) -> Pack:
        self._refuse_taken(data["ref"])
        return services.create_pack(by=self.caller.identity, **data)

    def perform_update(self, pack: Pack, data: dict[str, Any]) -> Pack:
        return services.update_pack(pack, data)

    def perform_destroy(self, pack: Pack) -> None:
        services.delete_pack(pack)

    @extend_schema(request=RegisterBody, responses={201: RegisteredSerializer})
    @route(detail=False, methods=["post"])
    def register(self, request: Request) -> Response:
        """Register the pack in a folder on the server; its files are read in place."""
        body = self.validated(RegisterBody)
        registration = services.register_pack(
            body["path"],
            force=body["force"],
            skip_tests=body["skip_tests"],
            by=self.caller.identity,
            admit=installing(self.caller),
        )
        context = {**self.get_serializer_context(), "registration": registration}
        return _registered(RegisteredSerializer(registration.pack, context=context).data, registration, "registered")


class UploadViewSet(AttuneViewSet[Pack]):
    """Uploading a pack as an archive."""

    queryset = Pack.objects.all()
    parser_classes = (StrictFormParser,)
    grants: ClassVar = {"upload": "packs:install"}

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        request.upload_handlers = [ArchiveUploadHandler(request)]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(request={"multipart/form-data": UploadBody}, responses={201: UploadedSerializer})
    def upload(self, request: Request) -> Response:
        """Unpack a .tar.gz into the packs directory and register it."""
        archive = request.FILES.get("pack")
        if not isinstance(archive, UploadedFile):
            raise BadRequest("Missing the file field 'pack' with a .tar.gz")
        registration = services.upload_pack(
            archive,
            force=_flag(request, "force"),
            skip_tests=_flag(request, "skip_tests"),
            by=self.caller.identity,
            admit=installing(self.caller),
        )
        data = {
            "pack": PackSerializer(registration.pack).data,
            "test_result": registration.test_result,
            "tests_skipped": registration.tests_skipped,
        }
        return _registered(data, registration, "uploaded and registered")


def installing(caller: Caller) -> services.Admission:
    """Return the check of a caller who brings a pack: on what it brings, and on the pack that this replaces."""

    def admit(ref: str, existing: Pack | None) -> None:
        caller.require("packs:install", visibility.facts_of_new(caller, ref) if existing is None else existing)

    return admit


def _flag(request: Request, name: str) -> bool:
    return str(request.POST.get(name, "")).strip().lower() in ("true", "1")


def _registered(data: dict[str, Any], registration: Registration, verb: str) -> Response:
    """Return the 201 of a registration; what was left out stands beside the data."""
    response = envelopes.created(data, f"Pack '{registration.pack.ref}' {verb} successfully")
    response.data["warnings"] = registration.warnings
    return response
