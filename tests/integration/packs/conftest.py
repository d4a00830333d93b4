"""Packs as folders and archives."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.packs.models import Pack
from apps.packs.services import load_core_pack
from tests.clients import signed_in

Files = dict[str, str]


@pytest.fixture
def core_pack(db: None) -> Pack:
    """The core pack, inside the test's transaction: no tables to empty afterwards."""
    return load_core_pack()


@pytest.fixture
def api(db: None) -> APIClient:
    """An administrator's client, inside the test's transaction."""
    return signed_in()


@pytest.fixture
def packs_dir(tmp_path: Path, settings: Any) -> Path:
    """The packs directory of this test alone."""
    settings.PACKS_DIR = tmp_path / "packs"
    return tmp_path / "packs"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a pack's folder: ``write("lab", {"actions/a.yaml": "..."})``; what is not named is removed."""

    def write(ref: str, files: Files | None = None, **manifest: Any) -> Path:
        folder = tmp_path / "sources" / ref
        for old in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
            old.rmdir() if old.is_dir() else old.unlink()
        lines = {"ref": ref, "version": "1.0.0", **manifest}
        for name, text in {"pack.yaml": "\n".join(f"{k}: {v}" for k, v in lines.items()), **(files or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    return write


def packed(files: Files) -> io.BytesIO:
    """A .tar.gz of these files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    buffer = io.BytesIO(gzip.compress(plain.getvalue(), mtime=0))  # the same files are the same bytes
    buffer.name = "pack.tar.gz"
    return buffer
