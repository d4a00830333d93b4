"""A workflow on a real worker."""

import pytest

from tests.factories import make_action
from tests.workflow_runs import children_of, finished, make_workflow, start_workflow, tasks_of

pytestmark = pytest.mark.usefixtures("worker")


def test_chain_of_two_tasks_passes_values_on() -> None:
    say = make_action(entrypoint="cat", output_format="json", parameter_format="json")
    workflow = make_workflow(
        [
            {
                "name": "first",
                "action": say.ref,
                "input": {"text": "{{ parameters.greeting }}"},
                "next": [{"when": "{{ succeeded() }}", "publish": [{"heard": "{{ result().text }}"}], "do": "second"}],
            },
            {"name": "second", "action": say.ref, "input": {"text": "{{ workflow.heard }}"}},
        ],
        output_map={"heard": "{{ workflow.heard }}"},
    )

    execution = finished(start_workflow(workflow, greeting="hello"))

    assert (execution.status, execution.result) == ("completed", {"succeeded": True, "heard": "hello"})
    assert tasks_of(execution) == {"first": "completed", "second": "completed"}
    assert [child.config for child in children_of(execution)] == [{"text": "hello"}, {"text": "hello"}]
