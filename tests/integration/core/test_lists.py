"""Pages, cursors and totals of lists, over the example API."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.api import pagination
from apps.executions.models import Artifact
from tests.clients import anonymous, signed_in
from tests.factories import make_identity, make_pack

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.integration.core.example")]

PACKS, ARTIFACTS = "/api/v1/packs", "/api/v1/artifacts"


@pytest.fixture
def client():
    return signed_in()


def make_artifacts(number, *, created=None):
    rows = [Artifact(ref=f"a{index}", type="other") for index in range(number)]
    Artifact.objects.bulk_create(rows)
    if created is not None:
        Artifact.objects.update(created=created)
    return list(Artifact.objects.order_by("-created", "-id").values_list("ref", flat=True))


def refs_of(answer):
    return [row["ref"] for row in answer.json()["data"]]


def test_list_holds_data_items_and_all_keys_of_pagination(client):
    for ref in ("bb", "ab", "core"):
        make_pack(ref=ref)

    body = client.get(PACKS).json()

    assert [row["ref"] for row in body["data"]] == ["ab", "bb", "core"]
    assert body["items"] == body["data"]
    assert body["pagination"] == {
        "page": 1, "page_size": 50, "effective_page_size": 50, "total_items": 3, "total_pages": 1,
        "has_previous": False, "has_next": False,
    }  # fmt: skip
    assert list(body) == ["data", "items", "pagination"]


def test_empty_list(client):
    assert client.get(PACKS).json()["pagination"] == {
        "page": 1, "page_size": 50, "effective_page_size": 50, "total_items": 0, "total_pages": 0,
        "has_previous": False, "has_next": False,
    }  # fmt: skip


def test_pages_follow_each_other_to_the_end(client):
    for ref in ("aa", "bb", "cc", "dd", "ee"):
        make_pack(ref=ref)

    pages = [client.get(PACKS, {"page": page, "page_size": 2}) for page in (1, 2, 3, 4)]

    assert [refs_of(page) for page in pages] == [["aa", "bb"], ["cc", "dd"], ["ee"], []]
    told = [page.json()["pagination"] for page in pages]
    assert [(t["has_previous"], t["has_next"], t["total_pages"]) for t in told] == [
        (False, True, 3), (True, True, 3), (True, False, 3), (True, False, 3)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["page_size", "per_page", "limit"])
@pytest.mark.parametrize("path", [PACKS, ARTIFACTS])
def test_size_has_three_names_on_every_list(client, path, name):
    told = client.get(path, {name: 7}).json()["pagination"]
    assert (told["page_size"], told["effective_page_size"]) == (7, 7)


def test_first_present_size_name_wins(client):
    told = client.get(PACKS, {"limit": 3, "per_page": 5, "page_size": 7}).json()["pagination"]
    assert told["page_size"] == 7
    told = client.get(PACKS, {"limit": 3, "per_page": 5}).json()["pagination"]
    assert told["page_size"] == 5


@pytest.mark.parametrize(("asked", "used"), [(101, 100), (10**18, 100), (0, 1), (-5, 1)])
def test_size_is_lowered_or_raised_and_the_asked_one_echoed(client, asked, used):
    told = client.get(PACKS, {"page_size": asked}).json()["pagination"]
    assert (told["page_size"], told["effective_page_size"]) == (asked, used)


@pytest.mark.parametrize(("asked", "used"), [(10**30, 100), (-(10**30), 1)])
def test_size_beyond_64_bits_is_not_refused_either(client, asked, used):
    told = client.get(PACKS, {"page_size": asked}).json()["pagination"]
    assert (abs(told["page_size"]), told["effective_page_size"]) == (2**63 - 1, used)


def test_newest_first_lists_have_their_own_default(client):
    assert client.get(ARTIFACTS).json()["pagination"]["page_size"] == 20


def test_page_zero_is_page_one(client):
    assert client.get(PACKS, {"page": 0}).json()["pagination"]["page"] == 1


@pytest.mark.parametrize(
    "params",
    [
        {"page": "abc"}, {"page": "-1"}, {"page": "1.5"}, {"page": str(2**63)}, {"page_size": "many"}, {"limit": "1e3"},
        {"per_page": "9" * 4001}, {"include_total": "maybe"}, {"page": "1 "},
    ],
)  # fmt: skip
def test_values_that_cannot_be_read_are_bad_requests(client, params):
    answer = client.get(PACKS, params)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


def test_page_far_beyond_the_end_is_empty(client):
    make_pack()
    for page in (3, 2**40, 2**63 - 1):
        answer = client.get(PACKS, {"page": page, "include_total": "false"})
        assert (answer.status_code, refs_of(answer)) == (200, [])


def test_totals_are_left_out_when_not_wanted(client):
    for ref in ("aa", "bb", "cc"):
        make_pack(ref=ref)

    told = client.get(PACKS, {"include_total": "false", "page_size": 2}).json()["pagination"]

    assert told == {"page": 1, "page_size": 2, "effective_page_size": 2, "has_previous": False, "has_next": True}


def test_totals_above_the_bound_are_lower_bounds(client, monkeypatch):
    monkeypatch.setattr(pagination, "EXACT_UP_TO", 5)
    make_artifacts(12)

    told = [client.get(ARTIFACTS, {"page": page, "per_page": 4}).json()["pagination"] for page in (1, 2, 3, 4)]

    assert [(t["total_items"], t["total_is_exact"], t["has_next"]) for t in told] == [
        (6, False, True), (9, False, True), (12, False, False), (6, False, False)
    ]  # fmt: skip


def test_totals_count_visible_rows_only():
    make_pack(ref="hidden")
    make_pack(ref="shown", is_standard=True)

    answer = signed_in(make_identity()).get(PACKS)

    assert (refs_of(answer), answer.json()["pagination"]["total_items"]) == (["shown"], 1)


def test_list_needs_a_token():
    assert anonymous().get(PACKS).status_code == 401


def test_number_of_queries_does_not_grow_with_the_rows(client, django_assert_num_queries):
    make_pack()
    with django_assert_num_queries(4):
        client.get(PACKS)
    for _ in range(5):
        make_pack()
    with django_assert_num_queries(4):
        client.get(PACKS)


# --- Newest first -----------------------------------------------------------------------------------------------


def follow(client, **params):
    """Return the pages that following next_cursor gives."""
    pages, cursor = [], None
    while True:
        answer = client.get(ARTIFACTS, {**params, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.content
        pages.append(refs_of(answer))
        cursor = answer.json()["pagination"]["next_cursor"]
        if cursor is None:
            return pages


def flat(pages):
    return [ref for page in pages for ref in page]


@pytest.mark.parametrize("same_moment", [False, True])
def test_cursor_sees_every_row_once(client, same_moment):
    newest_first = make_artifacts(7, created=timezone.now() if same_moment else None)

    pages = follow(client, per_page=3)

    assert [len(page) for page in pages] == [3, 3, 1]
    assert flat(pages) == newest_first
    assert flat(follow(client, per_page=3, order="asc")) == newest_first[::-1]


def test_cursor_neither_skips_nor_repeats_while_rows_arrive(client):
    newest_first = make_artifacts(4)
    first = client.get(ARTIFACTS, {"per_page": 2})
    Artifact.objects.create(ref="late", type="other")

    second = client.get(ARTIFACTS, {"per_page": 2, "cursor": first.json()["pagination"]["next_cursor"]})

    assert refs_of(first) + refs_of(second) == newest_first
    told = second.json()["pagination"]
    assert (told["has_previous"], told["has_next"], told["next_cursor"], "total_items" in told) == (
        True, False, None, False
    )  # fmt: skip


def test_cursor_gives_totals_only_when_asked(client):
    make_artifacts(3)
    cursor = client.get(ARTIFACTS, {"per_page": 2}).json()["pagination"]["next_cursor"]

    told = client.get(ARTIFACTS, {"per_page": 2, "cursor": cursor, "include_total": "true"}).json()["pagination"]

    assert told["total_items"] == 3


def test_before_id_goes_on_behind_a_row(client):
    newest_first = make_artifacts(4)
    second = Artifact.objects.get(ref=newest_first[1])

    assert refs_of(client.get(ARTIFACTS, {"before_id": second.pk})) == newest_first[2:]
    assert refs_of(client.get(ARTIFACTS, {"before_id": second.pk, "order": "asc"})) == newest_first[:1]


def test_before_id_of_a_row_that_is_gone_goes_by_the_id(client):
    newest_first = make_artifacts(4)
    gone = Artifact.objects.get(ref=newest_first[1])
    gone_id = gone.pk
    gone.delete()

    assert refs_of(client.get(ARTIFACTS, {"before_id": gone_id})) == newest_first[2:]


@pytest.mark.parametrize(
    "cursor",
    ["x", "e30", "bnVsbA", "WyIyMDI2IiwxLCJkIl0", "W10", "é", "=" * 50, "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwxLCJkIl0"],
)
def test_bad_cursor_is_a_bad_request(client, cursor):
    answer = client.get(ARTIFACTS, {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


def test_cursor_of_the_other_order_and_bad_order_are_bad_requests(client):
    make_artifacts(3)
    cursor = client.get(ARTIFACTS, {"per_page": 2}).json()["pagination"]["next_cursor"]

    assert client.get(ARTIFACTS, {"cursor": cursor, "order": "asc"}).status_code == 400
    assert client.get(ARTIFACTS, {"order": "sideways"}).status_code == 400
    assert client.get(ARTIFACTS, {"before_id": "x"}).status_code == 400


def test_row_is_found_again_by_its_own_time(client):
    """Times keep their precision on both databases: neighbouring ranges tile."""
    make_artifacts(1)
    row = Artifact.objects.get()

    assert Artifact.objects.filter(created__gte=row.created).count() == 1
    assert Artifact.objects.filter(created__lt=row.created).count() == 0
    assert Artifact.objects.filter(created__lt=row.created + timedelta(microseconds=1)).count() == 1
