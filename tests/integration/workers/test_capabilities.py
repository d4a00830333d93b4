"""What a worker finds out about its machine."""

from pathlib import Path

import pytest

from apps.packs.services import load_core_pack
from apps.workers.capabilities import detect
from apps.workers.models import Runtime, RuntimeVersion

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_folder(settings, tmp_path):
    settings.RUNTIME_ENVS_DIR = tmp_path / "envs"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs, the only one on the search path besides the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def program(folder: Path, name: str, script: str) -> str:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return str(folder / name)


def runtime(ref: str, *commands: dict, **fields) -> Runtime:
    distributions = {"verification": {"commands": list(commands)}} if commands else fields.pop("distributions", {})
    name = fields.pop("name", ref.rpartition(".")[2])
    return Runtime.objects.create(ref=ref, name=name, distributions=distributions, **fields)


def test_versions_come_from_the_output_of_the_commands(programs, services):
    path = program(programs, "lua5", "echo 'Lua 5.4.6  Copyright'")
    older = program(programs, "lua4", "echo 'Lua 4.0.1' >&2")
    runtime(
        "lab.lua",
        {"binary": "lua5", "args": ["-v"], "pattern": r"Lua (\d+\.\d+\.\d+)", "priority": 1},
        {"binary": "lua4", "pattern": r"Lua (\d+\.\d+\.\d+)", "priority": 2},
    )

    found = detect(slots=4, services=services)

    assert found["runtimes"] == ["lua"]
    assert found["runtime_versions"] == {"lua": ["4.0.1", "5.4.6"]}
    assert found["detected_interpreters"] == [
        {"name": "lua", "path": path, "version": "5.4.6"},
        {"name": "lua", "path": older, "version": "4.0.1"},
    ]
    assert (found["max_concurrent_executions"], found["agent_mode"]) == (4, False)


@pytest.mark.parametrize(
    "command",
    [
        {"binary": "absent"},
        {"binary": "tool", "exit_code": 1},
        {"binary": "tool", "pattern": "Other"},
        {"binary": "tool", "pattern": "("},
        {"binary": "/etc/passwd"},
        {"args": ["x"]},
        "tool",
    ],
)
def test_runtime_whose_verification_fails_is_not_offered(programs, services, command):
    program(programs, "tool", "echo Tool 1.2.3")
    runtime("lab.tool", command)

    assert detect(slots=1, services=services)["runtimes"] == []


def test_command_that_does_not_end_is_given_up(programs, services, monkeypatch):
    monkeypatch.setattr("apps.workers.capabilities.VERIFICATION_SECONDS", 0.3)
    program(programs, "slow", "trap '' TERM; sleep 60")
    program(programs, "quick", "echo 1.2.3")
    runtime("lab.slow", {"binary": "slow"})
    runtime("lab.quick", {"binary": "quick"})

    assert detect(slots=1, services=services)["runtimes"] == ["quick"]


def test_each_command_runs_once(programs, services, tmp_path):
    program(programs, "tool", f"echo x >> {tmp_path}/asked; echo Tool 1.2.3")
    tool = runtime("lab.tool", {"binary": "tool", "pattern": r"(\d+\.\d+\.\d+)"})
    for version in ("1", "2"):
        RuntimeVersion.objects.create(
            runtime=tool,
            runtime_ref=tool.ref,
            version=version,
            distributions={"verification": {"commands": [{"binary": "tool", "pattern": rf"({version}\.\d+\.\d+)"}]}},
        )

    detect(slots=1, services=services)

    assert (tmp_path / "asked").read_text() == "x\n"
    seen = {row.version: (row.available, row.verified_at is not None) for row in RuntimeVersion.objects.all()}
    assert seen == {"1": (True, True), "2": (False, False)}


def test_named_runtimes_are_offered_whatever_is_found(programs, services, settings):
    settings.WORKER_RUNTIMES = ["Shell", "made-up", "TOOL"]
    program(programs, "tool", "echo Tool 1.2.3")
    runtime("lab.tool", {"binary": "tool"}, aliases=["tool"])
    runtime("lab.other", distributions={"verification": {"always_available": True}})

    found = detect(slots=1, services=services)

    assert found["runtimes"] == ["shell", "made-up", "tool"]
    assert found["runtime_versions"] == {"tool": ["1.2.3"]}


def test_offered_name_is_one_that_actions_ask_for(services):
    runtime("lab.php8", name="PHP", distributions={"verification": {"always_available": True}})

    assert detect(slots=1, services=services)["runtimes"] == ["php"]


def test_core_runtimes_of_this_machine(services, settings):
    settings.WORKER_LABELS = {"zone": "eu1"}
    settings.WORKER_TAINTS = [{"key": "gpu", "effect": "no_schedule"}]
    load_core_pack()

    found = detect(slots=10, services=services)

    assert {"native", "python", "shell"} <= set(found["runtimes"])
    assert "native" not in found["runtime_versions"]
    assert (found["labels"], found["taints"]) == ({"zone": "eu1"}, [{"key": "gpu", "effect": "no_schedule"}])
    assert RuntimeVersion.objects.filter(runtime_ref="core.python", available=True).exists()
