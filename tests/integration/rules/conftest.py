"""What tests of rules share."""

import pytest
from rest_framework.test import APIClient

from apps.actions.models import Action
from apps.events.models import Trigger
from apps.packs.models import Pack
from tests.clients import signed_in
from tests.factories import make_action, make_pack, make_trigger


@pytest.fixture
def api(db: None) -> APIClient:
    """An administrator's client, inside the test's transaction."""
    return signed_in()


@pytest.fixture
def lab(db: None) -> Pack:
    return make_pack(ref="lab")


@pytest.fixture
def disk(lab: Pack) -> Trigger:
    """A trigger with settings and payload of known shape."""
    return make_trigger(
        pack=lab,
        ref="lab.disk",
        param_schema={"path": {"type": "string", "required": True}, "every": {"type": "integer", "minimum": 1}},
        out_schema={"host": {"type": "string"}, "token": {"type": "string", "secret": True}},
    )


@pytest.fixture
def alarm(lab: Pack) -> Action:
    """An action with parameters of known shape."""
    return make_action(
        pack=lab,
        ref="lab.alarm",
        param_schema={
            "text": {"type": "string", "required": True},
            "level": {"type": "integer", "minimum": 1, "maximum": 5},
            "how": {"type": "string", "enum": ["mail", "call"]},
        },
    )
