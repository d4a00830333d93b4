"""Files beneath the artifacts directory: programs write there too, so every name and every link is hostile."""

import gzip
import os

import pytest

from apps.executions import storage


@pytest.fixture
def artifacts(settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    settings.ARTIFACTS_DIR.mkdir()
    (tmp_path / "secret").write_text("not yours")
    return settings.ARTIFACTS_DIR


@pytest.mark.parametrize(
    "name", ["../secret", "a/../../secret", "/etc/passwd", "", "a//b", "./a", "a/.", "a/..", "a\0b", "a/"]
)
def test_a_name_that_is_no_path_beneath_is_refused(artifacts, name):
    for use in (
        storage.open_file,
        storage.create_file,
        storage.file_size,
        storage.remove_file,
        storage.make_folder_of,
    ):
        with pytest.raises(storage.UnsafePath):
            use(name)


def test_a_link_is_not_followed(artifacts, tmp_path):
    (artifacts / "file").symlink_to(tmp_path / "secret")
    (artifacts / "folder").symlink_to(tmp_path)

    assert storage.open_file("file") is None
    assert storage.open_file("folder/secret") is None
    assert storage.file_size("file") is None
    assert storage.remove_file("folder/secret") is False
    with pytest.raises(storage.UnsafePath):
        storage.create_file("folder/new")
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "secret").read_text() == "not yours"


def test_what_is_no_regular_file_is_not_opened(artifacts):
    os.mkfifo(artifacts / "fifo")
    (artifacts / "folder").mkdir()

    assert storage.open_file("fifo") is None
    assert storage.open_file("folder") is None
    assert storage.file_size("fifo") is None


def test_removing_a_link_leaves_its_target(artifacts, tmp_path):
    (artifacts / "file").symlink_to(tmp_path / "secret")

    assert storage.remove_file("file") is True
    assert (tmp_path / "secret").exists()


def test_a_file_is_made_once(artifacts):
    with storage.create_file("a/b/c") as file:
        file.write(b"text")

    assert (artifacts / "a/b/c").read_bytes() == b"text"
    assert storage.file_size("a/b/c") == 4
    with pytest.raises(FileExistsError):
        storage.create_file("a/b/c")


def test_a_compressed_file_reads_like_the_plain_one(artifacts):
    (artifacts / "log.gz").write_bytes(gzip.compress(b"line\n" * 1000))

    with storage.open_file_or_packed("log") as file:
        assert storage.size_of(file) == 5000
        assert b"".join(storage.read_range(file, 4995, 5000)) == b"line\n"


def test_a_file_that_shrinks_while_it_is_read_is_an_error(artifacts):
    (artifacts / "log").write_bytes(b"0123456789")
    with storage.open_file("log") as file:
        os.truncate(artifacts / "log", 4)
        with pytest.raises(storage.FileShrank):
            list(storage.read_range(file, 0, 10))
