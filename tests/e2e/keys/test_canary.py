"""
The canary: secrets go in through every door, a mixed load runs, and everything there is to look at is searched for them.

None may stand anywhere but where the specification puts it (``ALLOWED``).
"""

import base64
import hashlib
import hmac
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.canaries import Canaries, Finding
from tests.e2e.keys import canary_pack
from tests.e2e.keys.canary_flows import TERMINAL, Flows
from tests.e2e.keys.canary_places import BrokerWatch, Console, Crawl, Place, ProcessWatch, Recorder, files, tables
from tests.processes import ADMIN, QUICK, Process, Processes, Up, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

MOST_OF_A_KIND = 8  # objects that each route and each kind of page is asked about
# Who owns the place may see the value there. (canary, place), both whole.
ALLOWED = (
    (r".* \(operator\)", r"environ of the server"),  # the settings it was started with
    (r"a JWT", r"environ of a process of it"),  # ATTUNE_API_TOKEN
    (r"a JWT", r"answer to POST /auth/(login|token-login|refresh)"),
    (r".* key(, line \d)?", r"answer to (POST|PUT) /api/v1/keys.*"),
    (r".* key(, line \d)?", r"(answer to )?GET /api/v1/keys/.*"),  # the administrator holds keys:decrypt
    (r".* key(, line \d)?", r"page /admin/keys/key/N/value/"),
    (r"integration token", r"answer to POST /api/v1/identities/\d+/integration-tokens"),  # shown this once
)
# Routes that answer nothing here: of sign-ins elsewhere, and of what this scene has none of.
NOTHING_THERE = ("/auth/callback", "/auth/oidc/", "/auth/logout", "/api/v1/policies", "/api/v1/pack-indices")


