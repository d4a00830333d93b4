"""What tests of queues share."""

import pytest
from rest_framework.test import APIClient

from tests.clients import signed_in


@pytest.fixture
def api(db: None) -> APIClient:
    """An administrator's client, inside the test's transaction."""
    return signed_in()
