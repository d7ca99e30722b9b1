"""Models behind the gateway, as the runtime asks for them."""

import json
from collections.abc import Callable

from agent_runtime.domain.values import Call, Category, Failure, Message, Principal, Usage
from agent_runtime.ports import Answer, Ask, Heard, LLMTrouble
from sdk_client import CallContext, Image, LLMClient, LLMError, Reply, Text, Tool, ToolCall, errors
from sdk_client import Message as Said
from sdk_client.wire import response_format

KINDS: tuple[tuple[type[LLMError], str, Category], ...] = (
    (errors.RateLimited, "rate_limited", "provider"),
    (errors.BudgetExceeded, "budget_exceeded", "denied"),
    (errors.Overloaded, "overloaded", "provider"),
    (errors.ContextTooLong, "context_too_long", "logic"),
    (errors.ContentFiltered, "content_filtered", "denied"),
    (errors.InvalidRequest, "invalid_request", "config"),
    (errors.AuthFailed, "auth", "config"),
    (errors.DeadlineExceeded, "deadline_exceeded", "timeout"),
    (errors.StreamBroken, "stream_broken", "provider"),
    (errors.UpstreamFailed, "upstream_failed", "provider"),
)


class GatewayLLM:
    """Implements ports.LLM. `keys` finds the gateway's key of a tenant; without it the client's own is used."""

    def __init__(self, client: LLMClient, *, keys: Callable[[Principal], str] | None = None) -> None:
        self._client = client
        self._keys = keys

    async def complete(self, ask: Ask, heard: Heard | None = None) -> Answer:
        messages = [said(message) for message in ask.messages]
        tools = [Tool(card.name, card.description, card.parameters) for card in ask.tools]
        options = {"max_tokens": ask.output_tokens, **ask.options}
        if ask.output_schema is not None:  # the desk checks the answer, as it can ask for it once more
            options["response_format"] = response_format(ask.output_schema)
        context = self._context(ask)
        try:
            if heard is None:
                reply = await self._client.generate(messages, model=ask.model, tools=tools, context=context, **options)
            else:
                stream = self._client.stream(messages, model=ask.model, tools=tools, context=context, **options)
                async with stream as deltas:
                    async for delta in deltas:
                        if delta.text:
                            await heard(delta.text)
                    reply = await deltas.reply()
        except LLMError as error:
            raise LLMTrouble(failure_of(error)) from error
        return answer_of(reply)

    def _context(self, ask: Ask) -> CallContext:
        ref = ask.ref
        return CallContext(
            key=None if self._keys is None else self._keys(ref.principal),
            session_id=ref.thread_id,
            run_id=ref.run_id,
            parent_run_id=ref.parent_run_id,
            priority=ask.priority,
            tags=dict(ask.tags),
            timeout_s=ask.timeout_s,
            idempotency_key=ask.idempotency_key,
        )


def said(message: Message) -> Said:
    if message.role == "tool":
        return Said.tool(message.call_id, message.text)
    calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in message.calls)
    text = (Text(message.text),) if message.text or not (calls or message.images) else ()
    return Said(message.role, (*text, *(Image(url) for url in message.images), *calls))


def answer_of(reply: Reply) -> Answer:
    calls = tuple(Call(call.id, call.name, call.arguments) for call in reply.tool_calls)
    usage = Usage(
        llm_calls=1,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_tokens=reply.usage.cached_tokens,
        reasoning_tokens=reply.usage.reasoning_tokens,
        cost_nano_usd=reply.cost_nano_usd or 0,
        unpriced_calls=int(reply.cost_nano_usd is None),
        provider_switches=int(reply.provider_switched),
    )
    return Answer(Message("assistant", reply.text, calls), usage, reply.finish_reason, reply.target)


def failure_of(error: LLMError) -> Failure:
    """A stream that broke without a word of the gateway means that the gateway is gone."""
    cause = error.cause if isinstance(error, errors.StreamBroken) else None
    if cause is not None:
        return failure_of(cause)
    kind, category = next((kind, category) for known, kind, category in KINDS if isinstance(error, known))
    code = error.code or ("gateway_unreachable" if kind == "stream_broken" else "")
    facts = {"code": code, "status": error.status, "request": error.request_id}
    message = f"{error.message} {json.dumps({name: fact for name, fact in facts.items() if fact})}"
    scope = error.scope if isinstance(error, errors.BudgetExceeded) else ""
    return Failure(kind, message, category, error.retryable, error.retry_after_s, code, scope)
