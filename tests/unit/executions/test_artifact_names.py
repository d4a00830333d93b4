import pytest

from apps.executions.artifact_files import download_name, extension, is_content_type, logical_path
from apps.executions.models import Artifact


def artifact(ref, type_="file_text"):
    return Artifact(pk=7, ref=ref, type=type_)


def test_logical_path_follows_the_ref():
    assert logical_path(artifact("mypack.build_log"), 1, "text/plain") == "mypack/build_log/v1.txt"


@pytest.mark.parametrize(
    "ref",
    ["../../etc/passwd", "..", ".", "a..b", "/etc", "a/b", "a\\b", "execution_5.stdout", "sensor_5.stdout", ".versions.7", "ümlaut", "a b",
     "~root", "-rf", "a." + "b" * 101, "_named_by_id.9"],
)  # fmt: skip
def test_logical_path_of_any_other_ref_is_named_by_id(ref):
    path = logical_path(artifact(ref), 2, None)

    assert path.startswith("_named_by_id/7/")
    assert path.endswith("/v2.txt")
    assert not {"", ".", ".."} & set(path.split("/"))


def test_two_refs_never_share_a_path():
    first, second = Artifact(pk=1, ref="a/b", type="other"), Artifact(pk=2, ref="a b", type="other")

    assert logical_path(first, 1, None) != logical_path(second, 1, None)


def test_download_name_holds_nothing_that_ends_a_header():
    assert download_name(artifact('a.b"\r\nX: y'), 3, "application/json") == "a_b___X__y_v3.json"


@pytest.mark.parametrize(
    ("type_", "content_type", "expected"),
    [
        ("file_text", None, "txt"),
        ("file_binary", None, "bin"),
        ("file_image", None, "png"),
        ("file_datatable", None, "csv"),
        ("file_binary", "application/json; charset=utf-8", "json"),
        ("file_text", "application/octet-stream", "txt"),
        ("other", "no/such-type", "bin"),
    ],
)
def test_extension(type_, content_type, expected):
    assert extension(type_, content_type) == expected


@pytest.mark.parametrize(
    ("text", "valid"),
    [("text/plain", True), ("text/plain; charset=utf-8", True), ("text", False), ("text/plain\r\nX: y", False), ("", False),
     ("text/plain; ü", False), ("a/" + "b" * 300, False)],
)  # fmt: skip
def test_is_content_type(text, valid):
    assert is_content_type(text) is valid
