"""C14, C15: what may arrive on the wire, what a connection may do, and how many of them there may be."""

import asyncio

import pytest

from tests.door.house import chat, house
from tests.door.line import CHAT, KEY, Answer, get, head, post

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
AUTH = b"authorization: Bearer " + KEY.encode() + b"\r\n"
TOP = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"host: x\r\n"
LENGTH = b"content-length: %d\r\n" % len(BODY)
WHOLE = AUTH + LENGTH + b"\r\n" + BODY
CHUNKED = b"transfer-encoding: chunked\r\n"


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


GOOD = {
    "plain": TOP + b"host: x\r\n" + WHOLE,
    "a host that looks like a path": TOP + b"host: x/v1/models?\r\n" + WHOLE,
    "an empty host": TOP + b"host: \r\n" + WHOLE,
    "empty lines ahead": b"\r\n\r\n" + TOP + b"host: x\r\n" + WHOLE,
    "chunks": TOP + HOST + AUTH + CHUNKED + b"\r\n" + chunks(BODY[:7], BODY[7:]),
    "chunks with trailers": TOP + HOST + AUTH + CHUNKED + b"\r\n" + chunks(BODY)[:-2] + b"x-sum: 1\r\n\r\n",
    "a good chunk extension": TOP
    + b"host: x\r\n"
    + AUTH
    + CHUNKED
    + b"\r\n%x;a=b\r\n" % len(BODY)
    + BODY
    + b"\r\n0\r\n\r\n",
    "Chunked in capitals": TOP + b"host: x\r\n" + AUTH + b"Transfer-Encoding: CHUNKED\r\n\r\n" + chunks(BODY),
    "http/1.0 without a host": b"POST /v1/chat/completions HTTP/1.0\r\n" + WHOLE,
    "a query": b"POST /v1/chat/completions?api-version=1&x=//..%00 HTTP/1.1\r\nhost: x\r\n" + WHOLE,
    "a wish for http/2": TOP
    + b"host: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
    + WHOLE,
    "a wish for a websocket": TOP + b"host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n" + WHOLE,
}

BAD = {
    "length and chunks": b"host: x\r\n" + LENGTH + CHUNKED,
    "chunks and length": b"host: x\r\n" + CHUNKED + LENGTH,
    "two lengths": b"host: x\r\n" + LENGTH + b"content-length: 5\r\n",
    "two equal lengths": b"host: x\r\n" + LENGTH + LENGTH,
    "a list of lengths": b"host: x\r\ncontent-length: 57, 57\r\n",
    "a signed length": b"host: x\r\ncontent-length: +57\r\n",
    "a negative length": b"host: x\r\ncontent-length: -1\r\n",
    "a length in hex": b"host: x\r\ncontent-length: 0x10\r\n",
    "a length beyond 64 bits": b"host: x\r\ncontent-length: 99999999999999999999999\r\n",
    "an empty length": b"host: x\r\ncontent-length: \r\n",
    "a folded header": b"host: x\r\nx-a: 1\r\n 2\r\n" + LENGTH,
    "a bare line feed": b"host: x\nx-a: 1\r\n" + LENGTH,
    "a bare carriage return": b"host: x\r\nx-a: 1\rx-b: 2\r\n" + LENGTH,
    "a NUL in a header": b"host: x\r\nx-a: 1\x002\r\n" + LENGTH,
    "a control byte in a header": b"host: x\r\nx-a: 1\x012\r\n" + LENGTH,
    "a space before the colon": b"host: x\r\nx-a : 1\r\n" + LENGTH,
    "a header without a colon": b"host: x\r\nnonsense\r\n" + LENGTH,
    "a header without a name": b"host: x\r\n: 1\r\n" + LENGTH,
    "a name that is no token": b"host: x\r\nx(a): 1\r\n" + LENGTH,
    "two hosts": b"host: x\r\nhost: y\r\n" + LENGTH,
    "two equal hosts": b"host: x\r\nHost: x\r\n" + LENGTH,
    "no host": LENGTH,
    "gzip": b"host: x\r\ntransfer-encoding: gzip\r\n",
    "gzip, chunked": b"host: x\r\ntransfer-encoding: gzip, chunked\r\n",
    "chunked, identity": b"host: x\r\ntransfer-encoding: chunked, identity\r\n",
    "chunked twice": b"host: x\r\ntransfer-encoding: chunked, chunked\r\n",
    "chunked in two headers": b"host: x\r\n" + CHUNKED + CHUNKED,
    "a tab and chunked": b"host: x\r\ntransfer-encoding: \x0bchunked\r\n",
    "xchunked": b"host: x\r\ntransfer-encoding: xchunked\r\n",
    "identity": b"host: x\r\ntransfer-encoding: identity\r\n",
}

