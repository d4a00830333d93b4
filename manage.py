#!/usr/bin/env python3
"""The administrator's command line: ``manage.py help`` lists what it can do."""

import os
import signal
import sys
from types import FrameType


class Interrupt:
    """
    Ctrl-C raises KeyboardInterrupt as always, and ``came`` remembers it (attune.stopping asks).

    Python drops what is raised inside a callback of a weak reference, and loading modules makes many of these: one in
    some hundred Ctrl-C is lost while the program loads.
    """

    came = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


def main() -> int:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, Interrupt())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")
    from settings.env import CannotStart  # after the settings module is named

    try:
        if sys.argv[1:2] == ["up"]:
            from attune.opening import open_early  # ahead of Django, which takes a second to load

            open_early(sys.argv[2:])
        return run()
    except CannotStart as refusal:
        print(f"attune: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if sys.argv[1:2] == ["up"]:
            # It was loading still, so nothing is lost. The thread behind the open port may hold a lock of the logging
            # just now, and the interpreter's own end would wait for that for ever.
            os._exit(130)
        return 130


def run() -> int:
    from django.core.management import execute_from_command_line
    from django.db.utils import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        from attune.preflight import explain  # needs the settings, which were fine when a query could fail
        from settings.env import CannotStart

        sentence = explain(error)
        if sentence is None:
            raise
        raise CannotStart(sentence) from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
