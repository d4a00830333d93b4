"""Environments of packs: built by content, switched in one step, built again with growing pauses when they fail."""

import json
import os
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import pytest

from apps.executions.artifacts import open_version
from apps.executions.models import Artifact
from apps.packs.services import load_core_pack
from apps.workers import environments
from apps.workers.environments import build
from apps.workers.models import PackEnvironment, Runtime, RuntimeVersion
from apps.workers.signals import environment_built
from tests.factories import make_pack

pytestmark = pytest.mark.django_db(transaction=True)

# An environment that is made in a moment, of real commands: a folder, and what the manifest says in it.
CONFIG = {
    "interpreter": {"binary": "sh"},
    "environment": {
        "env_type": "folder",
        "create_command": ["mkdir", "-p", "{env_dir}/bin"],
        "interpreter_path": "{env_dir}/bin/tool",
    },
    "dependencies": {
        "manifest_file": "needs.sh",
        "install_command": ["sh", "{manifest_path}", "{env_dir}", "{interpreter}", "{pack_dir}"],
    },
}
MAKE_TOOL = 'ln -s /bin/sh "$1/bin/tool"; '


@pytest.fixture(autouse=True)
def folders(settings, tmp_path, services):
    settings.RUNTIME_ENVS_DIR = tmp_path / "envs"
    environments.use_services(services)
    yield
    environments.use_services(None)


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "lab"
    folder.mkdir()
    return make_pack(ref="lab", storage_path=str(folder), installation_method="register")


@pytest.fixture
def runtime(db):
    return Runtime.objects.create(ref="lab.tool", name="Tool", execution_config=CONFIG)


def needs(pack, script: str) -> None:
    """Write the pack's manifest."""
    Path(pack.storage_path, "needs.sh").write_text(MAKE_TOOL + script)


def row():
    return PackEnvironment.objects.get()


def test_pack_without_manifest_needs_none(pack, runtime):
    assert environments.ready_environment(pack, runtime, None) is None
    assert not PackEnvironment.objects.exists()


def test_first_use_builds_and_later_use_does_not(pack, runtime, django_assert_num_queries, tmp_path):
    needs(pack, 'echo "built for $3"; echo "$2" > "$1/interpreter"; echo x >> "$3/times"')

    directory = environments.ready_environment(pack, runtime, None)

    link = tmp_path / "envs" / "lab" / "tool"
    assert link.is_symlink()
    assert directory == link.resolve()
    assert (directory / "interpreter").read_text() == f"{directory}/bin/tool\n"
    found = row()
    assert (found.status, found.path, found.runtime_version) == ("ready", str(link), "")
    assert found.installed_at is not None
    assert len(found.manifest_checksum) == 64
    assert "built for" in (tmp_path / "envs/lab/.builds/tool.log").read_text()
    with django_assert_num_queries(0):
        assert environments.ready_environment(pack, runtime, None) == directory
    assert Path(pack.storage_path, "times").read_text() == "x\n"


def test_changed_manifest_is_built_beside_the_old_one(pack, runtime):
    needs(pack, 'echo one > "$1/content"')
    first = environments.ready_environment(pack, runtime, None)

    needs(pack, 'echo two > "$1/content"')
    second = environments.ready_environment(pack, runtime, None)

    assert (first / "content").read_text() == "one\n"
    assert (second / "content").read_text() == "two\n"
    needs(pack, 'echo one > "$1/content"')
    assert environments.ready_environment(pack, runtime, None) == first  # it was kept, and is not built again


def test_only_the_last_two_builds_are_kept_and_those_in_use(pack, runtime):
    built = []
    for number in range(2):
        needs(pack, f"echo {number}")
        built.append(environments.ready_environment(pack, runtime, None))
    user = subprocess.Popen(["sleep", "60"], env={"WITH": str(built[0]), "PATH": os.environ["PATH"]})
    try:
        for number in range(2, 4):
            needs(pack, f"echo {number}")
            built.append(environments.ready_environment(pack, runtime, None))
        assert [path.exists() for path in built] == [True, False, True, True]
    finally:
        user.kill()
        user.wait()


