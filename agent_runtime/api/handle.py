"""A handle of a run: wait for it, follow it, decide for it, end it; by run id, from any process."""

from collections.abc import AsyncIterator, Generator
from typing import Any, Protocol

from pydantic import BaseModel

from agent_runtime.contracts.run import (
    RunOutcome,
    RunRequest,
    RunResult,
    RunStatus,
    error_in,
    result_of,
    status_of,
)
from agent_runtime.domain.approval import Decision
from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import Principal
from agent_runtime.spec.agent import AgentSpec


class Runtime(Protocol):
    """What a driver of runs can do, whichever it is. Everything goes by run id."""

    async def start(self, spec: AgentSpec, request: RunRequest) -> str:
        """The id of the run that does this request, new or not."""
        ...

    async def status(self, run_id: str) -> RunStatus:
        """Raises UnknownRun."""
        ...

    async def outcome(self, run_id: str) -> Outcome:
        """Waits for the end."""
        ...

    async def decide(self, decision: Decision) -> None:
        """Raises NotAllowed with the reason."""
        ...

    async def say(self, run_id: str, text: str) -> None: ...
    async def cancel(self, run_id: str, reason: str = "") -> None: ...
    def events(self, run_id: str, offset: int = 0) -> AsyncIterator[tuple[int, Shown]]:
        """From `offset` on, until the terminal event."""
        ...

    async def close(self) -> None: ...


class Handle:
    """`await handle` is the result; giving up waiting does not end the run."""

    def __init__(self, runtime: Runtime, run_id: str, output: type[BaseModel] | None = None) -> None:
        self._runtime = runtime
        self._output = output
        self.run_id = run_id

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self.result().__await__()

    async def result(self, *, raise_on_max_iterations: bool = False) -> RunResult:
        outcome = await self._runtime.outcome(self.run_id)
        error = error_in(outcome, raise_on_max_iterations=raise_on_max_iterations)
        if error is not None:
            raise error
        answered = self._output is not None and outcome.finish_reason == "complete"
        output = self._output.model_validate_json(outcome.text) if answered and self._output else None
        return result_of(outcome, output)

    async def outcome(self, *, raise_on_max_iterations: bool = False) -> RunOutcome:
        """Never raises for how the run ended; its usage is known also when it failed."""
        outcome = await self._runtime.outcome(self.run_id)
        error = error_in(outcome, raise_on_max_iterations=raise_on_max_iterations)
        return RunOutcome(status_of(outcome.finish_reason), outcome, error)

    async def status(self) -> RunStatus:
        return await self._runtime.status(self.run_id)

    async def cancel(self, reason: str = "") -> None:
        await self._runtime.cancel(self.run_id, reason)

    async def say(self, text: str) -> None:
        """Another message, answered before the run ends."""
        await self._runtime.say(self.run_id, text)

    def events(self, offset: int = 0) -> AsyncIterator[tuple[int, Shown]]:
        """Numbered from 0. Whoever was cut off at n goes on at n + 1."""
        return self._runtime.events(self.run_id, offset)

    async def approve(
        self, approval_id: str, approver: Principal, *, arguments: str | None = None, comment: str = ""
    ) -> None:
        await self._runtime.decide(Decision(approval_id, True, approver, 0.0, arguments, comment))

    async def reject(self, approval_id: str, approver: Principal, *, comment: str = "") -> None:
        await self._runtime.decide(Decision(approval_id, False, approver, 0.0, None, comment))
