"""Stores that fail, and hooks around what is remembered."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.api import Agent, sqlite_services
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import BY_KIND, AgentError, LLMFailed, UnknownRun, error_of
from agent_runtime.contracts.run import RunRequest
from agent_runtime.desk import admission
from agent_runtime.domain.values import Failure, RunRef
from agent_runtime.inline.runtime import InlineRuntime
from agent_runtime.spec.agent import MemoryUse
from agent_runtime.spec.guardrails import pii_redaction
from agent_runtime.stores.memory import MemoryRuns
from agent_runtime.tools.access import AutoApprove
from tests.agent_runtime.cast import ANN, Moving, agent, calls


class ForgetfulRuns(MemoryRuns):
    async def keep_result(self, run_id: str, key: str, text: str) -> None:
        raise ConnectionError(f"{run_id} {key} {text}")


async def test_a_store_that_fails_ends_the_run_with_a_reason_instead_of_a_hang() -> None:
    one = agent([calls("look"), Line("ok")])
    assert one.services is not None
    one.services = replace(one.services, runs=ForgetfulRuns())
    outcome = await one.try_run("go", timeout_s=5)
    assert outcome.error is not None
    assert outcome.error.to_failure().kind == "unavailable"
    assert outcome.outcome.finish_reason == "failed"


async def test_row_45_46_what_is_remembered_passes_the_guards(tmp_path: Path) -> None:
    llm = ScriptedLLM({"main": [calls("save_memory", text="mail ann@example.com"), Line("ok")]})
    services = sqlite_services(llm, tmp_path / "a.db")
    facts: dict[str, Any] = {"policy": AutoApprove(), "principal": ANN, "hooks": [pii_redaction()]}
    await Agent("main", services=services, memory=MemoryUse(), **facts).run("remember")
    assert services.memory is not None
    found = await services.memory.recall(ANN, "main", "mail", 5, 0.1)
    assert [one.text for one in found] == ["mail [email]"]


@pytest.mark.parametrize("kind", [*BY_KIND, "rate_limited", "bug"])
def test_row_13_every_error_survives_being_data(kind: str) -> None:
    ref = RunRef("r", "main", ANN, "r", conversation_id="c")
    failure = Failure(kind, "what happened", "logic", False, 1.5, "code")
    error = error_of(failure, ref)
    assert isinstance(error, BY_KIND.get(kind, LLMFailed if kind == "rate_limited" else AgentError))
    assert error.to_failure() == failure
    assert (error.run_id, error.agent, error.tenant, error.conversation_id) == ("r", "main", "acme", "c")


async def test_row_59_a_run_whose_process_was_killed_ends_when_its_time_is_over() -> None:
    one = agent([Line("again")])
    assert one.services is not None
    clock = Moving()
    services = replace(one.services, clock=clock)
    one.on(InlineRuntime(services))
    request = RunRequest("go", ANN, "c", request_id="asked")
    admitted = await admission.admit(one.spec, services, request)  # and the process that was to run it is gone
    lost = one.attach(admitted.ref.run_id)
    with pytest.raises(UnknownRun):
        await lost.outcome()
    clock.passed_s = admitted.timeout_s + admission.CLAIM_GRACE_S + 1
    events = [event async for _, event in lost.events()]
    assert [(event["type"], event["code"]) for event in events] == [("RUN_ERROR", "logic")]
    assert [event async for _, event in lost.events()] == events
    assert (await lost.outcome()).status == "failed"
    assert (await one.run("go", conversation_id="c")).text == "again"