class Scene:
    """A product, its secrets, and who works with it."""

    def __init__(self, processes: Processes, directory: Path, stack: dict[str, str]) -> None:
        self.processes = processes
        self.canaries = Canaries()
        self.canaries.know("a JWT", "eyJhbGciOiJIUzI1NiIsInR5cCI6")
        self.recorder = Recorder()
        self.clients = ExitStack()
        self.state, self.inputs, self.temporary = (directory / name for name in ("state", "inputs", "tmp"))
        for folder in (self.inputs, self.temporary):
            folder.mkdir()
        self.keys = [self.canaries.plain(f"encryption key {number} (operator)") for number in (1, 2)]
        self.environment = {
            **stack,
            "TMPDIR": str(self.temporary),
            "ATTUNE_JWT_SECRET": self.canaries.plain("JWT secret (operator)"),
            "ATTUNE_INTERNAL_TOKEN": self.canaries.plain("internal token (operator)"),
        }
        self.database_url = stack.get("DATABASE_URL") or f"sqlite:///{self.state / 'attune.sqlite3'}"
        self.password = self.canaries.plain("password of the administrator (operator)")
        self.commands: list[Process] = []
        self.handed: dict[str, str] = {}  # secrets that programs got: their names by hash
        self.up: Up = processes.up(
            self.state, **self.environment, **QUICK, **self.encrypted_by(0, 1), ATTUNE_ADMIN_PASSWORD=self.password,
            ATTUNE_WORKER_SLOTS="4",
        )  # fmt: skip

    def encrypted_by(self, present: int, previous: int) -> dict[str, str]:
        keys = {"ATTUNE_ENCRYPTION_KEY": self.keys[present], "ATTUNE_ENCRYPTION_PREVIOUS_KEYS": self.keys[previous]}
        return {**keys, "ATTUNE_STATE_DIR": str(self.state)}

    def sign_in(self) -> None:
        self.client = self.another_client()
        signed_in = self.client.post("/auth/login", json={"login": ADMIN["login"], "password": self.password})
        assert signed_in.status_code == 200, signed_in.text
        self.client.headers["Authorization"] = f"Bearer {signed_in.json()['data']['access_token']}"

    def another_client(self) -> httpx.Client:
        """Return a client of nobody, whose answers are looked at as well."""
        hooks = {"response": [self.recorder.hear]}
        client = httpx.Client(base_url=self.up.url, timeout=30, trust_env=False, event_hooks=hooks)
        return self.clients.enter_context(client)

    def ask(self, method: str, path: str, expected: int = 0, **options: Any) -> Any:
        answer = self.client.request(method, f"/api/v1/{path}", **options)
        assert answer.status_code == expected if expected else answer.status_code < 300, (path, answer.text)
        return answer.json().get("data")

    def command(self, *words: str, present: int = 0) -> Process:
        """Start a command; ``all_done`` waits for it."""
        environment = {**self.environment, **self.encrypted_by(present, 1 - present)}
        self.commands.append(self.processes.any([sys.executable, "manage.py", *words], **environment))
        return self.commands[-1]

    def all_done(self) -> None:
        for command in self.commands:
            assert command.wait(90) == 0, command.output()

    def input(self, name: str, content: Any) -> str:
        path = self.inputs / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    # --- Doors ----------------------------------------------------------------------------------------------------

    def hand(self, name: str) -> str:
        """Return a new secret that a program will get, which then says its hash."""
        secret = self.canaries.new(name)
        self.handed[hashlib.sha256(secret.encode()).hexdigest()] = name
        return secret

    def parameters(self, what: str, how: str, *, arrive: bool = True) -> dict[str, Any]:
        return {
            "token": self.hand(f"{what}: token") if arrive else self.canaries.new(f"{what}: token"),
            "certificate": self.canaries.lines(f"{what}: certificate"),
            "account": {"name": "open", "pin": self.canaries.new(f"{what}: pin")},
            "codes": [self.canaries.new(f"{what}: code")],
            "how": how,
        }

    def execute(self, action: str, how: str, **fields: Any) -> int:
        body = {"action_ref": f"canary.{action}", "parameters": self.parameters(f"{action} {how}", how), **fields}
        return int(self.ask("POST", "executions/execute", json=body)["id"])

    def rule(self, name: str, action: str, params: dict[str, Any], **fields: Any) -> None:
        body = {"ref": f"canary.{name}", "label": name, "pack_ref": "canary", "trigger_ref": "canary.hook",
                "action_ref": f"canary.{action}", "action_params": params, **fields}  # fmt: skip
        self.ask("POST", "rules", json=body)

    def deliver(self, hook: str, secret: str, payload: Any) -> httpx.Response:
        body = json.dumps(payload).encode()
        signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
        return self.client.post(f"{hook}/raw", content=body, headers={"X-Webhook-Signature": f"sha256={signature}"})

    def status(self, execution: int) -> str:
        return str(self.ask("GET", f"executions/{execution}")["status"])

    def leaks(self, places: Iterator[Place]) -> Iterator[Finding]:
        for place, content in places:
            for finding in self.canaries.search(content, place):
                if not any(re.fullmatch(c, finding.canary) and re.fullmatch(p, place) for c, p in ALLOWED):
                    yield finding


@pytest.fixture
def scene(processes: Processes, tmp_path: Path, stack: dict[str, str]) -> Iterator[Scene]:
    scene = Scene(processes, tmp_path, stack)
    scene.up.wait_ready()
    with scene.clients:
        scene.sign_in()
        yield scene


def test_no_secret_is_found_anywhere(scene: Scene) -> None:
    watches = ExitStack()
    watched: list[Any] = [watches.enter_context(ProcessWatch(scene.up.pid))]
    if broker := scene.environment.get("CELERY_BROKER_URL"):
        watched.append(watches.enter_context(BrokerWatch(broker)))
    with watches:
        console = scene.clients.enter_context(Console(scene.up.url, ADMIN["login"], scene.password, MOST_OF_A_KIND))
        keys_go_in(scene, console)
        people_go_in(scene, console)
        flows = Flows(scene, console)
        flows.start()
        executions = actions_run(scene)
        event = rules_fire(scene)
        commands_run(scene)
        executions += [scene.execute("again", "raise")]
        flows.go_on()
        stopped_ones(scene)
        wait_until(lambda: all_ended(scene), timeout_seconds=90, what="the end of all executions")
        scene.all_done()
        rules_are_tried(scene, event)
        problems = flows.problems()
        statuses = Counter(scene.status(execution) for execution in executions)

        for words in (("audit_export",), ("key_list", "--json")):
            scene.command(*words)
        crawl = Crawl(scene.client, MOST_OF_A_KIND, executions=flows.runs)
        found = list(scene.leaks(crawl.places()))
        found += scene.leaks(console.places(*(f"/admin/executions/execution/{run}/change/" for run in flows.runs)))
        found += scene.leaks(exports(scene))
        scene.all_done()
    scene.up.terminate()
    assert scene.up.wait() == 0

    for watch in (*watched, scene.recorder):
        found += scene.leaks(watch.places())
    found += scene.leaks(outputs(scene))
    found += scene.leaks(tables(scene.database_url))
    found += scene.leaks(files(scene.state, scene.temporary))

    assert not found, "\n".join(map(str, found[:60]))
    # And the search has seen what it should: programs that had the secrets, routes that answered, things to look at.
    assert not problems, "\n".join(problems)
    assert statuses.keys() >= {"completed", "failed", "timeout"}
    assert [place for place, content in watched[0].places() if b"ATTUNE_API_TOKEN=" in content]
    printed = b"".join(content for place, content in files(scene.state) if place.endswith(".log"))
    assert [name for hashed, name in scene.handed.items() if hashed.encode() not in printed] == []
    assert printed.count(b"***") > 1000
    unseen = {
        route for route, seen in crawl.statuses.items() if 200 not in seen and not route.startswith(NOTHING_THERE)
    }
    assert unseen == set()


