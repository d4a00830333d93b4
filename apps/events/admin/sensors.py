"""Sensors: on or off, how their processes stand, the end of what they print."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, as_badge, as_text, as_time, linked_filter
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.events import sensor_rows
from apps.events.admin.links import event_link, rules_panel
from apps.events.models import Sensor, SensorProcess, SensorProcessHistory, SensorProcessStatus, Trigger
from apps.events.rule_port import rule_port
from apps.events.sensors.logs import open_log
from apps.events.sensors.wanted import TIMER_TRIGGERS
from apps.events.visibility import readable, visible_events
from apps.executions.logs import STREAMS
from apps.identity.grants import narrowed, under
from apps.workers.models import Worker

SHOWN_LOG_LINES = 100
SHOWN_LOG_BYTES = 32 * 1024
SHOWN_EVENTS = 8
# Which of a sensor's rows says how it stands: it runs on one worker at a time, the others are of the past.
_AT_WORK = (
    SensorProcessStatus.RUNNING,
    SensorProcessStatus.STARTING,
    SensorProcessStatus.BACKOFF,
    SensorProcessStatus.FAILED,
)

VERBS = {
    "enable": RowVerb(
        label="Enable",
        done="is enabled",
        offered=lambda sensor: not sensor.enabled,
        call=lambda sensor, _request: sensor_rows.set_enabled(sensor, enabled=True),
    ),
    "disable": RowVerb(
        label="Disable",
        done="is disabled",
        asks="Its process is stopped, and it sends no events until it is enabled again.",
        offered=lambda sensor: sensor.enabled,
        call=lambda sensor, _request: sensor_rows.set_enabled(sensor, enabled=False),
    ),
}


def standing(processes: Sequence[SensorProcess]) -> SensorProcess | None:
    """Return the process that says how a sensor stands; None when it never ran."""
    newest_first = sorted(processes, key=lambda process: process.updated, reverse=True)
    return next((process for process in newest_first if process.status in _AT_WORK), next(iter(newest_first), None))


@admin.register(Sensor)
class SensorAdmin(RowsWithVerbs, MachineRows):
    needs = {"view": "triggers:read", **dict.fromkeys(VERBS, "triggers:update")}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    verbs = VERBS
    page_template = "admin/events/sensor/page.html"
    list_display = ("ref", "label", "of_pack", "state", "process", "served", "rule_count", as_time("updated"))
    list_filter = ("enabled", "is_adhoc", "pack")
    list_defer = (
        "param_schema", "config", "description", "worker_selector", "worker_tolerations", "worker_affinity",
    )  # fmt: skip
    list_select_related = ("pack",)
    ordering = ("ref",)
    search_fields = ("ref", "label")
    search_help_text = "Ref or label"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sensor]:
        rows: QuerySet[Sensor] = super().get_queryset(request)
        return rows.prefetch_related(
            Prefetch("triggers", queryset=Trigger.objects.only("ref", "sensor").order_by("ref"))
        )

    def prepare(self, rows: Sequence[Any]) -> None:
        processes: dict[int, list[SensorProcess]] = defaultdict(list)
        for process in SensorProcess.objects.filter(sensor__in=[sensor.pk for sensor in rows]).defer("stderr_excerpt"):
            processes[process.sensor_id].append(process)
        served = {trigger.ref for sensor in rows for trigger in sensor.triggers.all()}
        panel = _enabled_rules(served)
        for sensor in rows:
            sensor.standing = standing(processes[sensor.pk])
            sensor.enabled_rules = sum(panel[trigger.ref] for trigger in sensor.triggers.all())

    @admin.display(description="pack", ordering="pack_ref")
    def of_pack(self, sensor: Sensor) -> SafeString:
        return markup.row_link("packs_pack", sensor.pack_id, sensor.pack_ref)

    @admin.display(description="state")
    def state(self, sensor: Sensor) -> SafeString:
        return markup.badge("enabled" if sensor.enabled else "disabled")

    @admin.display(description="process")
    def process(self, sensor: Any) -> SafeString:
        if _has_no_program(sensor):
            return markup.badge("scheduler", title="The scheduler serves its triggers; it has no process")
        if sensor.standing is None:
            return markup.EMPTY
        failures = sensor.standing.consecutive_failures
        title = f"{failures} consecutive failures" if failures else ""
        return markup.badge(sensor.standing.status, title=title)

    @admin.display(description="triggers")
    def served(self, sensor: Sensor) -> SafeString:
        return markup.commas(
            markup.row_link("events_trigger", trigger.pk, trigger.ref) for trigger in sensor.triggers.all()
        )

    @admin.display(description="enabled rules")
    def rule_count(self, sensor: Any) -> Any:
        return sensor.enabled_rules or markup.EMPTY

    # --- The page -----------------------------------------------------------------------------------------------

    def find(self, pk: int) -> Sensor | None:
        triggers = Prefetch("triggers", queryset=Trigger.objects.order_by("ref"))
        return Sensor.objects.select_related("pack", "runtime").prefetch_related(triggers).filter(pk=pk).first()

    def page_context(self, row: Sensor, caller: Any) -> dict[str, Any]:
        processes = list(SensorProcess.objects.filter(sensor=row).select_related("worker").order_by("-updated"))
        panel = rules_panel([trigger.ref for trigger in row.triggers.all()], caller)
        current = standing(processes)
        return {
            "state": self.state(row),
            "processes": processes,
            "current": current,
            "standstill": _standstill(row, current, enabled_rules=panel["enabled_rules"]),
            "served": [markup.row_link("events_trigger", trigger.pk, trigger.ref) for trigger in row.triggers.all()],
            "logs": _logs(row),
            "events": _events(row, caller),
            "all_events": markup.list_of("events_event", source=row.pk),
            "history": markup.list_of("events_sensorprocesshistory", entity_ref=row.ref),
            "config": markup.json_block(markup.without_secrets(row.param_schema, row.config)),
            "facts": _facts(row),
            **panel,
        }


def _enabled_rules(trigger_refs: set[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for rule in rule_port.of_triggers(trigger_refs, enabled_only=True):
        counts[rule.trigger_ref] += 1
    return counts


def _has_no_program(sensor: Sensor) -> bool:
    refs = {trigger.ref for trigger in sensor.triggers.all()}
    return bool(refs) and refs <= TIMER_TRIGGERS


def _standstill(sensor: Sensor, current: SensorProcess | None, *, enabled_rules: int) -> str:
    """Return why no process of it runs, as a sentence; empty when one does, or is about to."""
    if _has_no_program(sensor):
        return "The scheduler itself serves these triggers; there is no process."
    if current is not None and current.status in (SensorProcessStatus.RUNNING, SensorProcessStatus.STARTING):
        return ""
    if not sensor.enabled:
        return "It is disabled."
    if not enabled_rules:
        return "No enabled rule uses one of its triggers, so it has nothing to do."
    if current is not None and current.status in (SensorProcessStatus.BACKOFF, SensorProcessStatus.FAILED):
        ending = f"; the next start is {markup.relative(current.next_restart_at)}" if current.next_restart_at else ""
        return f"It ended {current.consecutive_failures} times in a row{ending}."
    return "No worker that takes sensors runs it yet: one works inside `manage.py up`, or start `manage.py sensors`."


def _logs(sensor: Sensor) -> list[dict[str, str]]:
    found = []
    for stream in STREAMS:
        with open_log(sensor, stream) as log:
            if not log.size_bytes:
                continue
            start = max(log.tail_start(SHOWN_LOG_LINES), log.size_bytes - SHOWN_LOG_BYTES)
            text = markup.terminal_text(b"".join(log.part(start, log.size_bytes)))
            size = markup.size_text(log.size_bytes)
        url = f"/api/v1/sensors/{sensor.ref}/logs/{stream}"
        found.append(
            {"stream": stream, "text": text, "size": size, "url": url, "note": "The end of it" if start else ""}
        )
    return found


def _events(sensor: Sensor, caller: Any) -> list[dict[str, Any]]:
    rows = (
        visible_events(caller).filter(source=sensor).newest_first().only("id", "created", "trigger_ref")[:SHOWN_EVENTS]
    )
    return [
        {"link": event_link(row.pk), "trigger_ref": row.trigger_ref, "created": markup.when(row.created)}
        for row in rows
    ]


def _facts(sensor: Sensor) -> list[tuple[str, Any]]:
    held = sensor.lease_worker is not None
    holder = Worker.objects.filter(pk=sensor.lease_worker).first() if sensor.lease_worker is not None else None
    rows: list[tuple[str, Any, Any]] = [
        ("Pack", True, markup.row_link("packs_pack", sensor.pack_id, sensor.pack_ref)),
        ("Runtime", True, markup.row_link("workers_runtime", sensor.runtime_id, sensor.runtime_ref)),
        ("Version", sensor.runtime_version_constraint, sensor.runtime_version_constraint),
        ("Entry point", True, sensor.entrypoint),
        ("Follows changes", True, "itself" if sensor.hot_reload else "by a restart"),
        ("Held by", holder, markup.row_link("workers_worker", sensor.lease_worker, holder)),
        ("Lease", held, markup.when(sensor.lease_expires_at)),
        ("Rules' version", sensor.rules_version, sensor.rules_version),
        ("Made by hand", True, "yes" if sensor.is_adhoc else "no"),
        ("Created", True, markup.when(sensor.created)),
        ("Updated", True, markup.when(sensor.updated)),
    ]
    return [(label, value) for label, shown, value in rows if shown]


@admin.register(SensorProcess)
class SensorProcessAdmin(MachineRows):
    needs = {"view": "triggers:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("sensor", Sensor.objects.all(), readable(caller)))
    )
    list_display = (
        "of_sensor", as_badge("status"), "of_worker", "pid", "consecutive_failures", "ended",
        as_time("last_started_at", "started"), as_time("next_restart_at", "next start"), "active_rule_count",
    )  # fmt: skip
    list_display_links = None
    list_filter = ("status", "worker", linked_filter("sensor", "sensor"))
    list_defer = ("stderr_excerpt",)
    list_select_related = ("worker",)
    ordering = ("sensor_ref", "worker__name")
    fields = (
        "of_sensor", as_badge("status"), "of_worker", "pid", "consecutive_failures", "ended",
        as_time("last_started_at", "started"), as_time("last_stopped_at", "stopped"),
        as_time("next_restart_at", "next start"), "active_rule_count", as_time("last_alerted_at", "alert raised"),
        as_text("stderr_excerpt", "its last words"),
    )  # fmt: skip

    @admin.display(description="sensor")
    def of_sensor(self, process: SensorProcess) -> SafeString:
        return markup.row_link("events_sensor", process.sensor_id, process.sensor_ref)

    @admin.display(description="worker")
    def of_worker(self, process: SensorProcess) -> SafeString:
        return markup.row_link("workers_worker", process.worker_id, process.worker)

    @admin.display(description="ended with")
    def ended(self, process: SensorProcess) -> str | SafeString:
        return how_it_ended(process) or markup.EMPTY


def how_it_ended(process: SensorProcess) -> str:
    """Return ``signal 9`` or ``exit 3``; empty when it has not ended."""
    if process.last_signal is not None:
        return f"signal {process.last_signal}"
    return "" if process.last_exit_code is None else f"exit {process.last_exit_code}"


@admin.register(SensorProcessHistory)
class SensorProcessHistoryAdmin(MachineRows):
    needs = {"view": "triggers:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("entity_ref", Sensor.objects.all(), readable(caller), by="ref"))
    )
    list_display = ("time", "entity_ref", "operation", "changes", "actor", "reason")
    list_filter = (linked_filter("entity_ref", "sensor"), linked_filter("entity_id", "process"))
    ordering = ("-time", "-id")

    @admin.display(description="what changed")
    def changes(self, row: SensorProcessHistory) -> SafeString:
        new = row.new_values or {}
        return markup.commas(f"{name}: {new.get(name)}" for name in row.changed_fields or [])
