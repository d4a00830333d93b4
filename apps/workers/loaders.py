"""Loads runtime files of packs (packs.md sections 5 and 7)."""

from collections.abc import Collection, Mapping
from typing import Any

from apps.core.refs import validate_runtime_ref
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import delete_stale, store
from apps.workers.models import Runtime, RuntimeVersion
from apps.workers.versions import parse_version


class RuntimeLoader:
    """Stores what ``runtimes/*.yaml`` describe, with their versions."""

    folder = "runtimes"

    def load(self, pack: Pack, component: Component) -> None:
        ref = component.ref
        versions = _versions(component)
        installation = component.data.get("installation")
        fields = {
            "name": component.text("name") or ref.rpartition(".")[2],
            "description": component.text("description"),
            "aliases": [alias.lower() for alias in component.texts("aliases")],
            "distributions": component.mapping("distributions"),
            "installation": installation,
            "execution_config": component.mapping("execution_config"),
        }
        _store_versions(store(Runtime, pack, ref, fields, valid_ref=validate_runtime_ref), versions)

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return delete_stale(Runtime.objects.filter(pack_ref=pack.ref), kept_refs)


def _versions(component: Component) -> dict[str, dict[str, Any]]:
    """Return the fields of each version by its number."""
    found: dict[str, dict[str, Any]] = {}
    for entry in component.listing("versions"):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("version"), str | int | float):
            raise FaultyComponent("versions must be a list of {version, ...}", key="versions")
        number = str(entry["version"])
        if isinstance(entry["version"], float):
            component.warn(
                f"versions: write '{number}' in quotes, as a number 3.10 and 3.1 are the same", key="versions"
            )
        parsed = parse_version(number)
        if parsed is None:
            raise FaultyComponent(f"versions: '{number}' is not a version", key="versions")
        major, minor, patch = (*parsed.parts, None, None, None)[:3]
        found[number] = {
            "version_major": major,
            "version_minor": minor,
            "version_patch": patch,
            "is_default": entry.get("is_default") is True,
            **{name: _object(entry, name) for name in ("execution_config", "distributions", "meta")},
        }
    return found


def _object(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = entry.get(name) or {}
    if not isinstance(value, Mapping):
        raise FaultyComponent(f"versions: {name} must be a mapping", key="versions")
    return dict(value)


def _store_versions(runtime: Runtime, versions: Mapping[str, Mapping[str, Any]]) -> None:
    """Make the rows match; a version that stays keeps what workers have found out about it."""
    known = {row.version: row for row in runtime.versions.all()}
    RuntimeVersion.objects.filter(pk__in=[row.pk for number, row in known.items() if number not in versions]).delete()
    for number, fields in versions.items():
        row = known.get(number)
        if row is None:
            RuntimeVersion.objects.create(runtime=runtime, runtime_ref=runtime.ref, version=number, **fields)
        elif any(getattr(row, name) != value for name, value in fields.items()):
            row.set(**fields)
