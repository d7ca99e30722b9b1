"""What goes out and what comes back when nothing is wrong."""

import asyncio
import gzip
import zlib
from dataclasses import replace

import pytest

from gateway.clock import SystemClock
from gateway.domain.catalog import Provider
from gateway.domain.failure import FailureKind, Sent
from gateway.ports import Upstream, UpstreamReply
from gateway.upstream import HttpUpstream
from tests.upstream.scripted import OK, Peer, Script, answering, answering_once, call_to, failure_of, fetch, serving


async def test_the_request_on_the_wire_is_exactly_this(upstream: HttpUpstream) -> None:
    async with serving(answering(OK)) as server:
        await fetch(upstream, call_to(server, body=b'{"a":1}', headers=((b"accept", b"text/event-stream"),)))
    head, body = server.requests[0]
    assert head == (
        b"POST /v1/chat/completions HTTP/1.1\r\n"
        b"host: 127.0.0.1:%d\r\n"
        b"accept-encoding: identity\r\n"
        b"content-type: application/json\r\n"
        b"user-agent: meterway\r\n"
        b"authorization: Bearer sk-test\r\n"
        b"accept: text/event-stream\r\n"
        b"content-length: 7\r\n\r\n" % server.port
    )
    assert body == b'{"a":1}'


async def test_it_is_what_the_port_says(upstream: HttpUpstream) -> None:
    port: Upstream = upstream
    async with serving(answering(OK)) as server:
        reply: UpstreamReply = await port.send(call_to(server))
        assert (reply.status, await reply.read(10)) == (200, b"hi")
        reply.close()


async def test_an_offered_upgrade_is_no_upgrade(upstream: HttpUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\nupgrade: h2,h2c\r\nconnection: Upgrade, Keep-Alive\r\ncontent-length: 2\r\n\r\n"
    async with serving(answering(head + b"hi")) as server:
        for _ in range(2):
            assert await fetch(upstream, call_to(server)) == (200, b"hi")
    assert len(server.peers) == 1


async def test_one_connection_serves_call_after_call(upstream: HttpUpstream) -> None:
    async with serving(answering(OK)) as server:
        for _ in range(5):
            assert await fetch(upstream, call_to(server)) == (200, b"hi")
        stats = upstream.stats()[server.origin]
    assert len(server.peers) == 1
    assert (stats.open, stats.idle, stats.waiting) == (1, 1, 0)


async def test_headers_come_in_order_and_in_lower_case(upstream: HttpUpstream) -> None:
    answer = b"HTTP/1.1 404 Nope\r\nX-One: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(answer)) as server:
        reply = await upstream.send(call_to(server))
        assert reply.status == 404
        expected = [(b"x-one", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"content-length", b"0")]
        assert list(reply.headers) == expected
        assert await reply.read(0) == b""
        reply.close()


async def test_a_chunked_stream_comes_piece_by_piece_and_gives_its_connection_back(upstream: HttpUpstream) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        await peer.send(b"6\r\nsecond\r\n0\r\nx-trailer: 1\r\n\r\n")
        await peer.closed_by_client()

    async with serving(script) as server:
        reply = await upstream.send(call_to(server))
        assert await reply.next_chunk(5.0) == b"first"
        go_on.set()
        assert await reply.next_chunk(5.0) == b"second"
        assert await reply.next_chunk(5.0) == b""
        assert await reply.next_chunk(5.0) == b""
        reply.close()
        assert upstream.stats()[server.origin].idle == 1
        assert (b"x-trailer", b"1") not in reply.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
        OK + b"garbage",
    ],
    ids=["connection-close", "http-1.0", "until-eof", "second-answer", "garbage-after"],
)
async def test_a_connection_that_cannot_go_on_is_not_kept(upstream: HttpUpstream, answer: bytes) -> None:
    async with serving(answering_once(answer)) as server:
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
        assert upstream.stats()[server.origin].open == 0
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
    assert len(server.peers) == 2


async def test_an_idle_connection_that_hears_something_is_closed(upstream: HttpUpstream) -> None:
    speak, spoken = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await speak.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.closed_by_client()
        spoken.set()

    async with serving(script) as server:
        await fetch(upstream, call_to(server))
        speak.set()
        await spoken.wait()
        assert upstream.stats()[server.origin].open == 0


async def test_idle_connections_expire_by_themselves() -> None:
    upstream = HttpUpstream(SystemClock(), idle_s=0.05)
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.closed_by_client()
        closed.set()

    async with serving(script) as server:
        await fetch(upstream, call_to(server))
        await asyncio.wait_for(closed.wait(), 5)
        assert upstream.stats()[server.origin].open == 0
        await upstream.aclose()


def finishing_the_first_on(go_on: asyncio.Event) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(OK[:-2])
            if peer.number == 0:
                await go_on.wait()
            await peer.send(b"hi")

    return script


async def test_drop_idle_closes_idle_connections_only(upstream: HttpUpstream) -> None:
    go_on = asyncio.Event()
    async with serving(finishing_the_first_on(go_on)) as server:
        first = await upstream.send(call_to(server))
        await fetch(upstream, call_to(server))
        assert upstream.stats()[server.origin].open == 2
        upstream.drop_idle()
        assert upstream.stats()[server.origin].open == 1
        go_on.set()
        assert await first.read(10) == b"hi"
        first.close()
        assert upstream.stats()[server.origin].idle == 1


