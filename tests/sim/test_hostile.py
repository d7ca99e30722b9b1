"""Whatever is asked, the simulator answers or refuses; it never breaks by itself."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sim.ask import BadRequest, Dialect, read_ask
from gateway.sim.event import encode
from gateway.sim.example import example
from gateway.sim.script import Answer, Behaviour, Wire
from gateway.sim.stage import Scene, perform
from gateway.sim.step import Send, chunked, cut, split

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "tools",
        "tool_choice",
        "response_format",
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "input",
        "text",
        "system",
    ]
)
CONTENT = (
    st.text(max_size=20) | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": JSON}), max_size=3) | JSON
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "system"]), "content": CONTENT})


@given(st.sampled_from(Dialect), st.dictionaries(NAMES, JSON, max_size=5), st.lists(MESSAGE, min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_request_is_answered_or_refused(dialect: Dialect, more: dict[str, Any], messages: list[Any]) -> None:
    body = {"model": "m", "messages": messages, "max_tokens": 9, "input": "x", **more}
    try:
        ask = read_ask(dialect, encode(body))
        reply = perform(Scene(ask, Behaviour(), 0, 1, 0.0))
    except BadRequest:
        return
    assert b"".join(step.data for step in reply.steps if isinstance(step, Send)).startswith(b"HTTP/1.1 200 OK\r\n")


@given(st.binary(max_size=60))
def test_any_bytes_are_no_more_than_a_bad_request(raw: bytes) -> None:
    try:
        read_ask(Dialect.CHAT, raw)
    except BadRequest:
        return


@given(JSON)
def test_any_schema_has_an_example_or_none(schema: Any) -> None:
    encode(example(schema))


def test_a_schema_that_goes_on_and_on_is_cut_short() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        deep = {"type": ["object"], "properties": {"x": deep}}
    encode(example(deep))


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.integers(1, 12), st.integers(0, 100))
def test_layers_keep_every_byte_and_token(pieces: list[bytes], size: int, after: int) -> None:
    sends = [Send(piece, 1) for piece in pieces]
    whole = b"".join(pieces)
    parts = [step for step in split(sends, size, 0) if isinstance(step, Send)]
    assert b"".join(step.data for step in parts) == whole
    assert sum(step.tokens for step in parts) == len(pieces)
    assert max((len(step.data) for step in parts), default=0) <= size
    short = [step for step in cut(sends, after, None) if isinstance(step, Send)]
    assert b"".join(step.data for step in short) == whole[:after]
    framed = b"".join(step.data for step in chunked(sends) if isinstance(step, Send))
    assert framed.endswith(b"0\r\n\r\n")


@given(st.sampled_from([Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES]), st.integers(0, 300), st.integers(1, 40))
def test_tokens_on_the_way_add_up_to_the_usage(dialect: Dialect, chars: int, events: int) -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 50,
        "input": "x",
        "stream": True,
    }
    ask = read_ask(dialect, encode(body))
    behaviour = Behaviour(answer=Answer(text_chars=chars, events=events, usage="always"), wire=Wire(framing="close"))
    reply = perform(Scene(ask, behaviour, 0, 1, 0.0))
    steps = [step for step in reply.steps if isinstance(step, Send)]
    tokens = sum(step.tokens for step in steps)
    name = "completion_tokens" if dialect is Dialect.CHAT else "output_tokens"
    assert f'"{name}":{tokens}'.encode() in b"".join(step.data for step in steps)