def test_failed_build_leaves_what_is_there_and_waits_before_it_tries_again(pack, runtime, monkeypatch):
    needs(pack, "echo fine")
    before = environments.ready_environment(pack, runtime, None)
    needs(pack, 'echo x >> "$3/tries"; echo broken beyond repair; exit 3')

    assert environments.ready_environment(pack, runtime, None) == before
    assert environments.ready_environment(pack, runtime, None) == before

    found = row()
    assert found.status == "failed"
    assert found.last_error.splitlines()[-2:] == ["broken beyond repair", "sh ended with exit code 3"]
    tries = Path(pack.storage_path, "tries")
    assert tries.read_text() == "x\n"
    now = time.time()
    pauses = []
    for _ in range(8):
        plan_failed = json.loads(next(before.parent.glob("*.failed")).read_text())
        pause = build.retry_at(environments.service._plan(pack, runtime, None), plan_failed["checksum"])
        pauses.append(round(pause - plan_failed["failed_at"]))
        now = pause + 1
        monkeypatch.setattr(time, "time", lambda now=now: now)
        environments.ready_environment(pack, runtime, None)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert tries.read_text() == "x\n" * 9


def test_failed_first_build_gives_none_and_a_changed_manifest_is_built_at_once(pack, runtime):
    needs(pack, "exit 1")
    assert environments.ready_environment(pack, runtime, None) is None

    needs(pack, "echo fine")

    assert environments.ready_environment(pack, runtime, None) is not None
    assert (row().status, row().last_error) == ("ready", None)


def test_rebuild_does_not_wait(pack, runtime, tmp_path):
    flag = tmp_path / "flag"
    needs(pack, f"test -e {flag}")
    assert environments.ready_environment(pack, runtime, None) is None
    flag.touch()

    assert environments.rebuild(pack, runtime, None) is not None
    assert row().status == "ready"


def test_build_that_takes_too_long_is_stopped_with_all_it_started(pack, runtime, settings, tmp_path):
    settings.BUILD_TIMEOUT_SECONDS = 0.5
    settings.KILL_GRACE_SECONDS = 0.2
    needs(pack, "(trap '' TERM; sleep 60) & sleep 60")

    started = time.monotonic()
    assert environments.ready_environment(pack, runtime, None) is None

    assert time.monotonic() - started < 10
    assert "took longer than 0.5 seconds" in row().last_error


def test_concurrent_runs_wait_for_one_build(pack, runtime):
    needs(pack, 'echo x >> "$3/times"; sleep 0.3')
    found = []

    def ask():
        found.append(environments.ready_environment(pack, runtime, None))
        from django.db import connection

        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Path(pack.storage_path, "times").read_text() == "x\n"
    assert len(set(found)) == 1
    assert None not in found


def test_wait_for_somebody_elses_build_can_be_called_off(pack, runtime):
    needs(pack, "echo fine")
    plan = environments.service._plan(pack, runtime, None)
    with build.locked(plan):
        assert environments.ready_environment(pack, runtime, None, called_off=lambda: True) is None


def test_stopping_worker_ends_its_builds(pack, runtime):
    needs(pack, 'touch "$3/started"; sleep 60')
    started = Path(pack.storage_path, "started")

    def stop():
        while not started.exists():
            time.sleep(0.01)
        environments.stop_builds()

    thread = threading.Thread(target=stop)
    thread.start()
    begun = time.monotonic()
    environments.ready_environment(pack, runtime, None)
    thread.join()

    assert time.monotonic() - begun < 10
    assert "stopped with its worker" in row().last_error


def test_build_sees_only_the_allowed_environment(pack, runtime, settings, monkeypatch):
    settings.BUILD_ENV_NAMES = ["HTTPS_PROXY", "ABSENT"]
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    needs(pack, 'env > "$1/env"; id -u > /dev/null')

    directory = environments.ready_environment(pack, runtime, None)

    seen = dict(line.split("=", 1) for line in (directory / "env").read_text().splitlines())
    assert seen["HTTPS_PROXY"] == "http://proxy:3128"
    assert "DATABASE_URL" not in seen
    assert not [name for name in seen if name.startswith("ATTUNE_")]


def test_killed_build_is_made_anew(pack, runtime):
    needs(pack, "echo fine")
    directory = environments.ready_environment(pack, runtime, None)
    (directory / build.MARK).unlink()  # as if the process had died before the end

    assert environments.ready_environment(pack, runtime, None) == directory
    assert (directory / build.MARK).is_file()


def test_selected_version_has_an_environment_of_its_own(pack, runtime, tmp_path):
    RuntimeVersion.objects.create(
        runtime=runtime, runtime_ref=runtime.ref, version="2", execution_config={"interpreter": {"binary": "bash"}}
    )
    needs(pack, "echo fine")

    directory = environments.ready_environment(pack, runtime, "2")

    assert directory == (tmp_path / "envs" / "lab" / "tool-2").resolve()
    assert row().runtime_version == "2"
    assert environments.built_here() == {"lab/tool-2": directory.name.rpartition("-")[2]}


