#!/usr/bin/env python3
"""The administrator's command line: ``manage.py help`` lists what it can do."""

import os
import sys


def main() -> int:
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
