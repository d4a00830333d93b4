"""Take limits upon oneself and become the program: ``limited.py name=value ... -- program arguments``.

Runs in an interpreter of its own before the program starts; standard library only.
"""

import os
import resource
import sys


def lower(kind: int, soft: int, hard: int) -> None:
    """Set a limit, or what the present hard limit allows of it."""
    present = resource.getrlimit(kind)[1]
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    resource.setrlimit(kind, (soft, hard))


def apply(limits: "dict[str, int]") -> None:
    """Set every limit for this process and those it starts."""
    if "memory_mb" in limits:
        # Not RLIMIT_AS: programs such as node reserve far more addresses than they use.
        lower(resource.RLIMIT_DATA, limits["memory_mb"] << 20, limits["memory_mb"] << 20)
    if "cpu_seconds" in limits:
        lower(resource.RLIMIT_CPU, limits["cpu_seconds"], limits["cpu_seconds"] + 1)
    if "open_files" in limits:
        lower(resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"])
    if "processes" in limits:
        # The kernel counts all threads of the user, so this is only a ceiling; the runner counts the run's own.
        ceiling = threads_of_user() + limits["processes"]
        lower(resource.RLIMIT_NPROC, ceiling, ceiling)
    if "nice" in limits:
        try:
            os.nice(limits["nice"])
        except OSError:
            os.nice(max(0, limits["nice"]))  # only root may go below 0


def threads_of_user() -> int:
    """Return how many threads the user of this process has."""
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat("/proc/" + name).st_uid == os.getuid():
                total += len(os.listdir("/proc/" + name + "/task"))
        except OSError:
            continue
    return total


def main() -> None:
    """Apply the limits that the arguments name and become the program after ``--``."""
    border = sys.argv.index("--")
    program = sys.argv[border + 1 :]
    limits = {}
    for word in sys.argv[1:border]:
        name, _, value = word.partition("=")
        limits[name] = int(value)
    try:
        apply(limits)
        os.execvp(program[0], program)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"Cannot start {program[0]}: {getattr(error, 'strerror', None) or error}\n")
        os._exit(126)


if __name__ == "__main__":
    main()
