"""The upstream rows of the failure table, each shown once: the client's part of U1-U10, U28, U29 and P5."""

import asyncio
import errno
import gzip
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from gateway.clock import SystemClock
from gateway.domain.catalog import Origin, Timeouts
from gateway.domain.failure import FailureKind, Sent
from gateway.upstream import HttpUpstream
from gateway.upstream.connection import Connection
from gateway.upstream.dial import tcp
from tests.upstream.scripted import (
    OK,
    Peer,
    answering,
    answering_once,
    call_to,
    failure_of,
    fetch,
    open_descriptors,
    serving,
    turns,
)

HEAD = b"HTTP/1.1 200 OK\r\n"


class ScriptedResolver:
    """Gives the answers in turn, the last one for ever; an exception is raised."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


NO_NAME = socket.gaierror(socket.EAI_NONAME, "no such name")


async def hang(connection: Connection, address: str, port: int) -> None:
    await asyncio.Event().wait()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_u1_a_name_that_does_not_resolve_is_asked_twice_then_remembered() -> None:
    resolver = ScriptedResolver(NO_NAME)
    upstream = HttpUpstream(SystemClock(), resolver=resolver)
    for _ in range(3):
        failure = await failure_of(upstream.send(call_to(Origin("http", "provider.test", 80))))
        assert (failure.kind, failure.sent) == (FailureKind.DNS, Sent.NO)
        assert "provider.test" not in failure.message
    assert resolver.asked == 2
    await upstream.aclose()


async def test_u1_a_second_resolver_answer_is_as_good_as_a_first() -> None:
    upstream = HttpUpstream(SystemClock(), resolver=ScriptedResolver(NO_NAME, ["127.0.0.1"]))
    async with serving(answering(OK), host="provider.test") as server:
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
        assert b"host: provider.test:%d\r\n" % server.port in server.requests[0][0]
        await upstream.aclose()


async def test_u1_a_slow_resolver_is_a_dns_failure_within_the_connect_timeout() -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    upstream = HttpUpstream(SystemClock(), resolver=resolver)
    call = call_to(Origin("http", "provider.test", 80), timeouts=Timeouts(connect_s=0.05))
    failure = await failure_of(upstream.send(call))
    assert (failure.kind, failure.sent) == (FailureKind.DNS, Sent.NO)
    await upstream.aclose()


async def test_u2_a_refused_connection_is_refused_at_once(upstream: HttpUpstream) -> None:
    failure = await failure_of(upstream.send(call_to(Origin("http", "127.0.0.1", closed_port()))))
    assert (failure.kind, failure.sent) == (FailureKind.REFUSED, Sent.NO)


@pytest.mark.parametrize("code", ["EHOSTUNREACH", "ENETUNREACH", "ECONNRESET"])
async def test_u2_an_unreachable_host_is_refused(code: str) -> None:
    async def opener(connection: Connection, address: str, port: int) -> None:
        raise OSError(getattr(errno, code), "unreachable")

    upstream = HttpUpstream(SystemClock(), opener=opener)
    failure = await failure_of(upstream.send(call_to(Origin("http", "127.0.0.1", 1))))
    assert (failure.kind, failure.sent) == (FailureKind.REFUSED, Sent.NO)
    await upstream.aclose()


async def test_u3_a_black_hole_ends_with_the_connect_timeout(upstream: HttpUpstream) -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(4):  # a full backlog drops what comes after
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        await turns(3)
        call = call_to(Origin("http", "127.0.0.1", port), timeouts=Timeouts(connect_s=0.1))
        failure = await failure_of(upstream.send(call))
        assert (failure.kind, failure.sent) == (FailureKind.CONNECT_TIMEOUT, Sent.NO)
        assert upstream.stats()[call.credential.origin].open == 0


async def test_u3_a_black_hole_beside_a_good_address_costs_a_quarter_second_at_most() -> None:
    async def opener(connection: Connection, address: str, port: int) -> None:
        if address == "::1":
            await asyncio.Event().wait()
        await tcp(connection, address, port)

    resolver = ScriptedResolver(["::1", "127.0.0.1"])
    upstream = HttpUpstream(SystemClock(), resolver=resolver, opener=opener, happy_eyeballs_s=0.02)
    async with serving(answering(OK), host="provider.test") as server:
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
        assert len(asyncio.all_tasks()) == 1 + len(server.running)
        await upstream.aclose()


async def test_u3_black_holes_all_around_leave_no_attempt_behind() -> None:
    upstream = HttpUpstream(
        SystemClock(), resolver=ScriptedResolver(["::1", "127.0.0.1"]), opener=hang, happy_eyeballs_s=0.001
    )
    call = call_to(Origin("http", "provider.test", 80), timeouts=Timeouts(connect_s=0.05))
    failure = await failure_of(upstream.send(call))
    assert (failure.kind, failure.sent) == (FailureKind.CONNECT_TIMEOUT, Sent.NO)
    assert len(asyncio.all_tasks()) == 1
    assert upstream.stats()[call.credential.origin].open == 0
    await upstream.aclose()


async def test_u5_stale_keepalive_is_retried_once_on_a_new_connection(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 0:
            await peer.request()
            peer.reset()
        await peer.closed_by_client()

    async with serving(script) as server:
        await fetch(upstream, call_to(server))
        assert await fetch(upstream, call_to(server, body=b"again")) == (200, b"hi")
        assert upstream.stats()[server.origin].open == 1
    assert [len(peer.requests) for peer in server.peers] == [2, 1]
    assert server.peers[1].requests[0][1] == b"again"


async def test_u5_the_retry_does_not_take_another_idle_connection() -> None:
    upstream = HttpUpstream(SystemClock(), connections_max=2)
    both = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            both.set()
        await both.wait()
        await peer.send(OK)
        if peer.number < 2:
            await peer.request()
            peer.reset()
        await peer.closed_by_client()

    async with serving(script) as server:
        await asyncio.gather(fetch(upstream, call_to(server)), fetch(upstream, call_to(server)))
        assert upstream.stats()[server.origin].idle == 2
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
        assert len(server.peers) == 3
        assert upstream.stats()[server.origin].open <= 2
        await upstream.aclose()


async def test_u5_a_second_loss_is_no_longer_free(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.send(OK)
            await peer.request()
        peer.reset()

    async with serving(script) as server:
        await fetch(upstream, call_to(server))
        failure = await failure_of(upstream.send(call_to(server)))
    assert (failure.kind, failure.sent) == (FailureKind.RESET, Sent.MAYBE)
    assert [len(peer.requests) for peer in server.peers] == [2, 1]


async def test_u5_a_retry_that_cannot_connect_still_says_maybe_sent() -> None:
    dials = 0

    async def opener(connection: Connection, address: str, port: int) -> None:
        nonlocal dials
        dials += 1
        if dials > 1:
            raise ConnectionRefusedError
        await tcp(connection, address, port)

    upstream = HttpUpstream(SystemClock(), opener=opener)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()

    async with serving(script) as server:
        await fetch(upstream, call_to(server))
        failure = await failure_of(upstream.send(call_to(server)))
    assert (failure.kind, failure.sent) == (FailureKind.REFUSED, Sent.MAYBE)
    await upstream.aclose()


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "fin"])
async def test_u6_a_new_connection_lost_before_the_head_is_not_retried(upstream: HttpUpstream, reset: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if reset:
            peer.reset()

    async with serving(script) as server:
        failure = await failure_of(upstream.send(call_to(server)))
    assert (failure.kind, failure.sent) == (FailureKind.RESET, Sent.MAYBE)
    assert len(server.peers) == 1


async def test_u6_once_a_byte_has_come_the_provider_has_it(upstream: HttpUpstream) -> None:
    async with serving(answering_once(b"HTTP/1.1 20")) as server:
        failure = await failure_of(upstream.send(call_to(server)))
    assert (failure.kind, failure.sent) == (FailureKind.RESET, Sent.YES)
    assert len(server.peers) == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"], ids=["silent", "begun"])
async def test_u7_no_head_in_time(upstream: HttpUpstream, begun: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(begun)
        await peer.closed_by_client()

    async with serving(script) as server:
        failure = await failure_of(upstream.send(call_to(server, timeouts=Timeouts(first_token_s=0.05))))
        await server.quiet()
    assert (failure.kind, failure.sent) == (FailureKind.HEAD_TIMEOUT, Sent.YES if begun else Sent.MAYBE)
    assert upstream.stats()[server.origin].open == 0


async def test_u7_a_peer_that_does_not_read_the_request_is_no_head_in_time(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with serving(script) as server:
        call = call_to(server, body=b"x" * 30_000_000, timeouts=Timeouts(first_token_s=0.1))
        failure = await failure_of(upstream.send(call))
    assert (failure.kind, failure.sent) == (FailureKind.HEAD_TIMEOUT, Sent.MAYBE)


@pytest.mark.parametrize("first", [b"", b"5\r\nfirst\r\n"], ids=["u8-before-the-first-chunk", "u9-mid-stream"])
async def test_u8_u9_a_stream_that_stops_is_stalled(upstream: HttpUpstream, first: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n" + first)
        await peer.closed_by_client()

    async with serving(script) as server:
        reply = await upstream.send(call_to(server))
        if first:
            assert await reply.next_chunk(5.0) == b"first"
        failure = await failure_of(reply.next_chunk(0.05))
        await server.quiet()
        assert (failure.kind, failure.sent) == (FailureKind.STALLED, Sent.YES)
        assert (await failure_of(reply.next_chunk(0.05))).kind is FailureKind.STALLED
        reply.close()


async def test_u9_a_body_that_is_read_whole_stalls_too(upstream: HttpUpstream) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"content-length: 10\r\n\r\nhalf")
        await peer.closed_by_client()

    async with serving(script) as server:
        reply = await upstream.send(call_to(server, timeouts=Timeouts(idle_s=0.05)))
        assert (await failure_of(reply.read(100))).kind is FailureKind.STALLED
        reply.close()
        await server.quiet()


TRUNCATED = {
    "content-length-short": b"content-length: 10\r\n\r\nhalf",
    "no-last-chunk": b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "within-a-chunk": b"transfer-encoding: chunked\r\n\r\n9\r\nhalf",
    "no-end-of-gzip": b"content-encoding: gzip\r\n\r\n" + gzip.compress(b"half", mtime=0)[:-9],
}


@pytest.mark.parametrize("rest", TRUNCATED.values(), ids=TRUNCATED.keys())
@pytest.mark.parametrize("streamed", [True, False])
async def test_u10_a_body_that_ends_early_is_truncated(upstream: HttpUpstream, rest: bytes, streamed: bool) -> None:
    async with serving(answering_once(HEAD + rest)) as server:
        reply = await upstream.send(call_to(server))
        if streamed:
            assert (await reply.next_chunk(5.0)).startswith(b"hal")
        failure = await failure_of(reply.next_chunk(5.0) if streamed else reply.read(1000))
        reply.close()
        assert (failure.kind, failure.sent) == (FailureKind.TRUNCATED, Sent.YES)
        assert upstream.stats()[server.origin].open == 0


async def test_u10_a_reset_does_not_end_a_body_without_length(upstream: HttpUpstream) -> None:
    cut = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + b"\r\nhalf")
        await cut.wait()
        peer.reset()

    async with serving(script) as server:
        reply = await upstream.send(call_to(server))
        assert await reply.next_chunk(5.0) == b"half"
        cut.set()
        assert (await failure_of(reply.next_chunk(5.0))).kind is FailureKind.TRUNCATED
        reply.close()


MALFORMED = {
    "no-http": b"SSH-2.0-OpenSSH\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
    "two-lengths": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi",
    "length-and-chunked": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding-gzip": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked-twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded-header": HEAD + b"a: b\r\n c\r\ncontent-length: 2\r\n\r\nhi",
    "negative-length": HEAD + b"content-length: -2\r\n\r\nhi",
    "switching-protocols": b"HTTP/1.1 101 Go\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nhi",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
async def test_u12_what_is_not_http_is_malformed(upstream: HttpUpstream, answer: bytes) -> None:
    async with serving(answering(answer)) as server:
        failure = await failure_of(fetch(upstream, call_to(server)))
        assert (failure.kind, failure.sent) == (FailureKind.MALFORMED_BODY, Sent.YES)
        assert upstream.stats()[server.origin].open == 0


async def test_u12_a_body_that_is_not_what_its_encoding_says_is_malformed(upstream: HttpUpstream) -> None:
    for encoding, body in ((b"gzip", b"no gzip"), (b"br", b"brotli?"), (b"gzip, gzip", b"twice")):
        head = HEAD + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body))
        async with serving(answering(head + body)) as server:
            failure = await failure_of(fetch(upstream, call_to(server)))
            assert (failure.kind, failure.sent) == (FailureKind.MALFORMED_BODY, Sent.YES)


async def test_u28_a_redirect_is_an_answer_and_never_followed(upstream: HttpUpstream) -> None:
    async with serving(answering(OK)) as elsewhere:
        redirect = b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n" % elsewhere.port
        async with serving(answering(redirect)) as server:
            assert await fetch(upstream, call_to(server)) == (307, b"")
        assert elsewhere.peers == []


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PLENTY = b"content-length: 2\r\n\r\nhi"
TOO_LARGE = {
    "informational-flood": CONTINUE * 9 + OK,
    "129-headers": HEAD + b"".join(b"x-%d: 1\r\n" % number for number in range(128)) + PLENTY,
    "header-over-8-kib": HEAD + b"x: " + b"a" * (8 * 1024 - 4) + b"\r\n" + PLENTY,
    "head-over-32-kib": HEAD + b"".join(b"x-%02d: %b\r\n" % (number, b"a" * 1024) for number in range(40)) + PLENTY,
    "endless-header": HEAD + b"x: " + b"a" * 40_000,
    "endless-trailer": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: " + b"a" * 600_000,
}


@pytest.mark.parametrize("answer", TOO_LARGE.values(), ids=TOO_LARGE.keys())
@pytest.mark.parametrize("piece_bytes", [1_000_000, 1000])
async def test_u29_a_head_without_end_is_too_large(upstream: HttpUpstream, answer: bytes, piece_bytes: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for start in range(0, len(answer), piece_bytes):
            await peer.send(answer[start : start + piece_bytes])
            await turns(3)
        await peer.closed_by_client()

    async with serving(script) as server:
        failure = await failure_of(fetch(upstream, call_to(server)))
        assert (failure.kind, failure.sent) == (FailureKind.RESPONSE_TOO_LARGE, Sent.YES)
        await server.quiet()


JUST_RIGHT = {
    "eight-informational": CONTINUE * 8 + OK,
    "128-headers": HEAD + b"".join(b"x-%d: 1\r\n" % number for number in range(127)) + PLENTY,
    "header-of-8-kib": HEAD + b"x: " + b"a" * (8 * 1024 - 5) + b"\r\n" + PLENTY,
    "head-under-32-kib": HEAD + b"".join(b"x-%02d: %b\r\n" % (number, b"a" * 1000) for number in range(31)) + PLENTY,
}


@pytest.mark.parametrize("answer", JUST_RIGHT.values(), ids=JUST_RIGHT.keys())
async def test_u29_a_head_at_the_caps_passes(upstream: HttpUpstream, answer: bytes) -> None:
    async with serving(answering(answer)) as server:
        assert await fetch(upstream, call_to(server)) == (200, b"hi")


BODIES = {
    "length-known": b"content-length: 1001\r\n\r\n" + b"x" * 1001,
    "chunked": b"transfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
    "gzip": b"content-encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 1001),
}


@pytest.mark.parametrize("rest", BODIES.values(), ids=BODIES.keys())
async def test_u29_a_body_over_its_limit_is_too_large_and_one_at_its_limit_is_not(
    upstream: HttpUpstream, rest: bytes
) -> None:
    async with serving(answering_once(HEAD + rest)) as server:
        failure = await failure_of(fetch(upstream, call_to(server), limit_bytes=1000))
        assert (failure.kind, failure.sent) == (FailureKind.RESPONSE_TOO_LARGE, Sent.YES)
        assert await fetch(upstream, call_to(server), limit_bytes=1001) == (200, b"x" * 1001)


@pytest.mark.parametrize("streamed", [True, False])
async def test_u29_a_gzip_bomb_is_too_large(upstream: HttpUpstream, streamed: bool) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)

    async with serving(answering(head + bomb)) as server:
        reply = await upstream.send(call_to(server))

        async def stream() -> None:
            while await reply.next_chunk(5.0):
                pass

        failure = await failure_of(stream() if streamed else reply.read(100_000_000))
        reply.close()
    assert (failure.kind, failure.sent) == (FailureKind.RESPONSE_TOO_LARGE, Sent.YES)


async def test_p5_no_descriptors_left_is_our_own_saturation(upstream: HttpUpstream) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(answering(OK)) as server:
        await fetch(upstream, call_to(server, path="/warm"))
        upstream.drop_idle()
        await server.quiet()
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 4, hard))
        taken: list[int] = []
        try:
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            failure = await failure_of(upstream.send(call_to(server)))
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (failure.kind, failure.sent) == (FailureKind.POOL_FULL, Sent.NO)
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
