"""Check the workflow files of a pack, and bring the rows in step with them."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneViewSet
from apps.packs import visibility
from apps.packs.models import Pack
from apps.workflows.api.serializers import PackSyncedSerializer, PackValidatedSerializer
from apps.workflows.pack_steps import sync_pack, validate_pack


class PackWorkflowStepsViewSet(AttuneViewSet[Pack]):
    """What can be done with the workflow files of a pack."""

    queryset = Pack.objects.order_by("ref")
    visible_to = staticmethod(visibility.visible_to)
    noun = "Pack"
    grants: ClassVar = {"sync": "packs:configure", "validate": filtered("packs:read")}

    @extend_schema(request=None, responses=PackSyncedSerializer)
    def sync(self, request: Request, ref: str) -> Response:
        """Create or update the workflows that the files of a pack describe."""
        pack = self.get_object()
        synced = sync_pack(pack)
        data = {
            "pack_ref": pack.ref,
            "loaded_count": synced.loaded,
            "registered_count": len(synced.workflows),
            "workflows": synced.workflows,
            "errors": synced.errors,
        }
        return envelopes.single(data, f"{len(synced.workflows)} workflows of pack '{pack.ref}' are in step")

    @extend_schema(request=None, responses=PackValidatedSerializer)
    def validate(self, request: Request, ref: str) -> Response:
        """Check the workflow files of a pack; nothing is stored."""
        pack = self.get_object()
        count, errors = validate_pack(pack)
        data = {"pack_ref": pack.ref, "validated_count": count, "error_count": len(errors), "errors": errors}
        return envelopes.single(data, f"{count} workflows of pack '{pack.ref}' checked")
