"""OpenAI responses: bodies and stream events of a turn."""

from collections.abc import Iterator
from typing import Any, Final

from gateway.sim.ask import Ask, count_tokens
from gateway.sim.event import Event, encode, named
from gateway.sim.turn import Call, Choice, Tokens, Turn, slices

SIGNATURE: Final = "b3BlbmFpLXNpbQ=="
_ECHOED: Final[dict[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.cache_write},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }


def body(turn: Turn, ask: Ask) -> bytes:
    return encode(_finished(turn, ask))


def events(turn: Turn, ask: Ask, pieces: int | None) -> Iterator[Event]:
    """Numbered by `sequence_number`; there is no `[DONE]`."""
    for number, (kind, values, tokens, content) in enumerate(_steps(turn, ask, pieces)):
        yield named(kind, {"sequence_number": number, **values}, tokens=tokens, content=content)


def endless(turn: Turn, ask: Ask, text: str) -> Iterator[Event]:
    yield named("response.created", {"sequence_number": 0, "response": _started(turn, ask)})
    place = {"item_id": f"msg_{turn.id}", "output_index": 0, "content_index": 0}
    number = 0
    while True:
        number += 1
        values = {"sequence_number": number, **place, "delta": text, "logprobs": []}
        yield named("response.output_text.delta", values, tokens=count_tokens(text), content=True)


_Step = tuple[str, dict[str, Any], int, bool]


def _steps(turn: Turn, ask: Ask, pieces: int | None) -> Iterator[_Step]:
    started = _started(turn, ask)
    yield "response.created", {"response": started}, turn.tokens.reasoning, False
    yield "response.in_progress", {"response": started}, 0, False
    for choice in turn.choices[:1]:
        place = 0
        if turn.thinking is not None:
            yield from _thinking_steps(turn, turn.thinking)
            place = 1
        if _speaks(choice):
            yield from _message_steps(turn, choice, pieces, place)
            place += 1
        for call in choice.calls:
            yield from _call_steps(place, call)
            place += 1
    finished = _finished(turn, ask)
    yield f"response.{finished['status']}", {"response": finished}, 0, False


def _thinking_steps(turn: Turn, thinking: str) -> Iterator[_Step]:
    item = _thought(turn, thinking)
    at = {"output_index": 0, "item_id": item["id"], "summary_index": 0}
    yield "response.output_item.added", {"output_index": 0, "item": {**item, "summary": []}}, 0, False
    part = {"type": "summary_text", "text": ""}
    yield "response.reasoning_summary_part.added", {**at, "part": part}, 0, False
    yield "response.reasoning_summary_text.delta", {**at, "delta": thinking}, 0, True
    yield "response.reasoning_summary_text.done", {**at, "text": thinking}, 0, False
    yield "response.reasoning_summary_part.done", {**at, "part": {**part, "text": thinking}}, 0, False
    yield "response.output_item.done", {"output_index": 0, "item": item}, 0, False


def _thought(turn: Turn, thinking: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": thinking}]
    return {"id": f"rs_{turn.id}", "type": "reasoning", "summary": summary, "encrypted_content": SIGNATURE}


def _message_steps(turn: Turn, choice: Choice, pieces: int | None, place: int) -> Iterator[_Step]:
    item = _message(turn, choice)
    part = item["content"][0]
    refused = choice.refusal is not None
    kind, field = ("refusal", "refusal") if refused else ("output_text", "text")
    at = {"output_index": place, "item_id": item["id"], "content_index": 0}
    extra: dict[str, Any] = {} if refused else {"logprobs": []}
    yield (
        "response.output_item.added",
        {"output_index": place, "item": {**item, "status": "in_progress", "content": []}},
        0,
        False,
    )
    yield "response.content_part.added", {**at, "part": {**part, field: ""}}, 0, False
    for piece, tokens in slices(part[field], pieces):
        yield f"response.{kind}.delta", {**at, "delta": piece, **extra}, tokens, True
    for number, note in enumerate(part.get("annotations", ())):
        told = {**at, "annotation_index": number, "annotation": note}
        yield "response.output_text.annotation.added", told, 0, False
    yield f"response.{kind}.done", {**at, field: part[field], **extra}, 0, False
    yield "response.content_part.done", {**at, "part": part}, 0, False
    yield "response.output_item.done", {"output_index": place, "item": item}, 0, False


def _call_steps(place: int, call: Call) -> Iterator[_Step]:
    item = _function_call(call)
    at = {"output_index": place, "item_id": item["id"]}
    opening = {**item, "status": "in_progress", "arguments": ""}
    yield "response.output_item.added", {"output_index": place, "item": opening}, count_tokens(call.name), False
    for piece, tokens in slices(call.arguments, call.fragments):
        yield "response.function_call_arguments.delta", {**at, "delta": piece}, tokens, True
    yield "response.function_call_arguments.done", {**at, "name": call.name, "arguments": call.arguments}, 0, False
    yield "response.output_item.done", {"output_index": place, "item": item}, 0, False


def _speaks(choice: Choice) -> bool:
    return bool(choice.text or choice.refusal is not None or not choice.calls)


def _message(turn: Turn, choice: Choice) -> dict[str, Any]:
    span = {"start_index": 0, "end_index": len(choice.text)}
    cited = [{"type": "url_citation", "url": one.url, "title": one.title, **span} for one in turn.citations]
    notes = cited if choice.text else []
    part: dict[str, Any] = {"type": "output_text", "text": choice.text, "annotations": notes, "logprobs": []}
    if choice.refusal is not None:
        part = {"type": "refusal", "refusal": choice.refusal}
    return {"id": f"msg_{turn.id}", "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _function_call(call: Call) -> dict[str, Any]:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{call.id}",
        "name": call.name,
        "arguments": call.arguments,
    }


def _started(turn: Turn, ask: Ask) -> dict[str, Any]:
    echoed = {name: ask.body.get(name, default) for name, default in _ECHOED.items()}
    return {
        "id": f"resp_{turn.id}",
        "object": "response",
        "created_at": turn.created_s,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": turn.model,
        "output": [],
        "usage": None,
        **echoed,
    }


def _finished(turn: Turn, ask: Ask) -> dict[str, Any]:
    reply = _started(turn, ask)
    choice = turn.choices[0] if turn.choices else None
    reply["status"] = "completed"
    if choice is not None:
        thought = [_thought(turn, turn.thinking)] if turn.thinking is not None else []
        said = [_message(turn, choice)] if _speaks(choice) else []
        reply["output"] = thought + said + [_function_call(call) for call in choice.calls]
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(choice.finish)
        if reason is not None:
            reply["status"] = "incomplete"
            reply["incomplete_details"] = {"reason": reason}
    if turn.shown is not None:
        reply["usage"] = usage(turn.shown)
    elif not turn.usage_null:
        del reply["usage"]
    return reply
