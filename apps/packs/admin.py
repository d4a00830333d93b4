"""The console's page of packs: what was registered, from where, what it holds, what its reader warned of."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, as_json, as_time
from apps.identity.grants import narrowed
from apps.packs.models import Pack
from apps.packs.visibility import readable

SHOWN_COMPONENTS = 200


def _components(pack: Pack) -> list[tuple[str, list[Any]]]:
    """Return the rows that came with a pack, by kind: whatever table refers to packs and has refs."""
    found = []
    for relation in pack._meta.related_objects:
        rows = relation.related_model._default_manager.filter(**{relation.field.name: pack.pk})
        if any(field.name == "ref" for field in relation.related_model._meta.fields):
            components = list(rows.only("id", "ref").order_by("ref")[:SHOWN_COMPONENTS])
            if components:
                found.append((str(relation.related_model._meta.verbose_name_plural), components))
    return found


def _component_link(row: Any) -> SafeString:
    return markup.row_link(row._meta.label_lower.replace(".", "_"), row.pk, row.ref)


@admin.register(Pack)
class PackAdmin(MachineRows):
    needs = {"view": "packs:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    open_to_all = True  # filtered: standard packs everybody sees
    list_display = ("ref", "label", "version", "origin", "warned", as_time("installed_at", "installed"), "updated")
    list_filter = ("is_standard",)
    list_defer = ("conf_schema", "config", "meta", "runtime_deps", "dependencies", "installers")
    ordering = ("ref",)
    search_fields = ("ref", "label")
    search_help_text = "Ref or label"
    fieldsets = (
        (None, {"fields": ("ref", "label", "version", "description", "warning_list", "components")}),
        ("Where it came from", {"fields": (
            "installation_method", "source_type", "source_url", "source_ref", "checksum", "checksum_verified",
            "installed_by", as_time("installed_at", "installed"), "is_standard",
        )}),
        ("What it says of itself", {"classes": ("tab",), "fields": (
            "tags", "dependencies", as_json("runtime_deps", "runtime dependencies"),
            "preload", "meta",
        )}),
        ("Configuration", {"classes": ("tab",), "fields": (as_json("conf_schema", "schema"), "configuration")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pack]:
        rows: QuerySet[Pack] = super().get_queryset(request)
        return rows.select_related("installed_by")

    @admin.display(description="from")
    def origin(self, pack: Pack) -> SafeString:
        words = [pack.installation_method or "", "standard" if pack.is_standard else ""]
        return format_html("{}", ", ".join(word for word in words if word) or markup.EMPTY)

    @admin.display(description="warnings")
    def warned(self, pack: Pack) -> SafeString:
        count = len(pack.warnings or [])
        return markup.badge(str(count), tone="warn") if count else markup.EMPTY

    @admin.display(description="warnings")
    def warning_list(self, pack: Pack) -> SafeString:
        return markup.lines(pack.warnings or [])

    @admin.display(description="components")
    def components(self, pack: Pack) -> SafeString:
        return markup.lines(
            format_html('<span class="at-muted">{}</span> {}', kind, markup.commas(map(_component_link, rows)))
            for kind, rows in _components(pack)
        )

    @admin.display(description="configuration")
    def configuration(self, pack: Pack) -> SafeString:
        return markup.json_block(markup.without_secrets(pack.conf_schema, pack.config))
