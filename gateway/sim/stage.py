"""One answer, decided to its last byte: status, head, body and how the connection ends."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from typing import Final

from gateway.sim import anthropic, embeddings, gemini, openai_chat, openai_responses
from gateway.sim.ask import ANTHROPIC, Ask, Dialect
from gateway.sim.body import bomb_steps, endless_json, gzipped, json_steps, stream_steps
from gateway.sim.event import Event
from gateway.sim.failure import failure
from gateway.sim.fault import (
    Endless,
    EndlessHeaders,
    ErrorIn200,
    GzipBomb,
    InterimFlood,
    LargeBody,
    LargeHeader,
    MalformedJson,
    MalformedSse,
    Redirect,
    Reset,
    Stall,
    Status,
    Truncate,
)
from gateway.sim.script import Behaviour, Wire
from gateway.sim.sse import LEGAL
from gateway.sim.step import HANG, Gate, Pause, Send, Step, chunked, cut, ending, length, split
from gateway.sim.turn import Turn, compose

Headers = tuple[tuple[str, str], ...]
JSON_TYPE: Final = "application/json"
SSE_TYPE: Final = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Scene:
    """All an answer depends on."""

    ask: Ask
    behaviour: Behaviour
    seed: int
    number: int
    wall_s: float
    headers: Headers = ()
    """Sent with every answer, e.g. the rate limits."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    steps: Iterator[Step]
    fate: str
    """What the bill says if the client stays: completed, refused, failed."""
    reply_id: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


def perform(scene: Scene) -> Reply:
    """Raises BadRequest for what only the dialect's own module can refuse."""
    fault = scene.behaviour.fault
    match fault:
        case Reset():
            return Reply(0, chain(_before_head(scene.behaviour), (ending(fault.how),)), "failed")
        case EndlessHeaders():
            return Reply(200, chain(_before_head(scene.behaviour), _endless_headers(fault)), "failed")
        case Status():
            return refusal(scene.ask.dialect, fault, scene)
        case Redirect():
            headers = (("location", fault.location),)
            return Reply(
                fault.status, _respond(scene, fault.status, headers, iter((Send(b"{}"),)), JSON_TYPE), "refused"
            )
        case _:
            return _answer(scene)


def refusal(dialect: Dialect, fault: Status, scene: Scene) -> Reply:
    """An error answer."""
    failed = failure(dialect, fault, f"req_{scene.number:012x}", scene.wall_s)
    steps = _respond(scene, failed.status, failed.headers, (Send(failed.body),), JSON_TYPE)
    return Reply(failed.status, steps, "refused")


def plain(scene: Scene, body: bytes) -> Reply:
    """A good answer that costs nothing."""
    return Reply(200, _respond(scene, 200, (), (Send(body),), JSON_TYPE), "completed")


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return _status_line(status) + lines.encode("latin-1", "replace") + b"\r\n"


def _answer(scene: Scene) -> Reply:
    ask, behaviour, fault = scene.ask, scene.behaviour, scene.behaviour.fault
    turn = compose(ask, behaviour.answer, scene.seed, scene.number, int(scene.wall_s))
    request_id = f"req_{scene.number:012x}"
    kind = JSON_TYPE
    body: Iterable[Step]
    if isinstance(fault, GzipBomb):
        body = bomb_steps(fault, turn.tokens.output)
    elif ask.stream:
        kind = SSE_TYPE
        body = stream_steps(_events(ask, turn, behaviour), ask, behaviour, request_id)
    elif isinstance(fault, Endless):
        body = endless_json(_body(ask, turn, scene.seed), fault.text)
    else:
        body = json_steps(_body(ask, turn, scene.seed), turn.tokens.output, behaviour, ask, request_id)
    steps = _respond(scene, 200, (), body, kind)
    if ask.dialect is Dialect.COUNT_TOKENS:
        return Reply(200, steps, _fate(fault, ask), turn.id)
    return Reply(200, steps, _fate(fault, ask), turn.id, turn.tokens.input, turn.tokens.cached, turn.tokens.reasoning)


def _fate(fault: object, ask: Ask) -> str:
    match fault:
        case None | Endless() | InterimFlood() | LargeHeader() | LargeBody() | GzipBomb():
            return "completed"
        case ErrorIn200():
            return "refused" if fault.after_events == 0 or not ask.stream else "failed"
        case MalformedSse():
            return "completed" if not ask.stream or fault.flaw in LEGAL else "failed"
        case MalformedJson():
            return "completed" if ask.stream else "failed"
        case _:
            return "failed"


def _events(ask: Ask, turn: Turn, behaviour: Behaviour) -> Iterator[Event]:
    text = behaviour.fault.text if isinstance(behaviour.fault, Endless) else None
    pieces = behaviour.answer.events
    match ask.dialect:
        case Dialect.RESPONSES:
            return (
                openai_responses.events(turn, ask, pieces)
                if text is None
                else openai_responses.endless(turn, ask, text)
            )
        case Dialect.GEMINI:
            return gemini.events(turn, pieces) if text is None else gemini.endless(turn, text)
        case Dialect.MESSAGES:
            return anthropic.events(turn, pieces) if text is None else anthropic.endless(turn, text)
        case _:
            return openai_chat.events(turn, ask, pieces) if text is None else openai_chat.endless(turn, text)


