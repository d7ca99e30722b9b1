"""U1-U6: no connection, or one that ends before it has said anything."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from gateway.sim.server import Simulator
from tests.rows.house import SECRET, TOUCHY, standing

NOWHERE = "http://nonexistent.invalid:9/v1"


class Lookups:
    """A resolver that knows one name, or hangs."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.asked: list[str] = []
        self._hangs = hangs

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if self._hangs:
            await asyncio.Event().wait()
        if host == "provider.test":
            return ["127.0.0.1"]
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is unknown")


@pytest.fixture
def refusing() -> Iterator[str]:
    """A port that is taken, so that nobody else gets it, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A listener with a full backlog: the kernel drops every further SYN."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}/v1"
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_u1_a_name_that_does_not_exist_falls_over(stream: bool) -> None:
    lookups = Lookups()
    async with standing(["dead", "b"], urls={"dead": NOWHERE}, resolver=lookups, trip_rule=TOUCHY, b={}) as house:
        house.moved(await house.ask(stream=stream), "dns")
        assert house.health("dead") == "open"
        assert lookups.asked == ["nonexistent.invalid"] * 2
        seen = await house.ask()
        assert (seen.status, seen.attempts, house.calls("b")) == (200, 1, 2)
        assert [drop.reason for drop in house.record.drops] == ["circuit_open"]


async def test_u1_a_name_that_does_not_exist_is_told_as_unreachable() -> None:
    lookups = Lookups()
    async with standing(urls={"dead": NOWHERE}, resolver=lookups) as house:
        house.canaries.append(b"nonexistent")
        seen = await house.ask()
        house.refused(seen, 503, "upstream_unreachable", attempts=2)
        assert house.failures == ["dns", "dns"]
        assert len(lookups.asked) == 2  # asked once more at once, then remembered for 5 s
        house.clock.ahead_s += 6
        await house.ask()
        assert len(lookups.asked) == 4


async def test_u1_a_resolver_that_hangs_falls_over_after_the_connect_time() -> None:
    urls = {"dead": NOWHERE}
    async with standing(["dead", "b"], urls=urls, resolver=Lookups(hangs=True), trip_rule=TOUCHY, b={}) as house:
        house.moved(await house.ask(), "dns")
        assert house.health("dead") == "open"


@pytest.mark.parametrize("stream", [False, True])
async def test_u2_refused_connection_falls_over_at_once(refusing: str, stream: bool) -> None:
    async with standing(["dead", "b"], urls={"dead": refusing}, trip_rule=TOUCHY, b={}) as house:
        house.moved(await house.ask(stream=stream), "refused")
        assert house.record.attempts[0].duration_s < 0.1
        assert house.record.attempts[1].wait_s == 0
        assert house.health("dead") == "open"


async def test_u2_refused_connection_is_told_as_unreachable_and_not_tried_twice(refusing: str) -> None:
    async with standing(urls={"dead": refusing}) as house:
        house.refused(await house.ask(), 503, "upstream_unreachable")


@pytest.mark.parametrize("stream", [False, True])
async def test_u3_a_black_hole_falls_over_after_the_connect_time(black_hole: str, stream: bool) -> None:
    async with standing(["dead", "b"], urls={"dead": black_hole}, trip_rule=TOUCHY, b={}) as house:
        house.moved(await house.ask(stream=stream), "connect_timeout")
        assert 0.25 < house.record.attempts[0].duration_s < 0.6
        assert house.health("dead") == "open"


async def test_u3_a_black_hole_is_told_as_a_connect_timeout(black_hole: str) -> None:
    async with standing(urls={"dead": black_hole}) as house:
        house.refused(await house.ask(), 504, "upstream_connect_timeout")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def certificate(authority: trustme.CA, fault: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer = trustme.CA() if fault == "self-signed" else authority
    name = "elsewhere.test" if fault == "wrong name" else "provider.test"
    not_after = datetime(2020, 1, 1, tzinfo=UTC) if fault == "expired" else None
    issuer.issue_cert(name, not_after=not_after).configure_cert(context)
    return context


@asynccontextmanager
async def secured(authority: trustme.CA, fault: str) -> AsyncIterator[str]:
    """A provider with a certificate; it has no gateway key that it could tell when the handshake fails."""
    async with Simulator(tls=certificate(authority, fault)) as sim:
        yield f"https://provider.test:{sim.port}/v1"
        assert sim.arrived_count == (0 if fault else 1)


@pytest.mark.parametrize("fault", ["self-signed", "expired", "wrong name"])
async def test_u4_a_bad_certificate_falls_over_and_is_never_accepted(
    authority: trustme.CA, ca_file: str, fault: str
) -> None:
    providers = {"dead": {"ca_file": ca_file}}
    async with (
        secured(authority, fault) as url,
        standing(
            ["dead", "b"], urls={"dead": url}, providers=providers, resolver=Lookups(), trip_rule=TOUCHY, b={}
        ) as house,
    ):
        house.moved(await house.ask(), "tls")
        assert house.health("dead") == "open"


@pytest.mark.parametrize("fault", ["self-signed", "expired", "wrong name"])
async def test_u4_a_bad_certificate_is_told_as_a_tls_error(authority: trustme.CA, ca_file: str, fault: str) -> None:
    providers = {"dead": {"ca_file": ca_file}}
    async with (
        secured(authority, fault) as url,
        standing(urls={"dead": url}, providers=providers, resolver=Lookups()) as house,
    ):
        house.canaries.append(b"provider.test")
        house.refused(await house.ask(), 502, "upstream_tls_error")


@pytest.mark.parametrize("fault", ["self-signed", "expired", "wrong name"])
async def test_u4_a_bad_certificate_is_a_security_event_said_once_a_minute(
    authority: trustme.CA, ca_file: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    providers = {"dead": {"ca_file": ca_file}}
    async with (
        secured(authority, fault) as url,
        standing(urls={"dead": url}, providers=providers, resolver=Lookups()) as house,
    ):
        for ahead_s in (0.0, 30.0, 70.0):
            house.clock.ahead_s = ahead_s
            house.refused(await house.ask(), 502, "upstream_tls_error")
        assert await house.metric("gateway_security_events_total") == {'{kind="tls",provider="dead"}': 3}
        said = [record for record in caplog.records if record.name == "meterway.security"]
        assert [record.levelname for record in said] == ["WARNING"] * 2
        assert all("provider 'dead'" in record.message and SECRET not in record.message for record in said)


async def test_u4_a_good_certificate_is_accepted(authority: trustme.CA, ca_file: str) -> None:
    providers = {"good": {"ca_file": ca_file}}
    async with (
        secured(authority, "") as url,
        standing(urls={"good": url}, providers=providers, resolver=Lookups()) as house,
    ):
        assert (await house.ask()).status == 200


async def test_u4_a_handshake_that_stalls_falls_over_after_the_connect_time() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        urls = {"dead": f"https://provider.test:{mute.getsockname()[1]}/v1"}
        async with standing(["dead", "b"], urls=urls, resolver=Lookups(), trip_rule=TOUCHY, b={}) as house:
            house.moved(await house.ask(), "tls")
            assert house.health("dead") == "open"


@pytest.mark.parametrize("how", ["reset", "fin"])
@pytest.mark.parametrize("stream", [False, True])
async def test_u5_a_stale_connection_costs_one_new_connection_and_nothing_else(how: str, stream: bool) -> None:
    rules = [{"when": {"connection_requests": "2.."}, "fault": {"kind": "reset", "how": how}}]
    async with standing(trip_rule=TOUCHY, a={"rules": rules}) as house:
        for number in range(1, 5):
            seen = await house.ask(stream=stream)
            assert (seen.status, seen.whole, seen.attempts) == (200, True, 1)
            assert house.health("a") == "well"
            assert house.calls("a") == 2 * number - 1
        assert house.sims["a"].connections_total == 4


@pytest.mark.parametrize("how", ["reset", "fin"])
@pytest.mark.parametrize("at", ["request", "accept"])
async def test_u6_a_new_connection_that_resets_falls_over_without_a_second_try(at: str, how: str) -> None:
    fault = {"kind": "reset", "at": at, "how": how}
    async with standing(trip_rule=TOUCHY, a={"rules": [{"fault": fault}]}, b={}) as house:
        house.moved(await house.ask(), "reset")
        assert house.calls("a") == (1 if at == "request" else 0)
        assert house.health("a") == "open"


async def test_u6_a_new_connection_that_resets_is_told_as_truncated() -> None:
    async with standing(a={"otherwise": {"fault": {"kind": "reset"}}}) as house:
        house.refused(await house.ask(), 502, "upstream_truncated")
        assert house.calls("a") == 1
