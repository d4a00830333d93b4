"""pack.yaml: what a pack says about itself. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from apps.core.errors import BadRequest, UnprocessableEntity
from apps.core.refs import validate_pack_ref, validate_version
from apps.core.schemas import check_budget
from apps.core.yaml_files import Document
from apps.packs.components import Warning, each_text

FILE = "pack.yaml"


class InvalidManifest(BadRequest):
    """The pack's pack.yaml cannot be used"""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The keys of pack.yaml that registration uses; ``config`` None when the file has none."""

    ref: str
    version: str
    label: str
    description: str | None = None
    conf_schema: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    runtime_deps: list[str] = field(default_factory=list)
    dependencies: list[str] = field(default_factory=list)
    preload: list[str] = field(default_factory=list)
    testing: dict[str, Any] | None = None
    warnings: list[Warning] = field(default_factory=list)


def read_manifest(document: Document) -> Manifest:
    """
    Return what pack.yaml says; a value of the wrong type under an optional key is left out with a warning.

    Raises InvalidManifest (400) without ``ref`` or ``version``, UnprocessableEntity (422) when they break their rule.
    """
    if not isinstance(document.value, Mapping):
        raise InvalidManifest("pack.yaml must hold a mapping")
    reader = _Reader(document)
    ref = reader.required("ref")
    version = reader.required("version")
    _check(validate_pack_ref, "ref", ref)
    _check(validate_version, "version", version)
    conf_schema = reader.mapping("config_schema", "conf_schema") or {}
    check_budget(conf_schema)
    return Manifest(
        ref=ref,
        version=version,
        label=reader.text("name", "label") or ref,
        description=reader.text("description"),
        conf_schema=conf_schema,
        config=reader.mapping("config"),
        meta=reader.mapping("metadata", "meta") or {},
        tags=reader.texts("keywords", "tags"),
        runtime_deps=reader.texts("runtime_deps"),
        dependencies=reader.texts("dependencies"),
        preload=reader.texts("preload"),
        testing=reader.mapping("testing"),
        warnings=reader.warnings,
    )


def _check(validate: Any, key: str, value: str) -> None:
    try:
        validate(value)
    except ValidationError as error:
        raise UnprocessableEntity(f"pack.yaml: {key}: {error.message}") from error


class _Reader:
    """Reads the first of several keys that is there, noting what has the wrong type."""

    def __init__(self, document: Document) -> None:
        self.data: Mapping[str, Any] = document.value
        self.key_lines = document.key_lines
        self.warnings: list[Warning] = []

    def required(self, key: str) -> str:
        value = self.data.get(key)
        if value is None or value == "":
            raise InvalidManifest(f"pack.yaml has no '{key}'")
        if not isinstance(value, str):
            raise InvalidManifest(f"pack.yaml: '{key}' must be a text")
        return value

    def text(self, *keys: str) -> str | None:
        return self._first(keys, str, "a text")  # type: ignore[no-any-return]  # str by the check

    def mapping(self, *keys: str) -> dict[str, Any] | None:
        found = self._first(keys, Mapping, "a mapping")
        return None if found is None else dict(found)

    def texts(self, *keys: str) -> list[str]:
        return list(each_text(self._first(keys, list, "a list")))

    def _first(self, keys: tuple[str, ...], kind: type, description: str) -> Any:
        for key in keys:
            value = self.data.get(key)
            if isinstance(value, kind):
                return value
            if value is not None:
                message = f"{key} must be {description}; it is left out"
                self.warnings.append({"file": FILE, "line": self.key_lines.get(key), "message": message})
        return None
