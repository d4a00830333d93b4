"""The console in a real browser: run an action through its form, see the result; make a rule, see what it decides."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from apps.identity.services import create_identity
from apps.packs.services import load_core_pack, register_pack

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOGIN, PASSWORD = "olga", "correct horse"
# Nothing from outside, no sandbox for root, no GPU.
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PACK = {
    "pack.yaml": "ref: e2e\nlabel: E2E\nversion: 1.0.0\n",
    "actions/greet.yaml": """
ref: e2e.greet
label: Greet
runner_type: shell
entry_point: 'for i in $(seq 1 "$times"); do echo "hello, $name <b>$i</b>"; done; test "$fail" != true'
parameters:
  name: {type: string, required: true, position: 0}
  times: {type: integer, default: 2, position: 1}
  fail: {type: boolean, default: false, position: 2}
""",
    "actions/wait.yaml": """
ref: e2e.wait
label: Wait
runner_type: shell
entry_point: 'echo waiting; sleep 60'
""",
    "triggers/door.yaml": """
ref: e2e.door
label: A door
parameters:
  floor: {type: integer, description: only on this floor}
""",
}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def page(tmp_path: Path, server: str, worker: object) -> Iterator[Page]:
    """
    A page of a browser that is signed in to the console.

    While it is open the test looks at pages only: the browser's loop runs in this thread, where Django allows no query.
    """
    load_core_pack()
    for name, text in PACK.items():
        path = tmp_path / "e2e" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    register_pack(tmp_path / "e2e")
    create_identity(LOGIN, password=PASSWORD, permission_sets=["core.admin"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(base_url=server)
        page.set_default_timeout(10_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        sign_in(page)
        yield page
        browser.close()
    assert faults == []  # no script failed, nothing was refused by the content policy


def sign_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Login").fill(LOGIN)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#overview")).to_be_visible()


def go(page: Page, where: str) -> None:
    """Choose a page in the side bar (the names of its links begin with those of their icons)."""
    page.locator(f"#nav-sidebar-apps a[href='/admin/{where}/']").click()


def open_form(page: Page, ref: str) -> None:
    go(page, "actions/action")
    page.get_by_role("row", name=ref).get_by_role("link", name=ref).click()
    page.locator("a[href$='/run/']").click()


def status_is(page: Page, status: str) -> None:
    expect(page.locator(f"#execution[data-status={status}]")).to_be_visible()


def test_an_action_runs_through_its_form_and_shows_what_it_did(page: Page) -> None:
    open_form(page, "e2e.greet")
    page.get_by_label("name").fill("world")
    page.get_by_label("times").fill("3")
    page.get_by_role("button", name="Run", exact=True).click()

    status_is(page, "completed")
    expect(page.locator("#log-stdout")).to_have_text("".join(f"hello, world <b>{n}</b>\n" for n in (1, 2, 3)))
    assert page.locator(".at-states b").all_text_contents() == [
        "requested", "scheduling", "scheduled", "running", "completed",
    ]  # fmt: skip

    go(page, "executions/execution")
    expect(page.get_by_role("row", name="e2e.greet")).to_contain_text("completed")


def test_a_failure_is_seen_and_tried_again_with_changes(page: Page) -> None:
    open_form(page, "e2e.greet")
    page.get_by_label("name").fill("world")
    page.get_by_label("fail").select_option("true")
    page.get_by_role("button", name="Run", exact=True).click()
    status_is(page, "failed")
    expect(page.locator(".at-measures")).to_contain_text("Exit code 1")

    page.get_by_role("link", name="Run with changes").click()
    expect(page.get_by_label("name")).to_have_value("world")
    page.get_by_label("fail").select_option("")
    page.get_by_role("button", name="Run", exact=True).click()

    status_is(page, "completed")


def test_what_does_not_fit_stays_in_the_form(page: Page) -> None:
    open_form(page, "e2e.greet")
    page.get_by_label("times").fill("often")
    page.get_by_role("button", name="Run", exact=True).click()

    expect(page.get_by_text("This field is required.")).to_be_visible()
    expect(page.get_by_text("times must be a whole number, not 'often'.")).to_be_visible()
    expect(page.get_by_label("times")).to_have_value("often")


def test_a_running_execution_is_cancelled_and_the_page_follows(page: Page) -> None:
    open_form(page, "e2e.wait")
    page.get_by_role("button", name="Run", exact=True).click()
    status_is(page, "running")
    expect(page.locator("#log-stdout")).to_have_text("waiting\n")

    page.get_by_role("link", name="Cancel", exact=True).click()
    page.get_by_label("Reason").fill("took too long")
    page.get_by_role("button", name="Cancel execution").click()

    status_is(page, "cancelled")
    expect(page.locator(".at-states")).to_contain_text("took too long")
    first = page.url
    page.get_by_role("link", name="Retry").click()
    page.get_by_role("button", name="Retry execution").click()
    status_is(page, "running")
    assert page.url != first
    page.get_by_role("link", name="Force-close").click()
    page.get_by_role("button", name="Force-close execution").click()
    status_is(page, "abandoned")


def test_many_are_chosen_from_the_list(page: Page) -> None:
    pages = []
    for _number in range(2):
        open_form(page, "e2e.wait")
        page.get_by_role("button", name="Run", exact=True).click()
        status_is(page, "running")
        pages.append(page.url)
    page.goto("/admin/executions/execution/?status__in=running")
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option("cancel_selected")
    page.locator("button[title='Run the selected action']").click()
    page.get_by_role("button", name="Cancel 2 executions").click()

    expect(page.get_by_text("Cancel 2 executions: e2e.wait")).to_have_count(2)
    for url in pages:
        page.goto(url)
        status_is(page, "cancelled")


# --- Rules ------------------------------------------------------------------------------------------------------


def webhook_of(page: Page, trigger: str) -> str:
    """Switch on the webhook of a trigger and return its key, which is shown only to who asks for it."""
    go(page, "events/trigger")
    page.get_by_role("row", name=trigger).get_by_role("link", name=trigger).click()
    page.get_by_role("button", name="Enable webhook").click()
    page.locator("#webhook-url summary").click()
    example = page.locator("#webhook-example pre")
    expect(example).to_contain_text("/api/v1/webhooks/wh_")
    return example.inner_text().split("/webhooks/")[1].split()[0]


def send(server: str, key: str, payload: object) -> int:
    answer = httpx.post(f"{server}/api/v1/webhooks/{key}", json={"payload": payload})
    assert answer.status_code == 200
    return int(answer.json()["data"]["event_id"])


def make_rule(page: Page, **fields: str) -> None:
    """Make a rule from the page of its trigger."""
    page.get_by_role("link", name="Add a rule").click()
    page.locator("#id_ref").fill("e2e.greeter")
    page.locator("#id_pack_ref").select_option("e2e")
    page.locator("#id_label").fill("Greeter")
    page.locator("#id_action_ref").fill("e2e.greet")
    page.locator("#id_action_ref").press("Tab")
    expect(page.get_by_text("e2e.greet takes")).to_be_visible()
    for name, text in fields.items():
        page.locator(f"#id_{name}").fill(text)
    page.get_by_role("button", name="Save").click()


def test_a_rule_is_made_and_its_decisions_are_explained(page: Page, server: str) -> None:
    key = webhook_of(page, "e2e.door")
    make_rule(page, conditions="event.payload.open", action_params='{"name": "{{ event.payload.who }}", "times": 1}')
    expect(page.get_by_text("Rule e2e.greeter was saved.")).to_be_visible()

    opened = send(server, key, {"open": True, "who": "<img src=x onerror=alert(1)>"})
    page.goto(f"/admin/events/event/{opened}/change/")
    expect(page.locator(".at-decision[data-outcome=matched]")).to_contain_text("e2e.greeter")
    page.get_by_role("link", name="e2e.greet #").click()
    status_is(page, "completed")
    expect(page.locator("#log-stdout")).to_have_text("hello, <img src=x onerror=alert(1)> <b>1</b>\n")

    closed = send(server, key, {"open": False, "who": "nobody"})
    page.goto(f"/admin/events/event/{closed}/change/")
    decision = page.locator(".at-decision[data-outcome=not_matched]")
    expect(decision.locator(".at-fails code").first).to_have_text("event.payload.open")
    expect(decision).to_contain_text("event.payload.open was false")

    page.get_by_role("link", name="Replay").click()
    page.get_by_label("Another payload").fill('{"open": true, "who": "me"}')
    page.get_by_role("button", name="Replay event").click()
    expect(page.locator(".at-decision[data-outcome=matched]")).to_contain_text("e2e.greeter")
    expect(page.locator(".at-facts")).to_contain_text(f"#{closed}")


def test_a_rule_is_corrected_tried_and_switched_off(page: Page, server: str) -> None:
    key = webhook_of(page, "e2e.door")
    make_rule(page, conditions="event.payload.level >", action_params='{"name": "x"}')
    expect(page.locator("#warnings pre")).to_contain_text("event.payload.level >")
    event = send(server, key, {"level": 3})

    page.get_by_role("link", name="Edit").click()
    page.locator("#id_conditions").fill("event.payload.level > 5")
    page.locator("#id_trigger_params").fill('{"floor": "ground"}')
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".errors")).to_contain_text("floor")
    page.locator("#id_trigger_params").fill('{"floor": 0}')
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#warnings")).to_have_count(0)

    page.get_by_role("link", name="Test", exact=True).click()
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#tried[data-outcome=not_matched]")).to_contain_text("3 is not > 5")
    expect(page.locator("#tried")).to_contain_text(f"event #{event}")
    page.locator("#id_conditions").fill("event.payload.level > 2")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#tried[data-outcome=matched]")).to_be_visible()
    page.get_by_role("link", name="Back to the rule").click()
    page.get_by_role("link", name="Back-test").click()
    page.get_by_role("button", name="Back-test").click()
    expect(page.locator("#past")).to_contain_text("1 event, 0 would have fired")

    page.get_by_role("link", name="Back to the rule").click()
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("#obstacles")).to_contain_text("The rule is disabled")
    page.goto(f"/admin/events/event/{send(server, key, {})}/change/")
    expect(page.locator("#not-asked")).to_contain_text("it is disabled; only enabled rules look at events")