def all_ended(scene: Scene) -> bool:
    rows = scene.ask("GET", "executions", params={"per_page": 100})
    return all(row["status"] in TERMINAL for row in rows)


def keys_go_in(scene: Scene, console: Console) -> None:
    upload = {"pack": ("canary.tar.gz", canary_pack.archive())}
    scene.ask("POST", "packs/upload", files=upload)
    scene.ask("PUT", "packs/canary", json={"config": {"api_key": scene.canaries.new("pack config"), "region": "eu"}})
    owners = {"system_key": {"owner_type": "system"}, "api_key": {"owner_type": "pack", "owner_pack_ref": "canary"}}
    for name, owner in owners.items():
        body = {"ref": f"canary.{name}", "name": name, "value": scene.hand(f"{name} key"), "encrypted": True, **owner}
        scene.ask("POST", "keys", json=body, headers={"Idempotency-Key": f"key {name}".replace(" ", "-")})
        scene.ask("POST", "keys", expected=409, json=body)
    tree = {"user": scene.canaries.new("tree key"), "list": [scene.canaries.lines("lines key")]}
    scene.ask("POST", "keys", json={"ref": "canary.tree", "owner_type": "action", "owner_action_ref": "canary.python",
                                    "name": "tree", "value": tree, "encrypted": True})  # fmt: skip
    scene.ask("PUT", "keys/canary.tree", json={"value": {**tree, "more": scene.canaries.new("new key")}})
    wrong = {"ref": "NOT a ref", "owner_type": "system", "name": "x"}
    refused = {"value": scene.canaries.new("refused"), "encrypted": True}
    scene.ask("POST", "keys", expected=422, json={**wrong, **refused})
    scene.client.post("/api/v1/keys", content=json.dumps(refused)[:-1])
    form = {**wrong, "value": scene.canaries.new("refused form"), "encrypted": "on"}
    assert console.post("/admin/keys/key/add/", **form).status_code == 200
    form = {**form, "ref": "canary.form", "value": scene.canaries.new("form key")}
    assert "canary.form" in console.post("/admin/keys/key/add/", **form).text


