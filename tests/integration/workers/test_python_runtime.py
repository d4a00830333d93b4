"""Python actions: inline code, functions of files and files, each in a fork of a template and in a fresh interpreter."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from apps.workers.jobs import Job, JobReport, RunnerServices, RuntimeSpec
from tests.integration.workers.test_process import Running
from tests.programs import log_of, make_job, make_pack_dir, run, state_of

pytestmark = pytest.mark.sqlite  # no database: once is enough

CONFIG: dict[str, Any] = {
    "interpreter": {"binary": sys.executable, "args": ["-u"], "file_extension": ".py"},
    "inline_execution": {"strategy": "direct", "extension": ".py"},
    "environment": {"interpreter_path": "{env_dir}/bin/python"},
    "env_vars": {"PYTHONPATH": {"value": "{pack_dir}/lib", "operation": "prepend", "separator": ":"}},
}
OLD_PYTHONS = [str(path) for path in Path("/root/.pyenv/versions").glob("3.*/bin/python") if "/3.8" in str(path)]
OLD_PYTHONS += [str(path) for path in Path("/root/.pyenv/versions").glob("3.*/bin/python") if "/3.13" in str(path)]


@pytest.fixture(params=["warm", "fresh"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def python_job(code: str, directory: Path, way: str = "warm", **fields: Any) -> Job:
    spec = RuntimeSpec(name="Python", aliases=("python", "python3"), execution_config=CONFIG)
    env: Mapping[str, str] = {**fields.pop("env", {}), **({"LC_TIME": "C"} if way == "fresh" else {})}
    return make_job(code, directory, **{"runtime": spec, "env": env, **fields})


def values(report: JobReport) -> dict[str, Any]:
    return {key: report.result[key] for key in ("exit_code", "error", "data", "stdout") if key in report.result}


def test_returned_value_is_the_data_and_the_last_line(way: str, services: RunnerServices, tmp_path: Path) -> None:
    job = python_job(
        "def run(n):\n    print('working')\n    return {'double': n * 2}", tmp_path, way, parameters={"n": 21}
    )

    report = run(job, services)

    assert report.outcome == "completed"
    assert values(report) == {"exit_code": 0, "stdout": 'working\n{"double": 42}\n', "data": {"double": 42}}
    assert json.loads((job.log_dir / "result.json").read_text()) == report.result
    assert bool(services.templates.pids) is (way == "warm")


def test_exception_shows_the_traceback_without_the_wrapper(way: str, services: RunnerServices, tmp_path: Path) -> None:
    job = python_job("def run():\n    raise ValueError('no such host')\n", tmp_path, way)

    report = run(job, services)

    assert (report.outcome, report.result["exit_code"]) == ("failed", 1)
    assert report.result["error"] == "ValueError: no such host"
    assert log_of(job, "stderr").decode() == (
        "Traceback (most recent call last):\n"
        '  File "<action>", line 2, in run\n'
        "    raise ValueError('no such host')\n"
        "ValueError: no such host\n"
    )


def test_syntax_error_is_the_error(way: str, services: RunnerServices, tmp_path: Path) -> None:
    report = run(python_job("def run(:\n    return 1", tmp_path, way), services)

    assert report.result["exit_code"] == 1
    assert report.result["error"].startswith("SyntaxError: invalid syntax")
    assert "attune" not in report.result["stderr"]


@pytest.mark.parametrize(
    ("code", "exit_code", "error"),
    [
        ("import sys; sys.exit(3)", 3, "Command exited with code 3"),
        ("import sys; sys.exit('gone wrong')", 1, "gone wrong\n"),
        ("import sys; sys.exit()", 0, None),
        ("def run():\n    raise SystemExit(300)", 44, "Command exited with code 44"),
        ("def run():\n    return {1, 2}", 1, "run() returned a value that is not JSON: set"),
        ("def run():\n    return {'at': object()}", 1, "run() returned a value that is not JSON: object"),
        ("def run():\n    return float('nan')", 1, "run() returned a value that is not JSON: float"),
    ],
)
def test_exit_of_inline_code(
    way: str, services: RunnerServices, tmp_path: Path, code: str, exit_code: int, error: str | None
) -> None:
    report = run(python_job(code, tmp_path, way), services)

    assert (report.result["exit_code"], report.result.get("error")) == (exit_code, error)


def test_parameters_are_globals_where_names_allow_it(way: str, services: RunnerServices, tmp_path: Path) -> None:
    code = "print([host, 'class' in globals(), print is __builtins__.print, parameters['a-b'], sorted(parameters)])"
    given = {"host": "gw1", "class": 1, "print": 2, "a-b": 3, "__name__": "x"}

    report = run(python_job(code, tmp_path, way, parameters=given), services)

    assert report.result["stdout"] == "['gw1', False, True, 3, ['__name__', 'a-b', 'class', 'host', 'print']]\n"


def test_unexpected_parameter_is_a_type_error(way: str, services: RunnerServices, tmp_path: Path) -> None:
    report = run(python_job("def run(a): return a", tmp_path, way, parameters={"a": 1, "b": 2}), services)

    assert report.result["error"] == "TypeError: run() got an unexpected keyword argument 'b'"


@pytest.mark.parametrize(
    ("head", "data"),
    [
        ("def run(a)", {"a": 1}),
        ("def run(a, token)", {"a": 1, "token": "k"}),
        ("def run(**all)", {"a": 1, "token": "k", "other": 2}),
    ],
)
def test_ambient_keys_are_passed_where_they_are_named(
    way: str, services: RunnerServices, tmp_path: Path, head: str, data: dict[str, Any]
) -> None:
    code = f"{head}:\n    found = dict(locals())\n    return found.get('all', found)"
    job = python_job(code, tmp_path, way, parameters={"a": 1}, ambient={"token": "k", "other": 2})

    assert run(job, services).result["data"] == data


def test_async_run_is_awaited(way: str, services: RunnerServices, tmp_path: Path) -> None:
    code = "import asyncio\nasync def run():\n    await asyncio.sleep(0)\n    return [1]"

    assert run(python_job(code, tmp_path, way), services).result["data"] == [1]


@pytest.mark.parametrize(("code", "data"), [("print(42); print()", 42), ("print('{}'); print('text')", None)])
def test_last_line_without_run(way: str, services: RunnerServices, tmp_path: Path, code: str, data: Any) -> None:
    assert run(python_job(code, tmp_path, way), services).result.get("data") == data


def test_result_line_begins_a_line(way: str, services: RunnerServices, tmp_path: Path) -> None:
    code = "import sys\ndef run():\n    sys.stdout.write('no line end')\n    return 'ä'"

    report = run(python_job(code, tmp_path, way), services)

    assert values(report) == {"exit_code": 0, "stdout": 'no line end\n"ä"\n', "data": "ä"}


def test_output_of_all_levels_is_in_order(way: str, services: RunnerServices, tmp_path: Path) -> None:
    code = "import os, subprocess\nprint('a')\nos.write(1, b'b\\n')\nsubprocess.run(['echo', 'c'])\nprint('d')"

    assert run(python_job(code, tmp_path, way), services).result["stdout"] == "a\nb\nc\nd\n"


def test_input_holds_the_map_unread(way: str, services: RunnerServices, tmp_path: Path) -> None:
    job = python_job("import sys; print(sys.stdin.read(), end='')", tmp_path, way, parameters={"a": [1]})

    assert run(job, services).result["stdout"] == '{"a":[1]}\n'


def test_what_a_program_sees_is_that_of_a_fresh_process(way: str, services: RunnerServices, tmp_path: Path) -> None:
    code = (
        "import json, os, sys, threading\n"
        "def run():\n"
        "    return {'argv': sys.argv, 'first': sys.path[0], 'main': sys.modules['__main__'].__dict__ is globals(),\n"
        "            'name': __name__, 'session': os.getsid(0) == os.getpid(), 'umask': os.umask(0),\n"
        "            'directory': os.getcwd(), 'lib': [p for p in sys.path if p.endswith('/lab/lib')],\n"
        "            'fds': sorted(os.listdir('/proc/self/fd'))[:-1], 'threads': threading.active_count(),\n"
        "            'mark': os.environ['ATTUNE_EXECUTION_ID'] in open('/proc/self/environ').read(),\n"
        "            'wrapper': [m for m in sys.modules if 'attune_t' in m], 'extra': os.environ.get('_')}"
    )
    pack_dir = make_pack_dir(tmp_path, {"lib/probe.py": "x = 1"})

    report = run(python_job(code, tmp_path, way, pack_dir=pack_dir), services)

    assert report.result["data"] == {
        "argv": ["-c"],
        "first": "",
        "main": True,
        "name": "__main__",
        "session": True,
        "umask": 0o027,
        "directory": str(pack_dir),
        "lib": [f"{pack_dir}/lib"],
        "fds": ["0", "1", "2"],
        "threads": 1,
        "mark": True,
        "wrapper": [],
        "extra": None,
    }


def test_environment_is_the_same_either_way(services: RunnerServices, tmp_path: Path) -> None:
    code = "import os, sys\ndef run(): return {'env': dict(os.environ), 'path': sys.path, 'flags': repr(sys.flags)}"
    pack_dir = make_pack_dir(tmp_path, {"lib/probe.py": "x = 1"})

    warm, fresh = (
        run(python_job(code, tmp_path, way, pack_dir=pack_dir), services).result["data"] for way in ("warm", "fresh")
    )

    assert fresh["env"].pop("LC_TIME") == "C"
    for found in (warm, fresh):
        assert found["env"].pop("ATTUNE_EXECUTION_ID") == found["env"].pop("ATTUNE_EXEC_ID")
    assert warm == fresh


def test_file_runs_as_main(way: str, services: RunnerServices, tmp_path: Path) -> None:
    pack_dir = make_pack_dir(
        tmp_path,
        {
            "actions/check.py": (
                "import json, sys, beside, below\n"
                "if __name__ == '__main__':\n"
                "    given = json.load(sys.stdin)\n"
                "    print(json.dumps({'given': given, 'argv': sys.argv, 'file': __file__, 'x': [beside.x, below.x]}))\n"
            ),
            "actions/beside.py": "x = 1",
            "lib/below.py": "x = 2",
        },
    )
    path = str(pack_dir / "actions" / "check.py")

    for entry in ("check.py", "actions/check.py"):
        report = run(python_job(entry, tmp_path, way, pack_dir=pack_dir, parameters={"a": 1}), services)
        assert report.result["data"] == {"given": {"a": 1}, "argv": [path], "file": path, "x": [1, 2]}


def test_file_that_raises_shows_its_traceback(way: str, services: RunnerServices, tmp_path: Path) -> None:
    pack_dir = make_pack_dir(tmp_path, {"actions/check.py": "def f():\n    import nowhere\nf()\n"})
    path = pack_dir / "actions" / "check.py"

    report = run(python_job("check.py", tmp_path, way, pack_dir=pack_dir), services)

    assert report.result["exit_code"] == 1
    assert report.result["error"] == "ModuleNotFoundError: No module named 'nowhere'"
    assert report.result["stderr"] == (
        "Traceback (most recent call last):\n"
        f'  File "{path}", line 3, in <module>\n    f()\n'
        f'  File "{path}", line 2, in f\n    import nowhere\n'
        "ModuleNotFoundError: No module named 'nowhere'\n"
    )


def test_function_of_a_file_is_called(way: str, services: RunnerServices, tmp_path: Path) -> None:
    pack_dir = make_pack_dir(
        tmp_path, {"actions/tools.py": "def area(a, b):\n    return {'area': a * b, 'name': __name__}"}
    )

    job = python_job("tools.py:area", tmp_path, way, pack_dir=pack_dir, parameters={"a": 2, "b": 3})

    assert run(job, services).result["data"] == {"area": 6, "name": "tools"}


def test_what_an_interpreter_does_at_its_end_is_done(way: str, services: RunnerServices, tmp_path: Path) -> None:
    code = (
        "import atexit, threading, time\n"
        "atexit.register(print, 'at exit')\n"
        "late = threading.Timer(0.1, print, ('thread',)); late.start()\n"
        f"kept = open({str(tmp_path / 'kept.txt')!r}, 'w'); kept.write('not flushed')\n"
        "print('end')"
    )

    report = run(python_job(code, tmp_path, way), services)

    assert (report.outcome, report.result["stdout"]) == ("completed", "end\nthread\nat exit\n")
    assert (tmp_path / "kept.txt").read_text() == "not flushed"


def test_large_parameters_reach_the_function(way: str, services: RunnerServices, tmp_path: Path) -> None:
    job = python_job("def run(big): return len(big)", tmp_path, way, parameters={"big": "x" * 5_000_000})

    assert run(job, services).result["data"] == 5_000_000


def test_random_state_differs_between_runs(services: RunnerServices, tmp_path: Path) -> None:
    job = python_job("import random; print(random.random())", tmp_path, preload=("random",))

    first, second = run(job, services), run(job, services)

    assert first.result["data"] != second.result["data"]


def test_preload_is_loaded_once_and_a_faulty_one_left_out(services: RunnerServices, tmp_path: Path) -> None:
    pack_dir = make_pack_dir(tmp_path, {"lib/heavy.py": "import os; pid = os.getpid()", "lib/faulty.py": "1 / 0"})
    code = "import sys, os\nprint('heavy' in sys.modules)\nimport heavy\nprint(heavy.pid == os.getppid())"
    job = python_job(code, tmp_path, pack_dir=pack_dir, preload=("faulty", "heavy"))

    assert run(job, services).result["stdout"] == "True\nTrue\n"


def test_preload_with_threads_is_started_the_ordinary_way(services: RunnerServices, tmp_path: Path) -> None:
    busy = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    pack_dir = make_pack_dir(tmp_path, {"lib/busy.py": busy})
    job = python_job("def run(): return 1", tmp_path, pack_dir=pack_dir, preload=("busy",))

    assert run(job, services).result["data"] == 1
    assert services.templates.pids == []


def test_template_serves_runs_side_by_side_and_stays_one(services: RunnerServices, tmp_path: Path) -> None:
    code = "import time, os\nprint(os.getppid(), flush=True)\ntime.sleep(60)"
    running = [Running(python_job(code, tmp_path), services) for _ in range(3)]
    for each in running:
        each.wait_for_output(b"\n")

    running[1].control.stop("cancel")
    assert running[1].report().result["cancelled"] is True
    assert run(python_job("def run(): return 1", tmp_path), services).result["data"] == 1
    for each in (running[0], running[2]):
        each.control.kill()

    reports = [each.report() for each in (running[0], running[2])]
    assert [report.result["signal"] for report in reports] == ["SIGKILL", "SIGKILL"]
    assert {int(log_of(each.job)) for each in running} == set(services.templates.pids)


def test_template_is_replaced_after_its_runs(
    services: RunnerServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.workers.runtimes.warm.RUNS_PER_TEMPLATE", 2)
    job = python_job("import os; print(os.getppid())", tmp_path)
    lasting = Running(python_job("import time; print('begun', flush=True); time.sleep(60)", tmp_path), services)
    lasting.wait_for_output(b"begun")

    parents = [run(job, services).result["data"] for _ in range(4)]

    assert [parents[0] == parents[1], parents[1] == parents[2], parents[2] == parents[3]] == [False, True, False]
    lasting.control.stop("cancel")
    assert lasting.report().result["signal"] == "SIGTERM"


def test_template_that_dies_harms_no_run(services: RunnerServices, tmp_path: Path) -> None:
    running = Running(
        python_job("import sys, time; print('begun', flush=True); time.sleep(0.5); sys.exit(5)", tmp_path), services
    )
    running.wait_for_output(b"begun")
    (template,) = services.templates.pids

    os.kill(template, signal.SIGKILL)

    assert running.report().result["exit_code"] == 5
    assert run(python_job("def run(): return 1", tmp_path), services).result["data"] == 1
    assert state_of(template) == ""


def test_run_starts_without_a_template_that_stands_still(
    services: RunnerServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.workers.runtimes.warm.ANSWER_SECONDS", 1.0)
    job = python_job("def run(): return 1", tmp_path)
    run(job, services)
    (template,) = services.templates.pids

    os.kill(template, signal.SIGSTOP)

    assert run(job, services).result["data"] == 1
    assert state_of(template) == ""


def test_daemon_of_a_fork_does_not_outlive_its_run(services: RunnerServices, tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "ready, tell = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); os.write(tell, b'%d' % os.getpid()); os.close(1); os.close(2); time.sleep(60)\n"
        "    os._exit(0)\n"
        "print(os.read(ready, 20).decode())"
    )

    report = run(python_job(code, tmp_path), services)

    assert (report.outcome, state_of(report.result["data"])) == ("completed", "")


def test_environment_of_the_pack_replaces_the_interpreter(services: RunnerServices, tmp_path: Path) -> None:
    env_dir = tmp_path / "env"
    (env_dir / "bin").mkdir(parents=True)
    (env_dir / "bin" / "python").symlink_to(sys.executable)

    job = python_job("import sys; print(sys.executable)", tmp_path, env_dir=env_dir)

    assert run(job, services).result["stdout"] == f"{env_dir}/bin/python\n"


@pytest.mark.parametrize("interpreter", OLD_PYTHONS)
def test_other_versions_of_python(way: str, services: RunnerServices, tmp_path: Path, interpreter: str) -> None:
    config = {**CONFIG, "interpreter": {**CONFIG["interpreter"], "binary": interpreter}}
    spec = RuntimeSpec(name="python", execution_config=config)
    code = "import sys\nasync def run(n):\n    return [n, '%d.%d' % sys.version_info[:2]]"

    report = run(python_job(code, tmp_path, way, runtime=spec, parameters={"n": 1}), services)

    assert report.result["data"] == [1, ".".join(Path(interpreter).parts[-3].split(".")[:2])]
    assert bool(services.templates.pids) is (way == "warm")
