"""Parts that are not there yet say so to those who may use them, and to nobody else."""

import pytest

from apps.identity import tokens
from tests.clients import anonymous, bearing, signed_in
from tests.factories import make_admin, make_identity

pytestmark = pytest.mark.django_db

ROUTES = [
    ("get", "/api/v1/retention-config"),
    ("put", "/api/v1/retention-config"),
    ("get", "/api/v1/retention-config/usage"),
    ("get", "/api/v1/pack-indices"),
    ("post", "/api/v1/pack-indices"),
    ("delete", "/api/v1/pack-indices/1"),
    ("get", "/api/v1/pack-indices/packs/demo"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_they_are_announced_to_those_who_may(method: str, path: str) -> None:
    answer = getattr(signed_in(make_admin()), method)(path)

    assert (answer.status_code, answer.json()["code"]) == (501, "NOT_IMPLEMENTED")
    assert getattr(signed_in(make_identity()), method)(path).status_code == 403
    assert getattr(anonymous(), method)(path).status_code == 401


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/analytics/dashboard", "/api/v1/analytics/events/volume"])
def test_some_take_anybody_signed_in(path: str) -> None:
    assert signed_in(make_identity()).get(path).status_code == 501
    assert anonymous().get(path).status_code == 401


@pytest.mark.parametrize(
    "path", ["/api/v1/internal/files/execution_1/stdout.log", "/api/v1/internal/packs/demo/archive"]
)
def test_files_are_for_workers_alone(path: str) -> None:
    token = tokens.mint(
        subject=1, login="worker:1", token_type="worker", lifetime_seconds=60, metadata={"worker_id": 1}
    )

    assert bearing(token).get(path).status_code == 501
    assert signed_in(make_admin()).get(path).status_code == 403
