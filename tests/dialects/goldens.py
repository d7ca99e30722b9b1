"""Provider answers beside what callers of each dialect get of them: written by `make goldens`, read by a person."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.app.dialects import DIALECTS
from gateway.domain.answer import error_for
from gateway.domain.conversation import Conversation
from gateway.domain.request import Dialect, ModelRequest, Needs, Operation
from gateway.pipeline.translation import TargetDialect, TranslatedStream, Translation
from gateway.providers import anthropic, gemini, openai, openai_responses
from gateway.sim.ask import Dialect as Spoken
from gateway.sim.ask import read_ask
from gateway.sim.failure import failure
from gateway.sim.fault import Hint, Status
from gateway.sim.script import Behaviour, parse_script
from gateway.sim.sse import frame
from gateway.sim.stage import _body, _events
from gateway.sim.turn import compose
from gateway.wire import failures

FOLDER = Path(__file__).parent / "goldens"
CALLERS = (Dialect.OPENAI, Dialect.ANTHROPIC, Dialect.RESPONSES)
TARGETS: dict[str, TargetDialect] = {
    "chat": openai,
    "responses": openai_responses,
    "anthropic": anthropic,
    "gemini": gemini,
}
SPOKEN = {
    "chat": Spoken.CHAT,
    "responses": Spoken.RESPONSES,
    "anthropic": Spoken.MESSAGES,
    "gemini": Spoken.GEMINI,
}
NATIVE = {
    "chat": Dialect.OPENAI,
    "responses": Dialect.RESPONSES,
    "anthropic": Dialect.ANTHROPIC,
    "gemini": None,
}
PARIS = {"name": "weather", "arguments": {"city": "Paris"}, "fragments": 3}
TIME = {"name": "time", "arguments": {"zone": "CET", "at": [1, 2]}, "fragments": 4}
ANSWERS: dict[str, dict[str, Any]] = {
    "text": {"text": "Hello, world.", "events": 3},
    "unicode": {"text": 'Žluťoučký "kůň"\n日本 🦊 \\', "events": 4},
    "empty": {"text": ""},
    "tool": {"tool_calls": [PARIS]},
    "parallel_tools": {
        "tool_calls": [PARIS, {"name": "time", "arguments": {"zone": "CET", "at": [1, 2]}, "fragments": 4}]
    },
    "text_and_tool": {"text": "I look it up.", "tool_calls": [PARIS], "events": 2},
    "thinking": {"thinking": "The user greets me.", "text": "Hello.", "events": 1},
    "thinking_and_tools": {"thinking": "I need the weather.", "tool_calls": [PARIS, PARIS]},
    "citations": {
        "text": "It rains.",
        "citations": [{"url": "https://x.org/a", "title": "A"}, {"url": "https://x.org/b"}],
    },
    "refusal": {"refusal": "I cannot help with that."},
    "filtered": {"text": "I", "finish_reason": "content_filter"},
    "length": {"text": "It was a dark and", "finish_reason": "length", "events": 2},
    "cached": {
        "text": "Yes.",
        "input_tokens": 1000,
        "cached_tokens": 900,
        "cache_write_tokens": 50,
        "reasoning_tokens": 7,
    },
    "no_usage": {"text": "Yes.", "usage": "never"},
}
ERRORS: dict[str, Status] = {
    "bad_request": Status(400, message="Invalid 'temperature'."),
    "bad_key": Status(401),
    "forbidden": Status(403),
    "no_model": Status(404),
    "context_length": Status(400, code="context_length_exceeded"),
    "too_large": Status(413),
    "rate_limit": Status(429, hints=(Hint("retry-after", 7.0),)),
    "quota_gone": Status(429, code="insufficient_quota"),
    "server_error": Status(500),
    "overloaded": Status(503),
    "overloaded_529": Status(529),
}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": True}},
    "responses": {"model": "m", "input": "hi"},
    "anthropic": {"model": "m", "max_tokens": 4000, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"model": "m", "contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}


def cases() -> Iterator[tuple[str, str]]:
    """The name of each and its text."""
    for provider in TARGETS:
        for name, answer in ANSWERS.items():
            yield f"{provider}/{name}.whole", _answered(provider, answer, stream=False)
            yield f"{provider}/{name}.stream", _answered(provider, answer, stream=True)
        for name, fault in ERRORS.items():
            yield f"{provider}/{name}.error", _refused(provider, fault)


def _request(dialect: Dialect, *, stream: bool) -> ModelRequest:
    return ModelRequest(Operation.CHAT, dialect, "m", {}, Needs(), stream=stream, include_usage=True)


def _answered(provider: str, answer: dict[str, Any], *, stream: bool) -> str:
    script = parse_script({"otherwise": {"answer": answer}})
    ask = read_ask(SPOKEN[provider], json.dumps({**BODIES[provider], "stream": stream}).encode())
    turn = compose(ask, script.otherwise.answer, 1, 1, 1)
    if not stream:
        raw = _body(ask, turn, 1)
        return _page(provider, raw, {caller: _whole(provider, raw, caller) for caller in CALLERS})
    behaviour = Behaviour(answer=script.otherwise.answer)
    raw = b"".join(frame(event) for event in _events(ask, turn, behaviour))
    return _page(provider, raw, {caller: _streamed(provider, raw, caller) for caller in CALLERS})


def _whole(provider: str, raw: bytes, caller: Dialect) -> bytes:
    known = DIALECTS.callers[caller]
    request = _request(caller, stream=False)
    conversation = known.conversation_of({"messages": b"[]", "input": b"[]"})
    return Translation(TARGETS[provider], known, conversation, (), 1).decode_reply(request, raw).body


def _streamed(provider: str, raw: bytes, caller: Dialect) -> bytes:
    encoder = DIALECTS.callers[caller].encoder(_request(caller, stream=True), 1)
    stream = TranslatedStream(TARGETS[provider].decode_turns(), encoder)
    return b"".join(event.raw for event in [*stream.feed(raw), *stream.end()])


def _refused(provider: str, fault: Status) -> str:
    said = failure(SPOKEN[provider], fault, "req_1", 0.0)
    headers = [(name.encode(), value.encode()) for name, value in said.headers]
    told: dict[Dialect, bytes] = {}
    for caller in CALLERS:
        found = _speaker(provider, caller).decode_error(said.status, headers, said.body, 0.0)
        error = error_for(found, found.hint_s)
        told[caller] = failures.body_of(error, caller, "req_1")
    kind = f"{found.kind.value}, hint {found.hint_s}, told with {failures.status_of(error)}"
    return _page(f"{provider} {said.status}: {kind}", said.body, told)


def _speaker(provider: str, caller: Dialect) -> TargetDialect | Translation:
    """What reads an error: of the caller's own dialect as it is, of another one in other words."""
    if NATIVE[provider] is caller:
        return TARGETS[provider]
    return Translation(TARGETS[provider], DIALECTS.callers[caller], Conversation(()), (), 1)


def _page(provider: str, raw: bytes, told: dict[Dialect, bytes]) -> str:
    parts = [f"== {provider} ==\n{_shown(raw)}"]
    parts += [f"== for {caller.value} ==\n{_shown(text)}" for caller, text in told.items()]
    return "\n\n".join(parts) + "\n"


def _shown(text: bytes) -> str:
    """JSON on lines of its own, where it is a whole document; streams as they are."""
    if text.startswith(b"{"):
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    return text.decode().strip()


def write() -> None:
    for old in FOLDER.rglob("*.txt"):
        old.unlink()
    for name, text in cases():
        path = FOLDER / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    write()
