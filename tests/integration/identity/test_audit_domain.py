"""What the audit trail is told beside requests: sign-ins, denials, rights, keys, executions."""

import threading

import pytest
from django.db import connection, transaction

from apps.core.errors import AttuneError
from apps.executions.models import Execution
from apps.executions.requests import ExecutionRequest, request_execution
from apps.identity import audit, rights, services
from apps.identity.audit import trail
from apps.identity.audit.administration import identity_changed
from apps.identity.callers import Caller
from apps.identity.models import AuditEvent, Identity
from apps.identity.services import create_identity
from apps.rules.models import Enforcement
from tests.clients import anonymous, signed_in
from tests.factories import (
    make_action,
    make_admin,
    make_event,
    make_execution,
    make_holder,
    make_identity,
    make_set,
)

pytestmark = pytest.mark.django_db(transaction=True)


def events(**conditions) -> list[AuditEvent]:
    """Everything beside requests that was recorded so far and matches, in its order."""
    assert trail.flush()
    return list(AuditEvent.objects.exclude(event_type__startswith="api.").filter(**conditions).order_by("id"))


def types(**conditions) -> list[str]:
    return [event.event_type for event in events(**conditions)]


def resource(event: AuditEvent) -> tuple[str | None, int | None, str | None]:
    return event.resource_type, event.resource_id, event.resource_ref


# --- Transactions -----------------------------------------------------------------------------------------------


def test_what_is_rolled_back_was_never_done() -> None:
    with transaction.atomic():
        audit.record("pack.created")
        transaction.set_rollback(True)
    with transaction.atomic():
        audit.record("pack.updated")
        with transaction.atomic():
            audit.record("pack.deleted")
            transaction.set_rollback(True)

    assert types() == ["pack.updated"]


def test_denial_stays_whatever_becomes_of_the_transaction() -> None:
    with transaction.atomic():
        audit.record("rbac.denied", outcome="denied")
        transaction.set_rollback(True)

    assert types() == ["rbac.denied"]


def test_recording_never_raises() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    audit.record("no.such.category")
    audit.record("pack.created", details={"odd": Odd()})
    audit.record("pack.created", resource_ref="\x00\ud800")

    assert [event.resource_ref for event in events()] == ["\ufffd?"]


def test_thread_outside_of_a_request_names_nobody() -> None:
    paul = make_identity(login="paul")
    thread = threading.Thread(target=lambda: audit.record("pack.created", actor=paul))
    thread.start()
    thread.join()
    audit.record("pack.created")

    assert [(event.actor_login, event.request_id) for event in events()] == [("paul", None), (None, None)]


# --- Signing in -------------------------------------------------------------------------------------------------


def test_sign_ins_are_recorded_with_the_login_of_who_is_known() -> None:
    paul = create_identity("paul", password="correct horse")
    client = anonymous()
    client.post("/auth/login", {"login": "paul", "password": "wrong horse"})
    client.post("/auth/login", {"login": "paul", "password": "correct horse"})
    client.post("/auth/login", {"login": "nobody", "password": "correct horse"})
    Identity.objects.update(frozen=True)
    client.post("/auth/login", {"login": "paul", "password": "correct horse"})

    found = events(category="auth")
    assert [(event.event_type, event.outcome, event.actor_identity, event.actor_login) for event in found] == [
        ("auth.login.failure", "failure", None, "paul"),
        ("auth.login.success", "success", paul.pk, "paul"),
        ("auth.login.failure", "failure", None, None),
        ("auth.login.failure", "failure", None, "paul"),
    ]
    assert [event.details.get("reason") for event in found] == [
        "WrongCredentials", None, "WrongCredentials", "IdentityFrozen",
    ]  # fmt: skip
    of_requests = AuditEvent.objects.filter(event_type="api.post.success")
    assert [event.actor_login for event in of_requests] == ["paul"]
    assert {event.actor_ip for event in found} == {"127.0.0.1"}


def test_console_and_integration_tokens_sign_in_by_the_same_record() -> None:
    paul = create_identity("paul", password="correct horse")
    client = anonymous()
    client.post("/admin/login/", {"username": "paul", "password": "wrong horse"}, format="multipart")
    client.post("/auth/token-login", {"token": "attune_it_unknown"})
    made = signed_in(make_admin()).post(f"/api/v1/identities/{paul.pk}/integration-tokens", {"label": "ci"})
    secret = made.json()["data"]["token"]
    client.post("/auth/token-login", {"token": secret})

    assert [(event.event_type, event.actor_login) for event in events(category="auth")] == [
        ("auth.login.failure", "paul"),
        ("auth.token_login.failure", None),
        ("auth.token_login.success", "paul"),
    ]


