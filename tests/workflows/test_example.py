"""The example of the quick start with a model that uses all of it: tools, specialist, approval, budget."""

import copy
from pathlib import Path

import pytest

from agent_runtime.api import Agent, sqlite_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.run import RunResult
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.values import Usage
from examples import research
from tests.agent_runtime.cast import ANN, calls
from tests.workflows.conftest import Stage

WHOLE_BUDGET = Usage(1, 150_000, 50_000)


def example(stage: Stage, answer: Line) -> Agent:
    """The module's own agent, with stores of the test's."""
    script = {
        "research": [
            calls("search", words="budget"),
            calls("subagent_reader", query="What is a budget?"),
            calls("publish", title="Budgets", text="They hold."),
            answer,
        ],
        "reader": [calls("search", words="budget"), calls("read_page", page="money.md"), Line("money.md says so")],
    }
    one = copy.copy(research.agent)
    one.services = sqlite_services(ScriptedLLM(script), stage.folder / "agents.db")
    return one


@pytest.mark.parametrize("durable", [False, True], ids=["in process", "on Temporal"])
@pytest.mark.parametrize("agreed", [True, False])
async def test_the_example_uses_tools_a_specialist_and_an_approval(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, agreed: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    one = example(stage, Line("published"))
    asked: list[str] = []

    def decide(approval: Approval) -> bool:
        asked.append(approval.name)
        return agreed

    async def run(agent: Agent) -> RunResult:
        return await agent.run("Report on budgets.", on_approval=decide, principal=ANN)

    if durable:
        async with stage.playing(one):
            result = await run(one)
    else:
        result = await run(one)
    assert (result.text, result.finish_reason, result.delegations) == ("published", "complete", 1)
    assert result.by_agent["reader"].llm_calls == 3
    assert "money.md says so" in [message.text for message in result.messages]
    assert asked == ["publish"]
    reports = [path.read_text() for path in (tmp_path / ".meterway" / "reports").glob("*.md")]
    assert reports == (["# Budgets\n\nThey hold.\n"] if agreed else [])


async def test_the_example_stops_at_its_budget(stage: Stage) -> None:
    one = example(stage, Line("published"))
    assert one.services is not None
    llm = ScriptedLLM({"research": [Line(calls=(("search", {"words": "x"}),), usage=WHOLE_BUDGET)] * 2})
    one.services = sqlite_services(llm, stage.folder / "agents.db")
    outcome = await one.try_run("go", on_approval=lambda _: True, principal=ANN)
    assert (outcome.outcome.finish_reason, len(llm.asked)) == ("budget_exceeded", 1)
