"""
Serializer fields of request bodies: exact about types, nothing trimmed, nothing folded (api.md 1.3: wrong type -> 422).

DRF's own take "5" for 5, 5 for "5" and "yes" for true; use these wherever a client's JSON is read.
"""

from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import SkipField, empty

from apps.core.api import query
from apps.core.api.query import MAX_ID


class Text(serializers.CharField):
    """A JSON string, kept as it is."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Integer(serializers.IntegerField):
    """A JSON number without a fraction, of 64 bits unless told narrower."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("min_value", -MAX_ID - 1)
        kwargs.setdefault("max_value", MAX_ID)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class Boolean(serializers.BooleanField):
    """JSON true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


@extend_schema_field(OpenApiTypes.DATETIME)
class Moment(serializers.Field):
    """A time as RFC 3339 text, or a day; UTC when it has no offset."""

    default_error_messages = {"invalid": "Must be a time such as 2026-01-31T12:00:00Z."}

    def to_internal_value(self, data: Any) -> datetime:
        found = query.parse_moment(data) if isinstance(data, str) else None
        if found is None:
            self.fail("invalid")
        return found

    def to_representation(self, value: datetime) -> str:
        return value.isoformat().replace("+00:00", "Z")


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JSONObject(serializers.JSONField):
    """A JSON object with any members."""

    default_error_messages = {"object": "Must be a JSON object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("object")
        return data


class TextList(serializers.ListField):
    """A JSON list of strings."""

    child = Text(allow_blank=True)

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        return super().to_internal_value(data)


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class TextMap(JSONObject):
    """A JSON object whose members are strings."""

    default_error_messages = {"texts": "Every value must be a string."}

    def to_internal_value(self, data: Any) -> dict[str, str]:
        found = super().to_internal_value(data)
        if not all(isinstance(value, str) for value in found.values()):
            self.fail("texts")
        return found


class Body(serializers.Serializer):
    """
    The body of a request. Null under an optional key means the same as leaving it out.

    Clients with typed bodies send every key they know; what is to be cleared is said with ``Patch``.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            data = {key: value for key, value in data.items() if value is not None or self._requires(key)}
        return super().to_internal_value(data)

    def _requires(self, name: str) -> bool:
        return name in self.fields and self.fields[name].required


class Patch(serializers.Field):
    """
    A field of an update that can also be cleared: ``{"op": "set", "value": v}`` or ``{"op": "clear"}``.

    Absent and null keep the value: the field is then missing from ``validated_data``; cleared it is None there::

        description = Patch(Text(max_length=255))
    """

    default_error_messages = {"form": 'Must be {{"op": "set", "value": ...}} or {{"op": "clear"}}.'}

    def __init__(self, child: serializers.Field, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, **kwargs)
        self.child = child

    def bind(self, field_name: str, parent: Any) -> None:
        super().bind(field_name, parent)
        self.child.bind(field_name="", parent=self)  # type: ignore[arg-type]  # as in DRF's ListField

    def run_validation(self, data: Any = empty) -> Any:
        if data is empty or data is None:
            raise SkipField
        match data:
            case {"op": "clear"}:
                return None
            case {"op": "set", "value": value}:
                return self.child.run_validation(value)
            case _:
                return self.fail("form")

    def to_internal_value(self, data: Any) -> Any:
        return self.run_validation(data)

    def to_representation(self, value: Any) -> Any:
        return value
