"""Hostile and broken archives: refused with a reason, nothing outside of the target, nothing large in memory."""

import gzip
import io
import os
import tarfile

import pytest

from apps.packs import archives
from apps.packs.archives import BadArchive, extract, pack_root


def entry(name, content=b"", *, kind=tarfile.REGTYPE, link="", size=None, mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(content) if size is None else size
    return info, content


def plain_tar(*entries, pax=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=pax) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content) if content else None)
    return buffer.getvalue()


def archive(*entries, **options):
    return io.BytesIO(gzip.compress(plain_tar(*entries, **options)))


PACK = entry("pack.yaml", b"ref: lab")


def refused(stream, target):
    with pytest.raises(BadArchive) as caught:
        extract(stream, target)
    return caught.value.message.removeprefix("Failed to extract pack archive: ")


def test_files_folders_and_the_executable_bit_are_unpacked(tmp_path):
    extract(
        archive(
            entry("lab/", kind=tarfile.DIRTYPE),
            entry("lab/pack.yaml", b"ref: lab"),
            entry("./lab/actions/run.sh", b"true", mode=0o4755),
            entry("lab/actions/data", b"\x00" * 5000, mode=0o600),
            entry("lab/empty", b""),
        ),
        tmp_path,
    )

    assert pack_root(tmp_path) == tmp_path / "lab"
    assert (tmp_path / "lab/actions/data").read_bytes() == b"\x00" * 5000
    modes = {path.name: path.stat().st_mode & 0o7777 for path in (tmp_path / "lab").rglob("*") if path.is_file()}
    assert modes == {"pack.yaml": 0o644, "run.sh": 0o755, "data": 0o644, "empty": 0o644}


def test_the_last_of_two_entries_of_one_name_counts(tmp_path):
    extract(archive(entry("a", b"long content"), entry("a", b"new")), tmp_path)

    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (entry("/etc/evil", b"x"), "'/etc/evil' is an absolute path"),
        (entry("../evil", b"x"), "'../evil' leads out of the archive"),
        (entry("a/../../evil", b"x"), "'a/../../evil' leads out of the archive"),
        (entry("a/..", kind=tarfile.DIRTYPE), "'a/..' leads out of the archive"),
        (entry("link", kind=tarfile.SYMTYPE, link="/etc/passwd"), "'link' is a link or a special file"),
        (entry("link", kind=tarfile.LNKTYPE, link="pack.yaml"), "'link' is a link or a special file"),
        (entry("pipe", kind=tarfile.FIFOTYPE), "'pipe' is a link or a special file"),
        (entry("dev", kind=tarfile.CHRTYPE), "'dev' is a link or a special file"),
        (entry("dev", kind=tarfile.BLKTYPE), "'dev' is a link or a special file"),
        (entry("bell\x07", b"x"), "'bell?' holds control characters or is not UTF-8"),
        (entry("new\nline", b"x"), "'new?line' holds control characters or is not UTF-8"),
        (entry("pack.yaml/inner", b"x"), "'pack.yaml/inner' stands in the way of another entry"),
        (entry("pack.yaml", kind=tarfile.DIRTYPE), "'pack.yaml' stands in the way of another entry"),
        (entry(".", b"x"), "'.' stands in the way of another entry"),
        (entry("n" * 300, b"x"), f"'{'n' * 97}...' cannot be written: File name too long"),
    ],
)
def test_what_leads_elsewhere_or_is_special_is_refused(tmp_path, hostile, reason):
    target = tmp_path / "target"
    target.mkdir()

    assert refused(archive(PACK, hostile), target) == reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]


def test_a_link_followed_by_a_file_through_it_writes_nothing_outside(tmp_path):
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir(), outside.mkdir()
    hostile = archive(entry("d", kind=tarfile.SYMTYPE, link=os.fspath(outside)), entry("d/evil", b"x"))

    assert refused(hostile, target) == "'d' is a link or a special file"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not a tar archive, or damaged"),
        (b"PK\x03\x04 a zip", "it is not a gzip file, or damaged"),
        (gzip.compress(b"no tar at all" * 100), "it is not a tar archive, or damaged"),
        (gzip.compress(plain_tar(PACK))[:-20], "it ends too early"),
        (gzip.compress(plain_tar(entry("a", b"x" * 5000))[:2000]), "it ends too early"),
        (gzip.compress(plain_tar(PACK))[:-8] + b"\x00" * 8, "it is not a gzip file, or damaged"),
        (gzip.compress(plain_tar(PACK)) + b"garbage behind it", "it is not a gzip file, or damaged"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\xff" * 50, "it is not a tar archive, or damaged"),
    ],
)
def test_what_is_no_archive_or_broken_is_refused(tmp_path, content, reason):
    assert refused(io.BytesIO(content), tmp_path) == reason


def test_sizes_and_numbers_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRY_BYTES", 1000)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 2500)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)

    extract(archive(*(entry(f"f{n}", b"x" * 800) for n in range(3))), tmp_path)
    assert refused(archive(entry("f", b"x" * 1001)), tmp_path) == "'f' is larger than 128 MiB"
    assert refused(archive(*(entry(f"f{n}", b"x" * 900) for n in range(3))), tmp_path) == (
        "it unpacks to more than 512 MiB"
    )
    assert refused(archive(*(entry(f"f{n}") for n in range(4))), tmp_path) == "it has more than 3 entries"


def test_a_bomb_is_given_up_before_it_is_unpacked(tmp_path):
    claimed = gzip.compress(plain_tar(PACK)[:1024] + entry("z", size=10 * 2**30)[0].tobuf())

    assert refused(io.BytesIO(claimed), tmp_path) == "'z' is larger than 128 MiB"


def test_a_header_of_many_megabytes_is_refused_before_it_is_read(tmp_path):
    hostile = archive(PACK, pax={"comment": "x" * (8 * 2**20)})

    assert refused(hostile, tmp_path) == "an entry's header is too large"


def test_a_tail_of_zeros_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 1000)
    monkeypatch.setattr(archives, "_OVERHEAD_BYTES", 50_000)

    assert refused(io.BytesIO(gzip.compress(plain_tar(PACK) + b"\x00" * 200_000)), tmp_path) == (
        "it unpacks to more than 512 MiB"
    )


@pytest.mark.parametrize("names", [["other.txt"], ["a/pack.yaml", "b/x"], ["a/b/pack.yaml"], ["a/pack.yaml/x"]])
def test_a_pack_lies_at_the_root_or_in_the_only_folder(tmp_path, names):
    extract(archive(*(entry(name, b"x") for name in names)), tmp_path)

    with pytest.raises(BadArchive, match="at its root or in its only top-level directory"):
        pack_root(tmp_path)


def test_files_beside_the_only_folder_do_not_matter(tmp_path):
    extract(archive(entry("._lab", b"x"), entry("lab/pack.yaml", b"x")), tmp_path)

    assert pack_root(tmp_path) == tmp_path / "lab"
