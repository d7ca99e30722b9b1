"""Decoders take whatever a provider sends: no crash, bounded memory, the same events for any chunking."""

import json
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from gateway.domain.turn import (
    CallFragment,
    CallStarted,
    Ended,
    Finish,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    TurnEvent,
)
from gateway.ports import StreamDecoder
from gateway.providers import anthropic, openai, openai_responses
from gateway.providers.calls import HELD_CHARS_MAX
from gateway.providers.gemini_turns import SAID_BYTES_MAX
from gateway.providers.sse import EVENT_BYTES_MAX
from gateway.providers.turns import Turns
from tests.dialects.conversations import Dice, events_of, turn
from tests.dialects.dialects import TONGUES
from tests.dialects.test_pairs import written

INPUTS = int(os.environ.get("METERWAY_FUZZ_INPUTS", "20000"))
SCRAPS = (
    b"data: ", b"\n\n", b"\r\n\r\n", b"null", b"{}", b"[]", b'""', b"-1", b"1e999", b"\xff", b'"type":',
    b"[DONE]", b":",
    b'{"type":"content_block_stop","index":7}', b'"index":99', b'"tool_calls":[{}]', b'"candidates":[{}]',
    b"\x00", b"}}",
    b'"delta":null', b'"content":{"parts":[null]}', b'"usage":7', b'"arguments":"', b'\\ud800',
    b'"choices":[{"delta":{}}]',
)  # fmt: skip


def streams(dialect: str, dice: random.Random) -> list[bytes]:
    """Good streams to spoil."""
    made: list[bytes] = []
    while len(made) < 40:
        seed = Dice(dice.getrandbits(32))
        text = written(dialect, list(events_of(turn(seed, 1), seed)))
        if len(text) < 3000:
            made.append(text)
    return made


def spoiled(good: list[bytes], dice: random.Random) -> bytes:
    """One to four cuts, swaps and scraps in a good stream, or in pieces of several."""
    text = bytearray(dice.choice(good))
    for _ in range(dice.randrange(4) + 1):
        at = dice.randrange(len(text) + 1)
        way = dice.randrange(5)
        if way == 0:
            del text[at : at + dice.randrange(40)]
        elif way == 1:
            text[at:at] = dice.choice(SCRAPS)
        elif way == 2 and at < len(text):
            text[at] = dice.randrange(256)
        elif way == 3:
            other = dice.choice(good)
            text[at:at] = other[dice.randrange(len(other)) :][: dice.randrange(200)]
        else:
            text = text[at:] if dice.random() < 0.2 else text
    return bytes(text)


def cuts(text: bytes, dice: random.Random) -> Iterator[bytes]:
    size = dice.choice((1, 3, 17, 200))
    at = 0
    while at < len(text):
        step = dice.randrange(size) + 1
        yield text[at : at + step]
        at += step


def decoded(dialect: str, chunks: Iterator[bytes]) -> list[TurnEvent]:
    decoder = TONGUES[dialect].decoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.end()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dialect", TONGUES)
def test_spoiled_streams_give_the_same_events_for_any_chunking(dialect: str) -> None:
    dice = random.Random(f"{dialect}:7")
    good = streams(dialect, dice)
    for _ in range(INPUTS // len(TONGUES)):
        text = spoiled(good, dice)
        whole = decoded(dialect, iter([text]))
        at = dice.randrange(len(text) + 1)
        assert decoded(dialect, iter([text[:at], text[at:]])) == whole
        if dice.random() < 0.25:
            assert decoded(dialect, cuts(text, dice)) == whole


@pytest.mark.parametrize("dialect", TONGUES)
def test_a_stream_may_be_cut_at_every_byte(dialect: str) -> None:
    dice = random.Random(3)
    for text in streams(dialect, dice)[:3]:
        whole = decoded(dialect, iter([text]))
        for at in range(len(text)):
            assert decoded(dialect, iter([text[:at], text[at:]])) == whole


NATIVE: dict[str, Callable[[], StreamDecoder]] = {
    "chat": openai.decode_stream,
    "anthropic": anthropic.decode_stream,
    "responses": openai_responses.decode_stream,
}


@pytest.mark.parametrize("dialect", NATIVE)
def test_spoiled_streams_pass_on_the_same_dialect_too(dialect: str) -> None:
    dice = random.Random(f"{dialect}:9")
    good = streams(dialect, dice)
    for _ in range(INPUTS // 40):
        text = spoiled(good, dice)
        whole, split = NATIVE[dialect](), NATIVE[dialect]()
        events = whole.feed(text) + whole.end()
        pieces = [event for chunk in cuts(text, dice) for event in split.feed(chunk)] + split.end()
        assert pieces == events


HELD_BYTES_MAX = 128 << 10
PIECE = "w" * 4_000
KEPT: dict[tuple[str, type], int] = {("gemini", TextDelta): SAID_BYTES_MAX, ("chat", CallFragment): HELD_CHARS_MAX}
"""What they keep on purpose: the text that citations point into, arguments until they are complete."""


@pytest.mark.parametrize("dialect", TONGUES)
@pytest.mark.parametrize(
    "said",
    [(TextDelta(PIECE),), (ThinkingDelta(PIECE),), (CallStarted("c", "f"), CallFragment(f'{{"a":"{PIECE}"}}'))],
    ids=["text", "thinking", "arguments"],
)
def test_decoders_hold_no_more_the_longer_a_stream_goes_on(dialect: str, said: tuple[TurnEvent, ...]) -> None:
    """Sixteen million characters in pieces of an answer that does not end."""
    wire = written(dialect, [Started("m", "m"), *said, Finished(Finish.STOP), Ended()])
    frames = [frame + b"\n\n" for frame in wire.split(b"\n\n")]
    endless = next(number for number, frame in enumerate(frames) if b"wwww" in frame)
    decoders: list[Turns | StreamDecoder] = [TONGUES[dialect].decoder()]
    decoders += [NATIVE[dialect]()] if dialect in NATIVE else []
    for decoder in decoders:
        for frame in frames[:endless]:
            decoder.feed(frame)
        tracemalloc.start()
        try:
            for _ in range(4_000):
                decoder.feed(frames[endless])
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < HELD_BYTES_MAX + KEPT.get((dialect, type(said[-1])), 0)


def test_what_is_held_back_is_bounded() -> None:
    decoder = TONGUES["chat"].decoder()
    piece = {"index": 1, "id": "b", "function": {"name": "f", "arguments": "x" * (1 << 20)}}
    first = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}
    events: list[TurnEvent] = []
    for call in [first, *[piece] * (HELD_CHARS_MAX // (1 << 20) + 1)]:
        chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        events = decoder.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert type(events[-1]).__name__ == "Failed"
    for dialect in TONGUES:
        decoder = TONGUES[dialect].decoder()
        assert decoder.feed(b"x" * EVENT_BYTES_MAX) == []
        assert type(decoder.feed(b"x")[-1]).__name__ == "Failed"
