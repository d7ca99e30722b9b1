"""The gateway's dialect, without I/O: values to bodies and headers, answers to replies and errors."""

import json
import math
import string
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from urllib.parse import quote

from sdk_client.errors import (
    AuthFailed,
    BudgetExceeded,
    ContentFiltered,
    ContextTooLong,
    DeadlineExceeded,
    InvalidRequest,
    LLMError,
    Overloaded,
    RateLimited,
    UpstreamFailed,
)
from sdk_client.values import (
    CallContext,
    Image,
    Message,
    Part,
    Reasoning,
    Reply,
    SchemaModel,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

MESSAGE_MAX = 2_000
PLAIN = string.punctuation + " "

ERRORS: dict[str, type[LLMError]] = {
    "rate_limit_exceeded": RateLimited,
    "upstream_rate_limited": RateLimited,
    "budget_exceeded": BudgetExceeded,
    "reservation_exhausted": BudgetExceeded,
    "gateway_overloaded": Overloaded,
    "gateway_shutting_down": Overloaded,
    "store_unavailable": Overloaded,
    "journal_unavailable": Overloaded,
    "upstream_overloaded": Overloaded,
    "context_length_exceeded": ContextTooLong,
    "request_too_large": ContextTooLong,
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "invalid_api_key": AuthFailed,
    "model_not_allowed": AuthFailed,
    "deadline_exceeded": DeadlineExceeded,
    "request_timeout": DeadlineExceeded,
}
"""By the gateway's stable code; a code that is not here is judged by its status."""

BY_STATUS: dict[int, type[LLMError]] = {
    401: AuthFailed,
    402: BudgetExceeded,
    403: AuthFailed,
    408: DeadlineExceeded,
    413: ContextTooLong,
    429: RateLimited,
}


def chat_body(
    messages: Sequence[Message],
    model: str,
    tools: Sequence[Tool | type[Any]],
    output: type[Any] | Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": [one for message in messages for one in encoded(message)]}
    if tools:
        body["tools"] = [{"type": "function", "function": function_of(tool)} for tool in tools]
    if output is not None:
        body["response_format"] = response_format(output)
    return body | {name: value for name, value in options.items() if value is not None}


def function_of(tool: Tool | type[Any]) -> dict[str, Any]:
    known = tool if isinstance(tool, Tool) else Tool.of(tool)
    return {"name": known.name, "description": known.description, "parameters": known.parameters}


def response_format(output: type[Any] | Mapping[str, Any]) -> dict[str, Any]:
    schema = output if isinstance(output, Mapping) else cast(type[SchemaModel], output).model_json_schema()
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in str(schema.get("title", "response")))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def encoded(message: Message) -> Iterable[dict[str, Any]]:
    """A message of ours is one of the dialect, but each tool result is a message of its own there."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if results:
        return [{"role": "tool", "tool_call_id": part.call_id, "content": part.content} for part in results]
    one: dict[str, Any] = {"role": message.role}
    parts = [shown for part in message.parts if (shown := _part(part)) is not None]
    if all(part["type"] == "text" for part in parts):
        one["content"] = "".join(part["text"] for part in parts)
    else:
        one["content"] = parts
    if message.tool_calls:
        one["content"] = one["content"] or None
        one["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return [one]


def _part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(url, detail):
            return {"type": "image_url", "image_url": {"url": url, "detail": detail}}
        case _:
            return None


def tag(text: str) -> str:
    return quote(text, safe=PLAIN.translate({ord(","): None, ord("="): None}))


def headers_of(context: CallContext, key: str, timeout_s: float) -> dict[str, str]:
    """`timeout_s` is what is left of the deadline; the gateway keeps all of its attempts inside it.

    What a header cannot hold is percent-encoded: ids may come from users.
    """
    shown = {
        "authorization": f"Bearer {context.key or key}",
        "x-request-timeout-ms": str(max(1, math.floor(timeout_s * 1000))),
        "x-session-id": context.session_id,
        "x-run-id": context.run_id,
        "x-parent-run-id": context.parent_run_id,
        "x-priority": context.priority,
        "x-tags": ",".join(f"{tag(name)}={tag(value)}" for name, value in context.tags.items()) or None,
        "idempotency-key": context.idempotency_key,
        "traceparent": traceparent(),
    }
    return {name: quote(value.strip(), safe=PLAIN) for name, value in shown.items() if value is not None}


def traceparent() -> str | None:
    """The place of this call in its process's trace, where OpenTelemetry is in use; this package does not need it."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    here = trace.get_current_span().get_span_context()
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}" if here.is_valid else None


def new_key() -> str:
    return uuid.uuid4().hex


