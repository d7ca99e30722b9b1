"""Recorded histories go the same way with this code; a changed workflow does not, and is told so."""

import json
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from agent_runtime.domain.todo import Outcome
from agent_runtime.temporal.codec import converter
from agent_runtime.temporal.shapes import RunInput
from agent_runtime.temporal.workers import replayer, runner

HISTORIES = Path(__file__).parent / "histories"
RECORDED = sorted(HISTORIES.glob("*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_row_31_57_recorded_runs_go_the_same_way(path: Path) -> None:
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    await replayer().replay_workflow(history)


def test_row_31_every_kind_of_run_is_recorded() -> None:
    assert {path.stem for path in RECORDED} == {
        "tools",
        "approval",
        "approval-timed-out",
        "delegation",
        "child",
        "cancelled",
        "continued",
        "failed",
        "timed-out",
    }
    text = "".join(path.read_text() for path in RECORDED)
    assert "@" not in text
    assert all(json.loads(path.read_text())["events"] for path in RECORDED)


@workflow.defn(name="AgentRun", sandboxed=False)
class Changed:
    """As somebody might change it without `patched`: it sleeps first."""

    @workflow.run
    async def run(self, run: RunInput) -> Outcome:
        await workflow.sleep(1)
        raise AssertionError(run)


async def test_row_31_57_a_changed_workflow_fails_the_replay() -> None:
    changed = Replayer(workflows=[Changed], workflow_runner=runner(), data_converter=converter())
    history = WorkflowHistory.from_json("tools", (HISTORIES / "tools.json").read_text())
    with pytest.raises(workflow.NondeterminismError):
        await changed.replay_workflow(history)
