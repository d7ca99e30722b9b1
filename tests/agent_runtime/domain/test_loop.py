"""The loop as a machine: what it asks for, what it keeps, how it ends."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.domain import fit
from agent_runtime.domain.approval import Approval, Decision, refusal
from agent_runtime.domain.happened import (
    ApprovalExpired,
    Begun,
    CancelAsked,
    Checked,
    ChildDone,
    Decided,
    LLMFailed,
    MoreGranted,
    Prepared,
    Replied,
    TimeUp,
    ToolDone,
    ToppedUp,
    UserSaid,
)
from agent_runtime.domain.limits import Limits, Mode, problems
from agent_runtime.domain.loop import ACCEPTS, Misstep, named, step
from agent_runtime.domain.plan import inherited
from agent_runtime.domain.state import Phase, RunState, new_run
from agent_runtime.domain.todo import AskApproval, CallLLM, CheckCall, RunChild, RunTool
from agent_runtime.domain.values import Call, Failure, Message, Principal, Usage
from tests.agent_runtime.domain.puppet import CHILD_USAGE, ME, REF, TURN_USAGE, Puppet, call, plan, says

NAMES = ["look", "write", "alone", "subagent_helper", "nobody"]
SCRIPTS = st.lists(st.lists(st.sampled_from(NAMES), max_size=6), max_size=8)


def started(limits: Limits | None = None, **options: Any) -> RunState:
    state = new_run(REF, plan(limits, **options), deadline_s=1_000.0, seed="s")
    state, _ = step(state, Begun("go"))
    state, _ = step(state, Prepared())
    return state


def in_order(messages: tuple[Message, ...]) -> bool:
    """Every call has its result, right behind it, in the model's order."""
    left: list[str] = []
    for message in messages:
        if message.role == "tool":
            if not left or left.pop(0) != message.call_id:
                return False
        elif left:
            return False
        left += [one.id for one in message.calls]
    return not left


@settings(max_examples=300)
@given(SCRIPTS, st.integers(0, 10_000), st.booleans(), st.integers(1, 4), st.integers(1, 6))
def test_whatever_happens_a_run_ends_once_with_a_whole_transcript(
    turns: list[list[str]], seed: int, sequential: bool, parallel_max: int, iterations_max: int
) -> None:
    dice = random.Random(seed)
    limits = Limits(parallel_max=parallel_max, iterations_max=iterations_max, delegations_max=3, fan_out_max=2)
    puppet = Puppet(
        turns,
        plan(limits, sequential=sequential),
        verdict=lambda _: dice.choice(["allow", "allow", "ask", "deny", "invalid"]),
        dice=dice,
        check_json=True,
    )
    outcome = puppet.run()
    assert in_order(outcome.messages)
    assert outcome.usage.llm_calls <= iterations_max + 1
    assert outcome.finish_reason in ("complete", "max_iterations")
    children = [one for one in puppet.done if isinstance(one, RunChild)]
    assert outcome.total == sum((CHILD_USAGE for _ in children), outcome.usage)
    assert sum(outcome.by_agent.values(), Usage()) == outcome.total
    assert len(children) <= 3
    assert puppet.running_max <= (1 if sequential else parallel_max)
    terminal = [event for event in puppet.shown if event["type"] in ("RUN_FINISHED", "RUN_ERROR")]
    assert terminal == [puppet.shown[-1]]
    assert puppet.shown[0]["type"] == "RUN_STARTED"
    ended = {event["toolCallId"] for event in puppet.shown if event["type"] == "TOOL_CALL_RESULT"}
    begun = {event["toolCallId"] for event in puppet.shown if event["type"] == "TOOL_CALL_START"}
    assert ended == begun
    approvals = {one.approval.id for one in puppet.done if isinstance(one, AskApproval)}
    assert {record.approval.id for record in outcome.approvals} == approvals


@settings(max_examples=100)
@given(SCRIPTS, st.integers(0, 1000), st.integers(0, 40), st.sampled_from([TimeUp(), CancelAsked()]))
def test_a_run_can_be_ended_at_every_moment(
    turns: list[list[str]], seed: int, after: int, end: TimeUp | CancelAsked
) -> None:
    puppet = Puppet(turns, dice=random.Random(seed))
    puppet.tell(Begun("go"))
    while puppet.queue and after:
        after -= 1
        puppet.tell(puppet.queue.pop(0))
    puppet.tell(end)
    assert puppet.outcome is not None
    assert in_order(puppet.outcome.messages)
    for late in puppet.queue:
        assert step(puppet.state, late) == (puppet.state, ())


