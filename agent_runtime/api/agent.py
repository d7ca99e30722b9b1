"""An agent: put together once, run in this process or, unchanged, on Temporal."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypedDict, Unpack

from pydantic import BaseModel

from agent_runtime.api.handle import Handle, Runtime
from agent_runtime.api.services import local_services
from agent_runtime.contracts.errors import ConfigError, NotAllowed
from agent_runtime.contracts.run import RunOutcome, RunRequest, RunResult
from agent_runtime.desk.admission import check_services
from agent_runtime.desk.services import Services
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.limits import Limits, Mode
from agent_runtime.domain.todo import Shown
from agent_runtime.domain.values import Principal
from agent_runtime.inline.runtime import InlineRuntime
from agent_runtime.ports import LLM, Retriever
from agent_runtime.spec.agent import AgentSpec, MemoryUse
from agent_runtime.spec.fingerprint import fingerprint
from agent_runtime.spec.hooks import Hook
from agent_runtime.spec.knowledge import knowledge_tools
from agent_runtime.tools.access import Authorizer, Policy, RequireAll
from agent_runtime.tools.tool import Tool
from sdk_client import LLMClient

OnApproval = Callable[[Approval], bool | Awaitable[bool]]


class AgentFacts(TypedDict, total=False):
    """What may be said about an agent beyond name, model and instructions; the defaults are AgentSpec's."""

    model: str
    description: str
    tools: Sequence[Tool]
    sub_agents: "Sequence[Agent]"
    mode: Mode
    limits: Limits
    policy: Policy
    authorizers: Sequence[Authorizer]
    approvers: Sequence[str]
    sequential: bool
    output: type[BaseModel] | Mapping[str, Any] | None
    options: Mapping[str, Any]
    hooks: Sequence[Hook]
    retrievers: Sequence[Retriever]
    retrieval: Any
    memory: MemoryUse | None
    history_size: int
    cheaper_model: str
    version: str


class RunFacts(TypedDict, total=False):
    """What may be said about one run."""

    principal: Principal
    conversation_id: str | None
    images: tuple[str, ...]
    timeout_s: float | None
    request_id: str | None
    retry_of: str | None


