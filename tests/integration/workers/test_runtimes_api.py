"""Runtimes over HTTP."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.workers.models import Runtime
from tests.clients import signed_in
from tests.factories import make_action, make_identity, make_pack, make_runtime

pytestmark = pytest.mark.django_db

RUNTIMES = "/api/v1/runtimes"
SUMMARY = {"id", "ref", "pack_ref", "description", "name", "created", "updated"}


@pytest.fixture
def api():
    return signed_in()


def test_create_and_read(api):
    pack = make_pack(ref="lab")
    body = {
        "ref": "lab.php", "name": "PHP", "pack_ref": "lab", "description": "d", "distributions": {"verification": {}},
        "installation": ["apt"], "execution_config": {"interpreter": {"binary": "php"}},
    }  # fmt: skip

    answer = api.post(RUNTIMES, body, format="json")

    assert answer.status_code == 201
    data = answer.data["data"]
    assert set(data) == SUMMARY | {"pack", "distributions", "installation", "execution_config"}
    assert {key: data[key] for key in body} == body
    assert data["pack"] == pack.pk
    assert answer.data["message"]
    assert api.get(f"{RUNTIMES}/lab.php").data == {"data": data}


def test_create_with_the_least(api):
    answer = api.post(RUNTIMES, {"ref": "php", "name": "PHP"}, format="json")

    data = answer.data["data"]
    assert (data["pack"], data["pack_ref"], data["description"], data["installation"]) == (None, None, None, None)
    assert (data["distributions"], data["execution_config"]) == ({}, {})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ref": "core.shell", "name": "x"}, 409),
        ({"ref": "a.b", "name": "x", "pack_ref": "absent"}, 404),
        ({"ref": "A.b", "name": "x"}, 422),
        ({"ref": "a b", "name": "x"}, 422),
        ({"ref": "", "name": "x"}, 422),
        ({"ref": "a" * 256, "name": "x"}, 422),
        ({"ref": "a.b"}, 422),
        ({"name": "x"}, 422),
        ({"ref": "a.b", "name": ""}, 422),
        ({"ref": "a.b", "name": "x" * 256}, 422),
        ({"ref": "a.b", "name": "x", "distributions": []}, 422),
        ({"ref": "a.b", "name": "x", "execution_config": "x"}, 422),
        ({"ref": "a.b", "name": 3}, 422),
    ],
)
def test_create_refuses(api, body, status):
    make_runtime(ref="core.shell")

    answer = api.post(RUNTIMES, body, format="json")

    assert (answer.status_code, Runtime.objects.count()) == (status, 1)


def test_update_is_partial_and_clears(api):
    make_runtime(ref="a.b", name="B", description="old", installation={"x": 1}, execution_config={"e": 1})

    answer = api.put(f"{RUNTIMES}/a.b", {"name": "New", "description": {"op": "clear"}}, format="json")
    assert answer.status_code == 200
    data = answer.data["data"]
    assert (data["name"], data["description"], data["installation"], data["execution_config"]) == (
        "New", None, {"x": 1}, {"e": 1}
    )  # fmt: skip

    changes = {"installation": {"op": "set", "value": [1]}, "execution_config": {}, "ref": "other.ref"}
    data = api.put(f"{RUNTIMES}/a.b", changes, format="json").data["data"]
    assert (data["ref"], data["installation"], data["execution_config"]) == ("a.b", [1], {})
    assert api.put(f"{RUNTIMES}/none.such", {}, format="json").status_code == 404
    assert api.put(f"{RUNTIMES}/a.b", {"name": ""}, format="json").status_code == 422


def test_delete(api):
    make_runtime(ref="a.b")

    answer = api.delete(f"{RUNTIMES}/a.b")

    assert (answer.status_code, answer.data["success"]) == (200, True)
    assert api.delete(f"{RUNTIMES}/a.b").status_code == 404


def test_delete_of_a_runtime_that_an_action_uses_is_refused(api):
    make_action(runtime=make_runtime(ref="a.b"))

    answer = api.delete(f"{RUNTIMES}/a.b")

    assert (answer.status_code, Runtime.objects.count()) == (422, 1)
    assert "1" in answer.data["error"]


def test_list_by_ref_in_code_point_order(api):
    for ref in ("b.x", "a_b.x", "a.x"):
        make_runtime(ref=ref)

    answer = api.get(RUNTIMES)

    assert [row["ref"] for row in answer.data["data"]] == ["a.x", "a_b.x", "b.x"]
    assert set(answer.data["data"][0]) == SUMMARY
    assert answer.data["pagination"]["page_size"] == 50


def test_runtimes_of_a_pack(api):
    pack = make_pack(ref="lab")
    make_runtime(ref="lab.php", pack=pack, pack_ref="lab")
    make_runtime(ref="core.shell")

    assert [row["ref"] for row in api.get("/api/v1/packs/lab/runtimes").data["data"]] == ["lab.php"]
    assert api.get("/api/v1/packs/absent/runtimes").status_code == 404


def test_list_makes_the_same_number_of_queries_for_1_and_3(api):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert api.get(RUNTIMES).status_code == 200
        return len(captured)

    make_runtime(ref="a.a")
    queries()
    one = queries()
    make_runtime(ref="a.b")
    make_runtime(ref="a.c")

    assert queries() == one


def test_without_grants_everything_is_refused():
    make_runtime(ref="a.b")
    caller = signed_in(make_identity())

    answers = [
        caller.get(RUNTIMES),
        caller.get(f"{RUNTIMES}/a.b"),
        caller.post(RUNTIMES, {"ref": "a.c", "name": "C"}, format="json"),
        caller.put(f"{RUNTIMES}/a.b", {}, format="json"),
        caller.delete(f"{RUNTIMES}/a.b"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 5
    assert Runtime.objects.count() == 1
