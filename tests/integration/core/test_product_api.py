"""The product's own API as a whole, whatever its document names: lists, pages for browsers, what is always there."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from drf_spectacular.generators import SchemaGenerator

from apps.actions.models import Action
from apps.events.models import WebhookEventLog
from apps.executions.artifacts import Origin, add_json_version
from apps.executions.models import Artifact, Execution, ExecutionHistory
from apps.identity.models import AuditEvent, IdentityRoleAssignment, IntegrationToken
from apps.inquiries.models import Inquiry
from apps.keys.models import Key
from apps.packs.models import Pack
from apps.rules.models import Enforcement, RuleDecision
from apps.workers.models import Runtime, Worker, WorkerHistory
from tests.clients import anonymous, signed_in
from tests.factories import (
    make_action,
    make_event,
    make_execution,
    make_holder,
    make_identity,
    make_item,
    make_key,
    make_pack,
    make_policy,
    make_queue,
    make_rule,
    make_runtime,
    make_sensor,
    make_trigger,
    make_worker,
)
from tests.workflow_runs import ended_run, make_workflow

pytestmark = pytest.mark.django_db

# What typed clients fail without (api.md 23, 1.4).
PAGINATION = {"page", "page_size", "total_items", "total_pages", "has_previous", "has_next", "effective_page_size"}
ALWAYS = {
    "/api/v1/actions": "accesses_mcp created entrypoint id label pack_ref ref updated",
    "/api/v1/actions/{ref}": (
        "accesses_mcp created entrypoint id is_adhoc label out_schema pack pack_ref param_schema ref updated "
        "timeout_seconds max_retries priority on_worker_lost max_lost_attempts limits strict_parameters "
        "parameter_delivery parameter_format output_format ambient_keys semaphores description runtime"
    ),
    "/api/v1/packs": "id ref label description version tags is_standard created updated",
    "/api/v1/packs/{ref}": (
        "id ref label description version conf_schema config meta tags runtime_deps dependencies is_standard created "
        "updated"
    ),
    "/api/v1/runtimes": "id ref pack_ref description name created updated",
    "/api/v1/runtimes/{ref}": (
        "id ref pack pack_ref description name distributions installation execution_config created updated"
    ),
    "/api/v1/workers": (
        "id name worker_type worker_role host port status last_heartbeat heartbeat_age_seconds heartbeat_stale cordoned "
        "cordon_reason cordoned_by cordoned_at health_state supported_runtimes load created updated"
    ),
    "/api/v1/executions": (
        "id action_ref status parent enforcement rule_ref trigger_ref created updated worker finished_at exit_code "
        "duration_ms succeeded not_before retry_count"
    ),
    "/api/v1/executions/{id}": (
        "id action action_ref config parent enforcement executor worker status result created updated pack_ref rule_ref "
        "trigger_ref root priority not_before timeout_seconds scheduled_at finished_at exit_code duration_ms succeeded "
        "retry_count max_retries retry_reason retry_of attempt epoch expires_at cancelled_by pinned correlation_id"
    ),
    "/api/v1/executions/{id}/why": "execution status since summary position next_check_at reasons",
    "/api/v1/executions/stats": "total completed failed running pending cancelled timeout abandoned window",
    "/api/v1/artifacts": "id ref scope owner type visibility name content_type size_bytes created updated",
    "/api/v1/artifacts/{id}": (
        "id ref scope owner type visibility retention_policy retention_limit name description content_type size_bytes "
        "created updated"
    ),
    "/api/v1/artifacts/{id}/versions": "id version content_type size_bytes created_by created",
    "/api/v1/artifacts/{id}/versions/latest": "id artifact version content_type size_bytes created_by created",
    "/api/v1/history/{entity_type}": "time operation entity_id entity_ref changed_fields old_values new_values",
    "/api/v1/rules": "action_params trigger_params enabled id ref pack_ref label description action_ref trigger_ref",
    "/api/v1/rules/{ref}": "action_params conditions trigger_params is_adhoc pack action trigger owner_identity",
    "/api/v1/rules/{ref}/decisions": "id event rule outcome matched reason error key trace enforcement executions",
    "/api/v1/triggers/{ref}": "is_adhoc out_schema param_schema webhook_enabled pack pack_ref enabled",
    "/api/v1/events": "id trigger trigger_ref source source_ref rule rule_ref created has_payload",
    "/api/v1/events/{id}": "config payload replay_of correlation_id",
    "/api/v1/enforcements": "id rule rule_ref trigger_ref event status condition created",
    "/api/v1/enforcements/{id}": "condition conditions config payload resolved_at",
    "/api/v1/keys": "id ref name encrypted owner_type owner",
    "/api/v1/keys/{ref}": "ref name value encrypted owner_type updated",
    "/api/v1/audit-events": "id created category event_type outcome actor_identity actor_login request_id http_status",
    "/api/v1/identities": "id login display_name frozen attributes roles",
    "/api/v1/identities/{id}": "id login display_name frozen attributes roles direct_permissions",
    "/api/v1/identities/{id}/integration-tokens": (
        "id identity_id label description token_prefix token_suffix created_by expires_at last_used_at last_used_ip "
        "revoked_at revoked_by revocation_reason active created updated"
    ),
    "/auth/me": (
        "id login display_name auth_provider is_local can_change_password effective_permissions "
        "assigned_permission_set_refs"
    ),
}
REQUEST = "00000000-0000-0000-0000-000000000000"
ONE_ROW = {"/api/v1/triggers/{ref}/sensors", "/api/v1/executions/{id}/inquiries"}  # lists that never have more
OMITTED_FROM = {
    "/api/v1/actions": {"param_schema", "out_schema", "pack", "is_adhoc", "timeout_seconds"},
    "/api/v1/rules": {"conditions", "pack", "action", "trigger", "is_adhoc", "owner_identity", "priority"},
    "/api/v1/events": {"payload", "config"},
    "/api/v1/enforcements": {"payload", "config", "conditions", "resolved_at"},
    "/api/v1/executions": {"config", "result", "executor", "pack_ref"},
    "/api/v1/executions/{id}": {"permission_set_refs", "worker_selector", "started_at", "workflow_task"},
    "/api/v1/identities": {"password_hash", "direct_permissions", "auth_provider"},
    "/api/v1/identities/{id}/integration-tokens": {"token", "token_hash"},
    "/api/v1/artifacts": {"data", "description", "retention_policy", "retention_limit"},
    "/api/v1/artifacts/{id}/versions": {"content_json", "meta", "artifact"},
}


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


class Rows:
    """One more row of every kind with each ``add``; all below the same parents."""

    def __init__(self):
        self.pack = make_pack(ref="pp")
        self.action = make_action(pack=self.pack, ref="pp.a")
        self.execution = make_execution(action=self.action, enforcement=1, status="failed")
        self.worker = make_worker()
        self.runtime = make_runtime(ref="pp.sh", pack=self.pack, pack_ref="pp")
        self.artifact = Artifact.objects.create(ref="r", type="other", scope="system", owner="")
        self.trigger = make_trigger(pack=self.pack, ref="pp.t")
        self.sensor = make_sensor(self.trigger, pack=self.pack, ref="pp.se")
        self.rule = make_rule(pack=self.pack, ref="pp.r", action=self.action, trigger=self.trigger)
        timer = make_trigger(ref="core.intervaltimer")
        self.timed = make_rule(trigger=timer, action=self.action, trigger_params={"unit": "minutes", "interval": 5})
        self.event = make_event(trigger=self.trigger, payload={"a": 1})
        self.enforcement = self._enforce(self.rule)
        self.identity = make_holder("core.viewer")
        self.audit_event = self._record()
        self.key = make_key(self.pack)
        self.queue = make_queue(ref="pp.q", pack=self.pack, pack_ref="pp", action=self.action)
        self.policy = make_policy(action=self.action)
        self.workflow = make_workflow([{"name": "t", "action": self.action.ref}], pack=self.pack, ref="pp.w")
        self.run = ended_run(self.workflow)
        self.inquiry = self._ask(self.execution)
        ExecutionHistory.objects.all().delete()
        WorkerHistory.objects.all().delete()
        self._add_to_parents()

    def add(self):
        number = Pack.objects.count()
        make_pack(ref=f"pp{number}")
        make_action(
            pack=self.pack,
            ref=f"pp.a{number}",
            runtime=make_runtime(ref=f"pp.s{number}", pack=self.pack, pack_ref="pp"),
        )
        make_execution(action=self.action, status="failed", worker=make_worker())
        Artifact.objects.create(ref=f"r{number}", type="other", scope="system", owner="")
        self._ask(make_execution(action=self.action, status="failed"))
        make_sensor(make_trigger(pack=self.pack, ref=f"pp.t{number}"), pack=self.pack, ref=f"pp.se{number}")
        self._add_to_parents()

    def _add_to_parents(self):
        IdentityRoleAssignment.objects.create(identity=make_identity(), role="r")
        self._record()
        make_key(self.pack)
        make_item(make_queue(pack=self.pack, pack_ref="pp", action=self.action))
        make_item(self.queue)
        make_policy(action=self.action)
        make_workflow([{"name": "t", "action": self.action.ref}], pack=self.pack)
        IntegrationToken.objects.create(
            identity=self.identity, label="t", token_hash=f"{IntegrationToken.objects.count()}"
        )
        add_json_version(self.artifact.pk, {"a": 1}, Origin(execution=self.execution.pk))
        retry = {"original_execution": self.execution, "retry_count": Execution.objects.count(), "enforcement": 1}
        make_execution(action=self.action, status="failed", **retry)
        ExecutionHistory.objects.create(operation="UPDATE", entity_id=self.execution.pk, changed_fields=["status"])
        WorkerHistory.objects.create(operation="UPDATE", entity_id=self.worker.pk, changed_fields=["status"])
        rule = make_rule(pack=self.pack, action=self.action, trigger=self.trigger)
        self._decide(rule, self.event.pk)
        self._decide(self.rule, make_event(trigger=self.trigger).pk)
        WebhookEventLog.objects.create(
            trigger=self.trigger, trigger_ref=self.trigger.ref, webhook_key="wh_1...", status_code=200
        )

    def _record(self):
        return AuditEvent.objects.create(
            category="api", event_type="api.get.success", outcome="success", request_id=REQUEST
        )

    def _decide(self, rule, event_id):
        RuleDecision.objects.create(
            event=event_id,
            rule=rule,
            rule_ref=rule.ref,
            trigger_ref=rule.trigger_ref,
            outcome="matched",
            enforcement=self._enforce(rule),
            duration_us=1,
        )

    def _ask(self, execution):
        return Inquiry.objects.create(execution=execution, prompt="?")

    def _enforce(self, rule):
        return Enforcement.objects.create(rule=rule, rule_ref=rule.ref, trigger_ref=rule.trigger_ref, payload={})

    def path(self, template):
        known = {
            "/executions/{id}/workflow": self.run.pk,
            "/inquiries/status/{status}": "pending",
            "/inquiries/{id}": self.inquiry.pk,
            "/queues/{ref}": self.queue.ref,
            "/policies/{ref}": self.policy.ref,
            "/workflows/{ref}": self.workflow.ref,
            "/executions/{id}": self.execution.pk,
            "/workers/{id}": self.worker.pk,
            "/artifacts/{id}": self.artifact.pk,
            "/actions/{ref}": self.action.ref,
            "/packs/{ref}": self.pack.ref,
            "/identities/{id}": self.identity.pk,
            "/audit-events/{id}": self.audit_event.pk,
            "{request_id}": REQUEST,
            "/keys/{ref}": self.key.ref,
            "/runtimes/{ref}": self.runtime.ref,
            "/artifacts/ref/{ref}": self.artifact.ref,
            "/triggers/{ref}": self.trigger.ref,
            "/sensors/{ref}": self.sensor.ref,
            "/rules/{ref}/timer": self.timed.ref,
            "/rules/{ref}/upcoming": self.timed.ref,
            "/rules/{ref}": self.rule.ref,
            "/events/{id}": self.event.pk,
            "/enforcements/{id}": self.enforcement.pk,
            "{entity_type}": "execution",
            "{enforcement}": 1,
            "{status}": "failed",
            "{stream}": "stdout",
            "{number}": 1,
        }
        for part, value in known.items():
            template = template.replace(part, part.replace(part[part.index("{") : part.index("}") + 1], str(value)))
        return f"{template}?resource=packs&action=read" if template.endswith("/explain") else template


@pytest.fixture
def rows(db, settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path
    return Rows()


def reads(document):
    return [path for path, item in document["paths"].items() if "get" in item]


def is_list(document, path):
    content = document["paths"][path]["get"]["responses"].get("200", {}).get("content", {})
    schema = resolved(document, content.get("application/json", {}).get("schema", {}))
    return "pagination" in schema.get("properties", {})


def resolved(document, schema):
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def test_lists_ask_as_often_for_one_row_as_for_many_and_have_all_keys(document, rows):
    lists = [path for path in reads(document) if is_list(document, path) and path not in ONE_ROW]
    assert len(lists) >= 12
    client = signed_in()

    def asked(path):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = client.get(path)
        assert answer.status_code == 200, path
        return len(queries), answer.json()

    for path in lists:
        asked(rows.path(path))  # whatever is remembered for good is remembered now
    before = {path: asked(rows.path(path)) for path in lists}
    for _time in range(3):
        rows.add()
    for path in lists:
        (few_queries, few), (queries, many) = before[path], asked(rows.path(path))
        assert queries <= few_queries, path
        assert len(many["data"]) >= len(few["data"]) + 2 > 2, path
        assert many["items"] == many["data"], path
        assert set(many["pagination"]) >= PAGINATION, path
        assert many["pagination"]["total_items"] == len(many["data"]), path


def test_keys_that_are_always_present(document, rows):
    client = signed_in()
    for path, names in ALWAYS.items():
        body = client.get(rows.path(path)).json()
        data = body["data"][0] if isinstance(body["data"], list) else body["data"]
        assert set(names.split()) - set(data) == set(), path
        assert OMITTED_FROM.get(path, set()) & set(data) == set(), path
    bare = client.get(rows.path("/api/v1/workers/{id}")).json()
    assert bare["id"] == rows.worker.pk
    assert set(bare["load"]) >= {"requested", "scheduling", "scheduled", "running", "canceling", "total_active"}


def test_answers_are_as_the_document_says(document, rows):
    """Every key that the document requires is there."""
    client = signed_in()
    for path in reads(document):
        response = document["paths"][path]["get"]["responses"].get("200", {})
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if (
            schema is None
            or (path.startswith("/auth/") and path != "/auth/me")
            or path.endswith(("/search", "/export"))
        ):
            continue
        answer = client.get(rows.path(path))
        assert answer.status_code == 200, path
        _check(document, schema, answer.json(), path)


def _check(document, schema, value, where):
    schema = resolved(document, schema)
    for inner in schema.get("allOf", []):
        _check(document, inner, value, where)
    if value is None:
        return
    if schema.get("type") == "array":
        assert isinstance(value, list), where
        for entry in value:
            _check(document, schema["items"], entry, f"{where}[]")
    if schema.get("type") == "object" and "properties" in schema:
        assert set(schema.get("required", [])) - set(value) == set(), where
        for name in set(schema["properties"]) & set(value):
            _check(document, schema["properties"][name], value[name], f"{where}.{name}")


@pytest.mark.parametrize("seen", ["rows", "nothing"])
def test_pages_for_browsers(document, rows, seen):
    if seen == "nothing":
        for model in (Execution, Artifact, Action, Runtime, Worker, Key, Pack):
            model.objects.all().delete()
    client = signed_in()
    for path in reads(document):
        answer = client.get(rows.path(path), headers={"Accept": "text/html"})
        assert answer.status_code < 500 or path in ("/auth/oidc/login", "/auth/callback"), path
        if seen == "rows" and path not in ("/auth/logout", "/auth/oidc/login", "/auth/callback"):
            assert answer.status_code == (400 if path.endswith("/logs/search") else 200), path
        stranger = anonymous().get(rows.path(path), headers={"Accept": "text/html"})
        assert stranger.status_code == 401 or path.startswith("/auth/"), path
