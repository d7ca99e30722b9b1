"""Agents on a real Temporal server, with workers in this process."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from agent_runtime.api import Agent, Handle, local_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import (
    AgentError,
    ApprovalTimeout,
    Cancelled,
    ConfigError,
    LLMFailed,
    NotAllowed,
    NoWorkersAvailable,
    RunTimeout,
    TooManyRuns,
    TurnConflict,
    UnknownRun,
)
from agent_runtime.contracts.run import RunRequest
from agent_runtime.desk import admission
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.limits import Limits, Mode
from agent_runtime.domain.values import Failure, Principal
from agent_runtime.ports import Entry, LLMTrouble
from agent_runtime.spec.fingerprint import fingerprint
from agent_runtime.spec.hooks import Hook
from agent_runtime.temporal.runtime import TemporalRuntime
from agent_runtime.temporal.shapes import queue_of
from agent_runtime.temporal.workers import queues
from agent_runtime.tools.access import AutoApprove, RequireAll
from sdk_client import LLMClient
from tests.agent_runtime.cast import ANN, BOSS, Moving, Props, calls
from tests.agent_runtime.lab import Lab
from tests.agent_runtime.resuming import SCRIPT, Unhurried, everyone_sees_the_same
from tests.workflows.conftest import Stage


def agent(stage: Stage, script: list[Line], props: Props | None = None, **facts: Any) -> Agent:
    facts.setdefault("policy", AutoApprove())
    facts.setdefault("tools", (props or Props()).tools())
    llm = ScriptedLLM({"main": script, **facts.pop("scripts", {})})
    return Agent("main", None, "Be brief.", services=stage.services(llm), principal=ANN, **facts)


async def approval_of(handle: Handle) -> Approval:
    async for _, event in handle.events():
        if event["type"] == "CUSTOM":
            return (await handle.status()).pending_approvals[0]
    raise AssertionError("nobody was asked")


async def history(client: Client, run_id: str) -> list[int]:
    found = await client.get_workflow_handle(run_id).fetch_history()
    return [event.event_type for event in found.events]


async def test_a_run_uses_tools_and_sub_agents_and_answers(stage: Stage) -> None:
    props = Props()
    script = [calls("look", city="Rome"), calls("subagent_kid", query="do it"), Line("done")]
    one = agent(stage, script, props, sub_agents=[Agent("kid")], scripts={"kid": [Line("the kid's")]})
    async with stage.playing(one):
        result = await one.run("go", conversation_id="c")
        events = [event["type"] async for _, event in one.attach(result.run_id).events()]
        turns = await one.services.conversations.turns(ANN, "c")  # type: ignore[union-attr]
    assert (result.text, result.usage.llm_calls, result.by_agent["kid"].llm_calls) == ("done", 4, 1)
    assert result.messages[4].text == "the kid's"
    assert (events[0], events[-1], events.count("RUN_STARTED")) == ("RUN_STARTED", "RUN_FINISHED", 1)
    assert [(turn.status, len(turn.messages)) for turn in turns] == [("completed", 6)]


async def test_row_01_the_run_ends_in_the_workflow_when_its_time_is_up(stage: Stage, client: Client) -> None:
    one = agent(stage, [calls("forever")])
    async with stage.playing(one):
        with pytest.raises(RunTimeout) as caught:
            await one.run("go", timeout_s=1.0)
    description = await client.get_workflow_handle(caught.value.run_id).describe()
    assert description.status is not None
    assert description.status.name == "COMPLETED"
    assert caught.value.result.usage.llm_calls == 1


async def test_row_05_56_an_interactive_run_does_not_wait_for_workers_that_are_not_there(
    stage: Stage, client: Client
) -> None:
    one = agent(stage, [Line("x")])
    assert one.services is not None
    one.on(TemporalRuntime(client, one.services, stage.settings, pollers_wait_s=1.0))
    with pytest.raises(NoWorkersAvailable, match="meterway-agent worker") as caught:
        await one.run("go")
    assert caught.value.category == "config"


async def test_row_05_an_autonomous_run_waits_in_the_queue(stage: Stage, client: Client) -> None:
    one = agent(stage, [Line("later")], mode=Mode.AUTONOMOUS)
    assert one.services is not None
    handle = await one.on(TemporalRuntime(client, one.services, stage.settings)).start("go")
    async with stage.playing(one):
        assert (await handle).text == "later"


async def test_row_06_what_may_not_be_repeated_is_not(stage: Stage, client: Client) -> None:
    one = agent(stage, [Line(fails=Failure("auth", "401", "config"))])
    async with stage.playing(one):
        with pytest.raises(LLMFailed):
            await one.run("go")
    assert len(asked_of(one)) == 1


def asked_of(one: Agent) -> Any:
    assert one.services is not None
    llm: Any = one.services.llm
    return llm.asked


class Absent:
    """A gateway that is away for a while."""

    def __init__(self, inner: ScriptedLLM, times: int) -> None:
        self.inner, self.times, self.keys = inner, times, set[str]()

    async def complete(self, ask: Any, heard: Any = None) -> Any:
        self.keys.add(ask.idempotency_key)
        if self.times > 0:
            self.times -= 1
            raise LLMTrouble(Failure("overloaded", "away", "provider", True, 0.1, "gateway_unreachable"))
        return await self.inner.complete(ask, heard)


async def test_row_33_a_gateway_that_is_away_is_asked_again_under_one_key(stage: Stage) -> None:
    llm = Absent(ScriptedLLM({"main": [Line("back")]}), 2)
    one = Agent("main", services=stage.services(llm), principal=ANN)
    async with stage.playing(one):
        result = await one.run("go")
    assert (result.text, len(llm.keys)) == ("back", 1)


@pytest.mark.parametrize("decision", ["approve", "reject", "edit", "stranger", "twice", "not allowed"])
async def test_row_19_approvals_are_updates(stage: Stage, decision: str) -> None:
    props = Props()
    one = agent(stage, [calls("delete", path="x"), Line("ok")], props, policy=RequireAll(), approvers=["lead"])
    async with stage.playing(one):
        handle = await one.start("go")
        approval = await approval_of(handle)
        match decision:
            case "reject":
                await handle.reject(approval.id, BOSS, comment="too risky")
            case "edit":
                await handle.approve(approval.id, BOSS, arguments='{"path": "y"}')
            case "stranger" | "not allowed":
                wrong = Principal("evil", "boss", ("lead",)) if decision == "stranger" else ANN
                with pytest.raises(NotAllowed, match=r"tenant|may not decide"):
                    await handle.approve(approval.id, wrong)
                await handle.approve(approval.id, BOSS)
            case _:
                await handle.approve(approval.id, BOSS)
        if decision == "twice":
            with pytest.raises((NotAllowed, UnknownRun)):
                await handle.reject(approval.id, BOSS)
        result = await handle
    assert props.used == {"reject": [], "edit": ["delete y"]}.get(decision, ["delete x"])
    assert result.approvals[0].approver == BOSS


@pytest.mark.parametrize("strict", [False, True])
async def test_row_02_nobody_approves_in_time(stage: Stage, strict: bool) -> None:
    limits = Limits(timeout_s=20, approval_timeout_s=0.3, on_approval_timeout="fail" if strict else "skip")
    one = agent(stage, [calls("delete", path="x"), Line("kept")], policy=RequireAll(), limits=limits)
    async with stage.playing(one):
        handle = await one.start("go")
        if strict:
            with pytest.raises(ApprovalTimeout):
                await handle
        else:
            assert "nobody approved" in (await handle).messages[2].text


async def test_row_19_30_an_approval_outlives_its_worker_and_its_client(stage: Stage, client: Client) -> None:
    props = Props()
    facts: dict[str, Any] = {"policy": RequireAll()}
    one = agent(stage, [calls("delete", path="x"), Line("ok")], props, **facts)
    async with stage.playing(one):
        handle = await one.start("go")
        approval = await approval_of(handle)
    other = agent(stage, [calls("delete", path="x"), Line("ok")], props, **facts)
    assert other.fingerprint == one.fingerprint
    async with stage.playing(other):
        again = other.attach(handle.run_id)
        assert (await again.status()).pending_approvals == (approval,)
        await again.approve(approval.id, ANN)
        assert (await again).text == "ok"
    assert props.used == ["delete x"]


async def test_row_19_a_hook_on_a_worker_hears_of_an_approval(stage: Stage) -> None:
    heard: asyncio.Queue[Approval] = asyncio.Queue()
    hook = Hook("pager", {"on_approval": lambda approval, _: heard.put_nowait(approval)})
    one = agent(stage, [calls("delete", path="x"), Line("ok")], policy=RequireAll(), hooks=[hook])
    async with stage.playing(one), asyncio.timeout(30):
        handle = await one.start("go")
        approval = await heard.get()
        await handle.approve(approval.id, ANN)
        assert [record.approval for record in (await handle).approvals] == [approval]
    assert heard.empty()


async def test_row_19_a_childs_approval_is_seen_and_decided_at_the_root(stage: Stage) -> None:
    props = Props()
    kid = Agent("kid", tools=props.tools())
    script = {"kid": [calls("delete", path="k"), Line("kid ok")]}
    one = agent(stage, [calls("subagent_kid", query="x"), Line("ok")], sub_agents=[kid], scripts=script)
    async with stage.playing(one):
        result = await one.run("go", on_approval=lambda _: True)
    assert (result.text, props.used) == ("ok", ["delete k"])


async def test_cancelling_ends_the_tree_cleanly(stage: Stage, client: Client) -> None:
    script = {"kid": [calls("forever")]}
    kid = Agent("kid", tools=Props().tools(), policy=AutoApprove())
    one = agent(stage, [calls("subagent_kid", query="x")], sub_agents=[kid], scripts=script)
    async with stage.playing(one):
        handle = await one.start("go")
        async for _, event in handle.events():
            if event["type"] == "TOOL_CALL_START" and event["toolCallName"] == "forever":
                break
        children = (await handle.status()).children
        await handle.cancel("enough")
        with pytest.raises(Cancelled):
            await handle
        assert len(children) == 1
        child = await one.runtime.outcome(children[0])
    assert child.finish_reason == "cancelled"


async def test_a_message_may_follow_while_the_run_is_under_way(stage: Stage) -> None:
    one = agent(stage, [calls("delete", path="x"), Line("first"), Line("second")], policy=RequireAll())
    async with stage.playing(one):
        handle = await one.start("go")
        approval = await approval_of(handle)
        await handle.say("and hurry")
        await handle.approve(approval.id, ANN)
        result = await handle
        with pytest.raises((NotAllowed, UnknownRun)):
            await handle.say("too late")
    assert [message.text for message in result.messages if message.role == "user"] == ["go", "and hurry"]


async def test_row_15_59_a_streamed_run_can_be_resumed_at_every_offset_after_its_end(stage: Stage) -> None:
    one = agent(stage, [calls("look"), Line("some words that are long enough for more than one piece of text")])
    async with stage.playing(one), one.stream("go") as events:
        whole = [event async for event in events]
    assert sum(event["type"] == "TEXT_MESSAGE_CONTENT" for event in whole) > 1
    for offset in range(len(whole)):
        rest = [event async for _, event in events.handle.events(offset)]
        assert rest == whole[offset:]


async def test_row_17_59_one_turn_at_a_time_and_one_run_for_one_request(stage: Stage) -> None:
    one = agent(stage, [calls("delete", path="x"), Line("ok")], policy=RequireAll())
    async with stage.playing(one):
        first = await one.start("go", conversation_id="c", request_id="r1")
        assert (await one.start("go", conversation_id="c", request_id="r1")).run_id == first.run_id
        with pytest.raises(TurnConflict) as caught:
            await one.start("go", conversation_id="c", request_id="r2")
        assert caught.value.active_run_id == first.run_id
        await first.approve((await approval_of(first)).id, ANN)
        await first


async def test_row_35_runs_are_admitted_up_to_a_number_whichever_process_begins_them(stage: Stage) -> None:
    one = agent(stage, [calls("forever")])
    assert one.services is not None
    one.services = replace(one.services, runs_per_agent_max=2)
    async with stage.playing(one) as here:
        there = one.on(TemporalRuntime(stage.client, one.services, stage.settings))
        handles = [await here.start("go"), await there.start("go", request_id="r")]
        with pytest.raises(TooManyRuns, match="agent 'main' has 2"):
            await here.start("go", conversation_id="c", request_id="refused")
        assert (await here.start("go", request_id="r")).run_id == handles[1].run_id
        await handles[0].cancel()
        await handles[0].outcome()
        handles.append(await there.start("go", conversation_id="c", request_id="refused"))
        for handle in handles[1:]:
            await handle.cancel()
            await handle.outcome()


async def test_long_runs_continue_as_new_and_lose_nothing(stage: Stage, client: Client) -> None:
    stage.settings = replace(stage.settings, history_events_max=30)
    one = agent(stage, [calls("look")] * 8 + [Line("done")], limits=Limits(iterations_max=20))
    async with stage.playing(one):
        result = await one.run("go")
        events = [event["type"] async for _, event in one.attach(result.run_id).events()]
    assert result.usage.llm_calls == 9
    assert events.count("RUN_STARTED") == 1
    assert events.count("TOOL_CALL_RESULT") == 8
    described = await client.get_workflow_handle(result.run_id).describe()
    first = client.get_workflow_handle(
        result.run_id, run_id=described.raw_description.workflow_execution_info.first_run_id
    )
    found = [event.event_type async for event in first.fetch_history_events()]
    assert found[-1] == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


async def test_what_is_said_while_a_long_run_moves_on_happens(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.settings = replace(stage.settings, history_events_max=5)
    one = agent(stage, [calls("look"), calls("forever")])
    assert one.services is not None
    telling, append = asyncio.Event(), one.services.events.append

    async def slow(run_id: str, entries: Sequence[Entry]) -> None:
        if "TOOL_CALL_RESULT" in repr(entries) and not telling.is_set():
            telling.set()
            await asyncio.sleep(1.0)
        await append(run_id, entries)

    monkeypatch.setattr(one.services.events, "append", slow)
    async with stage.playing(one), asyncio.timeout(30):
        handle = await one.start("go", conversation_id="c")
        await telling.wait()
        await handle.cancel()
        assert (await handle.outcome()).status == "cancelled"
        events = [event["type"] async for _, event in one.attach(handle.run_id).events()]
        turns = await one.services.conversations.turns(ANN, "c")
    assert (events[-1], events.count("RUN_FINISHED"), events.count("RUN_ERROR")) == ("RUN_FINISHED", 1, 0)
    assert [turn.status for turn in turns] == ["cancelled"]


async def test_row_28_stores_of_one_process_are_refused(client: Client) -> None:
    with pytest.raises(ConfigError, match=r"services\.events is in the memory of one process.*sqlite_services"):
        TemporalRuntime(client, local_services(ScriptedLLM({})))


async def test_row_29_a_run_only_reaches_workers_of_its_own_make(stage: Stage, client: Client) -> None:
    old = agent(stage, [Line("old")])
    new = agent(stage, [Line("new")], tools=Props().tools()[:1])
    assert new.services is not None
    async with stage.playing(old):
        new.on(TemporalRuntime(client, new.services, stage.settings, pollers_wait_s=0.6))
        with pytest.raises(NoWorkersAvailable):
            await new.run("go")
        assert (await old.run("go")).text == "old"


def test_row_53_queues_are_derived_and_duplicates_refused() -> None:
    one, other = Agent("main", None, "a").spec, Agent("main", None, "b").spec
    assert list(queues([one, one], "base")) == [queue_of("base", "main", fingerprint(one))]
    with pytest.raises(ConfigError, match="two different agents named 'main'"):
        queues([one, other], "base")


async def test_row_51_runs_can_be_found_and_asked(stage: Stage, client: Client) -> None:
    one = agent(stage, [calls("delete", path="x"), Line("ok")], policy=RequireAll())
    async with stage.playing(one):
        handle = await one.start("secret words", conversation_id="c-51")
        approval = await approval_of(handle)
        workflow = client.get_workflow_handle(handle.run_id)
        assert len(await workflow.query("pending_approvals")) == 1
        transcript = await workflow.query("transcript")
        await handle.approve(approval.id, ANN)
        await handle
        found = (await workflow.describe()).typed_search_attributes
    values = {pair.key.name: pair.value for pair in found if pair.key.name != "BuildIds"}
    assert values == {
        "AgentName": "main",
        "AgentTenant": "acme",
        "AgentConversation": "c-51",
        "AgentFinishReason": "complete",
    }
    assert "secret words" not in json.dumps(transcript)


async def test_a_run_that_nobody_knows_is_named(stage: Stage, client: Client) -> None:
    runtime = TemporalRuntime(client, stage.services(ScriptedLLM({})), stage.settings)
    for asking in (runtime.status("run-x"), runtime.outcome("run-x"), runtime.cancel("run-x")):
        with pytest.raises(UnknownRun, match="run-x"):
            await asking


async def test_row_13_a_run_that_was_terminated_is_an_error_of_ours(stage: Stage, client: Client) -> None:
    one = agent(stage, [calls("forever")])
    async with stage.playing(one):
        handle = await one.start("go")
        await client.get_workflow_handle(handle.run_id).terminate()
        with pytest.raises(AgentError, match="lost in Temporal"):
            await handle


async def test_row_15_59_a_run_that_was_terminated_has_one_end_and_gives_its_turn_back(
    stage: Stage, client: Client
) -> None:
    one = agent(stage, [calls("forever"), Line("again")])
    assert one.services is not None
    async with stage.playing(one), asyncio.timeout(60):
        handle = await one.start("go", conversation_id="c")
        seen: list[Any] = []
        async for _, event in handle.events():
            seen.append(event)
            if event["type"] == "TOOL_CALL_START":
                await client.get_workflow_handle(handle.run_id).terminate()
        assert (seen[-1]["type"], seen[-1]["code"]) == ("RUN_ERROR", "logic")
        assert [event async for _, event in handle.events()] == seen
        assert [event async for _, event in handle.events(len(seen))] == []
        status = await handle.status()
        turns = await one.services.conversations.turns(ANN, "c")
        again = await one.start("go", conversation_id="c")
        await again.cancel()
        await again.outcome()
    assert (status.status, status.finish_reason) == ("failed", "failed")
    assert [(turn.status, len(turn.messages)) for turn in turns] == [("failed", 1)]


async def test_row_59_the_next_turn_finds_out_that_a_run_was_terminated(stage: Stage, client: Client) -> None:
    """Nobody followed it, nobody asked for it."""
    one = agent(stage, [calls("forever"), Line("again")])
    async with stage.playing(one):
        lost = await one.start("go", conversation_id="c")
        with pytest.raises(TurnConflict):
            await one.start("go", conversation_id="c")
        await client.get_workflow_handle(lost.run_id).terminate()
        again = await one.start("go", conversation_id="c")
        await again.cancel()
        await again.outcome()
        assert (await lost.outcome()).status == "failed"


async def test_row_59_a_run_that_nobody_began_ends_when_its_time_is_over(stage: Stage) -> None:
    """The client was killed between the admission and Temporal."""
    one = agent(stage, [Line("again")])
    assert one.services is not None
    clock = Moving()
    one.services = replace(one.services, clock=clock)
    async with stage.playing(one), asyncio.timeout(60):
        admitted = await admission.admit(one.spec, one.services, RunRequest("go", ANN, "c", request_id="asked"))
        lost = one.attach(admitted.ref.run_id)
        with pytest.raises(UnknownRun):
            await lost.status()
        clock.passed_s = admitted.timeout_s + admission.CLAIM_GRACE_S + 1
        assert (await one.run("go", conversation_id="c")).text == "again"
        same = await one.start("go", conversation_id="c", request_id="asked")
        events = [event async for _, event in same.events()]
        assert [(event["type"], event["code"]) for event in events] == [("RUN_ERROR", "logic")]
        assert (await lost.status()).status == "failed"


@pytest.mark.parametrize(("model", "attempts"), [("broken", 3), ("all-fail", 4)])
async def test_row_33_retries_do_not_multiply_through_temporal_client_and_gateway(
    stage: Stage, lab: Lab, model: str, attempts: int
) -> None:
    """Each turn is one request to the gateway, and each request no more calls than the route has attempts."""
    lab.reset()
    started_s = time.monotonic()
    async with LLMClient(lab.url, lab.key) as llm:
        one = Agent("main", services=stage.services(llm), model=model, principal=Principal("demo", "ann"))
        async with stage.playing(one):
            ends = await asyncio.gather(*(one.try_run(f"go {n}", timeout_s=60) for n in range(10)))
    assert time.monotonic() - started_s < 60
    assert {end.outcome.finish_reason for end in ends} == {"failed"}
    assert {end.error.category for end in ends if end.error} == {"provider"}
    calls = Counter(line["id"] for line in lab.bill())
    assert 1 <= len(calls) <= len(ends)
    assert max(calls.values()) <= attempts


async def test_row_59_a_client_of_temporal_is_cut_off_at_every_offset_while_the_run_is_under_way(stage: Stage) -> None:
    services = stage.services(Unhurried({"main": SCRIPT}))
    one = Agent("main", services=services, tools=Props().tools(), policy=AutoApprove(), principal=ANN)
    async with stage.playing(one):
        await everyone_sees_the_same(one, lambda run_id: lambda offset: one.attach(run_id).events(offset))
