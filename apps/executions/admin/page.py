"""What the page of one execution shows; read anew every second while the execution is not finished."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils.safestring import SafeString

from apps.core import markup
from apps.executions.admin.sections import sections_of
from apps.executions.admin.verbs import Verb
from apps.executions.errors import LogGone
from apps.executions.logs import STREAMS, Stream, open_log
from apps.executions.models import Artifact, ArtifactVersion, Execution, ExecutionHistory
from apps.executions.services import explain
from apps.executions.states import Status
from apps.executions.visibility import readable_artifacts, visible_to
from apps.identity.callers import Caller
from apps.identity.grants import narrowed, under
from apps.identity.models import Identity
from apps.workers.models import Worker

MODEL = "executions_execution"
SHOWN_LOG_LINES = 200
SHOWN_LOG_BYTES = 64 * 1024
SHOWN_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class LogTail:
    """The end of one stream, as text; ``note`` says what is not there."""

    stream: Stream
    text: str
    size: str
    note: str
    url: str


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """One row of the history that moved the status."""

    status: str
    tone: str
    at: datetime
    after: str
    note: str


def log_tail(execution: Execution, stream: Stream) -> LogTail | None:
    """Return the end of a stream; None when it has no output."""
    url = f"/api/v1/executions/{execution.pk}/logs/{stream}"
    try:
        log = open_log(execution, stream)
    except LogGone:
        preview = str((execution.result or {}).get(stream, ""))
        return LogTail(
            stream=stream, text=preview, size="", note="Removed by retention, its beginning is kept", url=""
        )
    with log:
        if not log.size_bytes:
            return None
        start = log.boundary_after(max(log.tail_start(SHOWN_LOG_LINES), log.size_bytes - SHOWN_LOG_BYTES))
        text = markup.terminal_text(b"".join(log.read(start, log.size_bytes)))
    notes = ["The end of it" if start else "", "Cut at its limit" if log.truncated else ""]
    return LogTail(
        stream=stream,
        text=text,
        size=markup.size_text(log.size_bytes),
        note=". ".join(note for note in notes if note),
        url=url,
    )


def _state_changes(execution: Execution) -> list[StateChange]:
    rows = list(ExecutionHistory.objects.filter(entity_id=execution.pk).order_by("time", "id")[:200])
    actors = _actor_names({row.actor for row in rows if row.actor})
    changes = []
    for row in rows:
        status = (row.new_values or {}).get("status")
        if status is None:
            continue
        after = markup.seconds_text(max(0.0, (row.time - execution.created).total_seconds()))
        note = " · ".join(part for part in (actors.get(row.actor or "", row.actor), row.reason) if part)
        tone = markup.TONES.get(status, "plain")
        changes.append(StateChange(status=status, tone=tone, at=row.time, after=f"+{after}", note=note))
    return changes


def _actor_names(actors: set[str]) -> dict[str, str]:
    """Return the names behind ``identity:<id>`` and ``worker:<id>``; the other actors are names already."""
    ids: dict[str, list[int]] = {"identity": [], "worker": []}
    for actor in actors:
        kind, _, number = actor.partition(":")
        if kind in ids and number.isdigit():
            ids[kind].append(int(number))
    people = Identity.objects.filter(pk__in=ids["identity"]).values_list("pk", "login") if ids["identity"] else ()
    workers = Worker.objects.filter(pk__in=ids["worker"]).values_list("pk", "name") if ids["worker"] else ()
    return {
        **{f"identity:{pk}": login for pk, login in people},
        **{f"worker:{pk}": f"worker {name}" for pk, name in workers},
    }


def _related(rows: Any) -> list[Execution]:
    return list(rows.only("id", "action_ref", "status", "created", "duration_ms", "attempt")[: SHOWN_ROWS + 1])


def _attempts(execution: Execution, caller: Caller) -> list[Execution]:
    first = execution.original_execution_id or execution.pk
    chain = _related(visible_to(caller).filter(Q(pk=first) | Q(original_execution=first)).order_by("id"))
    return chain if len(chain) > 1 else []


def _artifacts(execution: Execution, caller: Caller) -> list[ArtifactVersion]:
    seen = under("artifact", Artifact.objects.all(), readable_artifacts(caller))
    versions = narrowed(ArtifactVersion.objects.filter(execution=execution.pk).select_related("artifact"), seen)
    return list(versions.defer("content", "content_json").order_by("id")[:SHOWN_ROWS])


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _facts(execution: Execution) -> list[tuple[str, SafeString | str]]:
    """Return the names and values of the right-hand column, without what says nothing."""
    rows: list[tuple[str, Any, Any]] = [
        ("Action", True, markup.row_link("actions_action", execution.action_id, execution.action_ref)),
        ("Worker", True, markup.row_link("workers_worker", execution.worker_id, execution.worker)),
        ("Asked for by", True, markup.row_link("identity_identity", execution.executor_id, execution.executor)),
        ("Cancelled by", execution.cancelled_by_id,
            markup.row_link("identity_identity", execution.cancelled_by_id, execution.cancelled_by)),
        ("Rule", execution.rule_ref, _by_ref("rules_rule", execution.rule_ref)),
        ("Trigger", execution.trigger_ref, _by_ref("events_trigger", execution.trigger_ref)),
        ("Enforcement", execution.enforcement,
            markup.row_link("rules_enforcement", execution.enforcement, f"#{execution.enforcement}")),
        ("Parent", execution.parent_id, markup.row_link(MODEL, execution.parent_id, f"#{execution.parent_id}")),
        ("Root", execution.root, markup.row_link(MODEL, execution.root, f"#{execution.root}")),
        ("Created", True, markup.when(execution.created)),
        ("Not before", execution.not_before, markup.when(execution.not_before)),
        ("Expires", execution.expires_at, markup.when(execution.expires_at)),
        ("Scheduled", execution.scheduled_at, markup.when(execution.scheduled_at)),
        ("Started", execution.started_at, markup.when(execution.started_at)),
        ("Ended", execution.finished_at, markup.when(execution.finished_at)),
        ("Time limit", execution.timeout_seconds, f"{execution.timeout_seconds} s"),
        ("Priority", execution.priority, _number(execution.priority)),
        ("Attempt", execution.attempt > 1, _number(execution.attempt)),
        ("Retry because", execution.retry_reason, execution.retry_reason),
        ("Retries allowed", execution.max_retries, _number(execution.max_retries)),
        ("When its worker is lost", True, execution.on_worker_lost),
        ("Epoch", True, _number(execution.epoch)),
        ("Rights of its token", execution.permission_set_refs, ", ".join(map(str, execution.permission_set_refs))),
        # Their values are never shown.
        ("Environment", execution.env_vars, ", ".join(sorted(execution.env_vars or {}))),
        ("Correlation", True, markup.link(
            markup.list_of(MODEL, correlation_id=execution.correlation_id), str(execution.correlation_id)[:8],
            title=str(execution.correlation_id))),
    ]  # fmt: skip
    return [(label, value) for label, shown, value in rows if shown]


def _by_ref(model: str, ref: str | None) -> SafeString:
    """Return a link to the rows of a higher app that have this ref; known here by name only."""
    return markup.link(markup.page_named(f"admin:{model}_changelist", q=ref or ""), ref)


def _measures(execution: Execution) -> list[tuple[str, str]]:
    """Return the few numbers beside the status."""
    found = []
    if execution.exit_code is not None:
        found.append(("Exit code", str(execution.exit_code)))
    if execution.duration_ms is not None:
        found.append(("Ran", markup.seconds_text(execution.duration_ms / 1000)))
    if execution.started_at is not None:
        waited = (execution.started_at - execution.created).total_seconds()
        found.append(("Waited", markup.seconds_text(max(0.0, waited))))
    return found


def _verbs(execution: Execution, offered: Iterable[Verb]) -> list[dict[str, Any]]:
    return [
        {
            "label": verb.label,
            "loud": verb.danger and verb.first,
            "url": reverse(f"admin:{MODEL}_{verb.name}", args=[execution.pk]),
        }
        for verb in offered
    ]


def _result_json(execution: Execution) -> Any:
    """The result without what the page shows elsewhere."""
    if not isinstance(execution.result, dict):
        return execution.result
    elsewhere = {"stdout", "stderr", "stdout_log", "stderr_log"}
    return {key: value for key, value in execution.result.items() if key not in elsewhere}


def _parameters(execution: Execution) -> Any:
    schema = execution.action.param_schema if execution.action is not None else None
    return markup.without_secrets(schema, execution.config)


def execution_page(execution: Execution, caller: Caller, offered: Iterable[Verb]) -> dict[str, Any]:
    """Return what the template of an execution's page needs, as far as the caller may see it."""
    result = execution.result if isinstance(execution.result, dict) else {}
    children = _related(visible_to(caller).filter(parent=execution.pk).order_by("id"))
    attempts = _attempts(execution, caller)
    sections = sections_of(execution, caller)
    return {
        "execution": execution,
        "status_badge": markup.badge(execution.status),
        "live": not execution.is_finished,
        "measures": _measures(execution),
        "verbs": _verbs(execution, offered),
        "run_again": (
            reverse("admin:executions_execution_run", args=[execution.action_id]) + f"?from={execution.pk}"
            if execution.action is not None and caller.allows("actions:execute", execution.action)
            else None
        ),
        "error": result.get("error") if execution.status != Status.COMPLETED else None,
        "why": None if execution.is_finished else explain(execution),
        "logs": [tail for stream in STREAMS if (tail := log_tail(execution, stream)) is not None],
        "result_json": markup.json_block(_result_json(execution)),
        "result_artifact": execution.result_artifact_id,
        "parameters_json": markup.json_block(_parameters(execution)),
        "facts": _facts(execution),
        "changes": _state_changes(execution),
        "attempts": attempts[:SHOWN_ROWS],
        "children": children[:SHOWN_ROWS],
        "more_children": markup.list_of(MODEL, parent=execution.pk) if len(children) > SHOWN_ROWS else None,
        "artifacts": _artifacts(execution, caller),
        "sections": sections,
        "refresh_seconds": max((section.refresh_seconds for section in sections), default=1),
    }
