"""The agent loop as a machine: a state and what happened in, the next state and what to do out."""

from dataclasses import replace

from agent_runtime.domain import fit, shown
from agent_runtime.domain import round as tool_round
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.happened import (
    ApprovalExpired,
    Begun,
    Broke,
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
from agent_runtime.domain.move import Move, budget_text
from agent_runtime.domain.state import Budget, Phase, RunState, Stage
from agent_runtime.domain.todo import AskMore, CallLLM, Prepare, Todo
from agent_runtime.domain.values import Call, Failure, Message

INBOX_MAX = 16

ANY_TIME = frozenset({UserSaid, TimeUp, CancelAsked, Broke, Decided, ApprovalExpired})
ACCEPTS: dict[Phase, frozenset[type]] = {
    Phase.NEW: frozenset({Begun, TimeUp, CancelAsked, Broke}),
    Phase.PREPARING: ANY_TIME | {Prepared},
    Phase.THINKING: ANY_TIME | {Replied, LLMFailed},
    Phase.ACTING: ANY_TIME | {Checked, ToolDone, ChildDone},
    Phase.SHORT: ANY_TIME,
    Phase.TOPPING_UP: ANY_TIME | {ToppedUp},
    Phase.STRETCHING: ANY_TIME | {MoreGranted},
}
"""What may happen in which phase. After the end anything may still arrive, and changes nothing."""

TOO_FAR = "Not run: the limit of iterations is reached. Answer with what you know."
REPAIR = "Your answer does not fit the required format: {why}. Answer again, in that format alone."


class Misstep(Exception):
    """The driver told something that cannot have happened here."""


def step(state: RunState, event: Happened) -> tuple[RunState, tuple[Todo, ...]]:
    if state.phase is Phase.DONE:
        return state, ()
    if type(event) not in ACCEPTS[state.phase]:
        raise Misstep(f"{type(event).__name__} cannot happen while a run is {state.phase.value}")
    move = Move(state)
    _handle(move, event)
    _mind_the_clock(move, event)
    return move.state, tuple(move.todo)


def _handle(move: Move, event: Happened) -> None:
    match event:
        case Begun() | Prepared() | UserSaid() | TimeUp() | CancelAsked() | Broke():
            _of_the_run(move, event)
        case Replied() | LLMFailed() | MoreGranted() | ToppedUp():
            _of_the_model(move, event)
        case Checked() | ToolDone() | ChildDone():
            _of_a_call(move, event)
        case Decided(decision):
            _decided(move, decision.approval_id, event)
        case ApprovalExpired(approval_id):
            _decided(move, approval_id, event)


def _of_the_run(move: Move, event: Begun | Prepared | UserSaid | TimeUp | CancelAsked | Broke) -> None:
    match event:
        case Begun(text, images):
            move.set(phase=Phase.PREPARING, messages=(Message("user", text, images=images),))
            if move.state.ref.depth == 0:
                move.show(shown.run_started(move.state.ref))
            move.do(Prepare(text))
        case Prepared(failure=Failure() as failure):
            move.end("failed", failure=failure)
        case Prepared(history, text):
            first = move.state.messages[0]
            move.set(history=history, messages=(first if text is None else replace(first, text=text),))
            _think(move)
        case UserSaid(text):
            move.set(inbox=(*move.state.inbox, text)[:INBOX_MAX])
        case TimeUp():
            move.end("timeout", failure=Failure("timeout", "the run's time is up", "timeout"))
        case CancelAsked():
            move.end("cancelled")
        case Broke(failure):
            move.end("failed", failure=failure)


def _think(move: Move) -> None:
    state = move.state
    said = tuple(Message("user", text) for text in state.inbox)
    move.set(messages=state.messages + said, inbox=(), calls=())
    messages = move.state.history + move.state.messages
    room = fit.output_room(move.state, messages)
    if room < 1:
        _short(move, fit.short_of(state))
        return
    turn = state.turn + 1
    with_tools = bool(state.plan.tools) and not state.wrapping_up
    move.set(phase=Phase.THINKING, turn=turn, rounds=state.rounds + (not state.wrapping_up))
    move.do(CallLLM(turn, messages, with_tools, room, state.degraded))


def _of_the_model(move: Move, event: Replied | LLMFailed | MoreGranted | ToppedUp) -> None:
    match event:
        case Replied():
            _replied(move, event)
        case LLMFailed(_, failure, at_s):
            if failure.kind == "budget_exceeded":
                ours = failure.scope in ("", f"run:{move.state.ref.root_run_id}")
                _short(move, "nano_usd", at_s, ours=ours)
            else:
                move.end("timeout" if failure.kind == "deadline_exceeded" else "failed", failure=failure)
        case MoreGranted(iterations):
            granted = max(0, min(iterations, move.state.plan.limits.extension_max))
            move.set(granted=granted)
            calls = move.state.messages[-1].calls
            if granted:
                _act(move, calls)
            else:
                _wrap_up(move, calls)
        case ToppedUp(None, tokens, nano_usd):
            state = move.state
            move.set(
                tokens_max=None if state.tokens_max is None else state.tokens_max + tokens,
                nano_usd_max=None if state.nano_usd_max is None else state.nano_usd_max + nano_usd,
            )
            _think(move)
        case ToppedUp():
            move.end("budget_exceeded")


def _replied(move: Move, event: Replied) -> None:
    if event.turn != move.state.turn:
        raise Misstep(f"a reply to turn {event.turn} came in turn {move.state.turn}")
    calls = named(event.message.calls, event.turn)
    message = Message("assistant", event.message.text, () if move.state.wrapping_up else calls)
    move.set(
        usage=move.state.usage + event.usage,
        messages=(*move.state.messages, message),
        target=event.target or move.state.target,
    )
    if message.text and not event.streamed:
        move.show(*shown.text(move.message_id(), message.text))
    if message.calls:
        _called(move, message.calls)
    elif event.invalid is not None:
        _repair(move, event.invalid)
    elif move.state.inbox and not move.state.wrapping_up and move.state.rounds < _allowed(move.state):
        _think(move)
    elif move.state.wrapping_up:
        move.end("max_iterations", message.text)
    else:
        move.end("length" if event.finish_reason == "length" else "complete", message.text)


def named(calls: tuple[Call, ...], turn: int) -> tuple[Call, ...]:
    """With ids that are there and unlike each other, whatever the model sent."""
    seen: set[str] = set()
    kept = []
    for place, call in enumerate(calls):
        call_id = call.id if call.id and call.id not in seen else f"call-{turn}-{place}"
        seen.add(call_id)
        kept.append(Call(call_id, call.name, call.arguments))
    return tuple(kept)


def _allowed(state: RunState) -> int:
    return state.plan.limits.iterations_max + state.granted


def _called(move: Move, calls: tuple[Call, ...]) -> None:
    state = move.state
    if state.rounds < _allowed(state):
        _act(move, calls)
    elif state.plan.limits.extension_max and not state.asked_for_more:
        move.set(phase=Phase.STRETCHING, asked_for_more=True)
        move.do(AskMore(state.turn))
    else:
        _wrap_up(move, calls)


def _wrap_up(move: Move, calls: tuple[Call, ...]) -> None:
    """One more call, without tools: what is known by now becomes the answer."""
    dropped = tuple(Message("tool", TOO_FAR, call_id=call.id) for call in calls)
    move.set(messages=move.state.messages + dropped, wrapping_up=True)
    _think(move)


def _act(move: Move, calls: tuple[Call, ...]) -> None:
    tool_round.begin(move, calls)
    _close_if_over(move)


def _close_if_over(move: Move) -> None:
    if move.state.calls and all(one.stage is Stage.DONE for one in move.state.calls):
        move.set(messages=move.state.messages + tool_round.results(move.state.calls), calls=())
        _think(move)


def _repair(move: Move, why: str) -> None:
    if move.state.repaired:
        move.end("failed", failure=Failure("output_invalid", "the answer does not fit the output schema", "logic"))
        return
    move.set(repaired=True, messages=(*move.state.messages, Message("user", REPAIR.format(why=why))))
    _think(move)


def _of_a_call(move: Move, event: Checked | ToolDone | ChildDone) -> None:
    match event:
        case Checked():
            tool_round.checked(move, event)
        case ToolDone(fatal=Failure() as fatal):
            move.end("failed", failure=fatal)
            return
        case ToolDone():
            tool_round.tool_done(move, event)
        case ChildDone():
            tool_round.child_done(move, event)
    _go_on(move)


def _go_on(move: Move) -> None:
    tool_round.advance(move)
    _close_if_over(move)


def _short(move: Move, of: Budget, at_s: float = 0.0, *, ours: bool = True) -> None:
    """The budget is used up: a cheaper model goes on, a person may raise it, or the run ends with what it has.

    No approval of this run's raises the budget of somebody else, which it is too where the run has none of this kind.
    """
    limits = move.state.plan.limits
    if limits.on_budget == "degrade" and not move.state.degraded:
        move.set(degraded=True)
        _think(move)
        return
    own = move.state.tokens_max if of == "tokens" else move.state.nano_usd_max
    if limits.on_budget != "approve" or not ours or own is None or move.state.top_ups >= limits.top_ups_max:
        move.end("budget_exceeded")
        return
    move.set(phase=Phase.SHORT, short_of=of)
    approval = move.ask("budget", None, move.state.ref.agent, budget_text(move.state), "", at_s)
    move.set(budget_approval=approval, top_ups=move.state.top_ups + 1)


def _decided(move: Move, approval_id: str, event: Decided | ApprovalExpired) -> None:
    """Two decisions, or one and the timeout, may race: the first one counts."""
    approval = next((one for one in move.state.pending_approvals if one.id == approval_id), None)
    if approval is None:
        return
    match event:
        case Decided(decision):
            outcome = "approved" if decision.approve else "rejected"
            move.resolve_approval(approval, outcome, decision.approver, decision.at_s)
        case ApprovalExpired(_, at_s):
            move.resolve_approval(approval, "timed_out", None, at_s)
    if approval.kind == "budget":
        _budget_decided(move, approval, event)
    else:
        _call_decided(move, approval, event)


def _budget_decided(move: Move, approval: Approval, event: Decided | ApprovalExpired) -> None:
    move.set(budget_approval=None)
    if isinstance(event, Decided) and event.decision.approve:
        move.set(phase=Phase.TOPPING_UP)
        move.do(fit.top_up(move.state, approval.id))
    else:
        move.end("budget_exceeded")


def _call_decided(move: Move, approval: Approval, event: Decided | ApprovalExpired) -> None:
    place = move.place_of(approval.call_id)
    match event:
        case Decided(decision) if not decision.approve:
            move.resolve_call(place, f"Not run: rejected by {decision.approver.user}. {decision.comment}".rstrip())
        case Decided(decision) if decision.arguments is not None:
            tool_round.check(move, place, decision.arguments, approved=True)
        case Decided():
            move.set_call(place, stage=Stage.READY, approved=True)
        case ApprovalExpired() if move.state.plan.limits.on_approval_timeout == "fail":
            text = f"nobody decided about {approval.name!r} within {approval.timeout_s:g} s"
            move.end("failed", failure=Failure("approval_timeout", text, "timeout"))
            return
        case ApprovalExpired():
            move.resolve_call(place, "Not run: nobody approved it in time.")
    _go_on(move)


def _mind_the_clock(move: Move, event: Happened) -> None:
    """While the run's clock stands still for a person, its deadline moves on."""
    at_s = event.decision.at_s if isinstance(event, Decided) else getattr(event, "at_s", None)
    if not at_s or move.state.phase is Phase.DONE:
        return
    since_s = move.state.stopped_since_s
    if move.state.clock_stopped:
        if since_s is None:
            move.set(stopped_since_s=at_s)
    elif since_s is not None:
        move.set(stopped_since_s=None, deadline_s=move.state.deadline_s + max(0.0, at_s - since_s))
