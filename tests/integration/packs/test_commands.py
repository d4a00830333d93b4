"""``pack_register`` and ``pack_list``."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.packs.models import Pack

pytestmark = pytest.mark.django_db


def run(*words):
    out, err = StringIO(), StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "pack.yaml").write_text("ref: demo\nlabel: Demo\nversion: 1.2.0\n")
    return folder


def test_a_folder_becomes_a_pack_and_is_replaced_only_when_told_so(folder):
    assert run("pack_register", str(folder)) == ("Pack demo 1.2.0 was registered.\n", "")

    with pytest.raises(CommandError) as refusal:
        run("pack_register", str(folder))
    assert (str(refusal.value), refusal.value.returncode) == ("Pack 'demo' already exists; --force replaces it.", 2)

    assert run("pack_register", str(folder), "--force")[0] == "Pack demo 1.2.0 was brought up to date.\n"


def test_warnings_are_told(folder):
    (folder / "actions").mkdir()
    (folder / "actions" / "wrong.yaml").write_text("name: wrong\nlabel: Wrong\nentry_point: true\n")

    out, err = run("pack_register", str(folder))

    assert out == "Pack demo 1.2.0 was registered.\n"
    assert "Warning: actions/wrong.yaml:3: entry_point must be a text\n" in err


def test_machines_get_json(folder):
    assert json.loads(run("pack_register", str(folder), "--json")[0]) == {
        "ref": "demo", "version": "1.2.0", "created": True, "warnings": [],
    }  # fmt: skip
    assert [pack["ref"] for pack in json.loads(run("pack_list", "--json")[0])] == ["demo"]


def test_a_folder_that_is_not_there():
    with pytest.raises(CommandError) as refusal:
        run("pack_register", "/nope")

    assert (refusal.value.returncode, Pack.objects.count()) == (2, 0)


def test_the_list():
    assert run("pack_list")[0] == "No packs are registered.\n"

    Pack.objects.create(ref="demo", label="Demo", version="1.2.0", storage_path="/srv/demo")

    assert [line.split() for line in run("pack_list")[0].splitlines()] == [
        ["REF", "VERSION", "ACTIONS", "WARNINGS", "FOLDER"], ["demo", "1.2.0", "0", "0", "/srv/demo"],
    ]  # fmt: skip
