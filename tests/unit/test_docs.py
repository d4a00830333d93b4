"""What the pages say about files and versions holds."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md"], ids=lambda page: page.name)
def test_page_can_be_found(page):
    assert f"({page.name})" in (page.parent / "README.md").read_text()


def test_each_pinned_library_has_its_line():
    pins = re.findall(r"^([\w-]+)(?:\[[\w,]+\])?==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    lines = (ROOT / "docs" / "decisions" / "libraries.md").read_text().lower().splitlines()

    assert len(pins) > 10
    assert [pin for pin in pins if not any(all(word.lower() in line for word in pin) for line in lines)] == []
