"""One round of tool calls: which are checked, asked about, run, and in what order."""

import json
from dataclasses import replace

from agent_runtime.domain import fit, shown
from agent_runtime.domain.approval import ApprovalKind
from agent_runtime.domain.happened import Checked, ChildDone, ToolDone
from agent_runtime.domain.move import Move
from agent_runtime.domain.plan import ToolFacts
from agent_runtime.domain.state import CallState, Phase, RunState, Stage
from agent_runtime.domain.todo import CheckCall, RunChild, RunTool
from agent_runtime.domain.values import Call, Message, RunRef

OPEN = (Stage.CHECKING, Stage.RUNNING)


def begin(move: Move, calls: tuple[Call, ...]) -> None:
    move.set(phase=Phase.ACTING, calls=tuple(CallState(call, arguments=call.arguments) for call in calls))
    for call in calls:
        move.show(*shown.tool_call(call.id, call.name, call.arguments, move.message_id()))
    fan_out = 0
    for place, call in enumerate(calls):
        facts = move.state.plan.tool(call.name)
        if facts is not None and facts.kind == "agent":
            fan_out += 1
        if (why := _refused(move, call.name, facts, fan_out)) is not None:
            move.resolve_call(place, why, failed=facts is None)
    move.set(child_tokens=_share(move.state))
    advance(move)


def _share(state: RunState) -> int | None:
    """What each child of this round may use of the tokens that are left: the same, whichever begins or ends first.

    What they leave over is their parent's again. Dollars are not shared out: the gateway holds those of the whole tree.
    """
    left = fit.tokens_left(state)
    facts = [state.plan.tool(one.call.name) for one in state.calls if one.stage is not Stage.DONE]
    children = sum(one is not None and one.kind == "agent" for one in facts)
    return None if left is None or not children else left // children


def _refused(move: Move, name: str, facts: ToolFacts | None, fan_out: int) -> str | None:
    """What the model reads instead of a result."""
    limits, ref = move.state.plan.limits, move.state.ref
    if facts is None:
        known = ", ".join(tool.name for tool in move.state.plan.tools)
        return f"There is no tool {name!r}. The tools are: {known or 'none'}."
    if facts.kind == "agent":
        if ref.depth >= limits.depth_max:
            return f"Delegation refused: maximum nesting depth ({limits.depth_max})."
        if fan_out > limits.fan_out_max:
            return f"Delegation refused: at most {limits.fan_out_max} in one turn."
        if move.state.delegations >= limits.delegations_max:
            return f"Delegation refused: at most {limits.delegations_max} in one run."
        move.set(delegations=move.state.delegations + 1)
    return None


def advance(move: Move) -> bool:
    """Starts whatever can start now; True when the round is over."""
    calls = move.state.calls
    if move.state.plan.sequential:
        at = next((place for place, one in enumerate(calls) if one.stage is not Stage.DONE), None)
        places = [] if at is None else [at]
    else:
        places = list(range(len(calls)))
    for place in places:
        if calls[place].stage is Stage.WAITING:
            check(move, place, calls[place].arguments)
    _launch(move, places)
    return all(one.stage is Stage.DONE for one in move.state.calls)


def check(move: Move, place: int, arguments: str, *, approved: bool = False) -> None:
    call = move.state.calls[place].call
    move.set_call(place, stage=Stage.CHECKING, approved=approved)
    spent = move.state.total.cost_nano_usd
    move.do(CheckCall(move.state.turn, place, call.id, call.name, arguments, approved, spent))


def checked(move: Move, event: Checked) -> None:
    place = move.place_of(event.call_id)
    one = move.state.calls[place]
    match event.verdict:
        case "allow":
            move.set_call(place, stage=Stage.READY, arguments=event.arguments)
        case "ask":
            facts = move.state.plan.tool(one.call.name)
            kind: ApprovalKind = "delegation" if facts is not None and facts.kind == "agent" else "tool"
            name = facts.agent if facts is not None and facts.agent else one.call.name
            approval = move.ask(kind, one, name, event.arguments, event.risk, event.at_s)
            move.set_call(place, stage=Stage.ASKING, arguments=event.arguments, approval=approval)
        case "deny":
            move.resolve_call(place, f"Not run: denied by authorization policy. {event.reason}".rstrip())
        case "invalid":
            move.resolve_call(place, f"Not run: the arguments cannot be used. {event.reason}", failed=True)


def tool_done(move: Move, event: ToolDone) -> None:
    text = fit.clipped(event.text, move.state.plan.limits.result_chars_max)
    move.resolve_call(move.place_of(event.call_id), text, failed=event.failed)


def child_done(move: Move, event: ChildDone) -> None:
    below = dict(move.state.below)
    for agent, usage in event.by_agent.items():
        below[agent] = below[agent] + usage if agent in below else usage
    move.set(below=below)
    place = move.place_of(event.call_id)
    facts = move.state.plan.tool(move.state.calls[place].call.name)
    move.show(shown.step("STEP_FINISHED", facts.agent if facts is not None else ""))
    text = event.text
    if event.failed or event.finish_reason not in ("complete", "length"):
        text = f"The sub-agent ended with {event.finish_reason}. {event.text}".rstrip()
    move.resolve_call(place, fit.clipped(text, move.state.plan.limits.result_chars_max), failed=event.failed)


def results(calls: tuple[CallState, ...]) -> tuple[Message, ...]:
    """In the order in which the model asked, whatever ended first."""
    return tuple(Message("tool", one.result, call_id=one.call.id) for one in calls)


def _launch(move: Move, places: list[int]) -> None:
    plan = move.state.plan
    for place in places:
        one = move.state.calls[place]
        if one.stage is not Stage.READY:
            continue
        facts = plan.tool(one.call.name)
        running = [plan.tool(other.call.name) for other in move.state.calls if other.stage is Stage.RUNNING]
        alone = facts is not None and facts.exclusive
        if len(running) >= plan.limits.parallel_max or any(other and other.exclusive for other in running):
            return
        if alone and running:
            return
        move.set_call(place, stage=Stage.RUNNING)
        _start(move, place, facts)


def _start(move: Move, place: int, facts: ToolFacts | None) -> None:
    state, one = move.state, move.state.calls[place]
    move.set(tool_calls=state.tool_calls + 1)
    if facts is None or facts.kind == "tool":
        move.do(RunTool(state.turn, place, one.call.id, one.call.name, one.arguments))
        return
    ref = RunRef(
        run_id=f"{state.ref.run_id}-{state.turn}-{place}",
        agent=facts.agent,
        principal=state.ref.principal,
        root_run_id=state.ref.root_run_id,
        parent_run_id=state.ref.run_id,
        depth=state.ref.depth + 1,
        stream=state.ref.stream,
    )
    move.show(shown.step("STEP_STARTED", facts.agent))
    query = str(json.loads(one.arguments)["query"])
    child = RunChild(state.turn, place, one.call.id, facts.agent, query, ref)
    move.do(replace(child, tokens_left=state.child_tokens, nano_usd_left=fit.nano_usd_left(state)))
