"""The console's pages of where things run: workers, runtimes, environments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, ReadOnlyInline, as_badge, as_text, as_time, linked_filter, page_button
from apps.identity.grants import narrowed, under
from apps.identity.models import Identity
from apps.identity.sessions import person_of
from apps.packs.models import Pack
from apps.packs.visibility import readable as readable_packs
from apps.workers import services
from apps.workers.health import health_state, heartbeat
from apps.workers.load import count_load
from apps.workers.models import PackEnvironment, Runtime, RuntimeVersion, Worker, WorkerHistory, WorkerLease
from apps.workers.visibility import readable_runtimes, readable_workers


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What an operator can do with a worker."""

    label: str
    sentence: str
    call: Callable[[Worker, Identity, str], Worker]
    when_cordoned: bool = False


VERBS = {
    "cordon": Verb(
        label="Cordon",
        sentence="The worker gets no new work and finishes what it has.",
        call=lambda worker, by, reason: services.cordon(worker, by=by, reason=reason or None),
    ),
    "drain": Verb(
        label="Drain",
        sentence="The worker gets no new work, finishes what it runs, and gives back what it has not started.",
        call=lambda worker, by, reason: services.drain(worker, by=by, reason=reason or None),
    ),
    "uncordon": Verb(
        label="Uncordon",
        sentence="The worker gets work again.",
        call=lambda worker, by, _reason: services.uncordon(worker, by=by),
        when_cordoned=True,
    ),
}


