"""What tests of events share."""

import pytest
from rest_framework.test import APIClient

from apps.packs.models import Pack
from apps.packs.services import load_core_pack
from tests.clients import signed_in


@pytest.fixture
def core_pack(db: None) -> Pack:
    """The core pack, inside the test's transaction: no tables to empty afterwards."""
    return load_core_pack()


@pytest.fixture
def api(db: None) -> APIClient:
    """An administrator's client, inside the test's transaction."""
    return signed_in()
