"""The console's pages of questions."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.core.markers import MARKER
from apps.identity.models import Identity
from apps.inquiries.models import Inquiry
from tests.factories import grant, make_admin, make_holder, make_identity
from tests.integration.inquiries.asking import make_asking, make_inquiry

pytestmark = pytest.mark.django_db

LIST = reverse("admin:inquiries_inquiry_changelist")
SCHEMA = {
    "approved": {"type": "boolean", "required": True, "position": 0},
    "comment": {"type": "string", "default": "none", "position": 1},
}


def browser(person: Identity) -> Client:
    client = Client()
    client.force_login(person)
    return client


def page_of(inquiry: Inquiry) -> str:
    return reverse("admin:inquiries_inquiry_change", args=[inquiry.pk])


def answer_of(inquiry: Inquiry) -> str:
    return reverse("admin:inquiries_inquiry_answer", args=[inquiry.pk])


def text_of(answer):
    assert answer.status_code == 200, answer
    return answer.content.decode()


def test_pending_ones_come_first():
    first = make_inquiry(prompt="The old question")
    make_inquiry(prompt="The answered question", status="responded")
    make_inquiry(prompt="The new question")

    page = text_of(browser(make_admin()).get(LIST))

    places = [page.index(f"The {which} question") for which in ("new", "old", "answered")]
    assert places == sorted(places)
    assert page_of(first) in page


def test_without_the_grant_one_sees_what_is_assigned_to_oneself():
    anna = make_holder(grant("packs:read"))
    hers, other = make_inquiry(assigned_to=anna, prompt="For her"), make_inquiry(prompt="For others")
    client = browser(anna)

    page = text_of(client.get(LIST))
    assert "For her" in page
    assert "For others" not in page
    assert client.get(page_of(hers)).status_code == 200
    assert client.get(page_of(other)).status_code == 302  # as if it were not there
    assert client.post(answer_of(other), {"as_json": "1"}).status_code == 302
    assert Inquiry.objects.get(pk=other.pk).status == "pending"


def test_the_prompt_is_text():
    inquiry = make_inquiry(prompt="<script>alert(1)</script>")

    for address in (LIST, page_of(inquiry)):
        page = text_of(browser(make_admin()).get(address))
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_a_form_of_the_schema_gives_the_answer():
    child = make_asking(config={"response_schema": SCHEMA})
    inquiry = Inquiry.objects.get()
    admin = make_admin()
    client = browser(admin)
    page = text_of(client.get(page_of(inquiry)))
    assert 'name="parameter_0"' in page
    assert 'name="verdict"' not in page

    missing = text_of(client.post(answer_of(inquiry), {"parameter_0": ""}))
    assert "This field is required" in missing
    assert client.post(answer_of(inquiry), {"parameter_0": "true"}).status_code == 302

    child.refresh_from_db()
    inquiry.refresh_from_db()
    assert inquiry.response == child.result["response"] == {"approved": True, "comment": "none"}
    assert inquiry.responded_by_id == admin.pk
    page = text_of(client.get(page_of(inquiry)))
    assert "approved" in page
    assert 'id="answer"' not in page


@pytest.mark.parametrize(
    ("given", "response"),
    [
        ({"verdict": "approve"}, {"approved": True}),
        ({"verdict": "deny"}, {"approved": False}),
        ({"as_json": '"a text"'}, "a text"),
        ({"as_json": "0"}, 0),
    ],
)
def test_without_a_schema_one_approves_or_answers_json(given, response):
    inquiry = make_inquiry()
    client = browser(make_admin())
    assert 'value="approve"' in text_of(client.get(page_of(inquiry)))

    assert client.post(answer_of(inquiry), given).status_code == 302

    inquiry.refresh_from_db()
    assert (inquiry.status, inquiry.response) == ("responded", response)


@pytest.mark.parametrize(("given", "words"), [({}, "Give an answer."), ({"as_json": "{"}, "This is not JSON")])
def test_no_answer_is_no_answer(given, words):
    inquiry = make_inquiry()

    assert words in text_of(browser(make_admin()).post(answer_of(inquiry), given))
    assert Inquiry.objects.get().status == "pending"


def test_what_the_schema_forbids_is_said_on_the_page():
    inquiry = make_inquiry(response_schema=SCHEMA, validate_response=True)

    page = text_of(browser(make_admin()).post(answer_of(inquiry), {"as_json": '{"approved": "x"}'}))

    assert "approved" in page
    assert "is not of type" in page
    assert Inquiry.objects.get().status == "pending"


def test_the_form_obeys_the_rules_of_the_api():
    anna = make_holder(grant("inquiries:read"))
    assigned, open_one = make_inquiry(assigned_to=make_identity()), make_inquiry()
    for person, inquiry in ((make_admin(), assigned), (anna, assigned), (anna, open_one)):
        client = browser(person)
        page = text_of(client.get(page_of(inquiry)))
        assert 'id="answer"' not in page
        assert "It waits for somebody else." in page
        assert client.post(answer_of(inquiry), {"as_json": "1"}).status_code == 403
    assert Inquiry.objects.filter(status="pending").count() == 2


def test_too_late_is_said():
    child = make_asking(timeout_seconds=1, started_at=timezone.now() - timedelta(seconds=9))
    inquiry = Inquiry.objects.get()
    client = browser(make_admin())

    page = text_of(client.post(answer_of(inquiry), {"as_json": "1"}, follow=True))

    child.refresh_from_db()
    assert "timed out" in page
    assert child.status == "timeout"


def test_cancel_asks_first_and_takes_its_grant():
    child = make_asking()
    inquiry = Inquiry.objects.get()
    url = reverse("admin:inquiries_inquiry_cancel", args=[inquiry.pk])
    reader = browser(make_holder(grant("inquiries:read", "inquiries:respond")))
    assert reader.post(url, {"confirmed": "1"}).status_code == 403

    client = browser(make_admin())
    assert "the task that waits" in text_of(client.get(url))
    assert client.post(url, {"confirmed": "1"}).status_code == 302

    child.refresh_from_db()
    assert (Inquiry.objects.get().status, child.status) == ("cancelled", "cancelled")


def test_secrets_are_typed_unseen_and_not_shown():
    make_asking(config={"response_schema": {"password": {"type": "string", "secret": True}}})
    inquiry = Inquiry.objects.get()
    client = browser(make_admin())
    assert 'type="password"' in text_of(client.get(page_of(inquiry)))

    client.post(answer_of(inquiry), {"parameter_0": "c4nary-pw"})

    assert Inquiry.objects.get().response == {"password": dict(MARKER)}
    assert "c4nary" not in text_of(client.get(page_of(inquiry)))


def test_the_first_page_counts_what_waits_for_its_reader():
    anna = make_holder(grant("inquiries:read"))
    make_inquiry()
    client = browser(anna)
    assert "wait for your answer" not in text_of(client.get("/admin/"))

    make_inquiry(assigned_to=anna, prompt="For her")

    assert "wait for your answer" in text_of(client.get("/admin/"))
    mine = text_of(client.get(f"{LIST}?for=me"))
    assert "For her" in mine
    assert "Really?" not in mine
