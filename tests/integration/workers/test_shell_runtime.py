"""Shell actions: scripts of a pack and inline code, with their parameters and environment (execution.md 6-8)."""

import os
from pathlib import Path
from typing import Any

import pytest

from apps.workers.jobs import RunnerServices
from tests.programs import log_of, make_job, make_pack_dir, run

pytestmark = pytest.mark.sqlite  # no database: once is enough


def output(services: RunnerServices, directory: Path, entrypoint: str, **fields: Any) -> str:
    """Return what a job prints, both streams, and its exit code when it is not 0."""
    job = make_job(entrypoint, directory, **fields)
    report = run(job, services)
    code = report.result.get("exit_code")
    return (log_of(job) + log_of(job, "stderr")).decode() + (f"[{code}]" if code else "")


def test_script_ends_at_the_first_failure(services: RunnerServices, tmp_path: Path) -> None:
    assert output(services, tmp_path, "echo a\nfalse\necho b") == "a\n[1]"


def test_parameters_are_variables_and_exported(services: RunnerServices, tmp_path: Path) -> None:
    script = 'echo "$message|$PARAM_MESSAGE"; printenv message; printenv PARAM_MESSAGE; echo "${other-unset}"'

    assert output(services, tmp_path, script, parameters={"message": "a b"}) == "a b|a b\na b\na b\nunset\n"


def test_secret_and_ambient_values_are_hidden_from_children(services: RunnerServices, tmp_path: Path) -> None:
    printed = output(
        services,
        tmp_path,
        'echo "${token:-}|${key:-}|$PARAM_KEY|${given:-}"; env | grep -i -e token -e key -e hidden -e given || true; '
        "bash -c 'echo \"${token-none}|${key-none}|${given-none}\"'",
        parameters={"token": "hidden1", "given": "x"},
        ambient={"key": "hidden2", "given": "hidden3"},
        secret_names=frozenset({"token"}),
        env={"token": "of the request"},
    )

    assert printed == "hidden1|hidden2|hidden2|hidden3\nnone|none|none\n"


def test_values_are_data(services: RunnerServices, tmp_path: Path) -> None:
    nasty = 'it\'s "q" $(touch pwned) `id` \\ \n\t$HOME ; exit 9 #ä'

    printed = output(services, tmp_path, 'printf %s "$v"; printenv v', parameters={"v": nasty})

    assert printed == nasty + nasty + "\n"


def test_megabyte_is_defined_but_not_exported(services: RunnerServices, tmp_path: Path) -> None:
    value = "x'\n" * 50_000 + "x" * 849_000  # bash is slow with very many quotes
    script = 'echo "${#v}"; bash -c "echo ${#v}; echo \\${v-none}"'

    assert output(services, tmp_path, script, parameters={"v": value}) == "999000\n999000\nnone\n"


def test_reserved_names_do_not_change_the_shell(services: RunnerServices, tmp_path: Path) -> None:
    given = {"PATH": "/nowhere", "UID": "7", "IFS": ",", "BASH_ENV": "x", "LD_PRELOAD": "y", "PS4": "$(echo z)"}

    printed = output(
        services, tmp_path, 'set -x; ls / >/dev/null; echo "$PARAM_PATH $PARAM_UID $PARAM_IFS"', parameters=given
    )

    assert printed.startswith("/nowhere 7 ,\n")
    assert "z" not in printed


def test_line_numbers_keep_their_distance(services: RunnerServices, tmp_path: Path) -> None:
    printed = output(services, tmp_path, "\nnosuch", parameters={"a": "1\n2\n3", "b": "x"})

    assert printed.rpartition(": line ")[2] == "3: nosuch: command not found\n[127]"


def test_input_carries_the_same_map(services: RunnerServices, tmp_path: Path) -> None:
    parameters = {"message": "a", "n": 1}

    assert output(services, tmp_path, "cat; cat", parameters=parameters, ambient={"k": "v"}) == (
        '{"message":"a","n":1,"k":"v"}\n'
    )
    assert (
        output(services, tmp_path, "cat", parameters=parameters, parameter_format="dotenv") == "message='a'\nn='1'\n"
    )
    assert output(services, tmp_path, "cat", parameters=parameters, parameter_format="yaml") == "message: a\nn: 1\n"


