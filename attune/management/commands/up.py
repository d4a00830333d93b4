"""``manage.py up``: the whole product, one command."""

import sys
from textwrap import dedent
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import connection

from apps.core.commands import ConsoleCommand
from apps.identity.services import Administrator
from attune import opening


class Command(ConsoleCommand):
    help = dedent(
        """\
        Start the whole product in this process: API and admin, a worker, the scheduler, the sensors.

        Without settings it keeps everything in var/: an SQLite database, the keys, logs and artifacts. Set
        DATABASE_URL=postgres://... and CELERY_BROKER_URL=redis://... to share the work with more machines; there
        `celery -A attune worker`, `manage.py scheduler` and `manage.py sensors` are the parts alone. Every setting is
        an environment variable: docs/configuration.md.

        Ctrl-C stops it: what runs has 3 seconds to finish; a second Ctrl-C skips the wait."""
    )

    def add_arguments(self, parser: CommandParser) -> None:
        opening.add_arguments(parser)

    def handle(self, *, host: str, port: int, **_options: Any) -> None:
        door = opening.door(host, port)
        from attune.product import Product, Stopped  # the engine loads while the door already answers

        product = Product(door)
        with product.signals_handled():
            try:
                administrator = product.start(self.check)
                self.stdout.write(welcome(door.address, administrator))
                self.stdout.flush()
                asked = product.wait()
            except Stopped:
                asked = True
            finally:
                clean = product.stop()
        if not asked or not clean:
            sys.exit(1)
        self.stdout.write("Attune has stopped.")


def welcome(address: str, administrator: Administrator | None) -> str:
    """Return what is said once everything is up: where things are and what to try next."""
    stack = "PostgreSQL" if connection.vendor == "postgresql" else f"SQLite in {settings.STATE_DIR}"
    login = administrator.login if administrator else (settings.ADMIN_LOGIN or "admin")
    lines = [
        "",
        f"Attune {settings.ATTUNE_VERSION} is ready ({stack}).",
        f"  API     {address}/api/v1/",
        f"  OpenAPI {address}/docs",
        f"  Admin   {address}/admin/",
        "",
    ]
    lines += first_password(administrator)
    lines += [
        "Try next, in another terminal:",
        f"  TOKEN=$(curl -s {address}/auth/login -H 'Content-Type: application/json' \\",
        f"""    -d '{{"login": "{login}", "password": "<password>"}}' \\""",
        """    | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"]["access_token"])')""",
        f"""  curl -s {address}/api/v1/executions/execute -H "Authorization: Bearer $TOKEN" \\""",
        "    -H 'Content-Type: application/json' \\",
        """    -d '{"action_ref": "core.echo", "parameters": {"message": "hello, world"}}'""",
        "",
        "Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def first_password(administrator: Administrator | None) -> list[str]:
    """Return what is said when the administrator was made with a password nobody chose."""
    if administrator is None or administrator.password == settings.ADMIN_PASSWORD:
        return []
    return [
        f"Sign in as {administrator.login} with the password {administrator.password}",
        "It is shown this once and kept nowhere.",
        "",
    ]
