"""The browsable pages of executions and artifacts, and the OpenAPI document."""

import json

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

from apps.executions.artifacts import Origin, add_json_version
from apps.executions.models import Artifact
from apps.executions.states import Status
from apps.executions.urls import urlpatterns
from tests.clients import signed_in
from tests.factories import make_execution, make_request

PAGES = [
    "executions", "executions/stats", "executions/status/failed", "executions/enforcement/1", "executions/{execution}",
    "executions/{execution}/result", "executions/{execution}/why", "executions/{execution}/history",
    "executions/{execution}/attempts", "executions/{execution}/logs", "executions/{execution}/logs/search?q=x",
    "executions/{execution}/artifacts", "history/execution", "history/worker", "artifacts", "artifacts/{artifact}",
    "artifacts/ref/mypack.report", "artifacts/{artifact}/versions", "artifacts/{artifact}/versions/latest",
    "artifacts/{artifact}/versions/1",
]  # fmt: skip
# Pages that answer nothing themselves but have the form for what they take.
FORMS = {
    "executions/execute": 405, "executions/cancel": 405, "executions/{execution}/cancel": 405,
    "executions/{execution}/force-close": 405, "executions/{execution}/retry": 405, "artifacts/{artifact}/progress": 405,
    "artifacts/{artifact}/data": 405, "artifacts/{artifact}/versions/upload": 405,
    "artifacts/ref/mypack.report/versions/file": 405, "executions/stream": 501, "executions/99999": 404,
}  # fmt: skip


@pytest.fixture
def ids(db, settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path
    artifact = Artifact.objects.create(ref="mypack.report", type="other", scope="pack", owner="mypack")
    add_json_version(artifact.pk, {"a": "<script>"}, Origin())
    make_execution(status=Status.FAILED, enforcement=1, result={"error": "<script>"})
    return {"execution": make_request().pk, "artifact": artifact.pk}


@pytest.mark.parametrize("page", PAGES)
def test_page(ids, page):
    response = signed_in().get(f"/api/v1/{page.format(**ids)}", headers={"Accept": "text/html"})

    assert (response.status_code, response.headers["Content-Type"].split(";")[0]) == (200, "text/html")
    assert b"<script>&quot;" not in response.content


@pytest.mark.parametrize(("page", "status"), FORMS.items())
def test_page_of_a_form(ids, page, status):
    response = signed_in().get(f"/api/v1/{page.format(**ids)}", headers={"Accept": "text/html"})

    assert (response.status_code, response.headers["Content-Type"].split(";")[0]) == (status, "text/html")


def test_raw_streams_are_no_pages(ids):
    response = signed_in().get("/api/v1/executions/export?format=json", headers={"Accept": "text/html"})

    assert len(json.loads(response.getvalue())) == 2


def test_openapi_document():
    GENERATOR_STATS.reset()

    document = SchemaGenerator(patterns=urlpatterns).get_schema(request=None, public=True)

    assert (dict(GENERATOR_STATS._warn_cache), dict(GENERATOR_STATS._error_cache)) == ({}, {})
    paths = {path.removeprefix("/api/v1") for path in document["paths"]}
    assert {
        "/executions",
        "/executions/{id}/logs/{stream}",
        "/executions/export",
        "/artifacts/{id}/versions/upload",
    } <= paths
    filters = {parameter["name"] for parameter in document["paths"]["/api/v1/executions"]["get"]["parameters"]}
    assert {"status", "result_contains", "exit_code", "cursor", "per_page"} <= filters
