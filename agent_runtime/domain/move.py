"""One step of the loop in the making: the state so far, and what there is to do."""

import json
from dataclasses import replace
from typing import Any

from agent_runtime.domain import fit, shown
from agent_runtime.domain.approval import Approval, ApprovalKind, ApprovalRecord
from agent_runtime.domain.state import CallState, Phase, RunState, Stage, approval_id
from agent_runtime.domain.todo import AskApproval, Emit, Finish, Outcome, Shown, Todo
from agent_runtime.domain.values import Failure, FinishReason, Message, Principal, Usage

ENDED = "The run ended before this was done."


class Move:
    """Lives for one call of `step` and is seen by nobody else."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.todo: list[Todo] = []

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def set_call(self, place: int, **changes: Any) -> None:
        calls = list(self.state.calls)
        calls[place] = replace(calls[place], **changes)
        self.set(calls=tuple(calls))

    def do(self, *todo: Todo) -> None:
        self.todo += todo

    def show(self, *events: Shown) -> None:
        if events:
            self.do(Emit(self.state.emitted, events))
            self.set(emitted=self.state.emitted + len(events))

    def message_id(self) -> str:
        return f"{self.state.ref.run_id}-{self.state.turn}"

    def place_of(self, call_id: str) -> int:
        return next(place for place, one in enumerate(self.state.calls) if one.call.id == call_id)

    def resolve_call(self, place: int, result: str, *, failed: bool = False) -> None:
        self.set_call(place, stage=Stage.DONE, result=result, failed=failed)
        if failed:
            self.set(tool_failures=self.state.tool_failures + 1)
        self.show(*shown.tool_result(self.state.calls[place].call.id, result))

    def ask(
        self, kind: ApprovalKind, call: CallState | None, name: str, arguments: str, risk: str, at_s: float
    ) -> Approval:
        """The question goes out; its timeout never outlasts the run's own."""
        limits = self.state.plan.limits
        timeout_s = limits.approval_timeout_s or 0.0
        if not limits.pause_while_asking:
            timeout_s = min(timeout_s, max(0.0, self.state.deadline_s - at_s))
        place = f"top-up-{self.state.top_ups}" if call is None else str(self.place_of(call.call.id))
        approval = Approval(
            id=approval_id(self.state, place),
            run_id=self.state.ref.run_id,
            kind=kind,
            name=name,
            arguments=arguments,
            asked_at_s=at_s,
            timeout_s=timeout_s,
            call_id="" if call is None else call.call.id,
            risk=risk,
        )
        self.show(shown.approval_asked(self.state.ref, approval))
        self.do(AskApproval(approval))
        return approval

    def resolve_approval(self, approval: Approval, outcome: Any, approver: Principal | None, at_s: float) -> None:
        record = ApprovalRecord(approval, outcome, approver, at_s)
        self.set(spent_approvals=(*self.state.spent_approvals, approval.id), approvals=(*self.state.approvals, record))
        self.show(shown.approval_resolved(approval, outcome, approver.user if approver else ""))

    def end(self, reason: FinishReason, text: str = "", failure: Failure | None = None) -> None:
        """Whatever is open is closed, so that a transcript never holds a call without its result."""
        for place, one in enumerate(self.state.calls):
            if one.stage is not Stage.DONE:
                self.set_call(place, stage=Stage.DONE, result=ENDED)
                self.show(*shown.tool_result(one.call.id, ENDED))
        results = tuple(Message("tool", one.result, call_id=one.call.id) for one in self.state.calls)
        self.set(messages=self.state.messages + results, calls=(), budget_approval=None)
        outcome = self._outcome(reason, text or _last_text(self.state.messages), failure)
        self.set(phase=Phase.DONE, outcome=outcome)
        self.do(Finish(outcome))
        if self.state.ref.depth == 0:
            self.show(shown.run_ended(outcome))

    def _outcome(self, reason: FinishReason, text: str, failure: Failure | None) -> Outcome:
        state = self.state
        by_agent = dict(state.below)
        by_agent[state.ref.agent] = by_agent.get(state.ref.agent, Usage()) + state.usage
        return Outcome(
            ref=state.ref,
            finish_reason=reason,
            text=text,
            failure=failure,
            usage=state.usage,
            total=state.total,
            by_agent=by_agent,
            messages=state.messages,
            tool_calls=state.tool_calls,
            tool_failures=state.tool_failures,
            delegations=state.delegations,
            target=state.target,
            turns=state.turn,
            approvals=state.approvals,
        )


def budget_text(state: RunState) -> str:
    """What was used, and what an approval adds."""
    total, more = state.total, fit.top_up(state, "")
    used = {"totalTokens": total.total_tokens, "costNanoUsd": total.cost_nano_usd, "turn": state.turn}
    return json.dumps({**used, "addsTokens": more.tokens, "addsNanoUsd": more.nano_usd})


def _last_text(messages: tuple[Message, ...]) -> str:
    return next((one.text for one in reversed(messages) if one.role == "assistant" and one.text), "")
