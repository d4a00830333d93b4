"""The page of a run in a real browser: it follows the run without a reload, and stops when the run has ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from apps.executions.models import Execution
from apps.identity.services import create_identity
from apps.packs.services import load_core_pack
from tests.e2e.attune.test_admin import CHROMIUM, FLAGS, LOGIN, PASSWORD, sign_in
from tests.factories import make_action
from tests.workflow_runs import make_workflow, start_workflow

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("worker"),
]


@contextmanager
def signed_in(server: str) -> Iterator[Page]:
    """A page of a browser; while it is open its loop runs in this thread, where Django allows no query."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(base_url=server)
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        sign_in(page)
        yield page
        browser.close()
    assert faults == []  # no script failed, nothing was refused by the content policy


def started(gate: Path) -> Execution:
    """A run with a branch, items, a task that succeeds when it is repeated, and one that fails once the gate opens."""
    good, bad = (
        make_action(entrypoint="true"),
        make_action(entrypoint=f"until test -e {gate}; do sleep 0.1; done; exit 3"),
    )
    second = make_action(entrypoint=f"test -e {gate}.once || {{ touch {gate}.once; exit 1; }}")
    branches = [
        {"when": "{{ succeeded() }}", "do": ["each", "again"]},
        {"when": "{{ failed() }}", "do": "never"},
    ]
    workflow = make_workflow(
        [
            {"name": "first", "action": good.ref, "next": branches},
            {"name": "each", "action": good.ref, "with_items": [1, 2, 3], "concurrency": 2, "next": {"do": "last"}},
            {"name": "again", "action": second.ref, "retry": {"count": 1}, "next": {"do": "last"}},
            {"name": "last", "action": bad.ref, "join": "all"},
            {"name": "never", "action": good.ref},
        ]
    )
    return start_workflow(workflow)


def test_page_follows_a_run_to_its_end(server: str, tmp_path: Path) -> None:
    load_core_pack()
    create_identity(LOGIN, password=PASSWORD, permission_sets=["core.admin"])
    gate = tmp_path / "gate"
    run = started(gate)

    with signed_in(server) as page:
        page.goto(f"/admin/executions/execution/{run.pk}/change/")
        page.evaluate("window.loadedOnce = true")
        expect(page.locator("[data-task=last]")).to_contain_text("running")
        expect(page.locator("[data-task=each]")).to_contain_text("completed · 3/3")
        expect(page.locator("[data-task=never]")).to_have_class("at-task at-task-none")
        expect(page.locator("[data-row=each]")).to_have_count(3)
        expect(page.locator("[data-row=again]")).to_contain_text("attempt 2")
        expect(page.locator("[data-task-row=first] .at-step-fired")).to_have_text("✓succeeded() → each, again")
        expect(page.locator(".at-way-taken")).to_have_count(4)

        gate.touch()

        expect(page.locator("#execution[data-status=failed]")).to_be_visible()
        expect(page.locator("[data-task=last]")).to_contain_text("failed")
        expect(page.locator("[data-task=never]")).to_contain_text("not reached")
        expect(page.locator("#log-workflow")).to_contain_text("Workflow failed")
        assert page.locator("#execution[hx-get]").count() == 0
        assert page.evaluate("window.loadedOnce") is True

        page.locator("[data-task=last] a").click()
        expect(page.locator(".at-measures")).to_contain_text("Exit code 3")
