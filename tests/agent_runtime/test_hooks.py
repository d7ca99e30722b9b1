"""What hooks grant and hear, and the store that a run brings along."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.api import Agent, local_services, sqlite_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.limits import Limits
from agent_runtime.inline.runtime import InlineRuntime
from agent_runtime.spec.agent import MemoryUse
from agent_runtime.spec.hooks import Block, Hook, Modify
from agent_runtime.tools.access import AutoApprove, RequireAll
from tests.agent_runtime.cast import ANN, agent, calls


@pytest.mark.parametrize(
    ("handler", "llm_calls"),
    [
        (None, 3),
        (lambda *_: None, 3),
        (lambda *_: Block("enough"), 3),
        (lambda granted, _: Modify(granted + 1), 4),
        (lambda *_: Modify(99), 6),
    ],
    ids=["nobody", "allows", "blocks", "one", "more than there is"],
)
async def test_row_03_more_iterations_are_what_a_hook_grants_and_the_limit_allows(handler: Any, llm_calls: int) -> None:
    hooks = [] if handler is None else [Hook("more", {"on_max_iterations": handler})]
    limits = Limits(iterations_max=2, extension_max=3)
    result = await agent([calls("look")] * 9, hooks=hooks, limits=limits).run("go")
    assert (result.finish_reason, result.usage.llm_calls) == ("max_iterations", llm_calls)


async def test_row_19_a_hook_hears_of_every_approval_and_changes_none() -> None:
    heard: asyncio.Queue[Approval] = asyncio.Queue()

    def pager(approval: Approval, _: Any) -> Block:
        heard.put_nowait(approval)
        raise OSError("the pager is down")

    one = agent(
        [calls("delete", path="x"), Line("ok")], policy=RequireAll(), hooks=[Hook("pager", {"on_approval": pager})]
    )
    handle = await one.start("go")
    approval = await heard.get()
    await handle.approve(approval.id, ANN)
    assert [record.approval for record in (await handle).approvals] == [approval]
    assert heard.empty()


async def test_row_46_an_agent_may_be_built_before_its_store_is_known(tmp_path: Path) -> None:
    """It is the same agent, and keeps what it is told in the store of its run."""
    facts: dict[str, Any] = {"memory": MemoryUse(), "policy": AutoApprove(), "principal": ANN}
    script = {"main": [calls("save_memory", text="Ann likes tea", kind="preference"), Line("ok")]}
    services = sqlite_services(ScriptedLLM(script), tmp_path / "agents.db")
    one = Agent("main", **facts)
    assert one.fingerprint == Agent("main", services=services, **facts).fingerprint
    assert (await one.on(InlineRuntime(services)).run("remember")).tool_failures == 0
    assert services.memory is not None
    assert [found.text for found in await services.memory.recall(ANN, "main", "tea", 1, 0.3)] == ["Ann likes tea"]
    with pytest.raises(ConfigError, match=r"memory is asked for and services\.memory is None"):
        await one.on(InlineRuntime(local_services(ScriptedLLM(script)))).run("remember")
