"""The console's pages of where things run: workers, runtimes, environments."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, ReadOnlyInline, as_badge, as_text, as_time, linked_filter
from apps.workers.health import health_state
from apps.workers.models import PackEnvironment, Runtime, RuntimeVersion, Worker, WorkerHistory, WorkerLease


@admin.register(Worker)
class WorkerAdmin(MachineRows):
    list_display = ("name", "health", "runtimes", "host", "worker_role", as_time("last_heartbeat", "last heartbeat"),
                    "cordon_note")  # fmt: skip
    list_filter = ("status", "worker_role", "cordoned")
    list_defer = ("meta",)
    ordering = ("name",)
    search_fields = ("name", "host")
    search_help_text = "Name or host"

    fieldsets = (
        (None, {"fields": ("name", "health", "runtimes", "host", "worker_type", "worker_role",
                           as_time("last_heartbeat", "last heartbeat"), "lease_state", "work")}),
        ("Kept from work", {"fields": ("cordoned", "cordon_reason", "cordoned_by", as_time("cordoned_at", "since"),
                                       "draining")}),
        ("What it offers", {"fields": ("capabilities", "meta")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        rows: QuerySet[Worker] = super().get_queryset(request)
        return rows.select_related("lease", "cordoned_by")

    @admin.display(description="health")
    def health(self, worker: Worker) -> SafeString:
        return markup.badge(health_state(worker))

    @admin.display(description="runtimes")
    def runtimes(self, worker: Worker) -> SafeString:
        return markup.commas((worker.capabilities or {}).get("runtimes") or [])

    @admin.display(description="kept from work")
    def cordon_note(self, worker: Worker) -> SafeString:
        if not (worker.cordoned or worker.draining):
            return markup.EMPTY
        return format_html("{}", worker.cordon_reason or ("draining" if worker.draining else "cordoned"))

    @admin.display(description="lease")
    def lease_state(self, worker: Worker) -> SafeString:
        lease: WorkerLease | None = getattr(worker, "lease", None)
        if lease is None:
            return markup.EMPTY
        times = format_html('<span class="at-muted">taken {} times, held until</span>', lease.generation)
        return markup.lines((times, markup.when(lease.expires_at)))

    @admin.display(description="work")
    def work(self, worker: Worker) -> SafeString:
        return markup.link(markup.list_of("executions_execution", worker__id__exact=worker.pk), "Those it ran")


@admin.register(WorkerLease)
class WorkerLeaseAdmin(MachineRows):
    list_display = ("worker", "generation", as_time("renewed_at", "renewed"), as_time("expires_at", "expires"))
    list_select_related = ("worker",)
    ordering = ("worker__name",)


@admin.register(WorkerHistory)
class WorkerHistoryAdmin(MachineRows):
    list_display = ("time", "worker", "operation", "changes", "actor", "reason")
    list_display_links = ("time",)
    list_filter = (linked_filter("entity_id", "worker"),)
    ordering = ("-time", "-id")

    @admin.display(description="worker")
    def worker(self, row: WorkerHistory) -> SafeString:
        return markup.row_link("workers_worker", row.entity_id, row.entity_ref)

    @admin.display(description="what changed")
    def changes(self, row: WorkerHistory) -> SafeString:
        new = row.new_values or {}
        return markup.commas(
            f"{name}: {new[name]}" if isinstance(new.get(name), str | int | bool) else name
            for name in row.changed_fields or []
        )


class RuntimeVersionInline(ReadOnlyInline):
    model = RuntimeVersion
    fields = ("version", "is_default", "available", as_time("verified_at", "verified"))
    readonly_fields = fields


@admin.register(Runtime)
class RuntimeAdmin(MachineRows):
    list_display = ("ref", "name", "known_as", "pack_ref", "auto_detected", "updated")
    list_filter = ("pack",)
    list_select_related = ("pack",)
    list_defer = ("execution_config", "distributions", "installation", "detection_config", "description")
    ordering = ("ref",)
    search_fields = ("ref", "name")
    inlines = (RuntimeVersionInline,)

    @admin.display(description="also called")
    def known_as(self, runtime: Runtime) -> SafeString:
        return markup.commas(runtime.aliases or [])


@admin.register(RuntimeVersion)
class RuntimeVersionAdmin(MachineRows):
    list_display = ("__str__", "is_default", "available", as_time("verified_at", "verified"))
    list_filter = ("runtime", "available")
    list_select_related = ("runtime",)
    list_defer = ("execution_config", "distributions", "meta")
    ordering = ("runtime_ref", "version_major", "version_minor", "version_patch", "id")


@admin.register(PackEnvironment)
class PackEnvironmentAdmin(MachineRows):
    list_display = ("__str__", as_badge("status"), as_time("installed_at", "installed"), "short_error", "updated")
    list_filter = ("status", "pack", "runtime")
    list_select_related = ("pack", "runtime")
    ordering = ("pack_ref", "runtime_ref", "runtime_version")
    search_fields = ("pack_ref", "runtime_ref")
    fields = ("pack", "runtime", "runtime_version", as_badge("status"), as_text("last_error"), "path",
              "manifest_checksum", as_time("installed_at", "installed"), "updated")  # fmt: skip

    @admin.display(description="error")
    def short_error(self, environment: PackEnvironment) -> SafeString:
        lines = (environment.last_error or "").strip().splitlines()
        return format_html("{}", lines[-1][:120]) if lines else markup.EMPTY
