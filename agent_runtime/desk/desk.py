"""Does what the loop of one agent asks for, and tells it what came of it."""

import asyncio
import json
from dataclasses import replace

from agent_runtime.contracts.errors import GuardrailViolation
from agent_runtime.contracts.run import status_of
from agent_runtime.desk.background import background
from agent_runtime.desk.bench import Bench
from agent_runtime.desk.ending import put_on_record
from agent_runtime.desk.services import Services
from agent_runtime.desk.speech import Speech
from agent_runtime.desk.troubles import failure_of
from agent_runtime.domain.happened import Checked, LLMFailed, MoreGranted, Prepared, Replied, ToolDone, ToppedUp
from agent_runtime.domain.todo import AskApproval, AskMore, CallLLM, CheckCall, Emit, Outcome, Prepare, RunTool, TopUp
from agent_runtime.domain.values import Failure, Message, RunRef, Usage
from agent_runtime.ports import Answer, Ask, Entry, LLMTrouble, Turn
from agent_runtime.spec.agent import QUERY_SCHEMA, AgentSpec
from agent_runtime.spec.hooks import HookContext, Point, ShortCircuit, consult
from agent_runtime.tools.access import Denied, Use, authorize
from agent_runtime.tools.arguments import decoded, schema_problem

GRACE_S = 5.0
FIRST_WAIT_S = 0.5
WAIT_MAX_S = 5.0
AWAY = frozenset({"gateway_unreachable", "gateway_shutting_down"})


