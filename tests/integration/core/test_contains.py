"""Lists that are searched for a text find it in any case, in letters of any alphabet (api.md 5, 14, 17, 18)."""

import pytest

from apps.executions.models import Artifact
from apps.queues.models import WorkQueue
from apps.workflows.models import WorkflowDefinition
from tests.clients import signed_in
from tests.factories import make_action, make_pack

pytestmark = pytest.mark.django_db

LABEL = "Ärger (Größe) in ОМСК.1"
FOUND = ("ärger", "ÄRGER", "größe", "омск", "Омск.1", "(gr", "in")
NOT_FOUND = ("arger", "ömsk", "омск_1", "омск%", "Ä.ger")


def searched(path):
    found = signed_in().get(path.replace("+", "%2B"))
    assert found.status_code == 200, found.json()
    return len(found.json()["data"])


@pytest.fixture
def rows():
    pack = make_pack(ref="lab")
    action = make_action(pack=pack, ref="lab.echo", label=LABEL)
    make_action(pack=pack, ref="lab.other", label="Other")
    WorkflowDefinition.objects.create(
        ref="lab.flow", pack=pack, pack_ref="lab", label="L", description=LABEL, version="1.0.0", definition={}
    )
    WorkQueue.objects.create(ref="lab", label=LABEL, dispatch_action=action, dispatch_action_ref=action.ref)
    Artifact.objects.create(ref="lab", type="url", name=LABEL)
    Artifact.objects.create(ref="lab.nameless", type="url")


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    "path", ["actions/search?q=", "workflows?search=", "queues?search=", "artifacts?visibility=private&name="]
)
def test_text_is_found_in_any_case(path):
    wrong = [text for text in FOUND if searched(f"/api/v1/{path}{text}") != 1]
    assert wrong == []
    assert [text for text in NOT_FOUND if searched(f"/api/v1/{path}{text}") != 0] == []