# --- Denials ----------------------------------------------------------------------------------------------------


def test_missing_grant_is_a_denial_that_names_resource_action_and_object() -> None:
    nobody = make_identity(login="nobody")
    execution = make_execution()
    client = signed_in(nobody)
    client.post("/api/v1/packs", {"ref": "p"})
    client.post(f"/api/v1/executions/{execution.pk}/cancel")
    client.get(f"/api/v1/executions/{execution.pk}")

    found = events(event_type="rbac.denied")
    assert [event.outcome for event in found] == ["denied"] * 3
    assert [event.actor_login for event in found] == ["nobody"] * 3
    of_execution = {"type": "execution", "id": execution.pk, "ref": None}
    assert [event.details for event in found] == [
        {"resource": "packs", "action": "create", "object": {"type": None, "id": None, "ref": None}},
        {"resource": "executions", "action": "cancel", "object": of_execution},
        {"resource": "executions", "action": "read", "object": of_execution},
    ]
    assert resource(found[1]) == ("execution", execution.pk, None)


def test_token_of_another_kind_is_a_denial() -> None:
    with pytest.raises(AttuneError):
        Caller(holder=None, token_type="worker", login="w").require_type("access")

    assert events()[0].details["reason"] == "Not admitted here: a token of type worker"


# --- Identities and rights --------------------------------------------------------------------------------------


def test_changes_of_identities_and_rights() -> None:
    by = Caller(holder=make_admin(), token_type="access", login="admin")
    permset = make_set({"resource": "packs", "actions": ["read"]}, ref="tests.reader")
    paul = create_identity("paul", password="correct horse", permission_sets=["tests.reader"], roles=["ops"])
    services.update_identity(paul, {"display_name": "Paul", "password": "battery staple"}, by=by)
    rights.freeze(paul, by=by)
    rights.unfreeze(paul)
    rights.withdraw(paul.assignments.get())
    rights.take_role(paul.roles.get())
    given = rights.give_set_to_role(permset, "ops")
    rights.take_set_from_role(given)
    rights.update_set(permset, {"label": "Reader"})
    set_id = permset.pk
    rights.delete_set(permset)
    paul_id = paul.pk
    services.delete_identity(paul, by=by)

    found = events(category="admin")
    of_paul, of_set = ("identity", paul_id, "paul"), ("permission_set", set_id, "tests.reader")
    assert [(event.event_type.removeprefix("admin."), resource(event), event.details) for event in found] == [
        ("identity.created", of_paul, {}),
        ("permission_assignment.changed", of_paul, {"change": "given", "permission_set": "tests.reader"}),
        ("role_assignment.changed", of_paul, {"change": "given", "role": "ops"}),
        ("identity.updated", of_paul, {"changed": ["display_name", "password"], "frozen": False}),
        ("identity.updated", of_paul, {"changed": ["frozen"], "frozen": True}),
        ("identity.updated", of_paul, {"changed": ["frozen"], "frozen": False}),
        ("permission_assignment.changed", of_paul, {"change": "taken", "permission_set": "tests.reader"}),
        ("role_assignment.changed", of_paul, {"change": "taken", "role": "ops"}),
        ("role_assignment.changed", of_set, {"change": "given", "role": "ops"}),
        ("role_assignment.changed", of_set, {"change": "taken", "role": "ops"}),
        ("permission_set.changed", of_set, {"change": "updated", "changed": ["label"]}),
        ("permission_set.changed", of_set, {"change": "deleted"}),
        ("identity.deleted", of_paul, {}),
    ]


def test_what_is_refused_changed_nothing() -> None:
    create_identity("paul")
    events()
    AuditEvent.objects.all().delete()
    with pytest.raises(AttuneError):
        create_identity("paul")
    with pytest.raises(AttuneError):
        create_identity("maria", permission_sets=["no.such.set"])

    assert events() == []


# --- Keys -------------------------------------------------------------------------------------------------------


