"""``manage.py createsuperuser``: what people who know Django type; here it has another name."""

from typing import Any

from apps.core.commands import ConsoleCommand, Problem

INSTEAD = "There is no superuser here. Make an administrator with: manage.py create_identity --login NAME --permission-set core.admin"


class Command(ConsoleCommand):
    help = INSTEAD

    def handle(self, **_options: Any) -> None:
        raise Problem(INSTEAD)
