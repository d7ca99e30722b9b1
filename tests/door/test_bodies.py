"""C6, C8 to C13: what a body may be, and that it reaches the provider as it was written."""

import asyncio
import json
import threading
from typing import Any

import pytest

from gateway.http import bodies
from gateway.wire.json_body import DEPTH_MAX, NODES_MAX, members_of
from tests.door.house import chat, house
from tests.door.line import Answer, Line, get, head, post

HI = b'"messages":[{"role":"user","content":"hi"}]'


def body(more: str | bytes) -> bytes:
    more = more.encode() if isinstance(more, str) else more
    return b'{"model":"m",%b%b}' % (HI, b"," + more if more else b"")


def chunked(raw: bytes, size: int) -> bytes:
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def padded(size: int) -> bytes:
    raw = body("")
    return raw[:-1] + b" " * (size - len(raw)) + b"}"


async def answered(line: Line, raw: bytes) -> Answer:
    """The answer of a gateway that may stop reading."""
    writing = asyncio.create_task(line.send(raw))
    answer = await line.answer()
    writing.cancel()
    await asyncio.wait([writing])
    return answer


@pytest.mark.parametrize("limit", [2048, 300_000])
async def test_c6_a_body_at_the_limit_is_served_and_one_byte_more_is_413(limit: int) -> None:
    async with house(body_bytes=limit) as made:
        line = await made.line()
        for size in (64, 1000, 1_000_000):
            assert (await line.ask(post(padded(limit)))).status == 200
            sent = head(transfer_encoding="chunked") + chunked(padded(limit), size)
            assert (await line.ask(sent)).status == 200
        calls = made.sim.arrived_count
        for raw in (
            post(padded(limit + 1)),
            head(content_length=limit + 1),
            *(head(transfer_encoding="chunked") + chunked(padded(limit + 1), size) for size in (64, 1000, 1_000_000)),
        ):
            line = await made.line()
            answer = await answered(line, raw)
            assert (answer.status, answer.code) == (413, "request_too_large")
            assert answer.header("x-should-retry") == "false"
        assert made.sim.arrived_count == calls


async def test_c6_no_more_is_read_than_the_limit() -> None:
    async with house(body_bytes=100_000) as made:
        line = await made.line()
        endless = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        answer = await answered(line, head(transfer_encoding="chunked") + endless * 1000)
        assert (answer.status, answer.code) == (413, "request_too_large")
        assert answer.header("connection") == "close"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "ends too early (byte 0)"),
        (b"{", "ends too early (byte 1)"),
        (body("")[:-1], "ends too early (byte 56)"),
        (b"nonsense", "byte 4"),
        (body("") + b" x", "trailing characters (byte 59)"),
        (body('"x":NaN'), "byte 61"),
        (body('"x":Infinity'), "byte 61"),
        (body('"x":-Infinity'), "byte 62"),
        (body('"temperature":1e999'), "byte 71"),
        (body('"temperature":-1e999'), "byte 71"),
        (body('"x":' + "1" * 5000), "byte 61"),
        (b"{ " + body('"x":' + "1" * 5000)[1:], "byte 62"),
        (body('"x":01'), "byte 62"),
        (body('"x":+1'), "byte 61"),
        (body('"x":.5'), "byte 61"),
        (body('"x":1,'), "byte 63"),
        (body("'x':1"), "byte 57"),
        (body('"x":"a\nb"'), "byte 63"),
        (body(r'"x":"\ud800"'), "byte 62"),
        (body(r'"x":"\udc00 "'), "byte 68"),
        (body(r'"x":["a\\\ud83d\ud83d"]'), "byte 78"),
        (body(r'"\ud800":1'), "byte 58"),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', "byte 51"),
        (b'{"model":"\\udfff",' + HI + b"}", "byte 16"),
        (body(b'"x":"\xed\xa0\x80"'), "byte 62"),
        (body(b'"x":"\xc0\x80"'), "byte 62"),
        (body(b'"x":"\xff"'), "byte 62"),
        (b"\xef\xbb\xbf" + body(""), "byte order mark (byte 0)"),
        (body("").decode().encode("utf-16"), "byte 0"),
        (body("").decode().encode("utf-16-le"), "byte 1"),
        (body("").decode().encode("utf-32-be"), "byte 0"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"\x1f\x8b\x08\x00\x00", "byte 1"),
    ],
)
async def test_c8_a_body_that_is_not_plain_json_is_400_and_says_where(raw: bytes, says: str) -> None:
    async with house() as made:
        line = await made.line()
        answer = await line.ask(post(raw))
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert says in answer.message
        assert (await line.ask(get("/health/live"))).status == 200
        assert made.sim.arrived_count == 0


