"""
The OpenAPI document: envelopes, lists, errors.

A view names plain serializers; 2xx answers of our views are wrapped in the single envelope here. Where an answer is
not wrapped, say so: ``@extend_schema(responses=bare(SomeSerializer))``; a DELETE answers ``done`` by itself.
"""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error", "code", "status"],
        "properties": {
            "error": {"type": "string", "description": "for people"},
            "code": {"type": "string", "example": "VALIDATION_ERROR"},
            "status": {"type": "integer"},
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "message"],
                    "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                },
            },
        },
    },
    "GateError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
            }
        },
    },
    "Unauthorized": {
        "description": "The gate nests its error; behind it an error is like all others.",
        "anyOf": [{"$ref": "#/components/schemas/GateError"}, {"$ref": "#/components/schemas/Error"}],
    },
    "Pagination": {
        "type": "object",
        "required": ["page", "page_size", "effective_page_size", "has_previous", "has_next"],
        "properties": {
            "page": {"type": "integer"},
            "page_size": {"type": "integer", "description": "the size asked for"},
            "effective_page_size": {"type": "integer", "description": "the size used"},
            "has_previous": {"type": "boolean"},
            "has_next": {"type": "boolean"},
            "total_items": {"type": "integer"},
            "total_pages": {"type": "integer"},
            "total_is_exact": {"type": "boolean", "description": "false: the total is a lower bound"},
            "next_cursor": {"type": "string", "nullable": True, "description": "newest-first lists only"},
        },
    },
}


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="1 to 255 visible ASCII characters: the first successful answer is given again for 24 hours.",
)


class Done(serializers.Serializer):
    """What deletions answer."""

    success = serializers.BooleanField()
    message = serializers.CharField()


class Bare:
    """Marks an answer that comes without the envelope."""

    def __init__(self, response: Any) -> None:
        self.response = response


def bare(response: Any) -> dict[int, Any]:
    """An answer of status 200 that is not wrapped in ``{"data": ...}``."""
    return {200: Bare(response)}


class Unpaged(Bare):
    """Marks an answer that holds all rows in the single envelope."""


class BareList(Bare):
    """Marks an answer that is nothing but an array of all rows."""


def bare_list(response: Any) -> dict[int, Any]:
    """An answer of status 200 that is a list of all rows, without pages and envelope."""
    return {200: BareList(response)}


def unpaged(response: Any) -> dict[int, Any]:
    """An answer of status 200 with a list of all rows under ``data``, without pages."""
    return {200: Unpaged(response)}


class AttuneSchema(AutoSchema):
    """Wraps what our views answer, and names what every POST takes."""

    def get_response_serializers(self) -> Any:
        if self.method == "DELETE":
            return {200: Bare(Done)}
        shown = getattr(self.view, "serializer_class", None)
        if getattr(self.view, "action", None) in {"create", "update"} and shown is not None:
            return shown  # the body has a serializer of its own
        return super().get_response_serializers()

    def _get_response_for_code(
        self, serializer: Any, status_code: str, media_types: Any = None, direction: str = "response"
    ) -> Any:
        if isinstance(serializer, Bare):
            answer: dict[str, Any] = super()._get_response_for_code(  # type: ignore[no-untyped-call]
                serializer.response, status_code, media_types, direction
            )
            for media in answer.get("content", {}).values() if isinstance(serializer, Unpaged | BareList) else ():
                listed = {"type": "array", "items": media["schema"]}
                media["schema"] = _enveloped(listed) if isinstance(serializer, Unpaged) else listed
            return answer
        found: dict[str, Any] = super()._get_response_for_code(serializer, status_code, media_types, direction)  # type: ignore[no-untyped-call]
        if direction == "response" and str(status_code).startswith("2") and not self._is_list_view(serializer):
            plain = isinstance(serializer, OpenApiResponse)
            for media in () if plain else found.get("content", {}).values():
                media["schema"] = _enveloped(media.get("schema", {}))
        return found

    def _is_list_view(self, serializer: Any = None) -> bool:
        stated = self.get_response_serializers()
        if isinstance(stated, dict) and any(isinstance(response, Bare) for response in stated.values()):
            return False
        return bool(super()._is_list_view(serializer))

    def get_override_parameters(self) -> list[Any]:
        own: list[Any] = super().get_override_parameters()
        if self.method != "POST" or not self.path.startswith("/api/v1/"):
            return own
        return [*own, IDEMPOTENCY_KEY]


def _enveloped(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data"],
        "properties": {"data": schema, "message": {"type": "string"}},
    }


class PatchField(OpenApiSerializerFieldExtension):
    """``{"op": "set", "value": v}`` or ``{"op": "clear"}``."""

    target_class = "apps.core.api.fields.Patch"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        value = auto_schema._map_serializer_field(self.target.child, direction)
        return {
            "type": "object",
            "nullable": True,
            "required": ["op"],
            "properties": {"op": {"type": "string", "enum": ["set", "clear"]}, "value": value},
        }


def describe_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add what every operation can answer; drf-spectacular's POSTPROCESSING_HOOKS."""
    result.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS)
    for path in result.get("paths", {}).values():
        for operation in path.values():
            responses = operation.setdefault("responses", {})
            responses.setdefault("default", _error("Error", "the request failed"))
            if operation.get("security"):
                responses.setdefault("401", _error("Unauthorized", "no valid token"))
    return result


def _error(name: str, description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }
