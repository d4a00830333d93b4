"""Artifacts and their versions over HTTP (api.md 17)."""

import io
import json
import os
import threading

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from apps.executions import artifacts as services
from apps.executions.api.artifacts import uploads
from apps.executions.artifacts import Origin, add_file_version, add_json_version, record_allocated_sizes
from apps.executions.models import Artifact, ArtifactVersion
from apps.executions.states import Status
from tests.clients import signed_in, with_execution_token
from tests.factories import make_action, make_admin, make_execution, make_identity

pytestmark = pytest.mark.django_db

ROOT = "/api/v1/artifacts"


@pytest.fixture
def client():
    return signed_in()


@pytest.fixture(autouse=True)
def artifacts_dir(settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    return settings.ARTIFACTS_DIR


def make_artifact(**fields):
    return Artifact.objects.create(
        **{"ref": "mypack.build_log", "type": "file_text", "scope": "pack", "owner": "mypack", **fields}
    )


def stored_files(artifacts_dir):
    return sorted(str(path.relative_to(artifacts_dir)) for path in artifacts_dir.rglob("*") if path.is_file())


NEW = {"ref": "mypack.report", "scope": "pack", "owner": "mypack", "type": "file_text"}


def test_create(client):
    response = client.post(ROOT, {**NEW, "name": "Report", "data": {"a": None}})

    data = response.json()["data"]
    row = Artifact.objects.get()
    assert response.status_code == 201
    assert data == {
        "id": row.pk, **NEW, "visibility": "private", "retention_policy": "versions", "retention_limit": 5,
        "name": "Report", "description": None, "content_type": None, "size_bytes": None, "data": {"a": None},
        "created": data["created"], "updated": data["updated"],
    }  # fmt: skip


def test_progress_is_public_unless_said(client):
    public = client.post(ROOT, {**NEW, "type": "progress"}).json()["data"]
    private = client.post(ROOT, {**NEW, "ref": "b", "type": "progress", "visibility": "private"}).json()["data"]

    assert (public["visibility"], private["visibility"]) == ("public", "private")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"ref": ""}, 400),
        ({"ref": " \t"}, 400),
        ({"ref": None}, 422),
        ({"ref": "a\nb"}, 422),
        ({"ref": "a\u0085b"}, 422),
        ({"ref": "x" * 256}, 422),
        ({"scope": "nobody"}, 422),
        ({"type": "file"}, 422),
        ({"owner": 5}, 422),
        ({"visibility": "hidden"}, 422),
        ({"retention_policy": "years"}, 422),
        ({"retention_limit": 0}, 400),
        ({"retention_limit": -5}, 400),
        ({"retention_limit": 2**31}, 400),
        ({"retention_limit": "5"}, 422),
        ({"content_type": "text/plain\r\nX: y"}, 422),
    ],
)
def test_create_refuses(client, change, status):
    assert client.post(ROOT, {**NEW, **change}).status_code == status
    assert not Artifact.objects.exists()


@pytest.mark.parametrize(("ref", "code"), [("a\nb", "UNPROCESSABLE_ENTITY"), ("x" * 256, "VALIDATION_ERROR")])
def test_ref_that_breaks_its_pattern_is_told_from_one_that_is_too_long(client, ref, code):
    assert client.post(ROOT, {**NEW, "ref": ref}).json()["code"] == code


@pytest.mark.parametrize("missing", ["ref", "scope", "owner", "type"])
def test_create_needs(client, missing):
    body = {key: value for key, value in NEW.items() if key != missing}

    assert client.post(ROOT, body).status_code == 422


def test_create_twice(client):
    first = client.post(ROOT, NEW)
    second = client.post(ROOT, NEW)

    assert (first.status_code, second.status_code, second.json()["code"]) == (201, 409, "CONFLICT")


def test_retention_comes_from_request_execution_or_action(client):
    action = make_action(artifact_retention_policy="days", artifact_retention_limit=3)
    plain = make_execution(action=action, executor=make_admin(), status=Status.RUNNING)
    own = make_execution(
        action=action, executor=make_admin(), status=Status.RUNNING,
        artifact_retention_policy="hours", artifact_retention_limit=9,
    )  # fmt: skip

    def made(caller, **body):
        data = caller.post(ROOT, {**NEW, "ref": f"r{Artifact.objects.count()}", **body}).json()["data"]
        return data["retention_policy"], data["retention_limit"]

    assert made(client) == ("versions", 5)
    assert made(client, retention_limit=2) == ("versions", 2)
    assert made(client, scope="action", owner=action.ref) == ("days", 3)
    assert made(with_execution_token(plain, "core.admin")) == ("days", 3)
    assert made(with_execution_token(own, "core.admin")) == ("hours", 9)
    assert made(with_execution_token(own, "core.admin"), retention_policy="minutes", retention_limit=1) == (
        "minutes",
        1,
    )


def test_list_and_filters(client):
    first = make_artifact(name="Build Log")
    second = make_artifact(
        ref="b", scope="action", owner="mypack.act", type="other", visibility="public", name="100% x"
    )
    add_json_version(second.pk, 1, Origin(execution=7))
    add_json_version(second.pk, 2, Origin(execution=7))

    def found(**params):
        return [row["id"] for row in client.get(ROOT, params).json()["data"]]

    assert found() == [second.pk, first.pk]
    assert (
        found(scope="pack")
        == found(type="file_text")
        == found(visibility="private")
        == found(owner="mypack")
        == [first.pk]
    )
    assert found(name="bUILD") == [first.pk]
    assert found(name="%") == [second.pk]
    assert found(execution=7) == [second.pk]
    assert found(execution=8) == found(created_before="2020-01-01") == []
    summary = client.get(ROOT).json()["data"][0]
    assert not {"retention_policy", "retention_limit", "description", "data"} & set(summary)
    assert [row["id"] for row in client.get("/api/v1/executions/7/artifacts").json()["data"]] == [second.pk]
    assert client.get("/api/v1/executions/99/artifacts").json() == {"data": []}


@pytest.mark.parametrize("query", ["scope=x", "type=x", "visibility=x", "execution=x", "created_after=x", "page=x"])
def test_list_refuses(client, query):
    assert client.get(f"{ROOT}?{query}").status_code == 400


def test_update(client):
    artifact = make_artifact(name="old", description="old", content_type="text/plain", data=[1])

    response = client.put(
        f"{ROOT}/{artifact.pk}",
        {"visibility": "public", "name": {"op": "set", "value": "new"}, "description": {"op": "clear"}, "data": None},
    )

    data = response.json()["data"]
    assert response.status_code == 200
    assert (data["visibility"], data["name"], data["description"], data["content_type"], data["data"]) == (
        "public", "new", None, "text/plain", [1],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status"),
    [({"name": "plain"}, 422), ({"type": "x"}, 422), ({"retention_limit": 0}, 400), ({"scope": None}, 200), ({}, 200)],
)
def test_update_answers(client, body, status):
    assert client.put(f"{ROOT}/{make_artifact().pk}", body).status_code == status


def test_a_smaller_limit_removes_versions(client, artifacts_dir, django_capture_on_commit_callbacks):
    artifact = make_artifact()
    for number in range(4):
        add_file_version(artifact, [b"%d" % number], Origin())

    with django_capture_on_commit_callbacks(execute=True):
        client.put(f"{ROOT}/{artifact.pk}", {"retention_limit": 2})

    assert sorted(artifact.versions.values_list("version", flat=True)) == [3, 4]
    assert len(stored_files(artifacts_dir)) == 2


def test_progress_and_data(client):
    progress, other = make_artifact(type="progress"), make_artifact(ref="b")

    client.post(f"{ROOT}/{progress.pk}/progress", {"entry": {"done": 1}})
    data = client.post(f"{ROOT}/{progress.pk}/progress", {"entry": None}).json()["data"]

    assert data["data"] == [{"done": 1}, None]
    assert client.post(f"{ROOT}/{other.pk}/progress", {"entry": 1}).status_code == 400
    assert client.post(f"{ROOT}/{progress.pk}/progress", {}).status_code == 422
    assert client.put(f"{ROOT}/{other.pk}/data", {"data": [0]}).json()["data"]["data"] == [0]
    assert client.put(f"{ROOT}/{other.pk}/data", {}).status_code == 422
    assert client.post(f"{ROOT}/{other.pk}/progress", {"entry": 1}).status_code == 400


@pytest.mark.parametrize("content", [{"a": [1, 1.5, None]}, [], "text", 0, False, None])
def test_json_version(client, content):
    artifact = make_artifact(type="other")

    response = client.post(f"{ROOT}/{artifact.pk}/versions", {"content": content, "meta": {"m": 1}, "execution": 5})

    data = response.json()["data"]
    latest = client.get(f"{ROOT}/{artifact.pk}/versions/latest").json()["data"]
    assert response.status_code == 201
    assert (data["version"], data["execution"], data["meta"], data["content_type"]) == (
        1,
        5,
        {"m": 1},
        "application/json",
    )
    assert (data.get("content_json"), latest) == (content, data)
    assert client.get(f"{ROOT}/{artifact.pk}/download").getvalue() == json.dumps(content).encode()


@pytest.mark.parametrize(
    "body", [{}, {"content": 1, "execution": "x"}, {"content": 1, "execution": 0}, {"content": 1, "content_type": "x"}]
)
def test_json_version_refuses(client, body):
    assert client.post(f"{ROOT}/{make_artifact().pk}/versions", body).status_code == 422


def upload(client, path, content=b"hello", name="file.txt", content_type="text/plain", **form):
    file = SimpleUploadedFile(name, content, content_type=content_type)
    return client.post(path, {"file": file, **form}, format="multipart")


def test_upload(client, artifacts_dir):
    artifact = make_artifact()

    response = upload(client, f"{ROOT}/{artifact.pk}/versions/upload", b"\x00hello", meta='{"a": 1}', created_by="me")

    data = response.json()["data"]
    version = ArtifactVersion.objects.get()
    assert (response.status_code, data["version"], data["size_bytes"], data["content_type"]) == (
        201,
        1,
        6,
        "text/plain",
    )
    assert (data["meta"], data["created_by"], data["file_path"]) == ({"a": 1}, "me", "mypack/build_log/v1.txt")
    assert stored_files(artifacts_dir) == [version.storage_name]
    artifact.refresh_from_db()
    assert (artifact.size_bytes, artifact.content_type) == (6, "text/plain")
    download = client.get(f"{ROOT}/{artifact.pk}/download")
    assert (download.getvalue(), download.headers["Content-Type"]) == (b"\x00hello", "text/plain")
    assert download.headers["Content-Disposition"] == 'attachment; filename="mypack_build_log_v1.txt"'


def test_upload_by_ref_makes_the_artifact_once(client):
    path = f"{ROOT}/ref/mypack.new/versions/upload"

    first = upload(client, path, scope="pack", owner="mypack", visibility="public", name="N", execution="5")
    second = upload(client, path, scope="action", visibility="private")

    artifact = Artifact.objects.get()
    assert (first.json()["data"]["version"], second.json()["data"]["version"]) == (1, 2)
    assert (artifact.scope, artifact.owner, artifact.visibility, artifact.type, artifact.retention_limit) == (
        "pack", "mypack", "public", "file_text", 10,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("form", "status"),
    [({"meta": "{"}, 400), ({"type": "x"}, 422), ({"retention_limit": "0"}, 400), ({"execution": "x"}, 422)],
)
def test_upload_refuses(client, form, status):
    assert upload(client, f"{ROOT}/ref/mypack.new/versions/upload", **form).status_code == status
    assert not Artifact.objects.exists()


def test_upload_without_a_file(client):
    path = f"{ROOT}/{make_artifact().pk}/versions/upload"

    assert client.post(path, {"file": "text"}, format="multipart").status_code == 400
    assert client.post(path, {}, format="multipart").status_code == 400
    response = client.post(path, {"content": 1}, format="json")
    assert (response.status_code, response.json()["error"]) == (415, "The body must be multipart/form-data")


def test_upload_that_is_too_large(client, monkeypatch, artifacts_dir):
    monkeypatch.setattr(uploads, "LARGEST_FILE_BYTES", 1000)
    path = f"{ROOT}/{make_artifact().pk}/versions/upload"

    answers = [upload(client, path, b"x" * size).status_code for size in (1000, 1001, 2_000_000)]

    assert answers == [201, 413, 413]
    assert len(stored_files(artifacts_dir)) == 1


def test_empty_upload(client):
    artifact = make_artifact()

    assert upload(client, f"{ROOT}/{artifact.pk}/versions/upload", b"").json()["data"]["size_bytes"] == 0
    assert client.get(f"{ROOT}/{artifact.pk}/download").getvalue() == b""


@pytest.mark.parametrize("header", ["bytes=1-2", "bytes=-2"])
def test_download_of_a_range(client, header):
    artifact = make_artifact()
    upload(client, f"{ROOT}/{artifact.pk}/versions/upload", b"abc")

    response = client.get(f"{ROOT}/{artifact.pk}/versions/1/download", headers={"Range": header})
    behind = client.get(f"{ROOT}/{artifact.pk}/download", headers={"Range": "bytes=3-"})

    assert (response.status_code, response.getvalue(), response.headers["Content-Range"]) == (
        206,
        b"bc",
        "bytes 1-2/3",
    )
    assert behind.status_code == 416


def test_a_file_that_the_caller_writes(client, artifacts_dir):
    artifact = make_artifact()

    data = client.post(f"{ROOT}/{artifact.pk}/versions/file", {"execution": 9, "content_type": "text/csv"}).json()[
        "data"
    ]
    assert (data["file_path"], data["size_bytes"]) == ("mypack/build_log/v1.csv", None)
    assert client.get(f"{ROOT}/{artifact.pk}/download").status_code == 404
    (artifacts_dir / data["file_path"]).write_text("a,b\n")
    record_allocated_sizes(9)

    assert client.get(f"{ROOT}/{artifact.pk}/versions/1").json()["data"]["size_bytes"] == 4
    assert client.get(f"{ROOT}/{artifact.pk}").json()["data"]["size_bytes"] == 4
    assert client.get(f"{ROOT}/{artifact.pk}/download").getvalue() == b"a,b\n"


def test_a_file_that_became_a_link_is_not_followed(client, artifacts_dir, tmp_path):
    artifact = make_artifact()
    path = client.post(f"{ROOT}/{artifact.pk}/versions/file", {}).json()["data"]["file_path"]
    (tmp_path / "secret").write_text("not yours")
    os.symlink(tmp_path / "secret", artifacts_dir / path)

    assert client.get(f"{ROOT}/{artifact.pk}/download").status_code == 404


def test_files_are_for_file_backed_types(client):
    artifact = make_artifact(type="url")

    assert client.post(f"{ROOT}/{artifact.pk}/versions/file", {}).status_code == 400
    assert client.get(f"{ROOT}/{artifact.pk}/stream").status_code == 400
    assert client.get(f"{ROOT}/{make_artifact(ref='b').pk}/stream").status_code == 501


def test_allocate_by_ref(client):
    path = f"{ROOT}/ref/mypack.new/versions/file"

    first = client.post(path, {"type": "file_image", "scope": "pack", "owner": "mypack"})
    second = client.post(path, {})

    assert [answer.json()["data"]["file_path"] for answer in (first, second)] == [
        "mypack/new/v1.png",
        "mypack/new/v2.png",
    ]


