"""All places of an installation that somebody can look at: tables, files, processes, answers, pages."""

import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import redis

Place = tuple[str, bytes]
LOOK_SECONDS = 0.03


# --- Stores ------------------------------------------------------------------------------------------------------


def tables(database_url: str) -> Iterator[Place]:
    """Yield each row of each table as text."""
    if database_url.startswith("sqlite:///"):
        yield from _tables_of_sqlite(database_url.removeprefix("sqlite:///"))
    else:
        yield from _tables_of_postgresql(database_url)


def _tables_of_sqlite(path: str) -> Iterator[Place]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                yield f"table {name}", b"\n".join(_bytes(value) for value in row)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _tables_of_postgresql(url: str) -> Iterator[Place]:
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, name in names:
            for (text,) in connection.execute(f'SELECT t::text FROM "{schema}"."{name}" t'):
                yield f"table {name}", text.encode()


def files(*directories: Path, but: frozenset[str] = frozenset()) -> Iterator[Place]:
    """Yield every file below the directories, and its name."""
    for directory in directories:
        for path in directory.rglob("*"):
            if path.is_file() and path.name not in but:
                yield f"file {path.relative_to(directory)}", str(path).encode() + path.read_bytes()


class BrokerWatch:
    """Keeps every command that anybody sends to the broker, with what it carries."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._seen: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._monitor = self._client.monitor().__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.echo("end of the watch")
        self._thread.join(10)
        self._client.close()

    def _run(self) -> None:
        for command in self._monitor.listen():
            self._seen.append(str(command["command"]).encode())
            if "end of the watch" in command["command"]:
                self._monitor.__exit__(None, None, None)
                return

    def places(self) -> Iterator[Place]:
        for seen in self._seen:
            yield "message", seen


# --- Processes ---------------------------------------------------------------------------------------------------


class ProcessWatch:
    """Keeps the arguments and environments of a process and of all that comes from it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: dict[bytes, str] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        for pid in descendants(self._pid):
            who = "the server" if pid == self._pid else "a process of it"
            for what in ("cmdline", "environ"):
                with contextlib.suppress(OSError):  # it has ended
                    self._seen.setdefault(Path(f"/proc/{pid}/{what}").read_bytes(), f"{what} of {who}")

    def places(self) -> Iterator[Place]:
        for content, place in self._seen.items():
            yield place, content


