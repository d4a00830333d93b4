"""Inquiries over HTTP, rule by rule (api.md section 15, auth.md 6.4)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.core.markers import MARKER
from apps.executions.models import Execution
from apps.executions.secrets import real_result
from apps.identity.models import Identity
from apps.inquiries.models import Inquiry
from apps.keys.models import SecretValue
from tests.clients import signed_in, with_execution_token
from tests.factories import grant, make_execution, make_holder, make_identity, make_set
from tests.integration.inquiries.asking import make_asking, make_inquiry, make_run, make_task

pytestmark = pytest.mark.django_db

INQUIRIES = "/api/v1/inquiries"
SUMMARY = ["id", "execution", "prompt", "assigned_to", "status", "has_response", "timeout_at", "created"]
DETAIL = [
    "id", "execution", "prompt", "response_schema", "assigned_to", "status", "response", "timeout_at", "responded_at",
    "responded_by", "validate_response", "created", "updated",
]  # fmt: skip


def respond(client: Any, inquiry: Inquiry, response: Any = "yes") -> Any:
    return client.post(f"{INQUIRIES}/{inquiry.pk}/respond", {"response": response}, format="json")


def holder_of(*actions: str) -> Identity:
    return make_holder(grant(*(f"inquiries:{action}" for action in actions)))


# --- Create -----------------------------------------------------------------------------------------------------


def test_create_asks_and_does_not_pause_the_execution():
    execution, anna = make_execution(status="running"), make_identity()
    body = {
        "execution": execution.pk, "prompt": "Really?", "response_schema": {"a": {"type": "string"}},
        "assigned_to": anna.pk, "timeout_at": "2031-01-01T00:00:00Z",
    }  # fmt: skip

    answer = signed_in().post(INQUIRIES, body, format="json")

    assert answer.status_code == 201
    data = answer.json()["data"]
    assert list(data) == DETAIL
    assert {name: data[name] for name in body} == body
    assert (data["status"], data["response"], data["responded_at"], data["responded_by"]) == (
        "pending", None, None, None,
    )  # fmt: skip
    execution.refresh_from_db()
    assert (execution.status, execution.result) == ("running", None)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"execution": 999_999}, 404), ({"execution": "1"}, 422), ({"prompt": ""}, 422), ({"prompt": "x" * 10_001}, 422),
        ({"prompt": None}, 422), ({"assigned_to": 999_999}, 422), ({"response_schema": []}, 422), ({"timeout_at": "soon"}, 422),
        ({"validate_response": True, "response_schema": {"a": {"type": "nonsense"}}}, 422),
    ],
)  # fmt: skip
def test_create_refuses(change: dict[str, Any], status: int):
    body = {"execution": make_execution().pk, "prompt": "Really?", **change}

    answer = signed_in().post(INQUIRIES, body, format="json")

    assert answer.status_code == status
    assert not Inquiry.objects.exists()


def test_somebody_who_is_not_there_is_named():
    body = {"execution": make_execution().pk, "prompt": "Really?", "assigned_to": 999_999}

    answers = [
        signed_in().post(INQUIRIES, body, format="json"),
        signed_in().put(f"{INQUIRIES}/{make_inquiry().pk}", {"assigned_to": 999_999}, format="json"),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "UNPROCESSABLE_ENTITY")
        assert answer.json()["details"] == [{"field": "assigned_to", "message": "There is no identity with id 999999"}]


def test_an_execution_has_one_inquiry():
    inquiry = make_inquiry()

    answer = signed_in().post(INQUIRIES, {"execution": inquiry.execution_id, "prompt": "Again?"}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert Inquiry.objects.get().prompt == "Really?"


def test_create_takes_the_grant():
    body = {"execution": make_execution().pk, "prompt": "Really?"}

    refused = signed_in(holder_of("read", "respond")).post(INQUIRIES, body, format="json")
    assert (refused.status_code, refused.json()["error"]) == (403, "Insufficient permissions: inquiries:create")

    assert signed_in(holder_of("create")).post(INQUIRIES, body, format="json").status_code == 201


def test_a_program_may_ask_about_its_own_execution_and_no_other():
    own, other = make_execution(status="running"), make_execution()
    client = with_execution_token(own, make_set(grant("packs:read")).ref)

    assert client.post(INQUIRIES, {"execution": other.pk, "prompt": "?"}, format="json").status_code == 403
    assert client.post(INQUIRIES, {"execution": own.pk, "prompt": "?"}, format="json").status_code == 201


# --- Read -------------------------------------------------------------------------------------------------------


def test_lists_are_newest_first_and_filtered():
    anna = make_identity()
    first, second = make_inquiry(), make_inquiry(assigned_to=anna, status="cancelled")
    third = make_inquiry(status="responded", response=0, responded_at=timezone.now())
    client = signed_in()

    def ids(query: str) -> list[int]:
        return [row["id"] for row in client.get(f"{INQUIRIES}{query}").json()["items"]]

    page = client.get(INQUIRIES).json()
    assert [list(row) for row in page["data"]] == [SUMMARY] * 3
    assert [row["has_response"] for row in page["data"]] == [True, False, False]
    assert ids("") == [third.pk, second.pk, first.pk]
    assert ids("?status=canceled") == ids("?status=cancelled") == ids("/status/canceled") == [second.pk]
    assert ids("?status=pending,responded") == [third.pk, first.pk]
    assert ids(f"?execution={first.execution_id}") == [first.pk]
    assert ids(f"?assigned_to={anna.pk}") == [second.pk]
    assert ids("/status/PENDING") == [first.pk]
    assert ids("/status/timeout") == []
    assert ids("?offset=1&limit=1") == [second.pk]
    assert client.get(f"{INQUIRIES}?offset=2&limit=1").json()["pagination"] | {"next_cursor": 0} == {
        "page": 3, "page_size": 1, "effective_page_size": 1, "has_previous": True, "has_next": False, "total_items": 3,
        "total_pages": 3, "next_cursor": 0,
    }  # fmt: skip
    assert page["pagination"]["page_size"] == 50
    for path in ("?status=open", "/status/open", "?execution=x", "?offset=x"):
        assert client.get(f"{INQUIRIES}{path}").status_code == 400


def test_a_list_takes_the_same_queries_for_one_and_for_three(django_assert_max_num_queries):
    client = signed_in()
    make_inquiry()
    client.get(INQUIRIES)
    with django_assert_max_num_queries(20) as one:
        client.get(INQUIRIES)
    make_inquiry(assigned_to=make_identity())
    make_inquiry(assigned_to=make_identity())
    with django_assert_max_num_queries(20) as three:
        assert len(client.get(INQUIRIES).json()["items"]) == 3
    assert len(three) == len(one)


def test_without_the_grant_one_sees_what_is_assigned_to_oneself():
    anna = make_identity()
    hers, others = make_inquiry(assigned_to=anna), make_inquiry()
    client = signed_in(anna)

    page = client.get(INQUIRIES).json()
    assert [row["id"] for row in page["items"]] == [hers.pk]
    assert page["pagination"]["total_items"] == 1
    assert client.get(f"{INQUIRIES}/{hers.pk}").status_code == 200
    assert client.get(f"{INQUIRIES}/{others.pk}").status_code == 404
    assert client.get(f"{INQUIRIES}/999999").status_code == 404
    assert signed_in(holder_of("read")).get(f"{INQUIRIES}/{others.pk}").status_code == 200


def test_the_inquiries_of_an_execution():
    inquiry, without = make_inquiry(), make_execution()
    client = signed_in()

    found = client.get(f"/api/v1/executions/{inquiry.execution_id}/inquiries").json()
    assert [row["id"] for row in found["items"]] == [inquiry.pk]
    assert found["pagination"]["total_items"] == 1
    assert client.get(f"/api/v1/executions/{without.pk}/inquiries").json()["items"] == []
    assert client.get("/api/v1/executions/999999/inquiries").status_code == 404
    path = f"/api/v1/executions/{inquiry.execution_id}/inquiries"
    assert signed_in(make_identity()).get(path).status_code == 404  # neither the execution nor its question is seen
    of_executions = signed_in(make_holder(grant("executions:read"))).get(path)
    assert (of_executions.status_code, of_executions.json()["items"]) == (200, [])
    assert len(signed_in(holder_of("read")).get(path).json()["items"]) == 1


# --- Respond ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response", [{"approved": True}, [1, "x"], "yes", 0, False, None])
def test_any_json_is_stored_as_it_is(response: Any):
    inquiry = make_inquiry(response_schema={"approved": {"type": "integer"}})
    admin = make_holder("core.admin")

    answer = respond(signed_in(admin), inquiry, response)

    data = answer.json()["data"]
    assert (answer.status_code, data["status"], data["response"]) == (200, "responded", response)
    assert data["responded_by"] == admin.pk
    assert data["responded_at"] is not None
    assert signed_in(admin).get(INQUIRIES).json()["items"][0]["has_response"] is True


def test_a_response_lets_the_task_go_on():
    child = make_asking(config={"prompt": "Deploy?"})
    anna = holder_of("respond")

    assert respond(signed_in(anna), Inquiry.objects.get(), {"approved": False}).status_code == 200

    child.refresh_from_db()
    assert (child.status, child.result["response"], child.result["responded_by"]) == (
        "completed", {"approved": False}, anna.pk,
    )  # fmt: skip


def test_validate_response_holds_answers_against_the_schema():
    schema = {"approved": {"type": "boolean", "required": True}}
    inquiry = make_inquiry(response_schema=schema, validate_response=True)
    client = signed_in()

    refused = respond(client, inquiry, {"approved": "perhaps"})
    assert (refused.status_code, refused.json()["details"][0]["field"]) == (422, "response.approved")
    assert Inquiry.objects.get().status == "pending"
    assert respond(client, inquiry, "no object").status_code == 422
    assert respond(client, inquiry, {"approved": True}).status_code == 200


def test_the_body_names_a_response():
    answer = signed_in().post(f"{INQUIRIES}/{make_inquiry().pk}/respond", {}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize("status", ["responded", "timeout", "cancelled"])
def test_only_a_pending_inquiry_is_answered(status: str):
    inquiry = make_inquiry(status=status, response="first")

    answer = respond(signed_in(), inquiry, "second")

    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert Inquiry.objects.get().response == "first"


def test_too_late_is_refused_and_ends_it():
    child = make_asking(timeout_seconds=1, started_at=timezone.now() - timedelta(seconds=5))

    answer = respond(signed_in(), Inquiry.objects.get())

    child.refresh_from_db()
    assert answer.status_code == 400
    assert "timed out" in answer.json()["error"]
    assert (Inquiry.objects.get().status, Inquiry.objects.get().response) == ("timeout", None)
    assert (child.status, child.result["error"]) == ("timeout", "inquiry timed out")


def test_an_assigned_inquiry_is_answered_by_that_identity_alone():
    anna = make_identity()
    inquiry = make_inquiry(assigned_to=anna)

    refused = respond(signed_in(), inquiry)
    assert (refused.status_code, refused.json()["error"]) == (
        403,
        f"Inquiry {inquiry.pk} is assigned to another identity",
    )
    assert respond(signed_in(anna), inquiry).status_code == 200


def test_an_assigned_inquiry_may_be_answered_by_a_program_of_that_identity():
    anna = make_identity()
    inquiry = make_inquiry(assigned_to=anna)
    unrelated = make_execution(executor=anna, status="running")

    client = with_execution_token(unrelated, make_set(grant("packs:read")).ref)

    assert respond(client, inquiry).status_code == 200


def test_an_unassigned_inquiry_takes_the_grant():
    inquiry = make_inquiry()

    refused = respond(signed_in(holder_of("read", "update")), inquiry)
    assert (refused.status_code, refused.json()["error"]) == (403, "Insufficient permissions: inquiries:respond")
    assert respond(signed_in(holder_of("respond")), inquiry).status_code == 200


def test_the_setting_opens_unassigned_inquiries_to_everybody_signed_in(settings):
    settings.INQUIRIES_OPEN_TO_ALL = True
    open_one, assigned = make_inquiry(), make_inquiry(assigned_to=make_identity())
    program = with_execution_token(make_execution(status="running"), make_set(grant("packs:read")).ref)
    anybody = signed_in(make_identity())

    assert respond(program, open_one).status_code == 403
    assert respond(anybody, assigned).status_code == 403
    assert respond(anybody, open_one).status_code == 200


@pytest.mark.parametrize(
    "who", ["itself", "its child", "a task beside it", "a child of that", "a task of the outer run", "the workflow"]
)
def test_nobody_approves_himself(who: str):
    outer = make_run()
    run = make_task(outer, "nested")
    asking = make_asking(run)
    task = make_task(run)
    tokens = {
        "itself": asking,
        "its child": make_execution(parent=asking, status="running"),
        "a task beside it": task,
        "a child of that": make_execution(parent=task, status="running"),
        "a task of the outer run": make_task(outer, "other"),
        "the workflow": run,
    }
    client = with_execution_token(tokens[who], "core.admin")
    make_set(ref="core.admin")
    inquiry = Inquiry.objects.get()

    for answer in (
        respond(client, inquiry),
        client.put(f"{INQUIRIES}/{inquiry.pk}", {"status": "responded", "response": 1}, format="json"),
        client.put(f"{INQUIRIES}/{inquiry.pk}", {"assigned_to": make_identity().pk}, format="json"),
    ):
        assert (answer.status_code, answer.json()["error"].split(":")[0]) == (403, "Privilege loop")
    assert Inquiry.objects.get().status == "pending"


def test_an_assignee_does_not_approve_himself_by_his_program_either():
    anna = make_identity()
    own = make_execution(executor=anna, status="running")
    inquiry = make_inquiry(execution=own, assigned_to=anna)

    client = with_execution_token(make_execution(parent=own, executor=anna), make_set(grant("packs:read")).ref)

    assert respond(client, inquiry).status_code == 403


def test_a_program_of_another_run_may_answer():
    make_asking()
    make_set(ref="core.admin")

    answer = respond(with_execution_token(make_task(make_run()), "core.admin"), Inquiry.objects.get())

    assert answer.status_code == 200


def test_first_absent_then_forbidden_then_bad():
    done, anna = make_inquiry(status="responded"), make_identity()
    client = signed_in(anna)

    assert client.post(f"{INQUIRIES}/999999/respond", {}, format="json").status_code == 404
    assert client.post(f"{INQUIRIES}/{done.pk}/respond", {}, format="json").status_code == 403
    assert respond(signed_in(), done).status_code == 400


def test_a_secret_answer_is_kept_apart():
    child = make_asking(config={"response_schema": {"password": {"type": "string", "secret": True}}})
    inquiry = Inquiry.objects.get()
    admin = signed_in()

    answer = respond(admin, inquiry, {"password": "c4nary/pw", "note": "x"})

    child.refresh_from_db()
    inquiry.refresh_from_db()
    shown = {"password": dict(MARKER), "note": "x"}
    assert answer.json()["data"]["response"] == inquiry.response == child.result["response"] == shown
    assert real_result(child)["response"] == {"password": "c4nary/pw", "note": "x"}
    assert "c4nary" not in admin.get(f"{INQUIRIES}/{inquiry.pk}").content.decode()
    assert admin.get(f"{INQUIRIES}/{inquiry.pk}?include_secret_values=true").status_code == 403
    knower = signed_in(make_holder(grant("inquiries:read"), grant("executions:decrypt")))
    found = knower.get(f"{INQUIRIES}/{inquiry.pk}?include_secret_values=true").json()["data"]
    assert found["response"] == {"password": "c4nary/pw", "note": "x"}
    inquiry.delete()
    assert not SecretValue.objects.filter(entity_type="inquiry_response").exists()


def test_a_marker_is_no_answer():
    answer = respond(signed_in(), make_inquiry(), {"password": dict(MARKER)})

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, "response")


# --- Update and delete ------------------------------------------------------------------------------------------


def test_update_reassigns():
    anna, bert = make_identity(), make_identity()
    inquiry = make_inquiry(assigned_to=anna)

    answer = signed_in(holder_of("update")).put(f"{INQUIRIES}/{inquiry.pk}", {"assigned_to": bert.pk}, format="json")

    assert (answer.status_code, answer.json()["data"]["assigned_to"]) == (200, bert.pk)
    assert respond(signed_in(anna), inquiry).status_code == 403
    assert respond(signed_in(bert), inquiry).status_code == 200


@pytest.mark.parametrize(
    ("status", "child_status"), [("cancelled", "cancelled"), ("timeout", "timeout"), ("responded", "completed")]
)
def test_an_update_of_the_status_does_what_usually_leads_there(status: str, child_status: str):
    child = make_asking()
    inquiry = Inquiry.objects.get()

    answer = signed_in().put(f"{INQUIRIES}/{inquiry.pk}", {"status": status}, format="json")

    child.refresh_from_db()
    assert (answer.status_code, answer.json()["data"]["status"], child.status) == (200, status, child_status)


@pytest.mark.parametrize("body", [{"response": "yes"}, {"status": "responded", "response": "yes"}])
def test_an_update_with_a_response_is_an_answer(body: dict[str, Any]):
    child = make_asking()

    answer = signed_in().put(f"{INQUIRIES}/{Inquiry.objects.get().pk}", body, format="json")

    child.refresh_from_db()
    data = answer.json()["data"]
    assert (answer.status_code, data["status"], data["response"]) == (200, "responded", "yes")
    assert (child.status, child.result["response"]) == ("completed", "yes")


@pytest.mark.parametrize("body", [{"status": "pending"}, {"status": "cancelled"}, {"response": 2}])
def test_what_is_answered_stays_so(body: dict[str, Any]):
    inquiry = make_inquiry(status="responded", response=1, responded_at=timezone.now())

    answer = signed_in().put(f"{INQUIRIES}/{inquiry.pk}", body, format="json")

    assert (answer.status_code, Inquiry.objects.get().response) == (422, 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"status": "open"}, 422), ({"assigned_to": 999_999}, 422), ({"assigned_to": "anna"}, 422), ({}, 200),
     ({"status": "cancelled", "response": 1}, 422)],
)  # fmt: skip
def test_update_checks_what_it_is_given(body: dict[str, Any], status: int):
    inquiry = make_inquiry()

    assert signed_in().put(f"{INQUIRIES}/{inquiry.pk}", body, format="json").status_code == status


def test_an_answer_by_update_takes_the_right_to_answer():
    inquiry = make_inquiry()
    assigned = make_inquiry(assigned_to=make_identity())
    client = signed_in(holder_of("update"))
    body = {"status": "responded", "response": "yes"}

    assert client.put(f"{INQUIRIES}/{inquiry.pk}", body, format="json").status_code == 403
    assert client.put(f"{INQUIRIES}/{assigned.pk}", body, format="json").status_code == 403
    assert Inquiry.objects.filter(status="pending").count() == 2


def test_update_and_delete_take_their_grants():
    inquiry = make_inquiry()
    client = signed_in(holder_of("read", "respond"))

    assert client.put(f"{INQUIRIES}/{inquiry.pk}", {}, format="json").status_code == 403
    assert client.delete(f"{INQUIRIES}/{inquiry.pk}").status_code == 403
    assert client.delete(f"{INQUIRIES}/999999").status_code == 404


def test_delete_cancels_what_waits():
    child = make_asking()
    inquiry = Inquiry.objects.get()

    answer = signed_in(holder_of("delete")).delete(f"{INQUIRIES}/{inquiry.pk}")

    child.refresh_from_db()
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert (child.status, Inquiry.objects.count()) == ("cancelled", 0)
    assert signed_in().delete(f"{INQUIRIES}/{inquiry.pk}").status_code == 404


def test_an_execution_takes_its_inquiry_along():
    inquiry = make_inquiry()

    Execution.objects.filter(pk=inquiry.execution_id).delete()

    assert not Inquiry.objects.exists()