@settings(max_examples=60)
@given(SCRIPTS, st.integers(0, 1000), st.booleans())
def test_the_order_in_which_tools_end_does_not_change_the_transcript(
    turns: list[list[str]], seed: int, sequential: bool
) -> None:
    one = Puppet(turns, plan(sequential=sequential), dice=random.Random(seed)).run()
    other = Puppet(turns, plan(sequential=sequential), dice=random.Random(seed + 1)).run()
    assert one == other


def test_every_phase_refuses_what_cannot_happen_in_it() -> None:
    events = {
        Begun("x"),
        MoreGranted(1),
        Prepared(),
        LLMFailed(1, Failure("k", "m")),
        Checked("c", "allow", "{}"),
        ToolDone("c", ""),
        ToppedUp(),
    }
    others = [says(1), ChildDone("c", "", "complete", Usage())]
    for phase, accepted in ACCEPTS.items():
        state = replace(started(), phase=phase)
        for event in [*events, *others]:
            if type(event) not in accepted:
                with pytest.raises(Misstep):
                    step(state, event)  # type: ignore[arg-type]
    assert set(ACCEPTS) | {Phase.DONE} == set(Phase)


def test_row_03_the_last_round_is_answered_without_tools() -> None:
    puppet = Puppet([["look"]] * 9, plan(Limits(iterations_max=3)))
    outcome = puppet.run()
    asked = [one for one in puppet.done if isinstance(one, CallLLM)]
    assert [one.with_tools for one in asked] == [True, True, True, False]
    assert outcome.finish_reason == "max_iterations"
    assert outcome.text == "answer 4"
    assert outcome.usage.llm_calls == 4
    assert len([one for one in puppet.done if isinstance(one, RunTool)]) == 2


def test_row_03_default_is_five_and_an_answer_in_time_is_complete() -> None:
    assert Limits().iterations_max == 5
    assert Puppet([["look"]] * 4).run().finish_reason == "complete"
    assert Puppet([["look"]] * 5).run().finish_reason == "max_iterations"


def test_row_03_more_iterations_are_granted_once_and_bounded() -> None:
    puppet = Puppet([["look"]] * 9, plan(Limits(iterations_max=2, extension_max=1)))
    assert puppet.run().usage.llm_calls == 4


def test_row_04_depth_fan_out_and_delegations_are_bounded() -> None:
    limits = Limits(fan_out_max=2, delegations_max=3)
    puppet = Puppet([["subagent_helper"] * 4, ["subagent_helper"] * 2], plan(limits))
    outcome = puppet.run()
    assert outcome.delegations == 3
    refused = [message.text for message in outcome.messages if "refused" in message.text]
    assert len(refused) == 3
    deep = Puppet([["subagent_helper"]], ref=replace(REF, depth=2, parent_run_id="p"))
    assert "maximum nesting depth (2)" in deep.run().messages[2].text
    shallow = Puppet([["subagent_helper"]], ref=replace(REF, depth=1, parent_run_id="p"))
    assert "child" in shallow.run().messages[2].text


def test_row_01_time_up_ends_the_run_with_what_it_has() -> None:
    state, _ = step(started(), says(1, "so far", call("look")))
    state, _ = step(state, TimeUp())
    assert state.outcome is not None
    assert state.outcome.finish_reason == "timeout"
    assert state.outcome.usage == TURN_USAGE
    assert state.outcome.text == "so far"
    assert state.outcome.messages[-1].call_id == "c"


def test_row_02_the_approval_timeout_is_clamped_to_what_is_left() -> None:
    assert Limits(timeout_s=300).settled(Mode.INTERACTIVE).approval_timeout_s == 270
    assert Limits(timeout_s=20).settled(Mode.INTERACTIVE).approval_timeout_s == 1
    assert Limits().settled(Mode.AUTONOMOUS).approval_timeout_s == 3_570
    state, _ = step(started(), says(1, "", call("look")))
    _, todo = step(state, Checked("c", "ask", "{}", at_s=900.0))
    assert [one.approval.timeout_s for one in todo if isinstance(one, AskApproval)] == [100.0]