async def test_a_changed_provider_gets_new_connections_while_old_calls_run_on(upstream: HttpUpstream) -> None:
    go_on = asyncio.Event()
    async with serving(finishing_the_first_on(go_on)) as server:
        first = await upstream.send(call_to(server))
        provider = Provider("p", "openai", server.origin, "/v1", (), connections=7)
        upstream.configure([provider])
        await fetch(upstream, call_to(server))
        assert upstream.stats()[server.origin].open == 1
        go_on.set()
        assert await first.read(10) == b"hi"
        first.close()
        upstream.configure([provider])
        assert upstream.stats()[server.origin].idle == 1
    assert len(server.peers) == 2


async def test_a_body_larger_than_any_buffer_arrives_whole(upstream: HttpUpstream) -> None:
    body = bytes(range(256)) * 40_000

    async with serving(answering(OK)) as server:
        assert await fetch(upstream, call_to(server, body=body)) == (200, b"hi")
        assert upstream.stats()[server.origin].idle == 1
    assert server.requests[0][1] == body


async def test_an_early_answer_stops_a_large_upload(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await asyncio.Event().wait()

    async with serving(script) as server:
        assert await fetch(upstream, call_to(server, body=b"x" * 20_000_000)) == (413, b"")
        assert upstream.stats()[server.origin].open == 0


async def test_a_reader_that_rests_holds_the_sender(upstream: HttpUpstream) -> None:
    sent_bytes = 0

    async def script(peer: Peer) -> None:
        nonlocal sent_bytes
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
        for _ in range(500):
            await peer.send(b"x" * 100_000)
            sent_bytes += 100_000

    async with serving(script) as server:
        reply = await upstream.send(call_to(server))
        before = -1
        while before != sent_bytes:
            before = sent_bytes
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent_bytes < 20_000_000
        assert reply.unread_bytes < 1_000_000
        total = 0
        while chunk := await reply.next_chunk(5.0):
            total += len(chunk)
        reply.close()
        assert total == 50_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate", "two-members", "identity"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_encoded_bodies_are_decoded(upstream: HttpUpstream, encoding: str, streamed: bool) -> None:
    text = b"".join(b'{"n": %d}' % number for number in range(100_000))
    raw = zlib.compressobj(wbits=-15)
    coded = {
        "gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw-deflate": raw.compress(text) + raw.flush(),
        "two-members": gzip.compress(text[:1000]) + gzip.compress(text[1000:]),
        "identity": text,
    }[encoding]
    name = {"raw-deflate": "deflate", "two-members": "gzip"}.get(encoding, encoding).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (name, len(coded))
    async with serving(answering(head + coded[:1], coded[1:])) as server:
        reply = await upstream.send(call_to(server))
        if streamed:
            got = b""
            while chunk := await reply.next_chunk(5.0):
                got += chunk
        else:
            got = await reply.read(10_000_000)
        reply.close()
        assert got == text


async def test_a_call_after_its_deadline_is_not_sent(upstream: HttpUpstream) -> None:
    async with serving(answering(OK)) as server:
        failure = await failure_of(upstream.send(call_to(server, total_s=0.0)))
    assert (failure.kind, failure.sent) == (FailureKind.DEADLINE, Sent.NO)
    assert server.peers == []


async def test_the_deadline_ends_a_call_that_waits_for_its_head(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.closed_by_client()

    async with serving(script) as server:
        failure = await failure_of(upstream.send(call_to(server, total_s=0.05)))
        await server.quiet()
    assert (failure.kind, failure.sent) == (FailureKind.DEADLINE, Sent.MAYBE)


async def test_the_deadline_ends_a_reply_that_nobody_reads(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-1])
        await peer.closed_by_client()

    async with serving(script) as server:
        reply = await upstream.send(call_to(server, total_s=0.3))
        await server.quiet()
        failure = await failure_of(reply.read(10))
        reply.close()
    assert (failure.kind, failure.sent) == (FailureKind.DEADLINE, Sent.YES)


async def test_a_full_pool_lets_calls_wait_in_order_and_not_for_ever() -> None:
    upstream = HttpUpstream(SystemClock(), connections_max=1)
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go_on.wait()
            await peer.send(OK)

    async with serving(script) as server:
        first = asyncio.ensure_future(fetch(upstream, call_to(server)))
        while not server.requests:
            await asyncio.sleep(0)
        impatient = call_to(server)
        impatient = replace(impatient, timeouts=replace(impatient.timeouts, connect_s=0.05))
        failure = await failure_of(upstream.send(impatient))
        assert (failure.kind, failure.sent) == (FailureKind.POOL_FULL, Sent.NO)
        order: list[int] = []

        async def one(number: int) -> None:
            await fetch(upstream, call_to(server, body=b"%d" % number))
            order.append(number)

        waiting = [asyncio.ensure_future(one(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert upstream.stats()[server.origin].waiting == 5
        go_on.set()
        await asyncio.gather(first, *waiting)
        assert order == [0, 1, 2, 3, 4]
        assert len(server.peers) == 1
        await upstream.aclose()


async def test_after_closing_nothing_is_sent_and_calls_under_way_end(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.closed_by_client()

    async with serving(script) as server:
        running = asyncio.ensure_future(failure_of(upstream.send(call_to(server))))
        while not server.requests:
            await asyncio.sleep(0)
        await upstream.aclose()
        assert (await running).kind is FailureKind.RESET
        assert (await failure_of(upstream.send(call_to(server)))).kind is FailureKind.POOL_FULL
        await server.quiet()