def people_go_in(scene: Scene, console: Console) -> None:
    first, second = (scene.canaries.plain(f"{name} password") for name in ("first", "second"))
    person = scene.ask(
        "POST", "identities", json={"login": "olga", "password": first}, headers={"Idempotency-Key": "o"}
    )
    scene.ask("POST", "permissions/assignments",
              json={"identity_login": "olga", "permission_set_ref": "core.viewer"})  # fmt: skip
    token = scene.ask("POST", f"identities/{person['id']}/integration-tokens",
                      json={"label": "ci"}, headers={"Idempotency-Key": "t"})["token"]  # fmt: skip
    scene.canaries.know("integration token", token)
    scene.client.post("/auth/token-login", json={"token": token})
    scene.client.post("/auth/token-login", json={"token": scene.canaries.know("wrong token", f"{token}x")})
    signed_in = scene.client.post("/auth/login", json={"login": "olga", "password": first}).json()["data"]
    bearer = {"Authorization": f"Bearer {signed_in['access_token']}"}
    scene.client.post("/auth/refresh", json={"refresh_token": signed_in["refresh_token"]})
    change = {"current_password": first, "new_password": second}
    assert scene.client.post("/auth/change-password", json=change, headers=bearer).status_code == 200
    assert scene.client.post("/auth/change-password", json=change, headers=bearer).status_code == 401
    wrong = scene.canaries.plain("wrong password")
    assert scene.client.post("/auth/login", json={"login": "olga", "password": wrong}).status_code == 401
    assert scene.client.post("/auth/login", json={"login": "olga", "password": [wrong]}).status_code == 422
    anybody = scene.another_client()
    anybody.post("/admin/login/", data={"username": "olga", "password": scene.canaries.plain("form password")})
    anybody.get("/api/v1/keys", headers={"Authorization": "Bearer " + scene.canaries.plain("no bearer")})
    anybody.get("/api/v1/keys", headers={"Authorization": "Basic " + base64.b64encode(wrong.encode()).decode()})


def actions_run(scene: Scene) -> list[int]:
    started = [
        scene.execute("python", how, **more)
        for how, more in (
            ("print", {"permission_set_refs": ["standard"]}),
            ("letters", {}), ("raise", {}), ("die", {}), ("large", {"env_vars": {"REGION": "eu"}}),
        )
    ]  # fmt: skip
    started += [scene.execute("python", "wait", timeout_seconds=2)]
    started += [scene.execute("shell", "wait", timeout_seconds=2, permission_set_refs=["standard"])]
    started += [scene.execute(action, how) for action in ("shell", "node", "inline") for how in ("print", "raise")]
    started += [scene.execute("file", "print")]
    for how in ("print", "fail"):
        output = scene.canaries.new(f"output of {how}")
        pieces = [output[start : start + 5] for start in range(0, len(output), 5)]
        body = {"action_ref": "canary.output", "parameters": {"pieces": pieces, "how": how}}
        started.append(int(scene.ask("POST", "executions/execute", json=body)["id"]))
    refused = {"action_ref": "canary.number", "parameters": {"pin": scene.canaries.new("no number")}}
    started.append(int(scene.ask("POST", "executions/execute", json=refused)["id"]))
    return started


def stopped_ones(scene: Scene) -> None:
    """Some are cancelled while they run, one is closed by force, one is tried again by hand."""
    running = {how: scene.execute(action, "wait") for how, action in (("cancel", "python"), ("force-close", "node"))}
    for verb, execution in running.items():
        log = f"/api/v1/executions/{execution}/logs/stdout"
        wait_until(lambda log=log: scene.client.get(log).content, timeout_seconds=60, what="its output")
        scene.ask("POST", f"executions/{execution}/{verb}", json={})
    first = running["cancel"]
    wait_until(lambda: scene.status(first) == "cancelled", what="the cancel")
    marker = scene.ask("GET", f"executions/{first}")["config"]["token"]
    edited = {**scene.parameters("by hand", "raise", arrive=False), "token": marker}
    scene.ask("POST", f"executions/{first}/retry", json={"parameters": edited, "reason": "again"})
    for parameters in ({"token": scene.canaries.new("refused token"), "certificate": 7},):
        scene.ask("POST", "executions/execute", expected=422,
                  json={"action_ref": "canary.shell", "parameters": parameters, "validate": True})  # fmt: skip