@pytest.mark.parametrize(("outcome", "reason"), [("skip", None), ("fail", "failed")])
def test_row_02_nobody_decides(outcome: Any, reason: str | None) -> None:
    state, _ = step(started(Limits(on_approval_timeout=outcome)), says(1, "", call("look")))
    state, todo = step(state, Checked("c", "ask", "{}", at_s=1.0))
    approval = next(one.approval for one in todo if isinstance(one, AskApproval))
    state, _ = step(state, ApprovalExpired(approval.id, 5.0))
    if reason is None:
        assert state.phase is Phase.THINKING
        assert "nobody approved" in state.messages[-1].text
    else:
        assert state.outcome is not None
        assert state.outcome.failure is not None
        assert (state.outcome.finish_reason, state.outcome.failure.kind) == (reason, "approval_timeout")


def test_row_02_a_long_approval_need_not_use_up_the_runs_time() -> None:
    limits = Limits(timeout_s=100, approval_timeout_s=5_000, pause_while_asking=True)
    assert problems(limits, Mode.INTERACTIVE) == []
    state, _ = step(started(limits), says(1, "", call("look")))
    state, todo = step(state, Checked("c", "ask", "{}", at_s=10.0))
    assert state.clock_stopped
    approval = next(one.approval for one in todo if isinstance(one, AskApproval))
    assert approval.timeout_s == 5_000
    state, _ = step(state, Decided(Decision(approval.id, True, ME, at_s=4_010.0)))
    assert state.deadline_s == 5_000.0


def test_row_18_a_decision_may_edit_the_arguments_which_are_checked_again() -> None:
    state, _ = step(started(), says(1, "", call("look")))
    state, todo = step(state, Checked("c", "ask", '{"a": 1}', at_s=1.0))
    approval = next(one.approval for one in todo if isinstance(one, AskApproval))
    state, todo = step(state, Decided(Decision(approval.id, True, ME, 2.0, arguments='{"a": 2}')))
    check = next(one for one in todo if isinstance(one, CheckCall))
    assert (check.arguments, check.approved) == ('{"a": 2}', True)
    state, todo = step(state, Checked("c", "allow", '{"a": 2}'))
    assert next(one for one in todo if isinstance(one, RunTool)).arguments == '{"a": 2}'


def test_row_19_an_approval_has_an_owner_a_secret_id_and_works_once() -> None:
    state, _ = step(started(approvers=("boss", "role:lead")), says(1, "", call("look")))
    state, todo = step(state, Checked("c", "ask", "{}", at_s=1.0))
    approval = state.pending_approvals[0]
    other = new_run(REF, plan(), 1_000.0, seed="another")
    assert approval.id.startswith("run~1~0~")
    assert approval.id not in repr(other)

    def why(decision: Decision, state: RunState) -> str | None:
        found = refusal(
            decision,
            pending=state.pending_approvals,
            spent=state.spent_approvals,
            owner=REF.principal,
            approvers=state.plan.approvers,
        )
        return None if found is None else found.text

    boss = Principal("acme", "boss")
    assert why(Decision(approval.id, True, boss), state) is None
    assert why(Decision(approval.id, True, Principal("acme", "x", ("role:lead",))), state) is None
    assert "may not decide" in (why(Decision(approval.id, True, ME), state) or "")
    assert "tenant" in (why(Decision(approval.id, True, Principal("evil", "boss")), state) or "")
    assert "no user" in (why(Decision(approval.id, True, Principal("acme")), state) or "")
    assert "no pending" in (why(Decision("run~1~0~guess", True, boss), state) or "")
    state, _ = step(state, Decided(Decision(approval.id, True, boss, 2.0)))
    assert "once" in (why(Decision(approval.id, True, boss), state) or "")
    again, todo = step(state, Decided(Decision(approval.id, False, boss, 3.0)))
    assert (again, todo) == (state, ())
    assert state.approvals[0].approver == boss


def test_row_21_sequential_calls_wait_for_each_other() -> None:
    puppet = Puppet([["look", "write", "look"]], plan(sequential=True))
    puppet.run()
    steps = [type(one).__name__ for one in puppet.done if isinstance(one, CheckCall | RunTool)]
    assert steps == ["CheckCall", "RunTool"] * 3


