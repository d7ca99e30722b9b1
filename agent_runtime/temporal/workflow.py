"""The workflow: tells the loop what happened, has activities do what it asks."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.workflow import ActivityCancellationType, ChildWorkflowCancellationType, ParentClosePolicy

from agent_runtime.contracts.run import RunStatus, status_of
from agent_runtime.domain.approval import Approval, Decision, refusal
from agent_runtime.domain.happened import (
    ApprovalExpired,
    Begun,
    CancelAsked,
    Checked,
    ChildDone,
    Decided,
    Happened,
    LLMFailed,
    MoreGranted,
    Prepared,
    Replied,
    TimeUp,
    ToolDone,
    ToppedUp,
    UserSaid,
)
from agent_runtime.domain.loop import INBOX_MAX, step
from agent_runtime.domain.plan import inherited
from agent_runtime.domain.state import Phase, new_run
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
from agent_runtime.domain.values import Usage
from agent_runtime.temporal.retries import Row, lost, policy, table, tool_row
from agent_runtime.temporal.shapes import UNHEARD, Activity, Job, RunInput, queue_of

FINISH_REASON = SearchAttributeKey.for_keyword("AgentFinishReason")
SHORTEST_S = 0.05


@workflow.defn(name="AgentRun")
class AgentRun:
    """Everything that happens goes through one queue, one at a time, as in the driver for one process."""

    @workflow.init
    def __init__(self, run: RunInput) -> None:
        self._run = run
        self._state = run.state
        self._settings = run.settings
        self._queue: asyncio.Queue[Happened] = asyncio.Queue()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._taken: tuple[str, ...] = ()
        self._children: tuple[str, ...] = ()
        self._continue_with: CallLLM | None = None

    @workflow.run
    async def run(self, run: RunInput) -> Outcome:
        try:
            return await self._drive(run)
        except asyncio.CancelledError:
            if self._state.phase is Phase.DONE:
                raise
            await self._happen(CancelAsked("the workflow was cancelled"))
            return self._outcome()

    async def _drive(self, run: RunInput) -> Outcome:
        self._spawn(self._watch_deadline())
        if run.begun is not None:
            await self._happen(run.begun)
        elif run.resume is not None:
            self._spawn(self._tell(run.resume))
        while self._state.phase is not Phase.DONE:
            await self._happen(await self._queue.get())
            if self._continue_with is not None:
                await self._continue_as_new()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._outcome()

    def _outcome(self) -> Outcome:
        if self._state.outcome is None:
            raise ApplicationError("a run that is done has an outcome", type="bug", non_retryable=True)
        return self._state.outcome

    # What people do

    @workflow.update
    async def decide(self, decision: Decision) -> None:
        """Counts from the moment it is accepted."""
        self._taken += (decision.approval_id,)
        self._queue.put_nowait(Decided(replace(decision, at_s=workflow.time())))

    @decide.validator
    def _may_decide(self, decision: Decision) -> None:
        state = self._state
        why = refusal(
            decision,
            pending=state.pending_approvals,
            spent=state.spent_approvals + self._taken,
            owner=state.ref.principal,
            approvers=state.plan.approvers,
        )
        if why is not None:
            kind = UNHEARD if why.unheard else "denied"
            raise ApplicationError(why.text, type=kind, non_retryable=True)

    @workflow.update
    async def say(self, text: str) -> None:
        self._queue.put_nowait(UserSaid(text))

    @say.validator
    def _may_say(self, text: str) -> None:
        if self._state.phase is Phase.DONE:
            raise ApplicationError("the run is over; start another one", type="denied", non_retryable=True)
        if not text or len(self._state.inbox) >= INBOX_MAX:
            raise ApplicationError("the message is empty, or too many wait already", type="denied", non_retryable=True)

    @workflow.update
    async def cancel(self, reason: str) -> None:
        self._queue.put_nowait(CancelAsked(reason))

    @workflow.query
    def status(self) -> RunStatus:
        state = self._state
        outcome = state.outcome
        return RunStatus(
            run_id=state.ref.run_id,
            agent=state.ref.agent,
            status="running" if outcome is None else status_of(outcome.finish_reason),
            phase=state.phase.value,
            turn=state.turn,
            usage=state.total,
            pending_approvals=tuple(one for one in state.pending_approvals if one.id not in self._taken),
            finish_reason=None if outcome is None else outcome.finish_reason,
            children=self._children,
        )

    @workflow.query
    def pending_approvals(self) -> list[Approval]:
        return list(self._state.pending_approvals)

    @workflow.query
    def transcript(self) -> list[dict[str, Any]]:
        """Who said how much, not what: a query's answer may be shown to operators."""
        return [
            {"role": one.role, "characters": len(one.text), "calls": [call.name for call in one.calls]}
            for one in self._state.messages
        ]

    # One step

    async def _happen(self, event: Happened) -> None:
        self._state, todo = step(self._state, event)
        emits: list[Emit] = []
        for one in todo:
            if isinstance(one, Emit):
                emits.append(one)
                continue
            await self._publish(emits)
            await self._begin(one)
        await self._publish(emits)

    async def _begin(self, todo: Todo) -> None:
        match todo:
            case Finish(outcome):
                await self._stop_all()
                await self._conclude(outcome)
            case AskApproval(approval):
                self._spawn(self._expire(approval))
                if self._state.plan.hears_approvals:
                    self._spawn(self._notify(todo))
            case CallLLM() if self._history_is_long():
                self._continue_with = todo
            case _:
                self._spawn(self._tell(todo))

    async def _publish(self, emits: list[Emit]) -> None:
        """Events that cannot be kept in the log are lost; the run goes on without them."""
        if not emits:
            return
        job, row = self._job(publish=tuple(emits)), table(self._settings)["publish"]
        emits.clear()
        try:
            await workflow.execute_local_activity(
                "agent.publish",
                job,
                start_to_close_timeout=timedelta(seconds=row.timeout_s),
                retry_policy=policy(row),
            )
        except ActivityError:
            workflow.logger.error("events of run %s could not be kept", self._state.ref.run_id)

    async def _conclude(self, outcome: Outcome) -> None:
        """Shielded: a run that is cancelled is put on record like any other."""
        workflow.upsert_search_attributes([FINISH_REASON.value_set(outcome.finish_reason)])
        job = self._job(conclude=outcome, started_s=self._run.started_s)
        await asyncio.shield(self._activity("conclude", job))

    # What takes time

    async def _tell(self, todo: Todo) -> None:
        self._queue.put_nowait(await self._work(todo))

    async def _work(self, todo: Todo) -> Happened:
        match todo:
            case CallLLM():
                return await self._think(todo)
            case RunTool():
                return await self._act(todo)
            case RunChild():
                return await self._child(todo)
            case CheckCall():
                return await self._checked(todo)
            case Prepare():
                return await self._prepared(todo)
            case TopUp():
                return await self._topped_up(todo)
            case AskMore():
                return await self._more(todo)
            case _:
                raise ApplicationError(f"nobody does {type(todo).__name__}", type="bug", non_retryable=True)

    async def _prepared(self, todo: Prepare) -> Prepared:
        try:
            found: Prepared = await self._activity("prepare", self._job(prepare=todo), Prepared)
        except ActivityError as error:
            return Prepared(failure=lost(error))
        return found

    async def _think(self, todo: CallLLM) -> Happened:
        try:
            found: Happened = await self._activity("think", self._job(think=todo), Replied | LLMFailed)
        except ActivityError as error:
            return LLMFailed(todo.turn, lost(error), workflow.time())
        return found

    async def _checked(self, todo: CheckCall) -> Checked:
        """What cannot be checked is denied."""
        try:
            found: Checked = await self._activity("check", self._job(check=todo), Checked)
        except ActivityError:
            return Checked(todo.call_id, "deny", todo.arguments, "It could not be checked.", at_s=workflow.time())
        return found

    async def _act(self, todo: RunTool) -> ToolDone:
        """A tool whose worker was lost may have run: unless it may be repeated, the model is told so."""
        facts = self._state.plan.tool(todo.name)
        row = tool_row(facts.timeout_s if facts else 0.0, idempotent=facts is not None and facts.idempotent)
        try:
            found: ToolDone = await self._activity("act", self._job(act=todo), ToolDone, row)
        except ActivityError as error:
            text = f"Tool execution failed: its worker was lost, and it may have run or not ({lost(error).kind})."
            return ToolDone(todo.call_id, text, failed=True, at_s=workflow.time())
        return found

    async def _topped_up(self, todo: TopUp) -> ToppedUp:
        try:
            found: ToppedUp = await self._activity("top_up", self._job(top_up=todo), ToppedUp)
        except ActivityError as error:
            return ToppedUp(lost(error))
        return found

    async def _more(self, todo: AskMore) -> MoreGranted:
        try:
            found: MoreGranted = await self._activity("more", self._job(more=todo), MoreGranted)
        except ActivityError:
            return MoreGranted(0)
        return found

    async def _child(self, todo: RunChild) -> ChildDone:
        own = self._run.plans[todo.agent]
        plan = inherited(own, self._state.plan, todo.tokens_left, todo.nano_usd_left)
        now_s = workflow.time()
        deadline_s = min(now_s + (plan.limits.timeout_s or 0.0), self._state.deadline_s)
        state = new_run(todo.ref, plan, deadline_s, f"{self._state.seed}:{todo.ref.run_id}")
        run = RunInput(state, self._settings, now_s, Begun(todo.query), None, self._run.plans)
        self._children += (todo.ref.run_id,)
        try:
            outcome: Outcome = await workflow.execute_child_workflow(
                AgentRun.run,
                run,
                id=todo.ref.run_id,
                task_queue=queue_of(self._settings.queue, todo.agent, own.fingerprint),
                cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
                execution_timeout=self._timeout(deadline_s),
                static_summary=f"{todo.agent} for {self._state.ref.agent}",
            )
        except ChildWorkflowError:
            text = "It was lost."
            return ChildDone(todo.call_id, text, "failed", Usage(), {}, failed=True, at_s=workflow.time())
        finally:
            self._children = tuple(one for one in self._children if one != todo.ref.run_id)
        return ChildDone(
            call_id=todo.call_id,
            text=outcome.text,
            finish_reason=outcome.finish_reason,
            usage=outcome.total,
            by_agent=outcome.by_agent,
            failed=outcome.failure is not None,
            at_s=workflow.time(),
        )

    def _timeout(self, deadline_s: float) -> timedelta | None:
        """None while the run's clock may stand still."""
        if self._state.plan.limits.pause_while_asking:
            return None
        return timedelta(seconds=max(1.0, deadline_s - workflow.time() + self._settings.grace_s))

    async def _expire(self, approval: Approval) -> None:
        await asyncio.sleep(max(SHORTEST_S, approval.timeout_s))
        self._queue.put_nowait(ApprovalExpired(approval.id, workflow.time()))

    async def _notify(self, todo: AskApproval) -> None:
        """Nobody may hear of it; the question stands all the same."""
        try:
            await self._activity("notify", self._job(notify=todo))
        except ActivityError:
            workflow.logger.error("no hook heard of an approval of run %s", self._state.ref.run_id)

    async def _watch_deadline(self) -> None:
        """The deadline moves while a person is being waited for."""
        while (left_s := self._state.deadline_s - workflow.time()) > 0 or self._state.clock_stopped:
            if self._state.clock_stopped:
                await workflow.wait_condition(lambda: not self._state.clock_stopped)
            else:
                await asyncio.sleep(max(SHORTEST_S, left_s))
        self._queue.put_nowait(TimeUp())

    def _job(self, **task: Any) -> Job:
        state = self._state
        return Job(state.ref, state.plan.fingerprint, state.deadline_s, **task)

    async def _activity(self, name: Activity, job: Job, kind: Any = None, row: Row | None = None) -> Any:
        known = row or table(self._settings)[name]
        left_s = max(1.0, self._state.deadline_s - workflow.time() + self._settings.grace_s)
        patient = name == "conclude" or self._state.plan.limits.pause_while_asking
        beat = timedelta(seconds=self._settings.heartbeat_s)
        return await workflow.execute_activity(
            f"agent.{name}",
            job,
            result_type=kind,
            start_to_close_timeout=timedelta(seconds=known.timeout_s if patient else min(known.timeout_s, left_s)),
            schedule_to_close_timeout=None if patient else timedelta(seconds=left_s),
            heartbeat_timeout=beat if known.heartbeats else None,
            retry_policy=policy(known),
            cancellation_type=ActivityCancellationType.TRY_CANCEL,
            summary=f"{self._state.ref.agent} turn {self._state.turn}",
        )

    # Long histories

    def _history_is_long(self) -> bool:
        """Only asked when nothing else is under way: a model is called between rounds."""
        info, settings = workflow.info(), self._settings
        return (
            info.is_continue_as_new_suggested()
            or info.get_current_history_length() >= settings.history_events_max
            or info.get_current_history_size() >= settings.history_bytes_max
        )

    async def _continue_as_new(self) -> None:
        """What was said meanwhile happens first: it may be the run's end."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        while not self._queue.empty():
            await self._happen(self._queue.get_nowait())
            if self._state.phase is Phase.DONE:
                return
            await workflow.wait_condition(workflow.all_handlers_finished)
        await self._stop_all()
        again = replace(self._run, state=self._state, begun=None, resume=self._continue_with)
        workflow.continue_as_new(again)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    async def _stop_all(self) -> None:
        """In the order in which they began: a replay has to see the same."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
