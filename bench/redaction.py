"""
What removing secrets from output costs: MB/s of CPU time, beside a capture that removes nothing.

Needs neither database nor broker: ``python bench/redaction.py``.
"""

import base64
import random
import string
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps.core.redaction import Redactor
from apps.workers.capture import Capture
from bench.figures import Figure, print_table

MEGABYTES = 20
ROUNDS = 3
LETTERS = string.ascii_letters + string.digits + "!$/+ \"'"

_random = random.Random(1)


def secret(length: int, letters: str = LETTERS) -> str:
    return "".join(_random.choices(letters, k=length))


def log_lines(size: int, *endings: str) -> bytes:
    """Return ordinary log lines; each tenth has one of the endings."""
    words = [secret(_random.randint(2, 10), string.ascii_lowercase) for _ in range(2000)]
    lines, length = [], 0
    while length < size:
        ending = _random.choice(endings) if endings and len(lines) % 10 == 0 else ""
        number = _random.randint(0, 10**6)
        lines.append(
            f"2026-11-30T12:34:56.{number:06}Z INFO worker[{number}] {' '.join(_random.sample(words, 9))}{ending}\n"
        )
        length += len(lines[-1])
    return "".join(lines).encode()


def rate(data: bytes, read_bytes: int, redactor: Redactor | None) -> float:
    """Return MB of output per second of CPU time, the best of a few rounds."""
    chunks = [data[at : at + read_bytes] for at in range(0, len(data), read_bytes)]
    best = 0.0
    for _round in range(ROUNDS):
        with tempfile.TemporaryDirectory() as directory:
            capture = Capture("stdout", f"{directory}/stdout.log", 2**40, redactor.stream() if redactor else None)
            before = time.process_time()
            for chunk in chunks:
                capture.feed(chunk)
            capture.close()
            best = max(best, len(data) / 1e6 / (time.process_time() - before))
    return best


def figure(name: str, goal: str, secrets: Sequence[str], data: bytes, read_bytes: int = 64 * 1024) -> Figure:
    value, floor = rate(data, read_bytes, Redactor(secrets)), rate(data, read_bytes, None)
    return Figure(
        name=name, value=f"{value:.0f} MB/s", floor=f"{floor:.0f} MB/s", ratio=f"{value / floor:.2f} x", goal=goal
    )


def start_figure(name: str, secrets: Sequence[str]) -> Figure:
    """Return what a run with little output pays for its secrets."""
    samples = []
    for _round in range(50):
        before = time.process_time()
        stream = Redactor(secrets).stream()
        stream.feed(b"hello, world\n")
        stream.flush()
        samples.append(time.process_time() - before)
    return Figure(name=name, value=f"{sorted(samples)[25] * 1000:.2f} ms", floor="0 ms", ratio="", goal="")


def main() -> None:
    size = MEGABYTES * 10**6
    token, twenty = secret(800, string.ascii_letters), [secret(_random.randint(12, 40)) for _ in range(20)]
    log = log_lines(size)
    figures = [
        figure("log, the run's token only", ">= 200 MB/s", [token], log),
        figure("log, 20 secrets and the token", ">= 200 MB/s", [*twenty, token], log),
        figure("the same, in reads of 4 KiB", "", [*twenty, token], log, 4096),
        figure("the same, a secret in each tenth line", "", [*twenty, token], log_lines(size // 2, *twenty)),
        figure("100 secrets", "", [secret(30) for _ in range(100)], log),
        figure("base64 in lines", "", [*twenty, token], base64.encodebytes(_random.randbytes(size // 4))),
        figure("nothing but the letter that is the secret", "", ["aaaa"], b"a" * 10**6),
        start_figure("one line, the run's token only", [token]),
        start_figure("one line, 20 secrets and the token", [*twenty, token]),
    ]
    print_table("Secrets removed from output", figures)


if __name__ == "__main__":
    main()