@admin.register(Worker)
class WorkerAdmin(MachineRows):
    needs = {"view": "workers:read", **dict.fromkeys(VERBS, "workers:manage")}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_workers(caller)))
    list_display = (
        "name", "health", "work", "runtimes", "host", "worker_role", "last_heartbeat_at", "cordon_note",
    )  # fmt: skip
    list_filter = ("status", "worker_role", "cordoned")
    list_defer = ("meta",)
    ordering = ("name",)
    search_fields = ("name", "host")
    search_help_text = "Name or host"
    actions = ("cordon_selected", "drain_selected", "uncordon_selected")
    actions_detail = tuple(VERBS)
    fieldsets = (
        (None, {"fields": ("name", "health", "work", "runtimes", "host", "worker_type", "worker_role",
                           "last_heartbeat_at", "lease_state", "more")}),
        ("Kept from work", {"fields": ("cordoned", "cordon_reason", "cordoned_by", as_time("cordoned_at", "since"),
                                       "draining")}),
        ("What it offers", {"fields": ("capabilities", "meta")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        rows: QuerySet[Worker] = super().get_queryset(request)
        return rows.select_related("lease", "cordoned_by")

    def prepare(self, rows: Sequence[Any]) -> None:
        loads = count_load([worker.pk for worker in rows])
        for worker in rows:
            worker.load = loads[worker.pk]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Worker | None:
        worker: Worker | None = super().get_object(request, object_id, from_field)
        if worker is not None:
            self.prepare([worker])
        return worker

    @admin.display(description="health")
    def health(self, worker: Any) -> SafeString:
        return markup.badge(health_state(worker, total_active=sum(worker.load.values())))

    @admin.display(description="work")
    def work(self, worker: Any) -> SafeString:
        running = sum(worker.load[status] for status in ("scheduled", "running", "canceling"))
        slots = (worker.capabilities or {}).get("max_concurrent_executions")
        if not isinstance(slots, int) or slots < 1:
            return format_html("{}", running)
        return format_html(
            '<span class="at-meter" style="--at-share: {}%"><i></i>{} of {}</span>', min(100, 100 * running // slots), running, slots
        )  # fmt: skip

    @admin.display(description="runtimes")
    def runtimes(self, worker: Worker) -> SafeString:
        return markup.commas((worker.capabilities or {}).get("runtimes") or [])

    @admin.display(description="last heartbeat")
    def last_heartbeat_at(self, worker: Worker) -> SafeString:
        return markup.when(heartbeat(worker))

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

    @admin.display(description="look at")
    def more(self, worker: Worker) -> SafeString:
        return markup.commas(
            (
                markup.link(markup.list_of("executions_execution", worker__id__exact=worker.pk), "its executions"),
                markup.link(markup.list_of("workers_workerhistory", entity_id=worker.pk), "what became of it"),
            )
        )

    # --- Verbs --------------------------------------------------------------------------------------------------

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """The buttons of a worker's page: what makes sense for it as it is."""
        number = int(object_id) if str(object_id).isdecimal() and len(str(object_id)) < 19 else 0
        worker = Worker.objects.filter(pk=number).first()
        if worker is None or not self.may(request, "cordon", worker):
            return []
        found: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # the theme's
        return [button for button in found if VERBS[button.path].when_cordoned == worker.cordoned]

    def _ask(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        worker, verb = self.get_object(request, object_id), VERBS[name]
        if worker is None:
            return self.gone(request, object_id)
        self.guard(request, name, worker)
        return self.confirm(
            request, [worker], title=f"{verb.label} {worker}", sentence=verb.sentence, button=f"{verb.label} worker",
            back=reverse("admin:workers_worker_change", args=[object_id]), danger=False,
            verb=lambda row, reason: self._call(request, name, row, reason),
        )  # fmt: skip

    def _call(self, request: HttpRequest, name: str, worker: Worker, reason: str) -> Worker:
        self.require(request, name, worker)
        return VERBS[name].call(worker, person_of(request), reason)

    def _ask_selected(self, request: HttpRequest, rows: QuerySet[Worker], name: str) -> HttpResponse:
        verb, chosen = VERBS[name], list(rows)
        title = f"{verb.label} {len(chosen)} worker{'s' if len(chosen) != 1 else ''}"
        return self.confirm_selected(
            request, chosen, f"{name}_selected", title=title, sentence=verb.sentence, button=title, danger=False,
            verb=lambda row, reason: self._call(request, name, row, reason),
        )  # fmt: skip

    @page_button("Cordon", icon="block")
    def cordon(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, "cordon")

    @page_button("Drain", icon="water_drop")
    def drain(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, "drain")

    @page_button("Uncordon", icon="play_arrow", primary=True)
    def uncordon(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, "uncordon")

    @admin.action(description="Cordon")
    def cordon_selected(self, request: HttpRequest, rows: QuerySet[Worker]) -> HttpResponse:
        return self._ask_selected(request, rows, "cordon")

    @admin.action(description="Drain")
    def drain_selected(self, request: HttpRequest, rows: QuerySet[Worker]) -> HttpResponse:
        return self._ask_selected(request, rows, "drain")

    @admin.action(description="Uncordon")
    def uncordon_selected(self, request: HttpRequest, rows: QuerySet[Worker]) -> HttpResponse:
        return self._ask_selected(request, rows, "uncordon")


@admin.register(WorkerLease)
class WorkerLeaseAdmin(MachineRows):
    needs = {"view": "workers:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("worker", Worker.objects.all(), readable_workers(caller)))
    )
    list_display = ("worker", "generation", as_time("renewed_at", "renewed"), as_time("expires_at", "expires"))
    list_select_related = ("worker",)
    ordering = ("worker__name",)


@admin.register(WorkerHistory)
class WorkerHistoryAdmin(MachineRows):
    needs = {"view": "workers:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("entity_id", Worker.objects.all(), readable_workers(caller)))
    )
    list_display = ("time", "worker", "operation", "changes", "actor", "reason")
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
    needs = {"view": "runtimes:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_runtimes(caller)))
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
    needs = {"view": "runtimes:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("runtime", Runtime.objects.all(), readable_runtimes(caller)))
    )
    list_display = ("__str__", "is_default", "available", as_time("verified_at", "verified"))
    list_filter = ("runtime", "available")
    list_select_related = ("runtime",)
    list_defer = ("execution_config", "distributions", "meta")
    ordering = ("runtime_ref", "version_major", "version_minor", "version_patch", "id")


@admin.register(PackEnvironment)
class PackEnvironmentAdmin(MachineRows):
    needs = {"view": "packs:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("pack", Pack.objects.all(), readable_packs(caller)))
    )
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
