"""Runs agents in this process, and answers for them by run id."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Self

from agent_runtime.contracts.errors import NotAllowed, UnknownRun
from agent_runtime.contracts.run import RunRequest, RunStatus, status_of
from agent_runtime.desk import admission, ending
from agent_runtime.desk.desk import Desk
from agent_runtime.desk.following import follow
from agent_runtime.desk.services import Services
from agent_runtime.domain.approval import Decision, refusal, run_of
from agent_runtime.domain.happened import Begun, CancelAsked, Decided, UserSaid
from agent_runtime.domain.state import new_run
from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import lineage
from agent_runtime.inline.run import InlineRun
from agent_runtime.spec.agent import AgentSpec, plan_of
from agent_runtime.spec.fingerprint import fingerprint


class InlineRuntime:
    """Implements contracts.Runtime. Closing waits for the runs that are under way, or cancels them after `grace_s`; no
    run that waits for a person is waited for."""

    def __init__(self, services: Services, *, grace_s: float = 10.0) -> None:
        self.services = services
        self._grace_s = grace_s
        self._active: dict[str, InlineRun] = {}
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        ends = CancelAsked("the runtime is closing")
        for run_id, run in self._active.items():
            if run_id in self._tasks and run.state.only_asks:
                run.tell(ends)
        if tasks:
            await asyncio.wait(tasks, timeout=self._grace_s)
        for run in list(self._active.values()):
            run.tell(ends)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def start(self, spec: AgentSpec, request: RunRequest) -> str:
        admitted = await admission.admit(spec, self.services, request)
        run_id = admitted.ref.run_id
        if not admitted.fresh:
            return run_id
        plan = plan_of(spec, fingerprint(spec))
        deadline_s = self.services.clock.now_s() + admitted.timeout_s
        state = new_run(admitted.ref, plan, deadline_s, secrets.token_hex(16))
        run = InlineRun(Desk(spec, self.services), state, self._active)
        self._active[run_id] = run
        task = asyncio.ensure_future(run.drive(Begun(request.input, request.images)))
        self._tasks[run_id] = task
        task.add_done_callback(lambda _: self._ended(run_id))
        return run_id

    def _ended(self, run_id: str) -> None:
        task = self._tasks.pop(run_id)
        if not task.cancelled() and task.exception() is not None:
            self.services.recorder.counted("agent.run.failed", error="store")

    async def outcome(self, run_id: str) -> Outcome:
        task = self._tasks.get(run_id)
        if task is not None:
            return await asyncio.shield(task)
        outcome = await self._known_end(run_id)
        if outcome is None:
            raise UnknownRun(f"run {run_id!r} is not known here; it may have ended too long ago")
        return outcome

    async def _known_end(self, run_id: str) -> Outcome | None:
        """Of a run of any process; past its time, one that has put no end on record was lost with its process."""
        entry = await self.services.runs.get(run_id)
        if entry is None or entry.outcome is not None or run_id in self._active:
            return None if entry is None else entry.outcome
        if entry.pauses or not entry.overdue(self.services.clock.now_s()):
            return None
        return await ending.lose(self.services, entry, "with the process that ran it; ask again")

    async def status(self, run_id: str) -> RunStatus:
        run = self._active.get(run_id)
        if run is None:
            outcome = await self.outcome(run_id)
            ref, reason = outcome.ref, outcome.finish_reason
            return RunStatus(
                run_id, ref.agent, status_of(reason), "done", outcome.usage.llm_calls, outcome.total, (), reason
            )
        state = run.state
        pending = tuple(one for tree in self._tree(run_id) for one in tree.state.pending_approvals)
        return RunStatus(run_id, state.ref.agent, "running", state.phase.value, state.turn, state.total, pending)

    def _tree(self, run_id: str) -> list[InlineRun]:
        root = self._active[run_id].state.ref.run_id
        return [run for key, run in self._active.items() if root in lineage(key)]

    async def decide(self, decision: Decision) -> None:
        run = self._active.get(run_of(decision.approval_id))
        if run is None:
            raise NotAllowed(f"no run waits for approval {decision.approval_id!r}; it is over, or was never there")
        state = run.state
        why = refusal(
            decision,
            pending=state.pending_approvals,
            spent=state.spent_approvals + run.taken,
            owner=state.ref.principal,
            approvers=state.plan.approvers,
        )
        if why is not None:
            raise NotAllowed(why.text, ref=state.ref)
        run.taken += (decision.approval_id,)
        run.tell(Decided(replace(decision, at_s=self.services.clock.now_s())))

    async def say(self, run_id: str, text: str) -> None:
        self._running(run_id).tell(UserSaid(text))

    async def cancel(self, run_id: str, reason: str = "") -> None:
        self._running(run_id).tell(CancelAsked(reason))

    def _running(self, run_id: str) -> InlineRun:
        if run_id not in self._active:
            raise UnknownRun(f"run {run_id!r} is not under way here")
        return self._active[run_id]

    def events(self, run_id: str, offset: int = 0) -> AsyncIterator[tuple[int, Shown]]:
        return follow(self.services, run_id, offset, self._known_end)
