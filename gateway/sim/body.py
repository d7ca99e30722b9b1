"""The body of an answer as steps, with the faults that live in it."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.sim.ask import ANTHROPIC, Ask
from gateway.sim.event import Event
from gateway.sim.failure import error_in_200
from gateway.sim.fault import ErrorIn200, GzipBomb, LargeBody, MalformedJson, MalformedSse, Stall, Truncate
from gateway.sim.script import Behaviour
from gateway.sim.sse import FINAL, LASTING, LINE_ENDS, PING, flawed, frame
from gateway.sim.step import HANG, Gate, Pause, Send, Step, ending

BLOCK_BYTES: Final = 65_536
_HTML: Final = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def stream_steps(events: Iterable[Event], ask: Ask, behaviour: Behaviour, request_id: str) -> Iterator[Step]:
    """The events in their lines, at their pace, until a fault strikes."""
    pace, fault = behaviour.pace, behaviour.fault
    end = LINE_ENDS[behaviour.wire.line_end]
    yield from _opening(behaviour)
    sent, first = 0, True
    lasting: MalformedSse | None = None
    for event in events:
        if fault is not None and _strikes(fault, event, sent):
            if isinstance(fault, MalformedSse):
                yield Send(flawed(event, fault, end), event.tokens)
                if fault.flaw in FINAL:
                    return
                lasting, fault = (fault if fault.flaw in LASTING else None), None
                sent += event.content
                continue
            yield from _struck(fault, ask, request_id, end)
            if not (isinstance(fault, ErrorIn200) and fault.then == "go_on"):
                return
            fault = None
        if not first and pace.event_s:
            yield Pause(pace.event_s)
        if pace.event_gate is not None and event.content and sent == pace.gate_after_events:
            yield Gate(pace.event_gate)
        yield Send(frame(event, end) if lasting is None else flawed(event, lasting, end), event.tokens)
        first = False
        sent += event.content


def json_steps(body: bytes, tokens: int, behaviour: Behaviour, ask: Ask, request_id: str) -> Iterator[Step]:
    """A body in one piece, or what a fault makes of it."""
    fault = behaviour.fault
    match fault:
        case ErrorIn200():
            yield Send(error_in_200(ask.dialect, fault, request_id))
        case MalformedJson():
            yield Send(_malformed(body, fault), tokens)
        case LargeBody():
            yield from _padded(body, fault.body_bytes, tokens)
        case _:
            yield Send(body, tokens)


def bomb_steps(fault: GzipBomb, tokens: int) -> Iterator[Step]:
    """Gzip of a valid JSON string that is far larger than its wire form."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield Send(packer.compress(b'{"pad":"') + packer.flush(zlib.Z_FULL_FLUSH), tokens)
    left = fault.plain_bytes
    while left > 0:
        block = b"x" * min(left, 16 * BLOCK_BYTES)
        left -= len(block)
        yield Send(packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH))
    yield Send(packer.compress(b'"}') + packer.flush())


def gzipped(steps: Iterable[Step]) -> Iterator[Step]:
    """Each Send compressed and flushed, so that events are not held back."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    for step in steps:
        if isinstance(step, Send):
            yield step._replace(data=packer.compress(step.data) + packer.flush(zlib.Z_SYNC_FLUSH))
        else:
            yield step
    yield Send(packer.flush())


def endless_json(body: bytes, text: str) -> Iterator[Step]:
    yield Send(body[:-1] + b',"more":"')
    block = Send((text.encode() or b"x") * 64)
    while True:
        yield block


def _opening(behaviour: Behaviour) -> Iterator[Step]:
    pace = behaviour.pace
    for _ in range(pace.pings):
        yield Send(PING)
    if pace.first_event_gate is not None:
        yield Gate(pace.first_event_gate)
    left_s = pace.first_event_s
    while pace.ping_s and left_s > pace.ping_s:
        yield Pause(pace.ping_s)
        yield Send(PING)
        left_s -= pace.ping_s
    if left_s > 0:
        yield Pause(left_s)


def _strikes(fault: object, event: Event, sent: int) -> bool:
    match fault:
        case ErrorIn200() | Stall():
            due = sent >= fault.after_events
            return due and (event.content or sent > 0 or not fault.preamble)
        case MalformedSse():
            return sent >= fault.after_events
        case Truncate(after_events=int(after)):
            return sent >= after
        case LargeBody():
            return event.content
        case _:
            return False


def _struck(fault: object, ask: Ask, request_id: str, end: bytes) -> Iterator[Step]:
    match fault:
        case Stall(ping_s=every_s) if every_s > 0:
            while True:
                yield Pause(every_s)
                yield Send(PING)
        case Stall():
            yield HANG
        case Truncate() if fault.how != "clean":
            yield ending(fault.how)
        case ErrorIn200():
            name = b"error" if fault.event_name or ask.dialect in ANTHROPIC else b""
            yield Send(frame(Event(error_in_200(ask.dialect, fault, request_id), name), end))
        case LargeBody():
            yield Send(b"data: ")
            yield from _padded(b"{}", fault.body_bytes, 0)
            yield Send(end + end)
        case _:
            return


def _malformed(body: bytes, fault: MalformedJson) -> bytes:
    flaws = {
        "cut": body[: len(body) // 2],
        "text": b"upstream connect error or disconnect/reset before headers",
        "html": _HTML,
        "empty": b"",
        "array": b"[" + body + b"]",
        "wrong_schema": b'{"id":7,"object":"chat.completion","choices":"none","content":5,"output":null,"data":{}}',
        "bad_utf8": body[:-1] + b',"x":"\xff\xc3("}',
        "nan": body[:-1] + b',"x":NaN}',
        "trailing": body + b"}\n",
    }
    return flaws[fault.flaw]


def _padded(body: bytes, size_bytes: int, tokens: int) -> Iterator[Step]:
    opening = body[:-1] + (b',"pad":"' if len(body) > 2 else b'{"pad":"'[len(body) - 1 :])
    yield Send(opening, tokens)
    left = size_bytes
    while left > 0:
        block = b"x" * min(left, BLOCK_BYTES)
        left -= len(block)
        yield Send(block)
    yield Send(b'"}')
