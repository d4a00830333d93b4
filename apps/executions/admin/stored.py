"""What executions leave behind: artifacts and their versions, the history of states; and what waits demand."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, ReadOnlyInline, linked_filter
from apps.executions.models import Artifact, ArtifactVersion, Demand, Execution, ExecutionHistory
from apps.executions.visibility import readable, readable_artifacts
from apps.identity.grants import narrowed, under

SHOWN_VERSIONS = 50


def _size(row: Any) -> str:
    return markup.size_text(row.size_bytes)


def _execution_link(row: Any) -> SafeString:
    return markup.row_link("executions_execution", row.execution, row.execution and f"#{row.execution}")


class VersionInline(ReadOnlyInline):
    model = ArtifactVersion
    fields = ("version", "content_type", "size", "of_execution", "created_by", "created")
    readonly_fields = fields
    ordering = ("-version",)
    per_page = SHOWN_VERSIONS

    def get_queryset(self, request: HttpRequest) -> QuerySet[ArtifactVersion]:
        rows: QuerySet[ArtifactVersion] = super().get_queryset(request)
        return rows.defer("content", "content_json")

    @admin.display(description="size")
    def size(self, version: ArtifactVersion) -> str:
        return _size(version)

    @admin.display(description="execution")
    def of_execution(self, version: ArtifactVersion) -> SafeString:
        return _execution_link(version)


@admin.register(Artifact)
class ArtifactAdmin(MachineRows):
    needs = {"view": "artifacts:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_artifacts(caller)))
    open_to_all = True  # filtered: public ones everybody sees
    list_display = ("ref", "type", "visibility", "owned_by", "size", "created", "updated")
    list_filter = ("type", "visibility", "scope", linked_filter("owner", "owner"))
    list_defer = ("data", "description")
    ordering = ("-created", "-id")
    search_fields = ("ref__startswith",)
    search_help_text = "The beginning of a ref"
    inlines = (VersionInline,)

    @admin.display(description="owner")
    def owned_by(self, artifact: Artifact) -> str:
        return f"{artifact.scope} {artifact.owner}".rstrip()

    @admin.display(description="size")
    def size(self, artifact: Artifact) -> str:
        return _size(artifact)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Artifact], search_term: str
    ) -> tuple[QuerySet[Artifact], bool]:
        """The beginning of a ref as a range, which its index answers."""
        term = search_term.strip()
        return (queryset.filter(ref__gte=term, ref__lt=term + "\U0010ffff") if term else queryset), False


@admin.register(ArtifactVersion)
class ArtifactVersionAdmin(MachineRows):
    needs = {"view": "artifacts:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("artifact", Artifact.objects.all(), readable_artifacts(caller)))
    )
    open_to_all = True
    list_display = ("name", "content_type", "size", "of_execution", "created_by", "created")
    list_filter = (linked_filter("execution", "execution"), linked_filter("artifact", "artifact"))
    list_select_related = ("artifact",)
    list_defer = ("content", "content_json", "meta")
    hidden_fields = ("storage_name",)
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ArtifactVersion]:
        rows: QuerySet[ArtifactVersion] = super().get_queryset(request)
        return rows.defer("content")

    @admin.display(description="version")
    def name(self, version: ArtifactVersion) -> str:
        return f"{version.artifact.ref} v{version.version}"

    @admin.display(description="size")
    def size(self, version: ArtifactVersion) -> str:
        return _size(version)

    @admin.display(description="execution")
    def of_execution(self, version: ArtifactVersion) -> SafeString:
        return _execution_link(version)


@admin.register(ExecutionHistory)
class ExecutionHistoryAdmin(MachineRows):
    needs = {"view": "executions:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("entity_id", Execution.objects.all(), readable(caller)))
    )
    open_to_all = True  # filtered: one's own everybody sees
    list_display = ("time", "execution", "change", "actor", "reason", "epoch")
    list_filter = (linked_filter("entity_id", "execution"),)
    ordering = ("-time", "-id")

    @admin.display(description="execution")
    def execution(self, row: ExecutionHistory) -> SafeString:
        return markup.row_link("executions_execution", row.entity_id, f"{row.entity_ref} #{row.entity_id}")

    @admin.display(description="change")
    def change(self, row: ExecutionHistory) -> SafeString:
        new = row.new_values or {}
        if "status" in new:
            return markup.badge(new["status"])
        return format_html("{}", ", ".join(row.changed_fields or []) or row.operation.lower())


@admin.register(Demand)
class DemandAdmin(MachineRows):
    needs = {"view": "executions:read"}
    list_display = ("short_key", "summary", "created")
    ordering = ("-id",)
    fields = ("key", "requirements", "created", "updated")

    @admin.display(description="key")
    def short_key(self, demand: Demand) -> str:
        return str(demand)

    @admin.display(description="a worker must offer")
    def summary(self, demand: Demand) -> SafeString:
        needs = {name: value for name, value in demand.requirements.items() if value}
        return markup.lines(
            f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in sorted(needs.items())
        )
