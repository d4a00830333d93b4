"""What docs/workflows.md shows is valid."""

import re
from pathlib import Path

import pytest

from apps.workflows.definition import checking
from apps.workflows.definition.source import read_source

PAGE = (Path(__file__).parents[3] / "docs" / "workflows.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_example_is_valid(text: str) -> None:
    assert [problem.message for problem in checking.check(read_source(text).value).problems] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
    assert all("\ntasks:\n" in f"\n{text}" for text in EXAMPLES)


def test_every_code_it_names_exists() -> None:
    folder = Path(checking.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ", PAGE.partition("| code |")[2], re.MULTILINE)
    codes = [code for row in rows for code in re.findall(r"`(\w+)`", row)]

    assert len(codes) == 14
    assert [code for code in codes if f'"{code}"' not in source] == []
