"""One run in this process: tells the loop what happened, does what it asks."""

import asyncio
from collections.abc import Awaitable, Callable

from agent_runtime.desk.desk import Desk
from agent_runtime.desk.troubles import failure_of
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.happened import ApprovalExpired, Begun, Broke, ChildDone, Happened, TimeUp
from agent_runtime.domain.loop import step
from agent_runtime.domain.plan import inherited
from agent_runtime.domain.state import Phase, RunState, new_run
from agent_runtime.domain.todo import (
    AskApproval,
    AskMore,
    CallLLM,
    CheckCall,
    Emit,
    Finish,
    Outcome,
    Prepare,
    RunChild,
    RunTool,
    Todo,
    TopUp,
)
from agent_runtime.spec.agent import plan_of
from agent_runtime.spec.fingerprint import fingerprint

SHORTEST_S = 0.01


class InlineRun:
    """Everything that happens goes through one queue, one at a time."""

    def __init__(self, desk: Desk, state: RunState, registry: "dict[str, InlineRun]") -> None:
        self.desk = desk
        self.state = state
        self.taken: tuple[str, ...] = ()
        self._registry = registry
        self._queue: asyncio.Queue[Happened] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = desk.services.clock

    def tell(self, event: Happened) -> None:
        self._queue.put_nowait(event)

    async def drive(self, begun: Begun) -> Outcome:
        """One span holds all that the run does, and those below it."""
        with self.desk.services.recorder.span("agent.run", self.state.ref):
            return await self._drive(begun)

    async def _drive(self, begun: Begun) -> Outcome:
        run_id = self.state.ref.run_id
        started_s = self._clock.now_s()
        self._registry[run_id] = self
        self._spawn(self._watch_deadline())
        try:
            await self._happen(begun, started_s)
            while self.state.phase is not Phase.DONE:
                await self._happen(await self._queue.get(), started_s)
        finally:
            await self._stop_all()
            del self._registry[run_id]
        if self.state.outcome is None:
            raise AssertionError("a run that is done has an outcome")
        return self.state.outcome

    async def _happen(self, event: Happened, started_s: float) -> None:
        self.state, todo = step(self.state, event)
        for one in todo:
            match one:
                case Emit():
                    await self.desk.publish(self.state.ref, one)
                case Finish(outcome):
                    await self._stop_all()
                    await self.desk.conclude(outcome, started_s)
                case AskApproval(approval):
                    self._spawn(self._expire(approval))
                    if self.state.plan.hears_approvals:
                        self._spawn(self.desk.notify(self.state.ref, one))
                case _:
                    self._spawn(self._answer(self._work(one)))

    def _work(self, todo: Todo) -> Callable[[], Awaitable[Happened]]:
        ref, desk = self.state.ref, self.desk
        deadline_s = self.state.deadline_s
        match todo:
            case Prepare():
                return lambda: desk.prepare(ref, todo)
            case CallLLM():
                return lambda: desk.think(ref, todo, deadline_s)
            case CheckCall():
                return lambda: desk.check(ref, todo)
            case RunTool():
                return lambda: desk.act(ref, todo)
            case RunChild():
                return lambda: self._child(todo)
            case TopUp():
                return lambda: desk.top_up(ref, todo)
            case AskMore():
                return lambda: desk.ask_more(ref, todo)
            case _:
                raise AssertionError(f"nobody does {type(todo).__name__}")

    async def _answer(self, work: Callable[[], Awaitable[Happened]]) -> None:
        self.tell(await work())

    async def _child(self, todo: RunChild) -> Happened:
        spec = next(one for one in self.desk.spec.sub_agents if one.name == todo.agent)
        desk = Desk(spec, self.desk.services)
        plan = inherited(plan_of(spec, fingerprint(spec)), self.state.plan, todo.tokens_left, todo.nano_usd_left)
        seed = f"{self.state.seed}:{todo.ref.run_id}"
        own_s = self._clock.now_s() + (plan.limits.timeout_s or 0.0)
        child = InlineRun(desk, new_run(todo.ref, plan, min(own_s, self.state.deadline_s), seed), self._registry)
        outcome = await child.drive(Begun(todo.query))
        return ChildDone(
            call_id=todo.call_id,
            text=outcome.text,
            finish_reason=outcome.finish_reason,
            usage=outcome.total,
            by_agent=outcome.by_agent,
            failed=outcome.failure is not None,
            at_s=self._clock.now_s(),
        )

    async def _expire(self, approval: Approval) -> None:
        await self._clock.sleep_s(approval.timeout_s)
        self.tell(ApprovalExpired(approval.id, self._clock.now_s()))

    async def _watch_deadline(self) -> None:
        """The deadline moves while a person is being waited for."""
        while (left_s := self.state.deadline_s - self._clock.now_s()) > 0 or self.state.clock_stopped:
            await self._clock.sleep_s(max(SHORTEST_S, left_s))
        self.tell(TimeUp())

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What the desk does not turn into an answer is no reason to hang."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.tell(Broke(failure_of(error)))

    async def _stop_all(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