class Agent:
    """`llm` is a gateway's client, or anything that answers like one. A sub-agent uses its parent's services."""

    def __init__(
        self,
        name: str,
        llm: LLM | LLMClient | None = None,
        instructions: str = "",
        *,
        services: Services | None = None,
        principal: Principal | None = None,
        **facts: Unpack[AgentFacts],
    ) -> None:
        given: dict[str, Any] = dict(facts)
        output = given.pop("output", None)
        self._output: type[BaseModel] | None = output if isinstance(output, type) else None
        schema = output if self._output is None else self._output.model_json_schema()
        self.services = services or (None if llm is None else local_services(llm))
        self._principal = principal
        self._runtime: Runtime | None = None
        self.spec = _spec(name, instructions, schema, given)
        if self.services is not None:
            check_services(self.spec, self.services)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.spec)

    def on(self, runtime: Runtime) -> Self:
        """From now on it runs there."""
        self._runtime = runtime
        return self

    @property
    def runtime(self) -> Runtime:
        if self._runtime is None:
            if self.services is None:
                raise ConfigError(f"agent {self.spec.name!r} has no llm; give it one, services, or a runtime")
            self._runtime = InlineRuntime(self.services)
        return self._runtime

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._runtime is not None:
            await self._runtime.close()

    async def start(self, text: str, *, stream: bool = False, **facts: Unpack[RunFacts]) -> Handle:
        """Begins a run; it goes on whether anybody waits or not."""
        given: dict[str, Any] = dict(facts)
        principal = given.pop("principal", None) or self._principal
        if principal is None:
            raise NotAllowed("the run has no principal; every run belongs to a tenant")
        request = RunRequest(text, principal, stream=stream, **given)
        return Handle(self.runtime, await self.runtime.start(self.spec, request), self._output)

    def attach(self, run_id: str) -> Handle:
        """To a run that was begun before, here or elsewhere."""
        return Handle(self.runtime, run_id, self._output)

    async def run(
        self,
        text: str,
        *,
        on_approval: OnApproval | None = None,
        raise_on_max_iterations: bool = False,
        **facts: Unpack[RunFacts],
    ) -> RunResult:
        """Begins a run and waits for its end; `on_approval` decides in the caller's name."""
        outcome = await self.try_run(
            text, on_approval=on_approval, raise_on_max_iterations=raise_on_max_iterations, **facts
        )
        if outcome.error is not None:
            raise outcome.error
        return await self.attach(outcome.outcome.ref.run_id).result()

    async def try_run(
        self,
        text: str,
        *,
        on_approval: OnApproval | None = None,
        raise_on_max_iterations: bool = False,
        **facts: Unpack[RunFacts],
    ) -> RunOutcome:
        """As `run`, but a run that fails is an outcome with an error."""
        if on_approval is None and isinstance(self.spec.policy, RequireAll) and self.spec.cards():
            raise ConfigError(
                f"agent {self.spec.name!r}: policy asks a person about every tool and nobody would answer; "
                "pass on_approval, choose another policy, or use start() and approve from elsewhere"
            )
        handle = await self.start(text, **facts)
        if on_approval is None:
            return await handle.outcome(raise_on_max_iterations=raise_on_max_iterations)
        decider = facts.get("principal") or self._principal
        watching = asyncio.ensure_future(_decide(handle, on_approval, decider))
        try:
            return await handle.outcome(raise_on_max_iterations=raise_on_max_iterations)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    @asynccontextmanager
    async def stream(self, text: str, **facts: Unpack[RunFacts]) -> "AsyncIterator[RunStream]":
        """Begins a run whose text arrives in pieces. Leaving the block ends the following, not the run."""
        handle = await self.start(text, stream=True, **facts)
        events = RunStream(handle)
        try:
            yield events
        finally:
            await events.close()


class RunStream:
    """The events of a run; ends after exactly one terminal event."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self._events: Any = handle.events()

    def __aiter__(self) -> AsyncIterator[Shown]:
        return self._shown()

    async def _shown(self) -> AsyncIterator[Shown]:
        async for _, event in self._events:
            yield event

    async def close(self) -> None:
        await self._events.aclose()


async def _decide(handle: Handle, on_approval: OnApproval, decider: Principal | None) -> None:
    async for _, event in handle.events():
        if event["type"] != "CUSTOM" or not str(event["name"]).endswith(("_approval", "_delegation")):
            continue
        value: Any = event["value"]
        status = await handle.status()
        approval = next((one for one in status.pending_approvals if one.id == value["approvalId"]), None)
        if approval is None or decider is None:
            continue
        answer = on_approval(approval)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            await handle.approve(approval.id, decider)
        else:
            await handle.reject(approval.id, decider)


def _spec(name: str, instructions: str, output: Mapping[str, Any] | None, facts: dict[str, Any]) -> AgentSpec:
    model = facts.pop("model", "assistant")
    tools = tuple(facts.pop("tools", ()))
    sub_agents = tuple(one.spec for one in facts.pop("sub_agents", ()))
    retrievers = tuple(facts.pop("retrievers", ()))
    memory = facts.pop("memory", None)
    retrieval = facts.pop("retrieval", "agentic")
    asked = retrievers if retrieval != "prefetch" else ()
    extra = knowledge_tools(name, asked, memory, facts.get("hooks", ()))
    several: dict[str, Any] = {key: tuple(facts.pop(key, ())) for key in ("authorizers", "approvers", "hooks")}
    return AgentSpec(
        name=name,
        model=model,
        instructions=instructions,
        tools=tools + extra,
        sub_agents=sub_agents,
        output=output,
        retrievers=retrievers,
        retrieval=retrieval,
        memory=memory,
        **several,
        **facts,
    )


__all__ = ["Agent", "AgentFacts", "Mode", "RunFacts", "RunStream"]