async def test_c8_an_encoded_body_is_refused_before_it_is_read() -> None:
    async with house() as made:
        for encoding in ("gzip", "br", "zstd", "gzip, identity"):
            answer = await (await made.line()).ask(head(content_encoding=encoding, content_length=10))
            assert answer.status == 400
            assert repr(encoding) in answer.message
        assert (await (await made.line()).ask(post(chat(), content_encoding="Identity"))).status == 200


GUARDED = ["model", "messages", "max_tokens", "max_completion_tokens", "stream", "n", "user", "metadata"]


@pytest.mark.parametrize("name", GUARDED)
async def test_c9_a_member_that_decides_is_named_once(name: str) -> None:
    values: dict[str, Any] = {"model": "m", "messages": chat()["messages"], "stream": False, "user": "u"}
    values |= {"metadata": {}, "max_tokens": 5, "max_completion_tokens": 5, "n": 1}
    pairs = [*values.items()]
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
    twice = [
        (",", ":", [*pairs, (name, values[name])]),
        (", ", ": ", [*pairs, (name, values[name])]),
        (",", ":", [(escaped, values[name]), *pairs]),
        (",", ":", [*pairs, (escaped, values[name])]),
        (",\n  ", " :\t", [*pairs, (name, values[name])]),
    ]
    async with house() as made:
        line = await made.line()
        for comma, colon, members in twice:
            raw = "{" + comma.join(f'"{given}"{colon}{json.dumps(value)}' for given, value in members) + "}"
            answer = await line.ask(post(raw.encode()))
            assert (answer.status, answer.code) == (400, "invalid_request"), raw
            assert answer.json()["error"]["param"] == name
        assert made.sim.arrived_count == 0


async def test_c9_an_escaped_name_is_the_name_and_reaches_the_provider_unescaped() -> None:
    async with house() as made:
        line = await made.line()
        assert (await line.ask(post(body(r'"max_\u0074okens":7')))).status == 200
        sent = made.sim.requests[0].body
        assert b'"max_tokens":7' in sent
        assert b"u0074" not in sent


async def test_c10_names_are_case_sensitive_and_what_is_unknown_passes_unread() -> None:
    async with house() as made:
        line = await made.line()
        more = '"Model":"other","MAX_TOKENS":-1,"Stream":true,"logit_bias":{"1":2},"made_up":[1.50,{"a":null}]'
        answer = await line.ask(post(body(more)))
        assert answer.status == 200
        sent = made.sim.requests[0]
        assert more.encode() in sent.body
        assert sent.json()["model"] == "up"
        assert (await line.ask(post(b'{"Model":"m",' + HI + b"}"))).json()["error"]["param"] == "model"


async def test_c10_members_that_other_gateways_obey_change_nothing() -> None:
    async with house() as made:
        line = await made.line()
        evil = ("api_base", "base_url", "api_key", "organization", "custom_host", "proxy", "extra_headers")
        more = ",".join(f'"{name}":"http://127.0.0.1:1/"' for name in evil)
        assert (await line.ask(post(body(more), api_base="x", x_api_base="x", x_target="evil"))).status == 200
        assert made.sim.requests[0].header("authorization") == ""


def nested(depth: int, left: str, right: str) -> bytes:
    """`depth` counts the body itself."""
    return body(f'"x":{left * (depth - 1)}{right * (depth - 1)}')