@pytest.mark.parametrize("ref", ["..", "%2e%2e", "..%5c..%5cx", "a..b", "execution_1.stdout"])
def test_hostile_refs_stay_beneath(client, artifacts_dir, ref):
    response = client.post(f"{ROOT}/ref/{ref}/versions/file", {})
    if response.status_code == 404:  # the client itself resolves `..` in a path
        return

    assert response.json()["data"]["file_path"].startswith("_named_by_id/")
    assert all(path.resolve().is_relative_to(artifacts_dir.resolve()) for path in artifacts_dir.rglob("*"))


def test_retention_by_number_of_versions(client, artifacts_dir, django_capture_on_commit_callbacks):
    artifact = make_artifact(retention_limit=2)

    with django_capture_on_commit_callbacks(execute=True):
        for _number in range(4):
            upload(client, f"{ROOT}/{artifact.pk}/versions/upload")

    versions = client.get(f"{ROOT}/{artifact.pk}/versions").json()["data"]
    assert [version["version"] for version in versions] == [4, 3]
    assert not {"artifact", "content_json", "meta"} & set(versions[0])
    assert len(stored_files(artifacts_dir)) == 2


def test_a_failed_insert_leaves_no_file(artifacts_dir):
    artifact = make_artifact()
    Artifact.objects.filter(pk=artifact.pk).delete()

    with pytest.raises(services.ArtifactNotFound):
        add_file_version(artifact, [b"x"], Origin())

    assert stored_files(artifacts_dir) == []


def test_delete(client, artifacts_dir, django_capture_on_commit_callbacks):
    artifact = make_artifact()
    for _number in range(2):
        upload(client, f"{ROOT}/{artifact.pk}/versions/upload")
    path = f"{ROOT}/{artifact.pk}"

    with django_capture_on_commit_callbacks(execute=True):
        one = client.delete(f"{path}/versions/1")
    assert one.json() == {"success": True, "message": "Version 1 of artifact 'mypack.build_log' deleted successfully"}
    assert (client.delete(f"{path}/versions/1").status_code, len(stored_files(artifacts_dir))) == (404, 1)
    with django_capture_on_commit_callbacks(execute=True):
        whole = client.delete(path)
    assert whole.json() == {"success": True, "message": "Artifact 'mypack.build_log' deleted successfully"}
    assert (client.delete(path).status_code, stored_files(artifacts_dir)) == (404, [])


@pytest.mark.parametrize(
    "path",
    ["99999", "ref/nothing.here", "99999/versions", "99999/versions/latest", "99999/versions/1", "99999/download"],
)
def test_nothing_there(client, path):
    assert client.get(f"{ROOT}/{path}").status_code == 404


@pytest.mark.parametrize("path", ["abc", "1/versions/abc", "1/versions/abc/download"])
def test_no_ids(client, path):
    Artifact.objects.create(pk=1, ref="a", type="other")

    assert client.get(f"{ROOT}/{path}").status_code == 400


def test_others_see_what_is_public():
    public, private = make_artifact(visibility="public"), make_artifact(ref="b")
    add_json_version(private.pk, 1, Origin(execution=3))
    add_json_version(public.pk, 1, Origin(execution=3))
    client = signed_in(make_identity())

    assert [row["id"] for row in client.get(ROOT).json()["data"]] == [public.pk]
    assert [row["id"] for row in client.get("/api/v1/executions/3/artifacts").json()["data"]] == [public.pk]
    assert client.get(f"{ROOT}/{public.pk}/download").status_code == 200
    for path in (
        f"{private.pk}",
        "ref/b",
        f"{private.pk}/versions",
        f"{private.pk}/versions/1",
        f"{private.pk}/download",
    ):
        assert client.get(f"{ROOT}/{path}").status_code == 404, path
    writes = [
        client.post(ROOT, NEW),
        client.put(f"{ROOT}/{public.pk}", {}),
        client.delete(f"{ROOT}/{public.pk}"),
        client.post(f"{ROOT}/{public.pk}/versions", {"content": 1}),
        upload(client, f"{ROOT}/{public.pk}/versions/upload"),
        upload(client, f"{ROOT}/ref/{public.ref}/versions/upload"),
        upload(client, f"{ROOT}/ref/new.one/versions/upload"),
    ]
    assert [answer.status_code for answer in writes] == [403] * 7
    assert client.put(f"{ROOT}/{private.pk}", {}).status_code == 404