def test_news_of_a_build(pack, runtime):
    told = []

    def listen(pack, runtime, version, log, succeeded, **_):
        told.append((pack.ref, runtime.ref, version, log.name, succeeded))

    environment_built.connect(listen)
    try:
        needs(pack, "exit 1")
        environments.ready_environment(pack, runtime, None)
    finally:
        environment_built.disconnect(listen)

    assert told == [("lab", "lab.tool", "", "tool.log", False)]


def test_log_of_each_build_is_kept_as_an_artifact(pack, runtime):
    needs(pack, "echo it does not work; exit 1")
    environments.ready_environment(pack, runtime, None)
    needs(pack, "echo it works")
    environments.ready_environment(pack, runtime, None)

    artifact = Artifact.objects.get()
    assert (artifact.ref, artifact.scope, artifact.owner) == ("pack.lab.tool.build.log", "pack", "lab")
    assert (artifact.type, artifact.visibility) == ("file_text", "private")
    kept = []
    for version in artifact.versions.order_by("version"):
        file, _size = open_version(version)
        with file:
            kept.append((version.meta["succeeded"], b"it works" in file.read()))
    assert kept == [(False, False), (True, True)]


def test_environments_of_a_deleted_pack_are_removed(pack, runtime, tmp_path):
    needs(pack, "echo fine")
    environments.ready_environment(pack, runtime, None)

    environments.remove_environments("lab")

    assert not (tmp_path / "envs" / "lab").exists()


def test_unwritable_folder_is_no_fault_of_the_run(pack, runtime, settings, tmp_path):
    (tmp_path / "file").touch()
    settings.RUNTIME_ENVS_DIR = tmp_path / "file"
    needs(pack, "echo fine")

    assert environments.ready_environment(pack, runtime, None) is None


# --- The core runtimes --------------------------------------------------------------------------------------------


def wheel(folder: Path) -> str:
    """Write a package that pip can install without an index."""
    name = "tiny_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("tiny_package.py", "ANSWER = 42\n")
        archive.writestr(
            "tiny_package-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny_package-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny_package-1.0.dist-info/RECORD", "")
    return name


def test_python_environment(pack):
    load_core_pack()
    Path(pack.storage_path, "requirements.txt").write_text(f"./{wheel(Path(pack.storage_path))}\n")

    directory = environments.ready_environment(pack, Runtime.objects.get(ref="core.python"), None)

    assert row().status == "ready", row().last_error
    interpreter = directory / "bin" / "python"
    assert not interpreter.is_symlink()
    answer = subprocess.run(
        [interpreter, "-c", "import tiny_package; print(tiny_package.ANSWER)"], capture_output=True
    )
    assert answer.stdout == b"42\n"


def test_python_environment_that_no_longer_starts_is_made_anew(pack):
    load_core_pack()
    Path(pack.storage_path, "requirements.txt").write_text("")
    python = Runtime.objects.get(ref="core.python")
    directory = environments.ready_environment(pack, python, None)
    interpreter = directory / "bin" / "python"
    interpreter.write_bytes(b"#!/nowhere\n")
    environments.service._ready.clear()  # as a new process would find it

    assert environments.ready_environment(pack, python, None) == directory
    assert subprocess.run([interpreter, "-c", "pass"]).returncode == 0


def test_node_environment(pack):
    load_core_pack()
    folder = Path(pack.storage_path)
    (folder / "tiny").mkdir()
    (folder / "tiny" / "package.json").write_text('{"name": "tiny", "version": "1.0.0", "main": "main.js"}')
    (folder / "tiny" / "main.js").write_text("module.exports = 42;\n")
    (folder / "package.json").write_text('{"name": "lab", "private": true, "dependencies": {"tiny": "file:tiny"}}')

    directory = environments.ready_environment(pack, Runtime.objects.get(ref="core.nodejs"), None)

    assert row().status == "ready", row().last_error
    answer = subprocess.run(
        ["node", "-e", "console.log(require('tiny'))"],
        env={"NODE_PATH": str(directory / "node_modules"), "PATH": os.environ["PATH"]},
        capture_output=True,
    )
    assert answer.stdout == b"42\n"
    assert not (folder / "node_modules").exists()
