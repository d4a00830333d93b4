#!/usr/bin/env python3
"""The administrator's command line: ``manage.py help`` lists what it can do."""

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")
    from django.core.management import execute_from_command_line  # after the settings module is named
    from django.db.utils import OperationalError

    from settings.env import CannotStart

    try:
        execute_from_command_line(sys.argv)
    except CannotStart as refusal:
        print(f"attune: {refusal}", file=sys.stderr)
        return 2
    except OperationalError as error:
        from attune.preflight import explain  # needs the settings, which were fine when a query could fail

        sentence = explain(error)
        if sentence is None:
            raise
        print(f"attune: {sentence}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
