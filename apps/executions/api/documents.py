"""Query parameters of executions, logs and artifacts, as the OpenAPI document tells them."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from apps.executions.models import ArtifactType, OwnerType, Visibility
from apps.executions.states import Status


def _query(name: str, kind: OpenApiTypes = OpenApiTypes.STR, text: str = "", **rules: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=text, **rules)


_REF = "A full ref, or <pack>.*"
_FROM, _BEFORE = "Inclusive; RFC 3339 or YYYY-MM-DD.", "Exclusive; RFC 3339 or YYYY-MM-DD."

FILTER_PARAMETERS = [
    _query("status", text=f"One or several, separated by commas: {', '.join(Status.values)}"),
    _query("action_ref", text=_REF),
    _query("rule_ref", text=_REF),
    _query("trigger_ref", text=_REF),
    _query("pack_name", text="The pack of the action."),
    *(
        _query(name, OpenApiTypes.INT64, "An id.")
        for name in ("executor", "enforcement", "parent", "worker", "action", "root", "original_execution")
    ),
    _query("correlation_id", OpenApiTypes.UUID),
    _query("top_level_only", OpenApiTypes.BOOL, "Only those without parent."),
    _query("result_contains", text="Text in the result's JSON, any case; looks through the newest 100,000 rows."),
    *(
        _query(f"{moment}_{side}", OpenApiTypes.DATETIME, text)
        for moment in ("created", "started", "finished")
        for side, text in (("after", _FROM), ("before", _BEFORE))
    ),
    _query("exit_code", text="One or several, separated by commas."),
    _query("duration_ms_min", OpenApiTypes.INT64, "Inclusive."),
    _query("duration_ms_max", OpenApiTypes.INT64, "Inclusive."),
    _query("succeeded", OpenApiTypes.BOOL, "true: ended with success; false: ended otherwise."),
]
WINDOW = _query("window", text="What is counted when no filter is given.", enum=["1000", "all"])
WAIT = _query("wait", OpenApiTypes.INT, "Seconds to wait for the end, 0 to 60.")
POINTER = _query("pointer", text="A JSON pointer to a part of the result.")
SECRETS = _query("include_secret_values", OpenApiTypes.BOOL, "Needs executions:decrypt.")
EXPORT_PARAMETERS = [
    *FILTER_PARAMETERS,
    _query("format", text="jsonl by default.", enum=["csv", "jsonl", "json"]),
    _query("fields", text="Columns, separated by commas."),
    _query("limit", OpenApiTypes.INT64, "Stop after that many."),
]
LOG_PARAMETERS = [
    _query("offset", OpenApiTypes.INT64, "First byte."),
    _query("limit", OpenApiTypes.INT64, "Bytes, moved back to a character boundary."),
    _query("tail", OpenApiTypes.INT, "The last lines, 1 to 100000."),
    _query("tail_bytes", OpenApiTypes.INT64, "The last bytes."),
    _query("download", OpenApiTypes.BOOL, "Ask the browser to save it."),
]
SEARCH_PARAMETERS = [
    _query("q", text="The text, any case.", required=True),
    _query("stream", enum=["stdout", "stderr"]),
    _query("limit", OpenApiTypes.INT, "Matches, 200 by default, at most 1000."),
    _query("after_offset", OpenApiTypes.INT64, "Only lines that begin after this byte."),
]
ARTIFACT_PARAMETERS = [
    _query("scope", enum=OwnerType.values),
    _query("owner"),
    _query("type", enum=ArtifactType.values),
    _query("visibility", enum=Visibility.values),
    _query("execution", OpenApiTypes.INT64, "Those with a version from this execution."),
    _query("name", text="Part of the name, any case."),
    _query("created_after", OpenApiTypes.DATETIME, _FROM),
    _query("created_before", OpenApiTypes.DATETIME, _BEFORE),
]
