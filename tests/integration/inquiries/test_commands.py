"""inquiry_list and inquiry_respond."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.inquiries.models import Inquiry
from tests.factories import grant, make_holder, make_identity
from tests.integration.inquiries.asking import make_asking, make_inquiry

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*args: Any) -> str:
        call_command(*map(str, args))
        return capsys.readouterr().out

    return call


def test_the_list_shows_what_waits(run):
    anna = make_identity(login="anna")
    first = make_inquiry(prompt="Deploy\nnow? " + "x" * 100)
    second = make_inquiry(assigned_to=anna, timeout_at=timezone.now() + timedelta(hours=2, seconds=5))
    make_inquiry(status="cancelled")

    rows = [line.split(maxsplit=5) for line in run("inquiry_list").splitlines()]

    assert rows[0] == ["ID", "STATUS", "EXECUTION", "FOR", "DEADLINE", "QUESTION"]
    assert [row[:4] for row in rows[1:]] == [
        [str(second.pk), "pending", str(second.execution_id), "anna"],
        [str(first.pk), "pending", str(first.execution_id), "anybody"],
    ]
    assert "in 2 h" in run("inquiry_list", "--for", "anna")
    assert len(run("inquiry_list", "--status", "all").splitlines()) == 4
    assert [row["id"] for row in json.loads(run("inquiry_list", "--execution", first.execution_id, "--json"))] == [
        first.pk
    ]


def test_an_empty_list_says_so(run):
    assert run("inquiry_list") == "Nothing waits for an answer.\n"
    with pytest.raises(CommandError, match="There is no identity 'nobody'"):
        run("inquiry_list", "--for", "nobody")


def test_respond_lets_the_task_go_on(run):
    child = make_asking()

    said = run("inquiry_respond", Inquiry.objects.get().pk, "--response", '{"approved": true}')

    child.refresh_from_db()
    assert said.splitlines()[1] == f"Execution {child.pk} of core.ask is completed."
    assert (child.status, child.result["response"]) == ("completed", {"approved": True})


def test_values_are_read_as_the_schema_says(run, tmp_path):
    note = tmp_path / "note"
    note.write_text("from a file")
    inquiry = make_inquiry(response_schema={"approved": {"type": "boolean"}, "count": {"type": "integer"}})

    with pytest.raises(CommandError, match="approved must be true or false, not 'perhaps'"):
        run("inquiry_respond", inquiry.pk, "--set", "approved=perhaps")
    run("inquiry_respond", inquiry.pk, "--set", "approved=yes", "--set", "count=3", "--set", f"note=@{note}")

    assert Inquiry.objects.get().response == {"approved": True, "count": 3, "note": "from a file"}


def test_an_identity_answers_by_its_own_rights(run):
    anna, bert = make_identity(login="anna"), make_holder(grant("inquiries:respond"), login="bert")
    hers, open_one = make_inquiry(assigned_to=anna), make_inquiry()

    with pytest.raises(CommandError, match="is assigned to 'anna'; --as says who answers"):
        run("inquiry_respond", hers.pk, "--response", "1")
    with pytest.raises(CommandError, match="assigned to another identity"):
        run("inquiry_respond", hers.pk, "--response", "1", "--as", "bert")
    with pytest.raises(CommandError, match="inquiries:respond"):
        run("inquiry_respond", open_one.pk, "--response", "1", "--as", "anna")
    with pytest.raises(CommandError, match="There is no identity 'nobody'"):
        run("inquiry_respond", open_one.pk, "--response", "1", "--as", "nobody")
    assert not Inquiry.objects.exclude(status="pending").exists()

    run("inquiry_respond", hers.pk, "--response", "1", "--as", "anna")
    shown = json.loads(run("inquiry_respond", open_one.pk, "--response", "2", "--as", "bert", "--json"))

    assert (shown["status"], shown["response"], shown["responded_by"]) == ("responded", 2, bert.pk)
    assert Inquiry.objects.get(pk=hers.pk).responded_by_id == anna.pk


def test_refusals_are_sentences(run):
    with pytest.raises(CommandError, match="Inquiry with ID 999999 not found"):
        run("inquiry_respond", 999999, "--response", "1")
    done = make_inquiry(status="responded")
    with pytest.raises(CommandError, match="is in status 'responded' and cannot be responded to"):
        run("inquiry_respond", done.pk, "--response", "1")
    with pytest.raises(CommandError, match="--response is not JSON"):
        run("inquiry_respond", done.pk, "--response", "{")