def _body(ask: Ask, turn: Turn, seed: int) -> bytes:
    match ask.dialect:
        case Dialect.CHAT:
            return openai_chat.body(turn)
        case Dialect.RESPONSES:
            return openai_responses.body(turn, ask)
        case Dialect.MESSAGES:
            return anthropic.body(turn)
        case Dialect.COUNT_TOKENS:
            return anthropic.count_body(ask)
        case Dialect.GEMINI:
            return gemini.body(turn)
        case Dialect.EMBEDDINGS:
            return embeddings.body(ask, seed, with_usage=turn.shown is not None)


def _respond(scene: Scene, status: int, headers: Headers, body: Iterable[Step], kind: str) -> Iterator[Step]:
    """The head and the body, cut, split and framed as told."""
    behaviour, fault = scene.behaviour, scene.behaviour.fault
    wire = behaviour.wire
    framing = _framing(wire, kind, fault)
    if wire.gzip and not isinstance(fault, GzipBomb):
        body = gzipped(body)
    lines = [*_own_headers(scene), *headers, *wire.headers.items()]
    if not any(name.lower() == "content-type" for name, _ in lines):
        lines.insert(0, ("content-type", kind))
    if wire.gzip or isinstance(fault, GzipBomb):
        lines.append(("content-encoding", "gzip"))
    body = _shortened(body, fault)
    if framing == "length":
        body = list(body)
        lines.append(("content-length", str(length(body))))
    else:
        lines.append(("transfer-encoding", "chunked") if framing == "chunked" else ("connection", "close"))
    body = _ended(_cut(body, fault, streamed=kind == SSE_TYPE), wire, framing)
    return chain(
        _before_head(behaviour), _interims(fault), _headed(head(status, lines), body, behaviour.pace.head_dribble_s)
    )


def _ended(body: Iterable[Step], wire: Wire, framing: str) -> Iterable[Step]:
    if wire.split_bytes:
        body = split(body, wire.split_bytes, wire.split_s)
    if framing == "chunked":
        body = chunked(body)
    if framing == "close":
        return chain(body, (ending("fin"),))
    return body if wire.hang_up == "no" else chain(body, (ending(wire.hang_up),))


def _framing(wire: Wire, kind: str, fault: object) -> str:
    unbounded = isinstance(fault, Endless | LargeBody | GzipBomb) or (isinstance(fault, Stall) and kind == SSE_TYPE)
    if wire.framing == "default" or (wire.framing == "length" and unbounded):
        return "chunked" if kind == SSE_TYPE or unbounded else "length"
    return wire.framing


def _cut(body: Iterable[Step], fault: object, *, streamed: bool) -> Iterable[Step]:
    match fault:
        case Truncate(after_bytes=int(after)):
            return body if fault.how == "clean" else cut(body, after, ending(fault.how))
        case Truncate() if not streamed:
            whole = list(body)
            return cut(whole, length(whole) // 2, ending("fin" if fault.how == "clean" else fault.how))
        case Stall() if not streamed:
            whole = list(body)
            return cut(whole, length(whole) // 2 if fault.preamble else 0, HANG)
        case _:
            return body


def _shortened(body: Iterable[Step], fault: object) -> Iterable[Step]:
    """Cut before the length is declared, so that HTTP sees a whole body."""
    match fault:
        case Truncate(after_bytes=int(after), how="clean"):
            return cut(body, after, None)
        case _:
            return body


def _own_headers(scene: Scene) -> Headers:
    fault = scene.behaviour.fault
    name = "request-id" if scene.ask.dialect in ANTHROPIC else "x-request-id"
    own = ((name, f"req_{scene.number:012x}"), *scene.headers)
    return (*own, ("x-pad", "x" * fault.header_bytes)) if isinstance(fault, LargeHeader) else own


def _before_head(behaviour: Behaviour) -> Iterator[Step]:
    if behaviour.pace.head_gate is not None:
        yield Gate(behaviour.pace.head_gate)
    if behaviour.pace.head_s:
        yield Pause(behaviour.pace.head_s)


def _interims(fault: object) -> Iterator[Step]:
    if isinstance(fault, InterimFlood):
        one = head(fault.status, ())
        sent = 0
        while fault.count == 0 or sent < fault.count:
            yield Send(one)
            sent += 1


def _headed(top: bytes, body: Iterable[Step], dribble_s: float) -> Iterator[Step]:
    """The head goes out with the first bytes of the body, if they are there at once."""
    if dribble_s:
        for at in range(len(top)):
            yield Send(top[at : at + 1])
            yield Pause(dribble_s)
        top = b""
    for step in body:
        if top:
            if isinstance(step, Send):
                step = step._replace(data=top + step.data)  # noqa: PLW2901 - the first step only
            else:
                yield Send(top)
            top = b""
        yield step
    if top:
        yield Send(top)


def _endless_headers(fault: EndlessHeaders) -> Iterator[Step]:
    yield Send(_status_line(200))
    number = 0
    while True:
        number += 1
        yield Send(b"x-pad-%d: %b\r\n" % (number, b"x" * 64))
        if fault.every_s:
            yield Pause(fault.every_s)


@lru_cache(maxsize=256)
def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded" if status == 529 else "Unknown"
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()
