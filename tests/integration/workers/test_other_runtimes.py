"""Node.js, native programs, runtimes known by their row only, and actions that name none."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from apps.workers.jobs import RunnerServices, RuntimeSpec
from tests.programs import make_job, make_pack_dir, run

pytestmark = pytest.mark.sqlite  # no database: once is enough

FILES = {
    "actions/hello.js": "process.stdin.on('data', d => console.log(String(d).trim(), process.env.NODE_PATH))",
    "actions/hello.sh": "echo shell",
    "actions/hello.py": "print('python')",
    "actions/hello": "#!/bin/sh\necho native $#",
    "actions/broken": "#!/no/such/interpreter\n",
    "actions/data.txt": "text",
}


@pytest.fixture
def pack_dir(tmp_path: Path) -> Path:
    pack_dir = make_pack_dir(tmp_path, FILES)
    (pack_dir / "actions" / "data.txt").chmod(0o644)
    return pack_dir


def outcome(services: RunnerServices, entrypoint: str, pack_dir: Path, **fields: Any) -> str:
    result = run(make_job(entrypoint, pack_dir.parent, pack_dir=pack_dir, **fields), services).result
    return str(result.get("error") or result["stdout"])


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_nodejs(services: RunnerServices, pack_dir: Path, tmp_path: Path) -> None:
    env_dir = tmp_path / "env"
    env_dir.mkdir()

    assert outcome(services, "hello.js", pack_dir, runtime="nodejs") == "{} undefined\n"
    assert (
        outcome(services, "hello.js", pack_dir, runtime="nodejs", env_dir=env_dir) == f"{{}} {env_dir}/node_modules\n"
    )
    assert outcome(services, "console.log(1)", pack_dir, runtime="nodejs") == (
        "No executable content found for action 'lab.probe': console.log(1)"
    )


@pytest.mark.parametrize(
    ("entrypoint", "expected"),
    [
        ("hello", "native 0\n"),
        ("data.txt", "Cannot start {pack_dir}/actions/data.txt: not executable"),
        ("broken", "Cannot start {pack_dir}/actions/broken: No such file or directory"),
        ("gone", "No executable content found for action 'lab.probe': gone"),
        ("", "No executable content found for action 'lab.probe': "),
        ("echo inline", "No executable content found for action 'lab.probe': echo inline"),
    ],
)
def test_native(services: RunnerServices, pack_dir: Path, entrypoint: str, expected: str) -> None:
    assert outcome(services, entrypoint, pack_dir, runtime="native") == expected.format(pack_dir=pack_dir)


@pytest.mark.parametrize(
    ("entrypoint", "expected"),
    [
        ("hello.py", "python\n"),
        ("hello.sh", "shell\n"),
        ("hello", "native 0\n"),
        ("data.txt", "No runtime found for action: lab.probe"),
        ("echo hi", "No runtime found for action: lab.probe"),
        ("", "No runtime found for action: lab.probe"),
    ],
)
def test_action_without_runtime_is_judged_by_its_entry_point(
    services: RunnerServices, pack_dir: Path, entrypoint: str, expected: str
) -> None:
    assert outcome(services, entrypoint, pack_dir, runtime=None) == expected


def test_judged_runtime_must_be_offered(services: RunnerServices, pack_dir: Path) -> None:
    assert outcome(services, "hello.py", pack_dir, runtime=None, available_runtimes=("shell",)) == (
        "Runtime 'python' not found (available: shell)"
    )


def test_runtime_is_found_by_alias_without_case(services: RunnerServices, pack_dir: Path) -> None:
    spec = RuntimeSpec(name="Core Shell", aliases=("BASH",))

    assert outcome(services, "hello.sh", pack_dir, runtime=spec, available_runtimes=("Bash",)) == "shell\n"


def test_runtime_known_by_its_row_only(services: RunnerServices, pack_dir: Path) -> None:
    config = {
        "interpreter": {"binary": "sh", "args": ["-u"]},
        "inline_execution": {"strategy": "temp_file", "extension": ".x", "inject_shell_helpers": True},
        "env_vars": {
            "SEARCH": {"value": "{pack_dir}/lib", "operation": "prepend", "separator": ":"},
            "PATH": {"value": "/opt/x", "operation": "append"},
            "PLAIN": "{interpreter}",
            "LEFT_OUT": "{env_dir}/x",
        },
    }
    spec = RuntimeSpec(name="dash", execution_config=config)
    fields: dict[str, Any] = {"runtime": spec, "available_runtimes": ("dash",)}
    sh = shutil.which("sh")

    assert outcome(services, 'echo "$0" | grep -c "[.]x$"', pack_dir, **fields) == "1\n"
    assert (
        outcome(services, 'echo "$SEARCH $PLAIN ${LEFT_OUT-none}"', pack_dir, **fields)
        == f"{pack_dir}/lib {sh} none\n"
    )
    assert outcome(services, 'echo "${PATH##*:}"', pack_dir, **fields) == "/opt/x\n"
    assert outcome(services, "hello.sh", pack_dir, **fields) == "shell\n"
    assert outcome(services, "missing", pack_dir, **fields) == (
        "No executable content found for action 'lab.probe': missing"
    )


def test_command_line_of_a_runtime_is_a_template(services: RunnerServices, pack_dir: Path) -> None:
    (pack_dir / "bin").mkdir()
    tool = pack_dir / "bin" / "tool"
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    tool.chmod(0o755)
    spec = RuntimeSpec(
        name="tool",
        execution_config={
            "interpreter": {
                "binary": "{pack_dir}/bin/tool",
                "args": ["-C", "{pack_dir}", "{env_dir}", "x={action_file}"],
            }
        },
    )

    told = outcome(services, "hello.js", pack_dir, runtime=spec, available_runtimes=("tool",))

    file = f"{pack_dir}/actions/hello.js"
    assert told.splitlines() == ["-C", str(pack_dir), f"x={file}", file]  # no environment: nothing stands for it


def test_inline_code_is_given_to_the_interpreter_itself(services: RunnerServices, pack_dir: Path) -> None:
    config = {"interpreter": {"binary": "bash"}, "inline_execution": {"strategy": "direct"}}
    spec = RuntimeSpec(name="dash", execution_config=config)
    fields: dict[str, Any] = {"runtime": spec, "available_runtimes": ("dash",)}

    assert outcome(services, 'echo "$0 $-"', pack_dir, **fields).endswith("bash hBc\n")
    assert outcome(services, f"echo {'x' * 200_000} | wc -c", pack_dir, **fields) == "200001\n"


def test_runtime_without_interpreter_and_inline_code_is_an_error(services: RunnerServices, pack_dir: Path) -> None:
    fields: dict[str, Any] = {"runtime": "odd", "available_runtimes": ("odd",)}

    assert outcome(services, "hello.sh", pack_dir, **fields) == "Runtime 'odd' has no interpreter"
