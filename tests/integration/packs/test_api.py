"""Packs over HTTP."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.actions.models import Action
from apps.core.errors import NotFound
from apps.identity.models import Identity
from apps.packs import archives
from apps.packs.models import Pack
from apps.packs.services import rollback_pack
from apps.workers.models import Runtime
from tests.clients import anonymous, signed_in
from tests.factories import make_action, make_identity, make_pack
from tests.integration.packs.conftest import packed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("packs_dir")]

PACKS = "/api/v1/packs"
LAB = {"pack.yaml": "ref: lab\nversion: 1.0.0\nname: Lab", "actions/echo.yaml": "entry_point: echo hi"}
NEWER = {"lab/pack.yaml": "ref: lab\nversion: 2.0.0", "lab/actions/other.yaml": "entry_point: x"}
SUMMARY = {"id", "ref", "label", "description", "version", "tags", "is_standard", "created", "updated"}
DETAIL = SUMMARY | {"conf_schema", "config", "meta", "runtime_deps", "dependencies"}


def upload(api, files, **fields):
    return api.post(f"{PACKS}/upload", {"pack": packed(files), **fields}, format="multipart")


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- Rows -------------------------------------------------------------------------------------------------------


def test_create_read_change_delete(api):
    created = api.post(PACKS, {"ref": "lab", "label": "Lab", "version": "1.0.0", "tags": ["a"], "config": {"k": 1}})
    assert (created.status_code, set(created.json()), set(created.json()["data"])) == (
        201,
        {"data", "message"},
        DETAIL,
    )
    assert Pack.objects.get(ref="lab").installed_by == Identity.objects.exclude(pk=1).get()

    changed = api.put(
        f"{PACKS}/lab",
        {"version": "1.1.0", "description": {"op": "set", "value": "d"}, "tags": None, "is_standard": True},
    )
    assert changed.status_code == 200
    data = api.get(f"{PACKS}/lab").json()["data"]
    assert data == changed.json()["data"]
    assert (data["label"], data["version"], data["description"], data["tags"], data["config"], data["is_standard"]) == (
        "Lab", "1.1.0", "d", ["a"], {"k": 1}, True,
    )  # fmt: skip
    assert api.put(f"{PACKS}/lab", {"description": {"op": "clear"}}).json()["data"]["description"] is None

    assert api.delete(f"{PACKS}/lab").json() == {"success": True, "message": "Pack 'lab' deleted successfully"}
    assert api.delete(f"{PACKS}/lab").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"label": "x", "version": "1.0.0"}, 422, "VALIDATION_ERROR"),
        ({"ref": "lab", "version": "1.0.0"}, 422, "VALIDATION_ERROR"),
        ({"ref": "lab", "label": "x"}, 422, "VALIDATION_ERROR"),
        ({"ref": "lab", "label": "", "version": "1.0.0"}, 422, "VALIDATION_ERROR"),
        ({"ref": "lab", "label": "x" * 256, "version": "1.0.0"}, 422, "VALIDATION_ERROR"),
        ({"ref": "lab", "label": "x", "version": "1.0.0", "config": []}, 422, "VALIDATION_ERROR"),
        ({"ref": "lab", "label": "x", "version": "1.0.0", "tags": [1]}, 422, "VALIDATION_ERROR"),
        ({"ref": "lab", "label": "x", "version": "1.0"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "Lab", "label": "x", "version": "1.0.0"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "l", "label": "x", "version": "1.0.0"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "taken", "label": "x", "version": "1.0.0"}, 409, "CONFLICT"),
    ],
)
def test_create_refuses(api, body, status, code):
    make_pack(ref="taken")

    answer = api.post(PACKS, body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert list(Pack.objects.values_list("ref", flat=True)) == ["taken"]


@pytest.mark.parametrize("body", [{"version": "one"}, {"label": ""}, {"description": "plain"}, {"conf_schema": 5}])
def test_change_refuses(api, body):
    make_pack(ref="lab")

    assert api.put(f"{PACKS}/lab", body).status_code == 422


def test_lists_show_summaries_by_ref_in_a_fixed_number_of_queries(api, core_pack):
    def listed():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = api.get(PACKS)
        return answer, len(queries)

    answer, queries = listed()
    assert [set(row) for row in answer.json()["data"]] == [SUMMARY]
    for ref in ("zz", "a_b", "ab"):
        make_pack(ref=ref)

    answer, queries_of_four = listed()

    assert [row["ref"] for row in answer.json()["items"]] == ["a_b", "ab", "core", "zz"]
    assert queries_of_four == queries


def test_without_a_grant_only_standard_packs_are_there(core_pack):
    make_pack(ref="lab")
    client = signed_in(make_identity())

    assert [row["ref"] for row in client.get(PACKS).json()["data"]] == ["core"]
    assert [client.get(f"{PACKS}/{ref}").status_code for ref in ("core", "lab", "none")] == [200, 404, 404]
    assert client.get(f"{PACKS}/lab/actions").status_code == 404
    assert client.post(PACKS, {"ref": "lab"}).status_code == 409
    assert client.post(PACKS, {"ref": "new"}).json()["error"] == "Insufficient permissions: packs:create"
    assert [client.put(f"{PACKS}/{ref}", {}).status_code for ref in ("lab", "none")] == [403, 404]
    assert [client.delete(f"{PACKS}/{ref}").status_code for ref in ("lab", "none")] == [403, 404]
    assert client.post(f"{PACKS}/register", {"path": "/"}).status_code == 403
    assert upload(client, LAB).status_code == 403
    assert anonymous().get(PACKS).status_code == 401


def test_a_pack_that_is_needed_cannot_be_deleted(api, core_pack):
    pack = make_pack(ref="lab")
    make_action(runtime=Runtime.objects.create(ref="lab.own", name="own", pack=pack, pack_ref="lab"))

    answer = api.delete(f"{PACKS}/lab")

    assert (answer.status_code, answer.json()["error"]) == (422, "It is still used by 1 action")
    assert api.delete(f"{PACKS}/core").status_code == 400


def test_its_actions_are_listed_below_a_pack(api, core_pack):
    make_action(pack=make_pack(ref="lab"), ref="lab.a")

    answer = api.get(f"{PACKS}/lab/actions")

    assert [row["ref"] for row in answer.json()["data"]] == ["lab.a"]
    assert api.get(f"{PACKS}/none/actions").status_code == 404


def test_parts_that_come_later_answer_501(api, core_pack):
    later = [api.post(f"{PACKS}/{name}", {}) for name in ("install", "register-batch", "download", "build-envs")]
    later += [api.get(f"{PACKS}/core/{name}") for name in ("tests", "tests/latest")]
    later += [api.post(f"{PACKS}/core/test")]

    assert {answer.status_code for answer in later} == {501}
    assert api.get(f"{PACKS}/none/tests").status_code == 404


# --- Register ---------------------------------------------------------------------------------------------------


def test_register_answers_the_pack_twice_and_the_warnings(api, write, core_pack):
    folder = write("lab", {"actions/a.yaml": "entry_point: x", "actions/b.yaml": "priority: high"})

    answer = api.post(f"{PACKS}/register", {"path": str(folder)})

    body = answer.json()
    assert (answer.status_code, set(body), set(body["data"])) == (
        201, {"data", "message", "warnings"}, DETAIL | {"pack", "tests_skipped", "test_result"},
    )  # fmt: skip
    assert body["data"]["pack"] == {name: body["data"][name] for name in DETAIL}
    assert (body["data"]["tests_skipped"], body["data"]["test_result"]) == (False, None)
    assert body["warnings"] == [{"file": "actions/b.yaml", "line": 1, "message": "priority must be a whole number"}]
    again = api.post(f"{PACKS}/register", {"path": str(folder)})
    assert (again.status_code, again.json()["error"]) == (
        409, "Pack 'lab' already exists. Use force=true to reinstall.",
    )  # fmt: skip
    assert api.post(f"{PACKS}/register", {"path": str(folder), "force": True}).status_code == 201


def test_register_refuses(api, tmp_path):
    assert api.post(f"{PACKS}/register", {"path": str(tmp_path / "none")}).status_code == 400
    assert (
        api.post(f"{PACKS}/register", {"path": str(tmp_path)}).json()["error"] == "There is no pack.yaml in the pack"
    )
    assert api.post(f"{PACKS}/register", {}).status_code == 422


def test_a_pack_with_tests_says_that_they_were_left_out(api, write):
    folder = write("lab", {}, testing="{enabled: true, runners: {}}")

    assert api.post(f"{PACKS}/register", {"path": str(folder)}).json()["data"]["tests_skipped"] is True


# --- Upload -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_upload_puts_the_folder_in_place_and_keeps_the_version_before(api, packs_dir, core_pack):
    answer = upload(api, LAB)
    assert (answer.status_code, set(answer.json()["data"])) == (201, {"pack", "test_result", "tests_skipped"})
    assert (set(answer.json()["data"]["pack"]), answer.json()["warnings"]) == (DETAIL, [])
    assert tree(packs_dir) == ["lab/actions/echo.yaml", "lab/pack.yaml"]
    assert upload(api, NEWER).status_code == 409

    newer = upload(api, NEWER, force="true")

    assert (newer.status_code, newer.json()["data"]["pack"]["version"]) == (201, "2.0.0")
    assert tree(packs_dir) == [
        ".previous/lab/actions/echo.yaml", ".previous/lab/pack.yaml", "lab/actions/other.yaml", "lab/pack.yaml",
    ]  # fmt: skip
    assert list(Action.objects.filter(pack_ref="lab").values_list("ref", flat=True)) == ["lab.other"]
    assert upload(api, LAB, force="TRUE").status_code == 201
    assert tree(packs_dir / ".previous/lab") == ["actions/other.yaml", "pack.yaml"]

    api.delete(f"{PACKS}/lab")

    assert tree(packs_dir) == []


@pytest.mark.django_db(transaction=True)
def test_the_version_before_can_be_put_back_and_forth(api, packs_dir, core_pack):
    upload(api, LAB)
    with pytest.raises(NotFound, match="No previous version of pack 'lab' is kept"):
        rollback_pack("lab")
    upload(api, NEWER, force="true")

    assert rollback_pack("lab").pack.version == "1.0.0"
    assert tree(packs_dir / "lab") == ["actions/echo.yaml", "pack.yaml"]
    assert tree(packs_dir / ".previous/lab") == ["actions/other.yaml", "pack.yaml"]
    assert list(Action.objects.filter(pack_ref="lab").values_list("ref", flat=True)) == ["lab.echo"]
    assert rollback_pack("lab").pack.version == "2.0.0"
    assert tree(packs_dir / "lab") == ["actions/other.yaml", "pack.yaml"]


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"readme": "x"}, 400),
        ({"pack.yaml": "ref: lab"}, 400),
        ({"pack.yaml": "version: 1.0.0"}, 400),
        ({"pack.yaml": "ref: lab\nversion: {"}, 400),
        ({"pack.yaml": "ref: ../../lab\nversion: 1.0.0"}, 422),
        ({"pack.yaml": "ref: core\nversion: 1.0.0"}, 400),
        ({"pack.yaml": "ref: lab\nversion: 1.0.0", "../evil": "x"}, 400),
    ],
)
def test_a_refused_upload_leaves_everything_as_it_was(api, packs_dir, core_pack, files, status):
    upload(api, LAB)

    answer = upload(api, files, force="true")

    assert answer.status_code == status
    assert tree(packs_dir) == ["lab/actions/echo.yaml", "lab/pack.yaml"]
    assert list((packs_dir / ".staging").iterdir()) == []
    assert Pack.objects.get(ref="lab").version == "1.0.0"
    assert Pack.objects.count() == 2


def test_upload_without_a_file_or_with_something_else_is_refused(api, packs_dir):
    missing = api.post(f"{PACKS}/upload", {"force": "true"}, format="multipart")
    text = api.post(f"{PACKS}/upload", {"pack": "text"}, format="multipart")
    plain = packed(LAB)
    plain.seek(5)
    broken = api.post(f"{PACKS}/upload", {"pack": plain}, format="multipart")

    assert [answer.status_code for answer in (missing, text, broken)] == [400, 400, 400]
    assert broken.json()["error"] == "Failed to extract pack archive: it is not a gzip file, or damaged"
    assert api.post(f"{PACKS}/upload", {"pack": "x"}, format="json").status_code == 415


def test_an_archive_over_its_limit_is_refused(api, monkeypatch):
    monkeypatch.setattr("apps.packs.api.uploads.MAX_ARCHIVE_BYTES", 100)

    assert upload(api, LAB).status_code == 413
    assert archives.MAX_ARCHIVE_BYTES == 100 * 2**20


def test_a_failure_after_the_folder_was_put_in_place_puts_the_old_one_back(api, packs_dir, core_pack, monkeypatch):
    """The commit itself fails, as when the database goes away at that moment."""
    upload(api, LAB)

    from apps.packs import storage

    made = storage.Replacement.make

    def make_and_fail(self):
        made(self)
        raise OSError("no space left")

    monkeypatch.setattr(storage.Replacement, "make", make_and_fail)
    answer = upload(api, NEWER, force="true")

    assert answer.status_code == 500
    assert tree(packs_dir) == ["lab/actions/echo.yaml", "lab/pack.yaml"]
    assert Pack.objects.get(ref="lab").version == "1.0.0"
    assert Action.objects.filter(ref="lab.echo").exists()


def test_an_idempotency_key_uploads_once(api, packs_dir):
    key = {"HTTP_IDEMPOTENCY_KEY": "k1"}
    first = api.post(f"{PACKS}/upload", {"pack": packed(LAB)}, format="multipart", **key)
    second = api.post(f"{PACKS}/upload", {"pack": packed(LAB)}, format="multipart", **key)

    assert [first.status_code, second.status_code] == [201, 201]
    assert second["Idempotent-Replayed"] == "true"
