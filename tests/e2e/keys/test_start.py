"""A start with the wrong encryption key is refused, before anything is served (auth.md section 8)."""

import sys
from pathlib import Path

from tests.processes import Processes, free_port

OURS, ANOTHER = "our encryption key of forty characters!!", "another encryption key of forty chars!!!"


def manage(*words: str) -> list[str]:
    return [sys.executable, "manage.py", *words]


def test_no_part_starts_without_the_key_until_all_is_encrypted_under_another(
    processes: Processes, tmp_path: Path, stack: dict[str, str]
) -> None:
    (tmp_path / "value").write_text("hush")
    ours = {**stack, "ATTUNE_STATE_DIR": str(tmp_path), "ATTUNE_ENCRYPTION_KEY": OURS}
    another = {**ours, "ATTUNE_ENCRYPTION_KEY": ANOTHER}
    both = {**another, "ATTUNE_ENCRYPTION_PREVIOUS_KEYS": OURS}
    parts = [
        manage("up", "--port", "0"),
        manage("scheduler"),
        [sys.executable, "-m", "uvicorn", "attune.asgi:application", "--port", str(free_port())],
    ]
    if stack:  # a worker alone needs a broker
        parts.append([sys.executable, "-m", "celery", "-A", "attune", "worker"])

    def done(*words: str, **environment: str) -> str:
        process = processes.any(manage(*words), **environment)
        assert process.wait() == 0, process.output()
        return process.output()

    done("prepare", **ours)
    done("key_set", "a.key", "--file", str(tmp_path / "value"), **ours)

    refused = [processes.any(argv, **another) for argv in parts]
    assert 0 not in [process.wait() for process in refused]
    for output in [process.output() for process in refused]:
        assert "attune: The database holds keys encrypted with key" in output
        assert "Traceback" not in output
        assert OURS not in output

    assert done("rotate_keys", **both) == "  1 keys\n1 value encrypted anew.\n"
    assert done("key_get", "a.key", "--decrypt", **another) == "hush\n"