def test_row_37_a_token_budget_is_checked_before_the_call() -> None:
    puppet = Puppet([["look"]] * 9, plan(Limits(tokens_max=40, output_tokens=10)))
    outcome = puppet.run()
    assert outcome.finish_reason == "budget_exceeded"
    assert outcome.total.total_tokens <= 40
    small = Puppet([], plan(Limits(tokens_max=20, output_tokens=100)))
    small.run()
    asked = next(one for one in small.done if isinstance(one, CallLLM))
    assert asked.output_tokens < 20


def test_row_37_a_person_may_top_up_and_the_result_is_kept_when_not() -> None:
    limits = Limits(tokens_max=40, output_tokens=10, on_budget="approve")
    puppet = Puppet([["look"]] * 2, plan(limits), decide=lambda one: Decided(Decision(one.id, True, ME, 1.0)))
    outcome = puppet.run()
    assert outcome.finish_reason == "complete"
    assert [record.approval.kind for record in outcome.approvals] == ["budget"]
    refused = Puppet([["look"]] * 9, plan(limits), decide=lambda one: Decided(Decision(one.id, False, ME, 1.0)))
    assert refused.run().finish_reason == "budget_exceeded"


def test_row_37_a_cheaper_model_goes_on_once() -> None:
    state = started(Limits(nano_usd_max=100, on_budget="degrade"))
    state, todo = step(state, LLMFailed(1, Failure("budget_exceeded", "402")))
    assert [(one.turn, one.cheaper) for one in todo if isinstance(one, CallLLM)] == [(2, True)]
    state, _ = step(state, LLMFailed(2, Failure("budget_exceeded", "402")))
    assert state.outcome is not None
    assert state.outcome.finish_reason == "budget_exceeded"


def test_row_37_top_ups_are_bounded() -> None:
    limits = Limits(nano_usd_max=100, on_budget="approve", top_ups_max=5, iterations_max=50)
    state = started(limits)
    approvals = 0
    turn = 1
    while state.phase is not Phase.DONE:
        broke = LLMFailed(turn, Failure("budget_exceeded", "402"))
        state, _ = step(state, broke)
        if state.phase is Phase.SHORT:
            approvals += 1
            state, _ = step(state, Decided(Decision(state.pending_approvals[0].id, True, ME, 1.0)))
            state, _ = step(state, ToppedUp(nano_usd=1_000))
            turn += 1
    assert approvals == 5
    assert state.outcome is not None
    assert state.outcome.finish_reason == "budget_exceeded"


def test_row_37_a_budget_that_is_somebody_elses_is_no_question_to_a_person() -> None:
    dear = Limits(on_budget="approve", nano_usd_max=10_000)
    for limits, scope in ((Limits(on_budget="approve", tokens_max=10_000), ""), (dear, "tenant")):
        state = started(limits)
        state, _ = step(state, LLMFailed(1, Failure("budget_exceeded", "402", scope=scope)))
        assert state.outcome is not None
        assert (state.outcome.finish_reason, state.outcome.approvals) == ("budget_exceeded", ())
    state = started(dear)
    own = Failure("budget_exceeded", "402", scope=f"run:{state.ref.root_run_id}")
    assert step(state, LLMFailed(1, own))[0].phase is Phase.SHORT


def test_row_41_a_parent_counts_what_its_children_used() -> None:
    outcome = Puppet([["subagent_helper", "subagent_helper"]]).run()
    assert outcome.usage.llm_calls == 2
    assert outcome.total.llm_calls == 6
    assert outcome.by_agent["helper"] == CHILD_USAGE + CHILD_USAGE


def test_row_41_a_child_may_use_what_its_parent_has_left_and_works_in_its_way() -> None:
    puppet = Puppet([["subagent_helper"]], plan(Limits(tokens_max=10_000, nano_usd_max=5_000)))
    puppet.run()
    todo = next(one for one in puppet.done if isinstance(one, RunChild))
    assert (todo.tokens_left, todo.nano_usd_left) == (9_985, 4_900)
    parent = replace(plan(Limits(depth_max=3, timeout_s=60)), sequential=True, mode=Mode.AUTONOMOUS)
    child = inherited(plan(Limits(tokens_max=500)), parent, todo.tokens_left, todo.nano_usd_left)
    assert (child.limits.tokens_max, child.limits.nano_usd_max) == (500, 4_900)
    assert (child.limits.depth_max, child.limits.timeout_s) == (3, 60)
    assert (child.sequential, child.mode) == (True, Mode.AUTONOMOUS)
    free = inherited(plan(), plan(), None, None)
    assert (free.limits.tokens_max, free.limits.nano_usd_max) == (None, None)
    assert inherited(plan(Limits(tokens_max=500)), parent, 40, None).limits.tokens_max == 40


