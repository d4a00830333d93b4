"""
What ``manage.py up`` does first: take the state directory and open the port.

It needs the settings and nothing else of Django, so that the health pages answer while the rest is still loading.
"""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence

from django.conf import settings

from attune.server import Application, Doorkeeper, HttpServer, listen
from attune.state_directory import StateDirectoryLock, check_directories
from settings.addresses import local_url


class Door:
    """A listening port that says "starting" until it is let through to the product."""

    def __init__(self, host: str, port: int) -> None:
        """Raises CannotStart."""
        check_directories()
        self._lock = StateDirectoryLock(settings.STATE_DIR)
        self._lock.take()
        listener = listen(host, port)
        self.address = local_url(host, listener.getsockname()[1])
        self._keeper = Doorkeeper()
        self._http = HttpServer(listener, self._keeper)
        self._http.start()

    @property
    def alive(self) -> bool:
        return self._http.alive

    def let_through(self, application: Application) -> None:
        self._keeper.application = application

    def close(self) -> None:
        self._http.stop()
        self._lock.release()


_opened: Door | None = None


def open_early(arguments: Sequence[str]) -> None:
    """Open the door that a command line of ``up`` asks for; what is wrong with the line, the command itself says."""
    global _opened
    parser = ArgumentParser(add_help=False, exit_on_error=False)
    add_arguments(parser)
    if {"-h", "--help", "--version"} & set(arguments):
        return
    try:
        options, _others = parser.parse_known_args(arguments)
    except Exception:  # argparse has several ways to refuse
        return
    _opened = Door(options.host, options.port)


def door(host: str, port: int) -> Door:
    """Return the door that was opened early, else a new one. Raises CannotStart."""
    return _opened or Door(host, port)


def port_number(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port: 0 to 65535")
    return int(text)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--host", default=settings.HOST, help="address to listen on (ATTUNE_HOST, now %(default)s)")
    parser.add_argument(
        "--port",
        type=port_number,
        default=settings.PORT,
        help="port to listen on (ATTUNE_PORT, now %(default)s); 0 takes a free one",
    )
