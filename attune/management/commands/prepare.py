"""``manage.py prepare``: what ``up`` does before it starts anything, for hosts that run the parts alone."""

from textwrap import dedent
from typing import Any

from apps.core.commands import ConsoleCommand
from apps.identity.services import ensure_administrator
from apps.packs.services import load_core_pack
from attune.management.commands.up import first_password
from attune.preflight import check_database, check_encryption
from attune.product import migrate


class Command(ConsoleCommand):
    help = dedent(
        """\
        Make the database ready: tables, the core pack, the administrator.

        `manage.py up` does the same at every start. Where the parts run alone (an ASGI server, `celery -A attune
        worker`, `manage.py scheduler`, `manage.py sensors`) run it once before the first start and after each upgrade,
        on one host. It may be run again at any time and changes nothing that is in order.

        The first time it makes the administrator and shows the password, or takes ATTUNE_ADMIN_LOGIN and
        ATTUNE_ADMIN_PASSWORD."""
    )

    def handle(self, **_options: Any) -> None:
        self.check()
        check_database()
        migrate()
        check_encryption()
        pack = load_core_pack()
        lines = ["", *first_password(ensure_administrator())]
        self.stdout.write("\n".join([f"The database is ready (core pack {pack.version}).", *lines]).rstrip())