@given(seed=st.integers(0, 1_000), turns=SCRIPTS)
def test_row_37_41_children_side_by_side_share_what_is_left_whichever_begins_first(
    seed: int, turns: list[list[str]]
) -> None:
    puppet = Puppet(turns, plan(Limits(tokens_max=1_000, output_tokens=10)), dice=random.Random(seed))
    puppet.run()
    shares: dict[int, list[int]] = {}
    for todo in puppet.done:
        if isinstance(todo, RunChild):
            shares.setdefault(todo.turn, []).append(todo.tokens_left or 0)
    for turn, given_out in shares.items():
        children_before = sum(len(some) for before, some in shares.items() if before < turn)
        left = 1_000 - turn * TURN_USAGE.total_tokens - children_before * CHILD_USAGE.total_tokens
        assert set(given_out) == {left // len(given_out)}


def test_a_message_that_comes_meanwhile_is_answered_too() -> None:
    state, _ = step(started(), UserSaid("and the other?"))
    state, todo = step(state, says(1, "one"))
    asked = next(one for one in todo if isinstance(one, CallLLM))
    assert [message.text for message in asked.messages] == ["go", "one", "and the other?"]
    state, _ = step(state, says(2, "two"))
    assert state.outcome is not None
    assert (state.outcome.text, state.outcome.finish_reason) == ("two", "complete")


def test_an_answer_that_does_not_fit_is_asked_for_once_more() -> None:
    bad = Replied(1, Message("assistant", "no"), TURN_USAGE, invalid="no JSON")
    state, todo = step(started(), bad)
    assert any(isinstance(one, CallLLM) for one in todo)
    assert "no JSON" in state.messages[-1].text
    fixed, _ = step(state, says(2, "{}"))
    assert fixed.outcome is not None
    assert fixed.outcome.finish_reason == "complete"
    state, _ = step(state, replace(bad, turn=2))
    assert state.outcome is not None
    assert state.outcome.failure is not None
    assert state.outcome.failure.kind == "output_invalid"


def test_call_ids_that_are_missing_or_double_are_told_apart() -> None:
    given_calls = (Call("", "a", ""), Call("x", "a", ""), Call("x", "b", ""))
    assert [one.id for one in named(given_calls, 3)] == ["call-3-0", "x", "call-3-2"]


def test_a_reply_to_another_turn_is_a_misstep() -> None:
    with pytest.raises(Misstep):
        step(started(), says(2, "x"))


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.booleans()), max_size=30), st.integers(1, 20))
def test_a_history_begins_with_a_user_and_never_splits_a_turn(shape: list[tuple[str, bool]], size: int) -> None:
    messages: list[Message] = []
    for number, (role, calling) in enumerate(shape):
        if role == "assistant" and calling:
            messages += [
                Message("assistant", "", (Call(f"c{number}", "t", "{}"),)),
                Message("tool", "r", call_id=f"c{number}"),
            ]
        else:
            messages.append(Message("user" if role == "user" else "assistant", str(number)))
    kept = fit.window(messages, size)
    assert len(kept) <= size
    assert kept == tuple(messages[len(messages) - len(kept) :])
    assert in_order(kept)
    assert not kept or kept[0].role == "user"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(iterations_max=0), "iterations_max"),
        (Limits(depth_max=-1), "depth_max"),
        (Limits(timeout_s=0), "timeout_s"),
        (Limits(timeout_s=60, approval_timeout_s=60), "approval_timeout_s"),
        (Limits(approval_timeout_s=32 * 86_400), "approval_timeout_s"),
        (Limits(tokens_max=0), "tokens_max"),
    ],
)
def test_wrong_limits_are_named_with_their_value(limits: Limits, field: str) -> None:
    found = problems(limits, Mode.INTERACTIVE)
    assert len(found) == 1
    assert f"limits.{field} is" in found[0]


def test_an_approval_is_a_plain_value() -> None:
    assert Approval("a", "r", "tool", "t", "{}", 1.0, 2.0) == Approval("a", "r", "tool", "t", "{}", 1.0, 2.0)
