"""A driver of the loop that does nothing real: a script answers, and dice decide what ends first."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from agent_runtime.domain.approval import Approval, Decision
from agent_runtime.domain.happened import (
    ApprovalExpired,
    Begun,
    Checked,
    ChildDone,
    Decided,
    Happened,
    MoreGranted,
    Prepared,
    Replied,
    ToolDone,
    ToppedUp,
)
from agent_runtime.domain.limits import Limits, Mode
from agent_runtime.domain.loop import step
from agent_runtime.domain.plan import LoopPlan, ToolFacts
from agent_runtime.domain.state import RunState, Stage, new_run
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
    Shown,
    Todo,
    TopUp,
)
from agent_runtime.domain.values import Call, Message, Principal, RunRef, Usage

ME = Principal("acme", "ann")
REF = RunRef("run", "main", ME, "run")
TURN_USAGE = Usage(llm_calls=1, input_tokens=10, output_tokens=5, cost_nano_usd=100)
CHILD_USAGE = Usage(llm_calls=2, input_tokens=20, output_tokens=10, cost_nano_usd=200)
STATES = TypeAdapter(RunState)
TOOLS = (
    ToolFacts("look"),
    ToolFacts("write"),
    ToolFacts("alone", exclusive=True),
    ToolFacts("subagent_helper", kind="agent", agent="helper"),
)


def plan(limits: Limits | None = None, *, sequential: bool = False, approvers: tuple[str, ...] = ()) -> LoopPlan:
    settled = (limits or Limits()).settled(Mode.INTERACTIVE)
    return LoopPlan("main", "f", settled, tools=TOOLS, sequential=sequential, approvers=approvers)


def call(name: str, call_id: str = "c", arguments: str = '{"query": "q"}') -> Call:
    return Call(call_id, name, arguments)


def says(turn: int, text: str = "", *calls: Call, usage: Usage = TURN_USAGE) -> Replied:
    return Replied(turn, Message("assistant", text, calls), usage)


@dataclass
class Puppet:
    """`turns[n]` are the tools called in turn n; after the last one it answers."""

    turns: list[list[str]]
    loop_plan: LoopPlan = field(default_factory=plan)
    verdict: Callable[[CheckCall], str] = lambda _: "allow"
    decide: Callable[[Approval], Happened] | None = None
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    check_json: bool = False
    ref: RunRef = REF

    def __post_init__(self) -> None:
        self.state = new_run(self.ref, self.loop_plan, deadline_s=1_000.0, seed="s")
        self.queue: list[Happened] = []
        self.shown: list[Shown] = []
        self.done: list[Todo] = []
        self.outcome: Outcome | None = None
        self.running_max = 0
        self.at_s = 0.0

    def run(self, text: str = "go") -> Outcome:
        self.tell(Begun(text))
        while self.queue:
            self.tell(self.queue.pop(self.dice.randrange(len(self.queue))))
        assert self.outcome is not None
        return self.outcome

    def tell(self, event: Happened) -> None:
        self.at_s += 1.0
        self.state, todo = step(self.state, event)
        if self.check_json:
            assert STATES.validate_json(STATES.dump_json(self.state)) == self.state
        running = [one for one in self.state.calls if one.stage is Stage.RUNNING]
        self.running_max = max(self.running_max, len(running))
        if any(one.call.name == "alone" for one in running):
            assert len(running) == 1
        for one in todo:
            self.done.append(one)
            answer = self._answer(one)
            if answer is not None:
                self.queue.append(answer)

    def _answer(self, todo: Todo) -> Happened | None:
        match todo:
            case Prepare():
                return Prepared()
            case CallLLM(turn):
                return self._reply(turn, with_tools=todo.with_tools)
            case CheckCall():
                verdict = "allow" if todo.approved else self.verdict(todo)
                return Checked(todo.call_id, verdict, todo.arguments, at_s=self.at_s)  # type: ignore[arg-type]
            case RunTool():
                return ToolDone(todo.call_id, f"{todo.name} says {todo.arguments}", at_s=self.at_s)
            case RunChild():
                return ChildDone(todo.call_id, "child", "complete", CHILD_USAGE, {todo.agent: CHILD_USAGE})
            case AskApproval(approval):
                return self._decision(approval)
            case TopUp():
                return ToppedUp(tokens=1_000, nano_usd=1_000)
            case AskMore():
                return MoreGranted(1)
            case Emit(first, events):
                assert first == len(self.shown)
                self.shown += events
                return None
            case Finish(outcome):
                assert self.outcome is None
                self.outcome = outcome
                return None

    def _reply(self, turn: int, *, with_tools: bool) -> Replied:
        names = self.turns[turn - 1] if turn <= len(self.turns) else []
        if not with_tools:
            names = []
        calls = tuple(call(name, f"c{turn}-{place}") for place, name in enumerate(names))
        return says(turn, "" if calls else f"answer {turn}", *calls)

    def _decision(self, approval: Approval) -> Happened:
        if self.decide is not None:
            return self.decide(approval)
        if self.dice.random() < 0.3:
            return ApprovalExpired(approval.id, self.at_s)
        return Decided(Decision(approval.id, self.dice.random() < 0.5, ME, self.at_s))
