"""
The template of warm Python: started once per environment, forked for each run.

Standard input is a socket to the worker. ``start <task>`` with the three standard descriptors (and a fourth that
holds the task when it is long) forks a run and answers its pid, or the negative errno; ``reap <pid>`` answers
exit code and CPU seconds of one that has ended. Nothing else happens here, and in one thread only: a fork copies
no locks that somebody holds. Standard library only, Python 3.8 or later.
"""

from __future__ import annotations

import _socket
import atexit
import gc
import io
import json
import os
import sys

TYPE_CHECKING = False  # typing would be one more import
if TYPE_CHECKING:
    from typing import Any

MESSAGE_BYTES = 128 * 1024


def serve(control: _socket.socket, base_path: list) -> None:
    """Answer the worker until it closes the socket or is gone. Returns only in a fork, which is then the run."""
    environment_block = _environment_block()
    while True:
        message, ancillary, _flags, _address = control.recvmsg(MESSAGE_BYTES, _socket.CMSG_LEN(16))
        if not message:
            os._exit(0)
        verb, _, rest = message.partition(b" ")
        descriptors = [number for _level, _kind, data in ancillary for number in memoryview(data).cast("i")]
        if verb == b"reap":
            answer = _reap(int(rest))
        else:
            try:
                pid = os.fork()
            except OSError as error:
                pid = -(error.errno or 1)
            if pid == 0:
                control.close()
                become(rest, descriptors, base_path, environment_block)
                return
            answer = b"%d" % pid
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(answer)


def _reap(pid: int) -> bytes:
    _pid, status, usage = os.wait4(pid, 0)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return b"%d %f" % (code, usage.ru_utime + usage.ru_stime)


def become(content: bytes, descriptors: list, base_path: list, environment_block: tuple) -> None:
    """Turn this fork into the run: session, descriptors, environment, directory, path; then run it and end."""
    os.setsid()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    if not content:
        with open(descriptors[3], "rb", closefd=False) as file:
            content = file.read()
    for descriptor in descriptors:
        os.close(descriptor)
    task = json.loads(content)
    os.environ.clear()
    _write_marks(task["marks"], environment_block)
    os.environ.update(task["env"])
    os.chdir(task["directory"])
    sys.argv[:] = task["argv"]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = [sys.executable] + task["argv"]
    path = task["sys_path"]
    sys.path[:] = (path[1:] if getattr(sys.flags, "safe_path", False) else path) + base_path
    _reseed()
    leave(_exit_code(task))


def _environment_block() -> tuple:
    """Return where the kernel keeps what ``/proc/<pid>/environ`` shows, and how long it is."""
    with open("/proc/self/stat", "rb") as file:
        words = file.read().rpartition(b") ")[2].split()
    start, end = int(words[47]), int(words[48])
    return start, end - start


def _write_marks(marks: list, block: tuple) -> None:
    """Make ``/proc/<pid>/environ`` name this run, as it does for a program that was executed."""
    text = b"".join(mark.encode("utf-8", "replace") + b"\0" for mark in marks)
    start, length = block
    if len(text) > length:
        return
    try:
        memory = os.open("/proc/self/mem", os.O_WRONLY)
        try:
            os.pwrite(memory, text, start)
        finally:
            os.close(memory)
    except OSError:
        return  # a kernel that forbids it; the run is then known by its session only


def _reseed() -> None:
    """The random module does this by itself."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _exit_code(task: dict) -> int:
    try:
        if task["kind"] == "file":
            _run_file(task["path"])
        else:
            attune_program.run(task)
    except SystemExit as stop:
        return _code_of(stop.code)
    except KeyboardInterrupt as error:
        _show(error)
        return -2
    except BaseException as error:
        _show(error)
        return 1
    return 0


def _code_of(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(str(code) + "\n")
    return 1


def _run_file(path: str) -> None:
    """Run a file as ``__main__``, as the interpreter does when it is given one."""
    import importlib.machinery

    module = type(sys)("__main__")
    namespace = module.__dict__
    namespace.update({"__builtins__": __builtins__, "__file__": path, "__cached__": None, "__annotations__": {}})
    namespace["__loader__"] = importlib.machinery.SourceFileLoader("__main__", path)
    sys.modules["__main__"] = module
    with open(path, "rb") as file:
        source = file.read()
    exec(compile(source, path, "exec", 0, True), namespace)


def _show(error: BaseException) -> None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _OWN_FILES:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def leave(code: int) -> None:
    """
    End as an interpreter does: threads, exit functions, open files. Taking all modules apart costs more than the run.
    """
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()
        atexit._run_exitfuncs()
        sys.modules["__main__"].__dict__.clear()
        gc.collect()
        _flush_open_files()
    except BaseException as error:
        _show(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                continue
        if code < 0:
            import signal

            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def _flush_open_files() -> None:
    """Files that modules still hold open; those of the template are frozen and not among the objects."""
    writers = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    for item in gc.get_objects():
        if isinstance(item, writers) and not item.closed:
            try:
                item.flush()
            except (OSError, ValueError):
                continue


def _preload(names: list) -> dict:
    failed = {}
    for name in names:
        try:
            __import__(name)
        except BaseException as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _rehearse() -> None:
    """Do what every run does, so that its pages are written to here once and not copied by each fork."""
    for number in range(20):
        task = json.loads(json.dumps({"env": {"A": str(number)}, "code": "def run(a):\n    return {'a': [a]}\n"}))
        namespace: dict = {}
        exec(compile(task["code"], attune_program.ACTION, "exec", 0, True), namespace)
        json.dumps(namespace["run"](1), default=str, ensure_ascii=False, allow_nan=False)
        os.environ.update({"ATTUNE_REHEARSAL": str(number)})
        del os.environ["ATTUNE_REHEARSAL"]
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True).write("x")


def main() -> None:
    """Load what every run needs, say so, and serve."""
    control = _socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.environ.pop("_", None)
    failed = _preload(sys.argv[1:])
    control.send(json.dumps({"failed": failed, "threads": len(os.listdir("/proc/self/task"))}).encode())
    _rehearse()
    gc.collect()
    gc.freeze()
    serve(control, list(sys.path))


if not getattr(sys.flags, "safe_path", False):
    own_directory = sys.path.pop(0)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import attune_program  # type: ignore[import-not-found]  # noqa: E402  # its directory does not stay on the path

del sys.path[0]
_OWN_FILES = {__file__, attune_program.__file__}

if __name__ == "__main__":
    main()