class Desk:
    """One agent's. It holds no state of any run, so that any process can go on with it."""

    def __init__(self, spec: AgentSpec, services: Services) -> None:
        self.spec = spec
        self.services = services
        self.bench = Bench(spec, services)

    async def publish(self, ref: RunRef, emit: Emit) -> None:
        """All runs of a tree show themselves in one log; the key makes a repetition harmless."""
        entries = [Entry(f"{ref.run_id}:{emit.first + at}", event) for at, event in enumerate(emit.events)]
        await self.services.events.append(ref.root_run_id, entries)

    async def prepare(self, ref: RunRef, todo: Prepare) -> Prepared:
        """Fails the run rather than answer without what it should know. A run below another one begins here."""
        if ref.depth:
            self.services.recorder.run_started(ref)
        try:
            text, _ = await consult(self.spec.hooks, "before_run", todo.input, HookContext(ref))
            if ref.conversation_id is not None:
                turn = Turn(ref.run_id, "running", (Message("user", text),))
                await self.services.conversations.keep(ref.principal, ref.conversation_id, turn)
            limit = self.spec.limits.nano_usd_max
            if limit is not None and ref.depth == 0 and self.services.treasurer is not None:
                await self.services.treasurer.open(ref, limit)
            history = await background(self.spec, self.services, ref, text)
        except Exception as error:  # noqa: BLE001 - it becomes the run's failure
            return Prepared(failure=failure_of(error))
        return Prepared(history, None if text == todo.input else text)

    async def think(
        self, ref: RunRef, todo: CallLLM, deadline_s: float, *, attempt: int = 1, patient: bool = True
    ) -> Replied | LLMFailed:
        """`patient`: a gateway that is away is waited for here, not by whoever asks."""
        clock = self.services.clock
        started_s = clock.now_s()
        if started_s >= deadline_s:
            late = Failure("deadline_exceeded", "the run's time is up", "timeout", True)
            return LLMFailed(todo.turn, late, started_s)
        try:
            with self.services.recorder.span("llm.stream" if ref.stream else "llm.generate", ref):
                replied = await self._think(ref, todo, deadline_s, attempt, patient=patient)
        except Exception as error:  # noqa: BLE001 - it becomes the run's failure
            failure = failure_of(error)
            self.services.recorder.llm_call(ref, self._model(todo), None, clock.now_s() - started_s, failure.kind)
            return LLMFailed(todo.turn, failure, clock.now_s())
        self.services.recorder.llm_call(ref, self._model(todo), replied.usage, clock.now_s() - started_s, None)
        return replied

    async def _think(self, ref: RunRef, todo: CallLLM, deadline_s: float, attempt: int, *, patient: bool) -> Replied:
        about = HookContext(ref, todo.turn)
        given, instead = await consult(self.spec.hooks, "before_llm", self._messages(todo), about)
        if isinstance(instead, ShortCircuit):
            return Replied(todo.turn, Message("assistant", str(instead.value)), Usage())
        ask = Ask(
            ref=ref,
            turn=todo.turn,
            model=self._model(todo),
            messages=tuple(given),
            tools=self.spec.cards() if todo.with_tools else (),
            output_tokens=todo.output_tokens,
            idempotency_key=f"{ref.run_id}:{todo.turn}",
            output_schema=self.spec.output,
            options=self.spec.options,
            priority=self.spec.mode.value,
            tags={**self.services.tags, "agent": self.spec.name},
        )
        answer, streamed = await self._answer(ask, attempt, deadline_s, patient=patient)
        message, _ = await consult(self.spec.hooks, "after_llm", answer.message, about)
        return Replied(
            turn=todo.turn,
            message=message,
            usage=answer.usage,
            finish_reason=answer.finish_reason,
            target=answer.target,
            streamed=streamed,
            invalid=self._invalid(message),
        )

    async def _answer(self, ask: Ask, attempt: int, deadline_s: float, *, patient: bool) -> tuple[Answer, bool]:
        """A gateway that is away is waited for; every other error has been retried by the gateway itself."""
        clock, wait_s = self.services.clock, FIRST_WAIT_S
        while True:
            speech = Speech(self.services.events, self.spec, ask.ref, ask.turn, attempt) if ask.ref.stream else None
            try:
                answer = await self._asked(replace(ask, timeout_s=deadline_s - clock.now_s()), speech)
            except LLMTrouble as trouble:
                gone = trouble.failure.code in AWAY
                if not gone or not patient or clock.now_s() + wait_s >= deadline_s:
                    raise
                await clock.sleep_s(wait_s)
                wait_s, attempt = min(WAIT_MAX_S, wait_s * 2), attempt + 1
            else:
                return answer, speech is not None and speech.begun

    async def _asked(self, ask: Ask, speech: Speech | None) -> Answer:
        if speech is None:
            return await self.services.llm.complete(ask)
        await speech.open()
        try:
            answer = await self.services.llm.complete(ask, speech.hear)
            await speech.end()
        except (LLMTrouble, GuardrailViolation):
            await speech.discard()
            raise
        return answer

    def _model(self, todo: CallLLM) -> str:
        return self.spec.cheaper_model if todo.cheaper else self.spec.model

    def _messages(self, todo: CallLLM) -> tuple[Message, ...]:
        system = (Message("system", self.spec.instructions),) if self.spec.instructions else ()
        return system + todo.messages

    def _invalid(self, message: Message) -> str | None:
        if self.spec.output is None or message.calls:
            return None
        try:
            given = json.loads(message.text)
        except ValueError:
            return "it is no JSON"
        return schema_problem(self.spec.output, given)

    async def check(self, ref: RunRef, todo: CheckCall) -> Checked:
        """Arguments, then authorizers, then the policy; a person's approval stands for the policy alone."""
        at_s = self.services.clock.now_s()
        given, why = decoded(todo.arguments)
        tool = self.spec.tool(todo.name)
        kind = "tool" if tool is not None else "delegation"
        if why is None:
            why = tool.arguments.problem(given) if tool is not None else schema_problem(QUERY_SCHEMA, given)
        if why is not None:
            return Checked(todo.call_id, "invalid", todo.arguments, why, at_s=at_s)
        risk = tool.risk if tool is not None else "write"
        use = Use(todo.name, kind, risk, given, ref.principal, ref.agent, todo.spent_nano_usd)
        own = tool.authorizers if tool is not None else ()
        with self.services.recorder.span("tool.authorize", ref, tool=todo.name):
            ruling = await authorize(use, (*self.services.authorizers, *self.spec.authorizers, *own))
        if isinstance(ruling, Denied):
            return Checked(todo.call_id, "deny", todo.arguments, ruling.reason, risk, at_s)
        asks = not todo.approved and await self.spec.policy.asks(use)
        arguments = json.dumps(given, ensure_ascii=False, sort_keys=True)
        return Checked(todo.call_id, "ask" if asks else "allow", arguments, "", risk, at_s)

    async def act(self, ref: RunRef, todo: RunTool) -> ToolDone:
        return await self.bench.act(ref, todo)

    async def ask_more(self, ref: RunRef, todo: AskMore) -> MoreGranted:
        """None, unless a hook says otherwise; the loop grants no more than the agent's limit."""
        try:
            granted, _ = await consult(self.spec.hooks, "on_max_iterations", 0, HookContext(ref, todo.turn))
        except GuardrailViolation:
            return MoreGranted(0)
        return MoreGranted(int(granted))

    async def notify(self, ref: RunRef, todo: AskApproval) -> None:
        """A person is waited for: hooks may call one."""
        await self._tell_hooks("on_approval", todo.approval, ref)

    async def top_up(self, ref: RunRef, todo: TopUp) -> ToppedUp:
        """Tokens are counted by the run itself; dollars are also held at the gateway."""
        if todo.nano_usd and self.services.treasurer is None:
            return ToppedUp(
                Failure("no_treasurer", "nobody can raise the budget; give the runtime a treasurer", "config")
            )
        try:
            if todo.nano_usd and self.services.treasurer is not None:
                await self.services.treasurer.top_up(ref, todo.nano_usd)
        except Exception as error:  # noqa: BLE001 - it becomes the run's end
            return ToppedUp(failure_of(error))
        return ToppedUp(None, todo.tokens, todo.nano_usd)

    async def conclude(self, outcome: Outcome, started_s: float) -> None:
        """Kept first, told afterwards: whoever hears of the end finds the transcript."""
        ref, services = outcome.ref, self.services
        await put_on_record(services, outcome, Turn(ref.run_id, status_of(outcome.finish_reason), outcome.messages))
        if services.treasurer is not None and ref.depth == 0 and self.spec.limits.nano_usd_max is not None:
            await services.treasurer.close_run(ref)
        await self._after(outcome)
        services.recorder.run_ended(outcome, max(0.0, services.clock.now_s() - started_s))

    async def _after(self, outcome: Outcome) -> None:
        if outcome.finish_reason == "budget_exceeded":
            await self._tell_hooks("on_budget_exceeded", outcome, outcome.ref)
        await self._tell_hooks("after_run", outcome, outcome.ref)

    async def _tell_hooks(self, point: Point, value: object, ref: RunRef) -> None:
        """What these hooks say changes nothing, and neither does their failing."""
        try:
            async with asyncio.timeout(GRACE_S):
                await consult(self.spec.hooks, point, value, HookContext(ref))
        except Exception as error:  # noqa: BLE001 - nobody waits for their answer
            self.services.recorder.counted("agent.hook.failed", error=type(error).__name__, point=point)