BAD_CHUNKS = {
    "a size that is no number": b"zz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size with 0x": b"0x39\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a negative size": b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\n" + BODY,
    "a size that is too small": b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a bare line feed after the size": b"39\n" + BODY + b"\r\n0\r\n\r\n",
    "a bare line feed in an extension": b"39;a\n" + BODY + b"\r\n0\r\n\r\n",
    "a control byte in an extension": b"39;a\x01b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a space before an extension's line end": b"39;\x00\r\n" + BODY + b"\r\n0\r\n\r\n",
    "no terminator": b"39\r\n" + BODY + b"XX0\r\n\r\n",
}

TARGETS = [
    "http://evil/v1/models",
    "http://gateway/v1/models",
    "//evil/v1/models",
    "/v1//models",
    "/v1/../v1/models",
    "/v1/./models",
    "/v1/models/..",
    "/v1/%2e%2e/models",
    "/v1/.%2E/models",
    "/v1/models%00",
    "/v1\\models",
    "/v1/%5cmodels",
    "/v1%2Fmodels",
    "/v1/models#x",
    "*",
    "v1/models",
    "evil:80",
]


def refused(answer: Answer, status: int = 400) -> None:
    assert answer.status == status, answer.body
    assert answer.header("content-type") == "application/json"
    assert answer.header("connection") == "close"
    assert answer.header("x-should-retry") == "false"
    assert (answer.header("x-request-id") or "").startswith("req_")
    assert answer.json()["error"]["fault"] == "caller"
    assert answer.whole


@pytest.mark.parametrize("name", GOOD)
async def test_c14_a_request_that_is_legal_is_served(name: str) -> None:
    async with house() as made:
        line = await made.line()
        answer = await line.ask(GOOD[name])
        assert (answer.status, answer.whole) == (200, True), answer.body
        assert made.sim.requests[0].json()["messages"] == [{"role": "user", "content": "hi"}]
        if "wish" in name or "1.0" in name:
            assert answer.header("connection") == "close"
            assert await line.ended() == b""


async def test_c14_a_request_that_two_servers_could_read_differently_is_refused() -> None:
    async with house() as made:
        for name, headers in BAD.items():
            line = await made.line()
            answer = await line.ask(TOP + AUTH + headers + b"\r\n" + BODY + get("/v1/models"))
            assert answer.status == 400, name
            refused(answer)
            assert await line.ended() == b"", name
        assert made.sim.arrived_count == 0


async def test_c14_chunks_that_are_not_well_formed_are_refused() -> None:
    async with house() as made:
        for name, body in BAD_CHUNKS.items():
            line = await made.line()
            answer = await line.ask(TOP + HOST + AUTH + CHUNKED + b"\r\n" + body + get("/v1/models"))
            assert answer.status == 400, name
            refused(answer)
            assert await line.ended() == b"", name
        assert made.sim.arrived_count == 0


async def test_c14_chunks_in_http_1_0_are_refused() -> None:
    async with house() as made:
        line = await made.line()
        refused(await line.ask(TOP.replace(b"1.1", b"1.0") + AUTH + CHUNKED + b"\r\n" + chunks(BODY)))
        assert await line.ended() == b""


async def test_c14_other_versions_are_refused() -> None:
    async with house() as made:
        for version in ("0.9", "1.2", "2.0", "3.0", "x"):
            line = await made.line()
            refused(await line.ask(get("/v1/models", version=version)))
            assert await line.ended() == b""
        line = await made.line()
        refused(await line.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))


async def test_c14_a_target_that_is_not_a_plain_path_is_refused_before_routing() -> None:
    async with house() as made:
        for target in TARGETS:
            line = await made.line()
            refused(await line.ask(get(target)))
            assert await line.ended() == b"", target
        line = await made.line()
        refused(await line.ask(b"CONNECT evil:80 HTTP/1.1\r\nhost: evil\r\n\r\n"))
        for raw in (b"/v1/models\x00", b"/v1/\xff", b"/v1/mod els"):
            line = await made.line()
            refused(await line.ask(b"GET " + raw + b" HTTP/1.1\r\nhost: x\r\n\r\n"))