def test_keys_leave_events_without_their_values() -> None:
    api = signed_in()
    api.post(
        "/api/v1/keys", {"ref": "system.k", "owner_type": "system", "name": "k", "value": "geheim", "encrypted": True}
    )
    AuditEvent.objects.all().delete()
    api.get("/api/v1/keys/system.k")
    api.delete("/api/v1/keys/system.k")

    found = events(category="secret")
    assert [(event.event_type, event.resource_ref) for event in found][-2:] == [
        ("secret.key.decrypted", "system.k"),
        ("secret.key.deleted", "system.k"),
    ]
    assert "geheim" not in str([event.__dict__ for event in found])


# --- Executions -------------------------------------------------------------------------------------------------


def test_execution_that_a_rule_asked_for_has_the_event_in_its_chain() -> None:
    owner = make_identity(login="owner")
    event = make_event()
    enforcement = Enforcement.objects.create(event=event.pk, rule_ref="r.r", trigger_ref=event.trigger_ref, payload={})
    execution = request_execution(
        ExecutionRequest(action=make_action(), executor=owner, enforcement=enforcement.pk, rule_ref="r.r")
    )

    (found,) = events(event_type="execution.requested")
    assert (found.actor_login, resource(found)) == ("owner", ("execution", execution.pk, None))
    assert found.details == {"action_ref": execution.action_ref, "rule_ref": "r.r"}
    assert found.correlation_chain == [
        {"type": "event", "id": event.pk},
        {"type": "enforcement", "id": enforcement.pk},
        {"type": "execution", "id": execution.pk},
    ]


def test_verbs_on_executions() -> None:
    secrets = {"resource": "executions", "actions": ["decrypt"]}
    api = signed_in(make_holder("core.admin", secrets, login="olga"))
    action = make_action()
    first = api.post("/api/v1/executions/execute", {"action_ref": action.ref, "parameters": {"p": "geheim"}})
    pk = first.json()["data"]["id"]
    api.post(f"/api/v1/executions/{pk}/cancel")
    api.post(f"/api/v1/executions/{pk}/cancel")
    retry = api.post(f"/api/v1/executions/{pk}/retry", {"reason": "again"}).json()["data"]["id"]
    api.post(f"/api/v1/executions/{retry}/force-close", {"reason": "stuck"})
    api.get("/api/v1/executions/export?action_ref=" + action.ref).getvalue()
    api.get(f"/api/v1/executions/{pk}?include_secret_values=true")

    found = events(category__in=["execution", "secret"])
    assert [(event.event_type, event.resource_id) for event in found] == [
        ("execution.requested", pk),
        ("execution.cancelled", pk),
        ("execution.retried", pk),
        ("execution.force_closed", retry),
        ("execution.exported", None),
        ("secret.execution_values.decrypted", pk),
    ]
    assert {event.actor_login for event in found} == {"olga"}
    assert found[2].details == {"action_ref": action.ref, "reason": "again", "retry": retry}
    assert found[4].details == {"format": "jsonl", "rows": 2, "whole": True, "filters": {"action_ref": action.ref}}
    assert found[0].correlation_chain == [
        {"type": "request", "id": str(found[0].request_id)},
        {"type": "execution", "id": pk},
    ]
    assert "geheim" not in str([event.__dict__ for event in found])


def test_export_that_breaks_off_says_how_far_it_came() -> None:
    make_execution()
    answer = signed_in().get("/api/v1/executions/export")
    next(iter(answer.streaming_content))
    Execution.objects.all().delete()
    answer.close()

    (found,) = events(event_type="execution.exported")
    assert found.details["rows"] == 1


def test_chain_ends_where_a_row_is_gone() -> None:
    audit.record("execution.cancelled", resource_type="execution", resource_id=2**62)

    assert events()[0].correlation_chain == [{"type": "execution", "id": 2**62}]


def test_number_of_queries_of_the_writer_does_not_grow_with_the_events(django_assert_max_num_queries) -> None:
    executions = [make_execution(enforcement=number) for number in range(1, 41)]
    for execution in executions:
        audit.record("execution.cancelled", resource_type="execution", resource_id=execution.pk)
    identity_changed("created", make_identity())
    queries = 7 if connection.vendor == "postgresql" else 6
    with django_assert_max_num_queries(queries):
        trail.flush()

    assert len(events()) == 41


def test_holder_of_read_alone_is_named_in_a_denial_of_more() -> None:
    reader = make_holder({"resource": "packs", "actions": ["read"]}, login="reader")
    signed_in(reader).delete("/api/v1/packs/none.such")
    signed_in(reader).post("/api/v1/packs", {"ref": "p"})

    assert [event.actor_login for event in events(category="rbac")] == ["reader"]