def descendants(pid: int) -> list[int]:
    """Return the process and all that descend from it, whichever session they are in."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


# --- Answers and pages -------------------------------------------------------------------------------------------

# What some routes have to be asked for.
_QUERIES = {
    "/api/v1/permissions/explain": "?resource=keys&action=read",
    "/api/v1/executions/{id}/logs/search": "?q=e",
}
_NAMES = re.compile(r"{(\w+)}")


class Crawl:
    """Asks every GET route of the OpenAPI document about everything there is."""

    def __init__(self, client: httpx.Client, most: int, *, executions: Sequence[int] = ()) -> None:
        self._client = client
        self._most = most
        self._executions = list(map(str, executions))  # asked about besides
        self._ids: dict[str, list[str]] = {}
        self.statuses: dict[str, set[int]] = {}

    def places(self) -> Iterator[Place]:
        paths = self._client.get("/api-spec/openapi.json").json()["paths"]
        routes = sorted((path for path in paths if "get" in paths[path]), key=lambda path: path.count("{"))
        for route in routes:
            self.statuses[route] = set()
            for path in self._paths(route):
                answer = self._client.get(path)
                self.statuses[route].add(answer.status_code)
                yield f"GET {route}", path.encode() + answer.content + str(answer.headers).encode()

    def _paths(self, route: str) -> Iterator[str]:
        found = [""]
        end = 0
        for match in _NAMES.finditer(route):
            fixed = route[end : match.start()]
            found = [
                f"{before}{fixed}{value}"
                for before in found
                for value in self._values(match[1], before + fixed, is_last=match.end() == len(route))
            ]
            end = match.end()
        query = _QUERIES.get(route) or ("?per_page=500" if "{" not in route else "")
        return (f"{path}{route[end:]}{query}" for path in found)

    def _values(self, name: str, parent: str, *, is_last: bool) -> list[str]:
        match name:
            case "status":
                return ["completed", "failed", "timeout", "cancelled", "responded"]
            case "stream":
                return ["stdout", "stderr"]
            case "entity_type":
                return ["execution", "worker"]
            case "enforcement":
                return self._listed("/api/v1/enforcements", "id")
            case "request_id":
                return self._listed("/api/v1/audit-events", "request_id")[:3]
            case "number":
                return self._listed(parent.rstrip("/"), "version")
        if parent == "/api/v1/artifacts/ref/":
            parent = "/api/v1/artifacts/"
        return self._listed(parent.rstrip("/"), name)

    def _listed(self, path: str, field: str) -> list[str]:
        """Return this field of what a list has, of some all over it."""
        key = f"{path} {field}"
        if key not in self._ids:
            answer = self._client.get(path, params={"per_page": 500})
            rows = answer.json().get("data") if answer.status_code == 200 else None
            found = [str(row[field]) for row in rows or () if isinstance(row, dict) and row.get(field) is not None]
            besides = self._executions if path == "/api/v1/executions" else []
            self._ids[key] = list(dict.fromkeys(besides + _some(list(dict.fromkeys(found)), self._most)))
        return self._ids[key]


def _some(values: list[str], most: int) -> list[str]:
    step = max(1, -(-len(values) // most))
    return values[::step]


_MANY = re.compile("/(executions|rules|queues|inquiries)/")  # where more than two pages of a kind are looked at
_LINKS = re.compile(r'(?:href|action|hx-get)="(/admin/[^"#?]*)')


class Console:
    """Follows the links of the console from its first page on; a page is looked at, nothing is changed."""

    def __init__(self, url: str, login: str, password: str, most: int) -> None:
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False, follow_redirects=True)
        self._most = most  # of the pages of one kind
        page = self.client.get("/admin/login/")
        form = {"username": login, "password": password, "csrfmiddlewaretoken": token_of(page), "next": "/admin/"}
        answer = self.client.post("/admin/login/", data=form, headers={"Referer": f"{url}/admin/login/"})
        assert "/admin/login/" not in str(answer.url), answer.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()

    def post(self, path: str, *, on: str = "", **fields: str) -> httpx.Response:
        """Send a form that stands on the page ``on``, by default that of the same path."""
        form = {**fields, "csrfmiddlewaretoken": token_of(self.client.get(on or path))}
        return self.client.post(path, data=form, headers={"Referer": str(self.client.base_url.join(path))})

    def places(self, *first: str) -> Iterator[Place]:
        """Yield the pages that are to be looked at first, and what can be reached."""
        waiting, kinds = [*first, "/admin/"], dict[str, int]()
        known = set(waiting)
        for path in waiting:
            kind = re.sub(r"/\d+/", "/N/", path)
            kinds[kind] = kinds.get(kind, 0) + 1
            most = self._most if _MANY.search(kind) else 2
            if kinds[kind] > most or path.endswith(("/logout/", "/jsi18n/")):
                continue
            answer = self.client.get(path)
            assert answer.status_code < 500, (path, answer.status_code)
            yield f"page {kind}", answer.content
            for link in _LINKS.findall(answer.text):
                if link not in known:
                    known.add(link)
                    waiting.append(link)


def token_of(page: httpx.Response) -> str:
    """Return the token that a form of the page has to send."""
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    return found[1] if found else ""


class Recorder:
    """Keeps every answer that its clients get."""

    def __init__(self) -> None:
        self._seen: list[Place] = []

    def hear(self, answer: httpx.Response) -> None:
        answer.read()
        place = f"answer to {answer.request.method} {answer.request.url.path}"
        self._seen.append((place, answer.content + str(answer.headers).encode()))

    def places(self) -> Iterator[Place]:
        yield from self._seen