def test_an_execution_token_fills_in_its_execution():
    execution = make_execution(executor=make_admin(), status=Status.RUNNING)
    client = with_execution_token(execution, "core.admin")

    data = upload(client, f"{ROOT}/ref/mypack.new/versions/upload").json()["data"]

    artifact = Artifact.objects.get()
    assert (data["execution"], artifact.scope, artifact.owner) == (execution.pk, "action", execution.action_ref)


def test_logs_are_found_by_the_ref_of_their_execution(client):
    artifact = make_artifact(ref="mypack.act.stdout.log")
    ArtifactVersion.objects.create(
        artifact=artifact,
        version=1,
        execution=362,
        file_path="execution_362/stdout.log",
        size_bytes=4,
        created_by="worker",
    )

    data = client.get(f"{ROOT}/ref/execution.362.stdout").json()["data"]

    assert (data["id"], data["ref"], data["size_bytes"]) == (artifact.pk, "mypack.act.stdout.log", 4)
    assert client.get(f"{ROOT}/ref/execution.362.stderr").status_code == 404
    assert client.get(f"{ROOT}/ref/execution.{'9' * 40}.stdout").status_code == 404


def test_a_ref_may_hold_slashes(client):
    ref = "builds/main 1.0/log"
    made = client.post(ROOT, {**NEW, "ref": ref}).json()["data"]
    in_path = f"{ROOT}/ref/builds%2Fmain%201.0%2Flog"

    assert client.get(in_path).json()["data"]["id"] == made["id"]
    assert client.post(f"{in_path}/versions/file", {"type": "file_text"}).json()["data"]["artifact"] == made["id"]
    upload = {"file": SimpleUploadedFile("a.txt", b"text")}
    response = client.post(f"{in_path}/versions/upload", upload, format="multipart")
    assert (response.status_code, response.json()["data"]["artifact"]) == (201, made["id"])


@pytest.mark.django_db(transaction=True)
def test_versions_inserted_at_once_get_different_numbers(artifacts_dir):
    artifact = make_artifact(retention_limit=3)
    start, failures = threading.Barrier(4), []

    def insert(number):
        try:
            start.wait(timeout=30)
            for _turn in range(5):
                add_json_version(artifact.pk, number, Origin(execution=number))
                add_file_version(artifact, [b"x"], Origin(execution=number))
        except Exception as error:  # told to the test's thread
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=insert, args=[number]) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert failures == []
    assert sorted(artifact.versions.values_list("version", flat=True)) == [38, 39, 40]
    kept_files = artifact.versions.exclude(storage_name=None).count()
    assert len(stored_files(artifacts_dir)) == kept_files


@pytest.mark.django_db(transaction=True)
def test_progress_appended_at_once_is_all_there():
    artifact = make_artifact(type="progress")
    start = threading.Barrier(4)

    def append(number):
        try:
            start.wait(timeout=30)
            for turn in range(5):
                services.append_progress(artifact.pk, [number, turn])
        finally:
            connection.close()

    threads = [threading.Thread(target=append, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    artifact.refresh_from_db()
    assert sorted(artifact.data) == [[number, turn] for number in range(4) for turn in range(5)]


def test_idempotent_upload(client):
    path = f"{ROOT}/{make_artifact().pk}/versions/upload"

    answers = [
        client.post(path, {"file": io.BytesIO(b"same")}, format="multipart", HTTP_IDEMPOTENCY_KEY="k")
        for _turn in range(2)
    ]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert ArtifactVersion.objects.count() == 1
