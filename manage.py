#!/usr/bin/env python3
"""The administrator's command line: ``manage.py help`` lists what it can do."""

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")
    from django.core.management import execute_from_command_line  # after the settings module is named

    from settings.env import BadSetting

    try:
        execute_from_command_line(sys.argv)
    except BadSetting as error:
        print(f"attune: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