async def test_c14_a_header_of_8_kib_is_served_and_one_byte_more_is_not() -> None:
    async with house() as made:
        limit = made.gateway.door.limits.header_bytes
        line = await made.line()
        assert (await line.ask(get("/health/live", x_a="x" * (limit - 3)))).status == 200
        answer = await line.ask(get("/health/live", x_a="x" * (limit - 2)))
        refused(answer, 431)
        assert answer.code == "headers_too_large"
        assert await line.ended() == b""
        line = await made.line()
        refused(await line.ask(get("/health/live", x_a="x" * 65_536)), 431)
        line = await made.line()
        refused(await line.ask(get("/" + "x" * limit)), 431)


async def test_c14_a_header_without_an_end_is_refused_as_it_comes() -> None:
    async with house() as made:
        for start in (b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ", b"GET / HTTP/1.1\r\nx", b"GET /"):
            line = await made.line()
            await line.send(start)
            for _ in range(40):
                line.writer.write(b"x" * 1024)
                await asyncio.sleep(0)
            refused(await line.answer(), 431)


async def test_c14_64_headers_are_served_and_65_are_not() -> None:
    async with house() as made:
        line = await made.line()
        many = {f"x_{number}": "1" for number in range(62)}
        assert (await line.ask(get("/health/live", **many))).status == 200
        refused(await line.ask(get("/health/live", **many, x_more="1")), 431)


@pytest.mark.parametrize("pieces", [1, 7])
async def test_c14_a_head_of_32_kib_is_served_and_one_byte_more_is_not(pieces: int) -> None:
    async with house() as made:
        limit = made.gateway.door.limits.headers_bytes
        path = "/health/live"
        used = len(path) + len("host") + len("gateway") + 4 + len("authorization") + len("Bearer ") + len(KEY) + 4
        for over in (0, 1):
            left = limit - used + over
            sizes = [8000] * (left // 8010)
            sizes.append(left - sum(sizes) - (len("x-10") + 4) * (len(sizes) + 1))
            raw = get(path, **{f"x_{10 + at}": "x" * size for at, size in enumerate(sizes)})
            line = await made.line()
            for at in range(pieces):
                await line.send(raw[len(raw) * at // pieces : len(raw) * (at + 1) // pieces])
                await asyncio.sleep(0.002)
            answer = await line.answer()
            assert answer.status == (431 if over else 200)


async def test_c14_no_text_of_a_caller_can_break_out_of_a_response_header() -> None:
    async with house() as made:
        line = await made.line()
        for text in ("a\r\nx-evil: 1", "\u2028\u0085", "a\x00b", "\x7f", "é"):
            answer = await line.ask(post(chat() | {"model": text}))
            assert answer.status == 404
            assert answer.header("x-evil") is None
            answer = await line.ask(post(chat(stream=True, user=text, metadata={"user_id": text})))
            assert answer.status == 200
            assert answer.header("x-evil") is None


async def test_c15_pipelined_requests_are_answered_in_order() -> None:
    async with house() as made:
        line = await made.line()
        said = [str(number) for number in range(20)]
        asked = [post(chat(messages=[{"role": "user", "content": text}], stream=int(text) % 3 == 0)) for text in said]
        await line.send(b"".join(asked) + get("/health/live"))
        answers = [await line.answer() for _ in range(21)]
        assert [answer.status for answer in answers] == [200] * 21
        assert [request.json()["messages"][0]["content"] for request in made.sim.requests] == said
        assert answers[-1].json() == {"status": "live"}
        for text, answer in zip(said, answers, strict=False):
            assert (answer.header("transfer-encoding") == "chunked") == (int(text) % 3 == 0)


async def test_c15_pipelined_requests_with_bodies_that_come_late_are_answered() -> None:
    async with house({"pace": {"head_gate": "go"}}, body_timeout_s=0.2, head_timeout_s=0.2) as made:
        line = await made.line()
        first, second = post(chat()), post(chat(messages=[{"role": "user", "content": "x" * 300_000}]))
        third = post(chat())
        line.writer.write(first + second[:-1000])
        await made.sim.arrived(1)
        line.writer.write(second[-1000:] + third[:30])
        await asyncio.sleep(0.5)  # longer than the deadlines, which must not run
        made.sim.open("go")
        assert (await line.answer()).status == 200
        assert (await line.answer()).status == 200
        line.writer.write(third[30:])
        assert (await line.answer()).status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_c15_a_bad_request_behind_a_good_one_is_refused_in_its_turn(stream: bool) -> None:
    async with house({"pace": {"event_gate": "go"}}) as made:
        for bad in (b"nonsense\r\n\r\n", get("/a/../b"), post(chat(), transfer_encoding="gzip")):
            line = await made.line()
            await line.send(post(chat(stream=stream)) + bad)
            await made.sim.arrived(made.sim.arrived_count or 1)
            made.sim.open("go")
            good = await line.answer()
            assert (good.status, good.whole) == (200, True)
            refused(await line.answer())
            assert await line.ended() == b""


async def test_c15_many_requests_on_one_connection_are_served() -> None:
    async with house() as made:
        line = await made.line()
        for number in range(300):
            answer = await line.ask(post(chat()) if number % 2 else get("/v1/models"))
            assert (answer.status, answer.header("connection")) == (200, None)
        assert made.connections == 1


async def test_c15_a_connection_that_asks_nothing_more_is_closed() -> None:
    async with house(keep_alive_s=0.15, head_timeout_s=0.15) as made:
        for asked in (b"", b"\r\n", get("/health/live"), get("/health/live") + b"\r\n"):
            line = await made.line()
            await line.send(asked)
            if b"live" in asked:
                assert (await line.answer()).status == 200
            if asked.endswith(b"\r\n\r\n\r\n"):
                await line.send(b"\r\n")
            assert await line.ended() == b""
        await made.until(lambda: not made.connections)


async def test_c15_connections_beyond_the_cap_are_turned_away_while_the_others_go_on() -> None:
    async with house({"pace": {"event_gate": "go"}}, connections=3) as made:
        lines = [await made.line() for _ in range(3)]
        await lines[0].send(post(chat(stream=True)))
        await lines[0].sees(b"data: ")
        assert (await lines[1].ask(get("/health/live"))).status == 200
        await made.until(lambda: made.connections == 3)
        for _ in range(5):
            extra = await made.line()
            answer = await extra.answer()
            assert (answer.status, answer.code) == (503, "gateway_overloaded")
            assert answer.header("retry-after") == "1"
            assert answer.header("x-should-retry") == "true"
            assert await extra.ended() == b""
        flood = [await made.line() for _ in range(80)]
        assert (await lines[1].ask(get("/health/live"))).status == 200
        made.sim.open("go")
        assert (await lines[0].answer()).whole
        for line in [*flood, lines[2]]:
            await line.close()
        await made.until(lambda: made.connections < 3)
        served = await made.line()
        assert (await served.ask(get("/health/live"))).status == 200


async def test_c15_one_address_takes_no_more_connections_than_its_share_and_gets_them_back() -> None:
    async with house({"pace": {"event_gate": "go"}}, connections_per_address=3) as made:
        lines = [await made.line() for _ in range(3)]
        await lines[0].send(post(chat(stream=True)))
        await lines[0].sees(b"data: ")
        flood = [await made.line() for _ in range(40)]
        for extra in flood:
            assert await extra.ended() == b""
        assert b'gateway_connections_refused_total{reason="address"} 40.0' in await made.gateway.told.prometheus()
        assert (await lines[1].ask(get("/health/live"))).status == 200
        for extra in [await made.line(("127.0.0.9", 0)) for _ in range(3)]:
            assert (await extra.ask(get("/health/live"))).status == 200
        made.sim.open("go")
        assert (await lines[0].answer()).whole
        await lines[2].close()
        await made.until(lambda: made.connections == 5)
        assert (await (await made.line()).ask(get("/health/live"))).status == 200


async def test_the_room_above_serves_its_routes_and_no_others() -> None:
    async with house() as made:
        line = await made.line()
        listing = await line.ask(get("/v1/models"))
        assert [one["id"] for one in listing.json()["data"]] == ["m"]
        assert (await line.ask(get("/v1/models/m"))).json()["id"] == "m"
        assert (await line.ask(get("/v1/models/nope"))).code == "model_not_found"
        assert (await line.ask(get("/v1/models", key=None))).status == 401
        assert (await line.ask(get("/health/ready"))).json() == {"status": "ready"}
        for path in ("/nothing", "/health/live/", "/v1/chat/completions/", "/V1/models"):
            answer = await line.ask(get(path, host="evil.example"))
            assert (answer.status, answer.code, answer.header("location")) == (404, "unknown_url", None)
        answer = await line.ask(get(CHAT))
        assert (answer.status, answer.code, answer.header("allow")) == (405, "method_not_allowed", "POST")
        answer = await line.ask(head("/v1/models", "DELETE"))
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert "GET" in (answer.header("allow") or "")


async def test_a_head_request_gets_a_head_alone() -> None:
    async with house() as made:
        line = await made.line()
        await line.send(head("/v1/models", "HEAD") + get("/health/live"))
        kept = await line.sees(b'"live"')
        first, _, rest = kept.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200")
        assert rest.startswith(b"HTTP/1.1 200")
