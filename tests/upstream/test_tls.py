"""U4: TLS is verified always, against the name of the origin."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from gateway.clock import SystemClock
from gateway.domain.catalog import Origin, Provider, Timeouts
from gateway.domain.failure import FailureKind, Sent
from gateway.upstream import HttpUpstream
from tests.upstream.scripted import OK, Peer, answering, answering_once, call_to, failure_of, fetch, serving

NAME = "provider.test"


async def loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=not_after).configure_cert(context)
    return context


def trusting(origin: Origin, ca_file: str | None) -> HttpUpstream:
    return HttpUpstream(SystemClock(), resolver=loopback, ca_files={origin: ca_file} if ca_file else {})


async def test_a_verified_server_is_answered_over_one_kept_connection(authority: trustme.CA, ca_file: str) -> None:
    names: list[str | None] = []
    context = server_context(authority, NAME)
    context.sni_callback = lambda _object, name, _context: names.append(name)
    async with serving(answering(OK), tls=context, host=NAME) as server:
        upstream = trusting(server.origin, ca_file)
        for body in (b"{}", b"x" * 3_000_000):
            assert await fetch(upstream, call_to(server, body=body)) == (200, b"hi")
        assert upstream.stats()[server.origin].idle == 1
        await upstream.aclose()
    assert names == [NAME]
    assert [len(body) for _, body in server.requests] == [2, 3_000_000]


@pytest.mark.parametrize("fault", ["unknown-authority", "wrong-name", "expired", "only-tls-1.1"])
async def test_u4_a_server_that_does_not_verify_never_sees_the_request(
    authority: trustme.CA, ca_file: str, fault: str
) -> None:
    name = "other.test" if fault == "wrong-name" else NAME
    past = datetime(2020, 1, 1, tzinfo=UTC) if fault == "expired" else None
    context = server_context(authority, name, not_after=past)
    if fault == "only-tls-1.1":
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    async with serving(answering(OK), tls=context, host=NAME) as server:
        upstream = trusting(server.origin, None if fault == "unknown-authority" else ca_file)
        failure = await failure_of(upstream.send(call_to(server)))
        assert (failure.kind, failure.sent) == (FailureKind.TLS, Sent.NO)
        assert upstream.stats()[server.origin].open == 0
        await upstream.aclose()
    assert server.requests == []


async def test_u4_a_handshake_that_stalls_is_a_tls_failure(ca_file: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.closed_by_client()

    async with serving(script) as server:
        origin = Origin("https", NAME, server.port)
        upstream = trusting(origin, ca_file)
        failure = await failure_of(upstream.send(call_to(origin, timeouts=Timeouts(connect_s=0.1))))
        assert (failure.kind, failure.sent) == (FailureKind.TLS, Sent.NO)
        await server.quiet()
        await upstream.aclose()


@pytest.mark.parametrize("reset", [True, False])
async def test_u4_a_peer_that_hangs_up_in_the_handshake_is_a_tls_failure(ca_file: str, reset: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(10)
        if reset:
            peer.reset()

    async with serving(script) as server:
        origin = Origin("https", NAME, server.port)
        upstream = trusting(origin, ca_file)
        failure = await failure_of(upstream.send(call_to(origin)))
        assert (failure.kind, failure.sent) == (FailureKind.TLS, Sent.NO)
        await server.quiet()
        await upstream.aclose()


async def test_u4_a_server_that_speaks_plain_http_is_a_tls_failure(ca_file: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(10)
        await peer.send(OK)

    async with serving(script) as server:
        origin = Origin("https", NAME, server.port)
        upstream = trusting(origin, ca_file)
        assert (await failure_of(upstream.send(call_to(origin)))).kind is FailureKind.TLS
        await upstream.aclose()


async def test_u4_a_ca_file_that_is_not_there_is_a_tls_failure() -> None:
    async with serving(answering(OK)) as server:
        origin = Origin("https", NAME, server.port)
        upstream = trusting(origin, "/no/such/file.pem")
        assert (await failure_of(upstream.send(call_to(origin)))).kind is FailureKind.TLS
        await upstream.aclose()


async def test_a_reload_takes_over_the_ca_file_of_the_provider(authority: trustme.CA, ca_file: str) -> None:
    async with serving(answering(OK), tls=server_context(authority, NAME), host=NAME) as server:
        upstream = trusting(server.origin, None)
        assert (await failure_of(upstream.send(call_to(server)))).kind is FailureKind.TLS
        upstream.configure([Provider("p", "openai", server.origin, "/v1", (), ca_file=ca_file)])
        assert await fetch(upstream, call_to(server)) == (200, b"hi")
        await upstream.aclose()


async def test_u5_a_stale_tls_connection_is_replaced(authority: trustme.CA, ca_file: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 0:
            await peer.request()
            peer.reset()
        await peer.closed_by_client()

    async with serving(script, tls=server_context(authority, NAME), host=NAME) as server:
        upstream = trusting(server.origin, ca_file)
        for _ in range(2):
            assert await fetch(upstream, call_to(server)) == (200, b"hi")
        assert len(server.peers) == 2
        await upstream.aclose()


async def test_u10_a_tls_stream_cut_short_is_truncated(authority: trustme.CA, ca_file: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    async with serving(answering_once(answer), tls=server_context(authority, NAME), host=NAME) as server:
        upstream = trusting(server.origin, ca_file)
        reply = await upstream.send(call_to(server))
        assert await reply.next_chunk(5.0) == b"first"
        assert (await failure_of(reply.next_chunk(5.0))).kind is FailureKind.TRUNCATED
        reply.close()
        await upstream.aclose()


async def test_a_cancelled_handshake_closes_its_socket(ca_file: str) -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(10)
        arrived.set()
        await peer.closed_by_client()

    async with serving(script) as server:
        origin = Origin("https", NAME, server.port)
        upstream = trusting(origin, ca_file)
        task = asyncio.ensure_future(upstream.send(call_to(origin)))
        await arrived.wait()
        task.cancel()
        await asyncio.wait([task])
        await server.quiet()
        assert upstream.stats()[origin].open == 0
        await upstream.aclose()
