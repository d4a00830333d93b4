"""
Secrets go through workflows, work queues and questions.

``start`` begins everything, ``go_on`` does what has to wait for some of it: answers, a rerun, the second try of items.
"""

from typing import TYPE_CHECKING, Any

from tests.e2e.keys.canary_places import Console
from tests.processes import wait_until

if TYPE_CHECKING:
    from tests.e2e.keys.test_canary import Scene

TERMINAL = ("completed", "failed", "timeout", "cancelled", "abandoned")
ITEM = {
    "token": {"type": "string", "secret": True},
    "account": {"type": "object", "properties": {"pin": {"type": "string", "secret": True}}},
    "how": {"type": "string"},
}
# In the order in which PostgreSQL gives the names back; the form of the console numbers them.
QUESTION = {"open": {"type": "boolean"}, "password": {"type": "string", "secret": True}}


class Flows:
    """A run of a workflow with a rerun, two queues, and questions."""

    def __init__(self, scene: "Scene", console: Console) -> None:
        self._scene = scene
        self._console = console
        self.runs: list[int] = []

    # --- Workflows ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        made = self._scene.hand("secret output of a task")
        pieces = [made[at : at + 5] for at in range(0, len(made), 5)]
        parameters = {**self._scene.parameters("workflow", "print"), "pieces": pieces}
        run = self._scene.ask(
            "POST", "executions/execute", json={"action_ref": "canary.flow", "parameters": parameters}
        )
        self.runs.append(int(run["id"]))
        self._try_on_paper()
        self._fill_the_queues()

    def _try_on_paper(self) -> None:
        given = {**self._scene.parameters("dry run", "print", arrive=False), "pieces": []}
        output = {"password": self._scene.canaries.new("output of the dry run"), "many": [], "open": "x"}
        nested = {"token": self._scene.canaries.new("nested output of the dry run"), "listed": ["open"]}
        answer = {"response": {"password": self._scene.canaries.new("answer of the dry run")}}
        results = {
            "make": {"result": {"data": output}}, "nested": {"result": nested}, "ask": {"result": answer},
            "pass": {"status": "failed", "result": {"stdout": "{}"}},
        }  # fmt: skip
        for outcomes in (results, {**results, "pass": {}}):
            self._scene.ask("POST", "workflows/canary.flow/dry-run", json={"parameters": given, "results": outcomes})
        wrong = {"token": [self._scene.canaries.new("wrong for the dry run")], "how": 7}
        self._scene.client.post("/api/v1/workflows/canary.flow/dry-run", json={"parameters": wrong})
        self._scene.client.post("/api/v1/workflows/canary.flow/dry-run", json={"parameters": given, "results": 7})
        literal = {
            "tasks": [
                {"name": "a", "action": "canary.number", "input": {"pin": self._scene.canaries.new("checked literal")}}
            ]
        }
        schema = {"token": {"type": "string", "secret": True, "default": self._scene.canaries.new("checked default")}}
        body = {"definition": literal, "param_schema": schema, "pack_ref": "canary", "parameters": given}
        self._scene.ask("POST", "workflows/validate", json=body)

    # --- Queues ---------------------------------------------------------------------------------------------------

    def _fill_the_queues(self) -> None:
        common = {"pack_ref": "canary", "item_schema": ITEM, "enabled": False}
        tuning = {"concurrency": {"source": "literal", "value": 2}, "retry_limit": 1}
        self._queue("jobs", **common, dispatch_action_ref="canary.handler", allow_pending_update=True,
                    update_strategy="merge_patch", config={"dispatch": tuning})  # fmt: skip
        mapped = {
            "token": "{{ items.0.token }}", "certificate": "Bearer {{ items.1.account.pin }}", "codes": "{{ items }}",
            "open": "{{ items.0.token }}", "how": "{{ items.0[items.0.token] }}",
        }  # fmt: skip
        grouped = {**tuning, "batch_size": {"source": "literal", "value": 2}, "retry_limit": 0}
        grouped["coalescing"] = {"enabled": True, "group_by_path": "token"}
        self._queue("batches", **common, dispatch_action_ref="canary.inline", batch_mode="batch",
                    action_params=mapped, config={"dispatch": grouped})  # fmt: skip
        self._queue("exposed", **common, dispatch_action_ref="core.echo")

        self._enqueue("jobs", "k1", {**self._payload("replaced", "retry", arrive=False), "more": {"n": 1}})
        patched = self._enqueue("jobs", "k1", {"token": self._scene.hand("patch"), "more": {"n": None}}, expected=200)
        changed = {**self._payload("changed item", "raise"), "account": patched["payload"]["account"]}
        item = self._enqueue("jobs", "k2", self._payload("before the change", "raise", arrive=False))
        pin = {"account": item["payload"]["account"]}
        self._scene.ask("PUT", f"queues/canary.jobs/items/{item['id']}", json={"payload": {**changed, **pin}})
        cancelled = self._enqueue("jobs", "k3", self._payload("deleted item", "print", arrive=False))
        self._scene.ask("DELETE", f"queues/canary.jobs/items/{cancelled['id']}")
        for number in range(2):
            self._enqueue("batches", None, self._payload(f"batch {number}", "print", arrive=number == 0))
        self._enqueue("exposed", None, self._payload("exposed item", "print", arrive=False))
        wrong = {"token": [self._scene.canaries.new("no item")], "account": self._scene.canaries.new("no account")}
        self._scene.client.post("/api/v1/queues/canary.jobs/items", json={"payload": wrong, "item_key": "k4"})
        for name in ("jobs", "batches", "exposed"):
            self._scene.ask("PUT", f"queues/canary.{name}", json={"enabled": True})

    def _queue(self, name: str, **fields: Any) -> None:
        self._scene.ask("POST", "queues", json={"ref": f"canary.{name}", "label": name, **fields})

    def _payload(self, what: str, how: str, *, arrive: bool = True) -> dict[str, Any]:
        token = self._scene.hand(f"{what}: token") if arrive else self._scene.canaries.new(f"{what}: token")
        return {"token": token, "account": {"pin": self._scene.canaries.new(f"{what}: pin")}, "how": how}

    def _enqueue(self, queue: str, key: str | None, payload: Any, expected: int = 201) -> Any:
        headers = {"Idempotency-Key": f"{queue}-{key}-{expected}"} if key else {}
        body = {"payload": payload, "item_key": key}
        return self._scene.ask("POST", f"queues/canary.{queue}/items", expected, json=body, headers=headers)

    # --- Questions ------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Answer what the workflow asks, and further questions in every way; then run the workflow's failed part again."""
        scene = self._scene
        waiting = {"status": "pending"}
        wait_until(lambda: scene.ask("GET", "inquiries", params=waiting), timeout_seconds=90, what="the question")
        (asked,) = scene.ask("GET", "inquiries", params=waiting)
        self._answer(asked["id"], {"password": scene.hand("answer"), "open": True})
        self._ask_about_others()
        first = self.runs[0]
        wait_until(lambda: not self._item_problems(), timeout_seconds=90, what="the end of the queued items")
        wait_until(lambda: scene.status(first) in TERMINAL, timeout_seconds=90, what="the end of the workflow")
        token = scene.ask("GET", f"executions/{first}")["config"]["token"]
        again = {
            "parameters": {"token": scene.hand("rerun"), "certificate": scene.canaries.new("rerun: certificate")},
            "inputs": {"fail": {"token": scene.hand("input of the rerun"), "how": "print"}},
            "from_tasks": ["fail", "nested", "each"],
        }  # fmt: skip
        path = f"executions/{first}/rerun"
        self.runs.append(int(scene.ask("POST", path, json=again, headers={"Idempotency-Key": "again"})["id"]))
        for wrong in ({"inputs": {"fail": {"token": token, "certificate": scene.canaries.new("refused input")}}},
                      {"parameters": {"token": [scene.canaries.new("refused parameter")]}, "from_tasks": ["no"]}):  # fmt: skip
            scene.ask("POST", path, expected=422, json=wrong)

    def _answer(self, inquiry: int, response: Any, expected: int = 0) -> None:
        self._scene.ask("POST", f"inquiries/{inquiry}/respond", expected, json={"response": response})

    def _ask_about_others(self) -> None:
        scene = self._scene
        about = [row["id"] for row in scene.ask("GET", "executions", params={"action_ref": "canary.inline"})]
        asked = [self._ask(execution) for execution in about[:4]]
        refused = {"password": [scene.canaries.new("refused answer")], "open": scene.canaries.new("not open")}
        scene.ask("POST", f"inquiries/{asked[0]}/respond", expected=422, json={"response": refused})
        self._answer(asked[0], {"password": scene.canaries.new("answer over HTTP"), "open": False})
        update = {"status": "responded", "response": {"password": scene.canaries.new("answer by an update")}}
        scene.ask("PUT", f"inquiries/{asked[1]}", json=update)
        form = {"parameter_0": "true", "parameter_1": scene.canaries.new("answer in the console")}
        question = f"/admin/inquiries/inquiry/{asked[2]}"
        self._console.post(f"{question}/answer/", on=f"{question}/change/", **form)
        secret = scene.input("answer", scene.canaries.new("answer at the shell"))
        scene.command("inquiry_respond", str(asked[3]), "--set", f"password=@{secret}", "--json")

    def _ask(self, execution: int) -> int:
        body = {"execution": execution, "prompt": "Password?", "response_schema": QUESTION, "validate_response": True}
        return int(self._scene.ask("POST", "inquiries", json=body)["id"])

    # --- What came of it -------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Return what has not happened that should have: a search that sees nothing finds nothing."""
        first, second = (self._scene.ask("GET", f"executions/{run}/workflow") for run in self.runs)
        expected = {"completed": PASSED, "failed": FAILED}
        return [
            f"{row['name']} is {row['status']}: {row}"
            for run, names in ((first, expected), (second, {"failed": {"exposed"}}))
            for row in run["tasks"]
            for status, of_status in names.items()
            if row["name"] in of_status and row["status"] != status
        ] + [f"not answered: {row}" for row in self._scene.ask("GET", "inquiries", params={"status": "pending"})]

    def _item_problems(self) -> list[str]:
        """Return what is not yet, or never, the end that the items of the queues should come to."""
        wanted = {"jobs": ["completed", "failed"], "batches": ["failed", "failed"], "exposed": ["failed"]}
        found = {
            name: sorted(
                row["status"]
                for row in self._scene.ask("GET", f"queues/canary.{name}/items")
                if row["status"] != "cancelled"
            )
            for name in wanted
        }
        return [] if found == wanted else [str(found)]


PASSED = {"pass", "each", "make", "use", "nested", "use_nested", "ask", "use_answer", "caught"}
FAILED = {"fail", "exposed", "odd_input", "odd_items"}