def rules_fire(scene: Scene) -> int:
    """Return an event with secrets."""
    scene.rule("mapped", "shell", {"token": "{{ event.payload.token }}", "certificate": "{{ pack.config.api_key }}",
                                   "codes": ["{{ event.payload.account.pin }}"]})  # fmt: skip
    scene.rule("literal", "python", scene.parameters("rule", "print", arrive=False))
    scene.rule("compared", "shell", {"token": "x"}, conditions=[
        {"field": "token", "operator": "equals", "value": "no"},
        {"field": "account", "operator": "equals", "value": {"pin": "no"}},
    ])  # fmt: skip
    scene.rule("computed", "shell", {"token": "x"},
               conditions={"expression": "event.payload.level > 5 or match('(' ~ event.payload.token, 'x')"})  # fmt: skip
    scene.rule("deduped", "shell", {"token": "{{ event.payload.token }}"},
               dedupe={"key": "{{ event.payload.token }} {{ event.payload.account }}", "window_seconds": 60})  # fmt: skip
    scene.rule("counted", "shell", {"token": "{{ aggregate.payloads }}"},
               aggregate={"key": "{{ event.payload.account.pin }}", "count": 2, "window_seconds": 60})  # fmt: skip
    scene.rule("typed", "number", {"pin": "{{ event.payload.token }}", "text": "{{ event.payload.token }}"})
    scene.rule("ticking", "inline", scene.parameters("timer", "raise"), trigger_ref="core.intervaltimer",
               trigger_params={"interval": 1, "unit": "seconds"})  # fmt: skip
    changed = {"action_params": scene.parameters("changed rule", "raise")}
    scene.ask("PUT", "rules/canary.literal", json=changed)
    hook = scene.ask("POST", "triggers/canary.hook/webhooks/enable")["webhook_key"]
    secret = scene.canaries.plain("webhook secret")
    old = {
        "previous_secret": scene.canaries.plain("old webhook secret"),
        "previous_secret_expires_at": "2099-01-01T00:00:00Z",
    }
    signed = {"hmac": {"enabled": True, "secret": secret, **old}}
    scene.ask("PUT", "triggers/canary.hook/webhooks", json={"webhook_config": signed})
    payload = {
        "token": scene.hand("payload"),
        "account": {"pin": scene.canaries.new("pin of the payload")},
        "level": 3,
    }
    url = f"/api/v1/webhooks/{hook}"
    delivered = scene.deliver(url, secret, payload)
    assert delivered.status_code == 200, delivered.text
    assert scene.deliver(url, secret, {**payload, "level": "high"}).status_code == 200
    assert scene.deliver(url, "another", payload).status_code == 401
    event = int(delivered.json()["data"]["event_id"])
    scene.ask("POST", f"events/{event}/replay", json={})
    fired = {"rule_ref": "canary.ticking"}
    wait_until(lambda: scene.ask("GET", "executions", params=fired), timeout_seconds=60, what="the timer")
    scene.ask("POST", "rules/canary.ticking/disable")
    return event


def rules_are_tried(scene: Scene, event: int) -> None:
    payload = {"token": scene.canaries.new("tried payload"), "account": {"pin": scene.canaries.new("tried pin")}}
    drafted = {"action_params": {"token": scene.canaries.new("draft"), "certificate": "{{ event.payload.token }}"}}
    for rule in ("mapped", "literal", "compared", "computed", "deduped", "typed"):
        draft = {} if rule == "typed" else drafted  # its action has no such secret
        scene.ask("POST", f"rules/canary.{rule}/test", json={"event_id": event})
        scene.ask("POST", f"rules/canary.{rule}/test", json={"payload": payload, **draft})
        scene.ask("POST", f"rules/canary.{rule}/backtest", json=draft)


def commands_run(scene: Scene) -> None:
    """Commands of the operator while the load runs, a rotation of the encryption key among them."""
    value = scene.input("value", scene.canaries.new("command key"))
    parameters = scene.input("parameters", scene.parameters("command", "raise"))
    payload = scene.input("payload", {"token": scene.canaries.new("emitted"), "level": 1})
    scene.command("key_set", "canary.command", "--pack", "canary", "--file", value)
    scene.command("attune_run", "canary.inline", "--params-json", f"@{parameters}")
    scene.command("event_emit", "canary.hook", "--payload", f"@{payload}", "--json")
    scene.all_done()
    scene.command("rotate_keys", present=1)


def exports(scene: Scene) -> Iterator[Place]:
    for kind in ("jsonl", "csv", "json"):
        yield f"export {kind}", scene.client.get("/api/v1/executions/export", params={"format": kind}).content
    for path in ("executions", "rules", "packs/canary", "triggers/canary.hook/webhooks", "events", "audit-events"):
        page = scene.client.get(f"/api/v1/{path}", headers={"Accept": "text/html"})
        assert page.headers["Content-Type"].startswith("text/html"), path
        yield f"browsable {path}", page.content


def outputs(scene: Scene) -> Iterator[Place]:
    yield "output of the server", scene.up.output().encode()
    for command in scene.commands:
        yield "output of a command", command.output().encode()