@pytest.mark.parametrize(
    ("left", "right"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")], ids=["lists", "objects", "both"]
)
async def test_c11_64_levels_are_served_and_65_are_not(left: str, right: str) -> None:
    async with house() as made:
        line = await made.line()
        step = left.count("[") + left.count("{")
        inner = "1" if '"a":' in left else ""
        for levels, status in ((DEPTH_MAX - 1, 200), (DEPTH_MAX, 400)):
            whole, rest = divmod(levels, step)
            text = "[" * rest + left * whole + inner + right * whole + "]" * rest
            answer = await line.ask(post(body(f'"x":{text}')))
            assert answer.status == status, answer.body
            assert status == 200 or f"{DEPTH_MAX} levels" in answer.message


async def test_c11_brackets_within_texts_are_no_levels() -> None:
    async with house() as made:
        line = await made.line()
        text = '[{"' * 500 + "\\" + ']"}' * 10
        answer = await line.ask(post(chat(messages=[{"role": "user", "content": text}])))
        assert answer.status == 200
        assert made.sim.requests[0].json()["messages"][0]["content"] == text
        deep = await line.ask(post(body(f'"x":{"[" * 100_000}')))
        assert deep.status == 400


async def test_c11_200_000_values_are_served_and_many_more_are_not() -> None:
    async with house() as made:
        line = await made.line()
        assert (await line.ask(post(body(f'"x":[{",".join(["1"] * (NODES_MAX - 100))}]')))).status == 200
        answer = await line.ask(post(body(f'"x":[{",".join(["1"] * (NODES_MAX + 1))}]')))
        assert answer.status == 400
        assert str(NODES_MAX) in answer.message
        assert (await line.ask(post(body(f'"x":[{",".join(["{}"] * NODES_MAX)}]')))).status == 400
        commas = chat(messages=[{"role": "user", "content": ",[{" * 300_000}])
        assert (await line.ask(post(commas))).status == 200


@pytest.mark.source
async def test_c11_a_large_body_is_parsed_in_a_thread_and_a_small_one_in_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []

    def noted(raw: bytes) -> object:
        threads.append(threading.get_ident())
        return members_of(raw)

    monkeypatch.setattr("gateway.wire.openai_chat.members_of", noted)
    async with house() as made:
        line = await made.line()
        assert (await line.ask(post(padded(bodies.OFF_LOOP_BYTES)))).status == 200
        assert (await line.ask(post(padded(bodies.OFF_LOOP_BYTES + 1)))).status == 200
    small, large = threads
    assert small == threading.get_ident() != large


@pytest.mark.parametrize(
    "more",
    [
        *(
            f'"{name}":{value}'
            for name in ("max_tokens", "max_completion_tokens")
            for value in ("-1", "0", "1e9", "1.5", "1.0", "true", '"5"', "[]", "{}", "1000000000", str(2**70), "-0.0")
        ),
        *(f'"n":{value}' for value in ("0", "-1", "129", "1000", "1.5", "true", '"1"', str(2**64))),
        '"max_tokens":5,"max_completion_tokens":0',
        '"stream":1',
        '"stream":"true"',
        '"user":5',
        '"metadata":[]',
        '"tools":{}',
        '"response_format":"json"',
        '"stream":true,"stream_options":5',
    ],
)
async def test_c12_a_value_that_cannot_be_meant_is_400_and_named(more: str) -> None:
    async with house() as made:
        answer = await (await made.line()).ask(post(body(more)))
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert answer.json()["error"]["param"] in more
        assert made.sim.arrived_count == 0


@pytest.mark.parametrize(
    "more", ['"max_tokens":1', '"max_tokens":null', '"n":128,"max_tokens":10000000', '"n":null', '"stream":null']
)
async def test_c12_a_value_at_its_limit_is_served(more: str) -> None:
    async with house() as made:
        assert (await (await made.line()).ask(post(body(more)))).status == 200


async def test_c12_the_largest_of_all_declared_limits_is_reserved_for_every_choice() -> None:
    async with house() as made:
        line = await made.line()
        key = "another-tenant-key-0123456789"
        answer = await line.ask(post(body('"max_tokens":1,"max_completion_tokens":60000,"n":2'), key=key))
        assert (answer.status, answer.code, answer.header("x-should-retry")) == (429, "rate_limit_exceeded", "false")
        assert made.sim.arrived_count == 0


@pytest.mark.parametrize(
    "text",
    [
        b"\xf0\x9f\x98\x80",
        b"\xd7\xa9\xe2\x80\xae\xd7\x9c",
        b"\\u0000",
        b"\\ud83d\\ude00",
        b"\xe2\x80\xa8\xe2\x80\xa9",
        b"\xef\xbb\xbf",
        b'\\"\\/\\b\\f\\n\\r\\t',
        b"e\xcc\x81",
        b"\xf4\x8f\xbf\xbf",
        b"\xef\xbf\xbe",
    ],
)
async def test_c13_text_reaches_the_provider_byte_for_byte(text: bytes) -> None:
    async with house() as made:
        messages = b'[ {"role":"user",  "content":"' + text + b'"}]'
        raw = b'{"model":"m","messages":' + messages + b',"user":"' + text + b'","tags":["' + text + b'" ,1.0e0]}'
        answer = await (await made.line()).ask(post(raw))
        assert answer.status == 200, answer.body
        sent = made.sim.requests[0].body
        assert b'"messages":' + messages in sent
        assert b'"user":"' + text + b'"' in sent
        assert b'["' + text + b'" ,1.0e0]' in sent