def test_delivery_by_file(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job(
        'cat; stat -c %a "$ATTUNE_PARAMETER_FILE"; cat "$ATTUNE_PARAMETER_FILE"; echo "$ATTUNE_PARAMETER_FILE"',
        tmp_path,
        parameters={"a": 1},
        parameter_delivery="file",
    )

    mode, content, path = run(job, services).result["stdout"].splitlines()

    assert (mode, content, Path(path).exists()) == ("400", '{"a":1}', False)


def test_input_ends_in_every_mode(services: RunnerServices, tmp_path: Path) -> None:
    for delivery in ("stdin", "file"):
        assert output(services, tmp_path, "cat >/dev/null; echo ended", parameter_delivery=delivery) == "ended\n"


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_time_zone_is_the_one_the_worker_was_started_with(zone: str | None) -> None:
    services = RunnerServices(guarded=False, time_zone=zone)
    services.start()
    services.close()

    assert (services.inherited.get("TZ"), os.environ["TZ"]) == (zone, "UTC")  # the process's own is Django's


def test_environment_is_built_from_nothing(
    services: RunnerServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    for name in ("PATH", "HOME", "LANG"):
        services.inherited[name] = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}[name]
    services.inherited.pop("TZ", None)
    services.inherited.pop("TMPDIR", None)
    job = make_job(
        "exec env -0",
        tmp_path,
        action_ref="lab.probe.deep",
        attempt=2,
        timeout_seconds=12,
        env={"MINE": "1\n2", "HOME": "/elsewhere"},
        context={"trace-id": "t", "deep": {"a": [1]}},
        attune_env={"ATTUNE_API_URL": "http://127.0.0.1:3000", "ATTUNE_ARTIFACTS_DIR": str(tmp_path)},
    )

    run(job, services)

    variables = dict(entry.split("=", 1) for entry in log_of(job).decode().split("\0") if entry)
    for of_bash in ("_", "SHLVL", "PWD", "OLDPWD"):
        variables.pop(of_bash, None)
    assert variables == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/elsewhere",
        "LANG": "C.UTF-8",
        "MINE": "1\n2",
        "ATTUNE_EXECUTION_ID": str(job.execution_id),
        "ATTUNE_EXEC_ID": str(job.execution_id),
        "ATTUNE_ACTION": "lab.probe.deep",
        "ATTUNE_PACK_REF": "lab",
        "ATTUNE_API_URL": "http://127.0.0.1:3000",
        "ATTUNE_ARTIFACTS_DIR": str(tmp_path),
        "ATTUNE_CONTEXT_TRACE_ID": "t",
        "ATTUNE_CONTEXT_DEEP": '{"a":[1]}',
        "ATTUNE_PARAMETER_DELIVERY": "stdin",
        "ATTUNE_PARAMETER_FORMAT": "json",
        "ATTUNE_ATTEMPT": "2",
        "ATTUNE_TIMEOUT_SECONDS": "12",
    }


def test_directory_is_the_pack_s_or_an_empty_one(services: RunnerServices, tmp_path: Path) -> None:
    pack_dir = make_pack_dir(tmp_path, {"pack.yaml": ""})

    assert output(services, tmp_path, "pwd", pack_dir=pack_dir) == f"{pack_dir}\n"
    for missing in (None, tmp_path / "gone"):
        job = make_job("pwd; ls -A; mkdir -p a/b; echo x >a/b/c", tmp_path, pack_dir=missing)
        directory = Path(run(job, services).result["stdout"].strip())
        assert not directory.exists()


@pytest.mark.parametrize(
    ("entrypoint", "is_adhoc", "printed"),
    [
        ("echo.sh", True, "file echo\n"),
        ("echo.sh", False, "file echo\n"),
        ("actions/echo.sh", False, "file echo\n"),
        ("top", False, "file top\n"),
        ("echo inline", False, "inline\n"),
        ("true", False, ""),
        ("exit 3", False, "[3]"),
    ],
)
def test_entry_point(services: RunnerServices, tmp_path: Path, entrypoint: str, is_adhoc: bool, printed: str) -> None:
    pack_dir = make_pack_dir(tmp_path, {"actions/echo.sh": "echo file echo", "top": "echo file top"})

    assert output(services, tmp_path, entrypoint, pack_dir=pack_dir, is_adhoc=is_adhoc) == printed


def test_script_that_is_missing_is_an_error_for_an_action_of_a_pack(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("gone.sh", tmp_path, is_adhoc=False, pack_dir=tmp_path), services)

    assert report.result == {
        "succeeded": False,
        "error": "No executable content found for action 'lab.probe': gone.sh",
    }


def test_file_outside_the_pack_is_not_run(services: RunnerServices, tmp_path: Path) -> None:
    pack_dir = make_pack_dir(tmp_path, {"actions/ok.sh": "echo ok"})
    (tmp_path / "outside.sh").write_text("echo outside")
    (pack_dir / "actions" / "link.sh").symlink_to(tmp_path / "outside.sh")
    (pack_dir / "actions" / "inner.sh").symlink_to("ok.sh")

    for entrypoint in ("link.sh", "../outside.sh", "../../outside.sh", str(tmp_path / "outside.sh")):
        report = run(make_job(entrypoint, tmp_path, is_adhoc=False, pack_dir=pack_dir), services)
        assert report.result["error"] == f"No executable content found for action 'lab.probe': {entrypoint}"
    assert output(services, tmp_path, "inner.sh", pack_dir=pack_dir, is_adhoc=False) == "ok\n"


def test_inline_file_is_private_and_removed(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job('stat -c "%a %F" "$0"; echo "$0"; [ -z "$1" ] && echo no arguments', tmp_path, parameters={"a": 1})

    kind, path, last = run(job, services).result["stdout"].splitlines()

    assert (kind, last, Path(path).exists()) == ("600 regular file", "no arguments", False)
    assert Path(path).parent == services.directory
    assert services.directory.stat().st_mode & 0o777 == 0o700