def decode_reply(body: bytes, headers: Mapping[str, str], output: type[Any] | Mapping[str, Any] | None) -> Reply:
    data = json_of(body, headers)
    try:
        choice = data["choices"][0]
        said = choice["message"]
    except (LookupError, TypeError):
        raise unreadable(headers, "the answer has no choices") from None
    parts: list[Part] = []
    if reasoning := said.get("reasoning_content") or said.get("reasoning"):
        parts.append(Reasoning(str(reasoning)))
    if text := said.get("content") or said.get("refusal"):
        parts.append(Text(text))
    for call in said.get("tool_calls") or ():
        function = call.get("function") or {}
        parts.append(ToolCall(call.get("id") or "", function.get("name") or "", function.get("arguments") or ""))
    return told(
        Reply(
            message=Message("assistant", tuple(parts)),
            finish_reason=choice.get("finish_reason") or "stop",
            usage=usage_of(data.get("usage")),
            model=data.get("model") or "",
        ),
        headers,
        output,
    )


def told(reply: Reply, headers: Mapping[str, str], output: type[Any] | Mapping[str, Any] | None) -> Reply:
    """The reply with what the gateway says in its headers, and with its text as the value that was asked for."""
    return Reply(
        message=reply.message,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        model=reply.model,
        target=headers.get("x-gateway-target", ""),
        attempts=_whole(headers.get("x-gateway-attempts")),
        provider_switched="x-gateway-provider-switched" in headers,
        cost_nano_usd=_nano_usd(headers.get("x-gateway-cost-usd")),
        request_id=headers.get("x-request-id", ""),
        replayed="x-gateway-replayed" in headers or "x-gateway-joined" in headers,
        parsed=None if output is None or reply.tool_calls else parsed(reply.text, output, headers),
    )


def parsed(text: str, output: type[Any] | Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    try:
        if isinstance(output, Mapping):
            return json.loads(text)
        return cast(type[SchemaModel], output).model_validate_json(text)
    except ValueError as error:
        raise UpstreamFailed(
            f"the model's answer does not fit the output that was asked for: {type(error).__name__}",
            code="output_invalid",
            request_id=headers.get("x-request-id"),
        ) from error


def usage_of(shown: Any) -> Usage:
    if not isinstance(shown, dict):
        return Usage()
    inside, outside = shown.get("prompt_tokens_details") or {}, shown.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=int(shown.get("prompt_tokens") or 0),
        output_tokens=int(shown.get("completion_tokens") or 0),
        cached_tokens=int(inside.get("cached_tokens") or 0),
        reasoning_tokens=int(outside.get("reasoning_tokens") or 0),
    )


def error_of(status: int, body: bytes, headers: Mapping[str, str]) -> LLMError:
    try:
        shown = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError):
        shown = None
    return error_shown(shown, status, headers)


def error_shown(shown: Any, status: int, headers: Mapping[str, str]) -> LLMError:
    """From the gateway's error object; of something else that answers in its place, the status alone."""
    told_by_gateway = shown if isinstance(shown, dict) else {}
    code = str(told_by_gateway.get("code") or "")
    kind = ERRORS.get(code) or BY_STATUS.get(status) or (InvalidRequest if 400 <= status < 500 else UpstreamFailed)
    facts: dict[str, Any] = {
        "code": code,
        "status": status,
        "request_id": headers.get("x-request-id"),
        "retry_after_s": retry_after_s(headers),
        "again": headers.get("x-should-retry") == "true",
    }
    if isinstance(told_by_gateway.get("retryable"), bool):
        facts["retryable"] = told_by_gateway["retryable"]
    if kind is BudgetExceeded:
        facts |= {"scope": told_by_gateway.get("scope") or "", "resets_at": told_by_gateway.get("resets_at")}
    message = str(told_by_gateway.get("message") or f"the gateway answered {status}")[:MESSAGE_MAX]
    return kind(message, **facts)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name, "")
        if given.isdigit():
            return int(given) * unit_s
    return None


def json_of(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise unreadable(headers, "the answer is no JSON object")
    return data


def unreadable(headers: Mapping[str, str], why: str) -> UpstreamFailed:
    return UpstreamFailed(f"{why}; does the base URL lead to a gateway?", request_id=headers.get("x-request-id"))


def _whole(given: str | None) -> int:
    return int(given) if given and given.isdigit() else 0


def _nano_usd(given: str | None) -> int | None:
    try:
        return None if given is None else int(Decimal(given).scaleb(9))
    except InvalidOperation:
        return None


def embeddings_of(body: bytes, headers: Mapping[str, str]) -> tuple[tuple[float, ...], ...]:
    rows = json_of(body, headers).get("data")
    if not isinstance(rows, list):
        raise unreadable(headers, "the answer has no data")
    return tuple(tuple(row["embedding"]) for row in sorted(rows, key=lambda row: row.get("index", 0)))


def models_of(body: bytes, headers: Mapping[str, str]) -> tuple[str, ...]:
    rows = json_of(body, headers).get("data")
    if not isinstance(rows, list):
        raise unreadable(headers, "the answer has no data")
    return tuple(str(row["id"]) for row in rows)
