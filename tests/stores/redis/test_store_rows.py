"""The store's rows of the failure table (R1 to R11), each over servers that are killed, frozen, emptied or cut off."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.ports import BankAway, Denied, Grant, Standing, Total, Want
from gateway.stores.redis import scripts
from gateway.stores.redis.address import TIMEOUT_S, address_of
from gateway.stores.redis.bank import RedisBank
from gateway.stores.redis.breaker import PROBE_EVERY_S
from gateway.stores.redis.link import Link, LinkBusy, Script
from gateway.stores.redis.rebuild import Rebuilt
from tests.clock import ToldClock
from tests.ports import free_port
from tests.redis import Server, served

ENDS_S = 4e9
CLOCK = SystemClock()
SLACK_S = 0.25
"""How much later than its deadline a call may end on a machine that others use too."""


class House:
    """Links and banks over one store, closed at the end; `books` is the ledger."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.books: dict[str, dict[str, int]] = {}
        self.read = 0

    async def ledger(self, tenant: str) -> Rebuilt:
        assert tenant == "acme"
        self.read += 1
        sums: dict[str, int] = {}
        for shares in self.books.values():
            for name, amount in shares.items():
                sums[name] = sums.get(name, 0) + amount
        return Rebuilt(sums, self.books)

    def link(self, url: str, **options: Any) -> Link:
        link = Link(url, CLOCK, **options)
        self.links.append(link)
        return link

    def bank(self, url: str, boot: str, *, grace_s: float = 0.0, timeout_s: float = 1.0) -> RedisBank:
        return RedisBank(self.link(url, timeout_s=timeout_s), boot, self.ledger, grace_s=grace_s)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    for link in made.links:
        await link.close()


@contextmanager
def a_server(*options: str) -> Iterator[Server]:
    with served("single") as server:
        for name, value in zip(options[::2], options[1::2], strict=True):
            server.say("CONFIG", "SET", name, value)
        yield server


def want(need: int, wish: int | None = None, limit: int = 1_000) -> list[Want]:
    return [Want("day", limit, need, wish or need, ENDS_S)]


def standing(spent: int, credit: int) -> list[Standing]:
    return [Standing("day", spent, credit, 1_000, ENDS_S)]


async def soon(work: Callable[[], Awaitable[Any]], bound_s: float = 15.0) -> Any:
    """Until it is no longer away."""
    ends_s = time.monotonic() + bound_s
    while True:
        try:
            return await work()
        except BankAway:
            assert time.monotonic() < ends_s, "it did not come back"
            await asyncio.sleep(0.02)


async def timed(work: Awaitable[Any]) -> tuple[float, BaseException | Any]:
    began_s = time.monotonic()
    try:
        answer: BaseException | Any = await work
    except BankAway as error:
        answer = error
    return time.monotonic() - began_s, answer


async def test_r1_a_store_that_is_down_at_the_start_is_used_once_it_is_there(house: House) -> None:
    with served("single") as server:
        server.kill()
        bank = house.bank(server.url, "a")
        with pytest.raises(BankAway):
            await bank.lease("acme", "1", want(10))
        server.start()
        assert await soon(lambda: bank.lease("acme", "2", want(10))) == [Grant("day", 10, 0)]


async def test_r2_a_dead_store_is_left_alone_after_three_failures_and_found_again(house: House) -> None:
    with served("single") as server:
        link = house.link(server.url)
        await link.ask("SET", "gw:{a}:x", 1)
        server.kill()
        for _ in range(4):
            with pytest.raises(BankAway):
                await link.ask("GET", "gw:{a}:x")
        assert link.resting
        took_s, error = await timed(link.ask("GET", "gw:{a}:x"))
        assert isinstance(error, BankAway)
        assert took_s < TIMEOUT_S / 2
        server.start()
        assert await soon(lambda: link.ask("GET", "gw:{a}:x"), 3 * PROBE_EVERY_S) is None
        assert not link.resting


async def test_r3_f8_a_frozen_store_costs_two_timeouts_and_then_nothing(house: House) -> None:
    with served("single") as server:
        link = house.link(server.url)
        await link.ask("SET", "gw:{a}:x", 1)
        server.stop()
        try:
            for _ in range(2):
                took_s, error = await timed(link.ask("GET", "gw:{a}:x"))
                assert isinstance(error, BankAway)
                assert took_s < TIMEOUT_S + SLACK_S
            await asyncio.wait(link._running)
            assert link.resting
            took_s, error = await timed(link.ask("GET", "gw:{a}:x"))
            assert isinstance(error, BankAway)
            assert took_s < TIMEOUT_S / 2
        finally:
            server.cont()
        assert await soon(lambda: link.ask("GET", "gw:{a}:x"), 3 * PROBE_EVERY_S) == b"1"


async def test_r3_a_slow_store_is_given_no_more_than_the_deadline(house: House) -> None:
    with served("single") as server:
        link = house.link(server.url)
        await link.ask("SET", "gw:{a}:x", 1)
        server.say("CLIENT", "PAUSE", 400, "ALL")
        took_s, error = await timed(link.ask("GET", "gw:{a}:x"))
        assert isinstance(error, BankAway)
        assert took_s < TIMEOUT_S + SLACK_S


class Proxy:
    """Passes bytes on; `cut` drops the next answer and closes, `hold` keeps it back until `free` is set."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_port()
        self.cut = 0
        self.cuts = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        self._pipes: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            for task in list(self._pipes):
                task.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(self._pipe(reader, back, lossy=False), self._pipe(there, writer, lossy=True))
        for end in (writer, back):
            end.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, lossy: bool) -> None:
        while data := await reader.read(65_536):
            if lossy and self.cut:
                self.cut -= 1
                self.cuts += 1
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@pytest.mark.parametrize("lost", [1, 2])
async def test_r4_a_lost_answer_is_asked_for_once_more_and_never_counted_twice(house: House, lost: int) -> None:
    with served("single") as server:
        async with Proxy(server.port).running() as proxy:
            a = house.bank(f"redis://127.0.0.1:{proxy.port}", "a")
            b = house.bank(server.url, "b")
            await a.lease("acme", "0", [])
            proxy.cut = lost
            if lost == 1:
                assert await a.lease("acme", "1", want(600)) == [Grant("day", 600, 0)]
            else:
                with pytest.raises(BankAway):
                    await a.lease("acme", "1", want(600))
                assert await b.lease("acme", "2", want(401)) == Denied("day", 400, 0)
                assert await a.lease("acme", "3", want(600)) == [Grant("day", 600, 0)]
            assert await b.lease("acme", "4", want(401)) == Denied("day", 400, 0)
            proxy.cut = lost
            if lost == 2:
                with pytest.raises(BankAway):
                    await a.report("acme", standing(200, 0))
            assert await a.report("acme", standing(200, 0)) == [Total(200, 0)]
            assert proxy.cuts == 2 * lost
            for link in house.links:
                await link.close()


async def test_r5_reg14_a_full_pool_is_our_own_doing_and_does_not_open_the_breaker(house: House) -> None:
    with served("single") as server:
        link = house.link(server.url, connections=2, timeout_s=5.0)
        await link.ask("SET", "gw:{a}:x", 1)
        server.say("CLIENT", "PAUSE", 300, "ALL")
        busy = [asyncio.create_task(link.ask("GET", "gw:{a}:x")) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await asyncio.gather(*(timed(link.ask("GET", "gw:{a}:x")) for _ in range(20)))
        assert all(isinstance(error, LinkBusy) for _, error in refused)
        assert max(took_s for took_s, _ in refused) < 0.02 + SLACK_S
        assert await asyncio.gather(*busy) == [b"1", b"1"]
        assert not link.resting
        assert await link.ask("GET", "gw:{a}:x") == b"1"


async def test_reg18_what_is_written_later_does_not_move_the_end_of_a_counter(house: House) -> None:
    ends_s = time.time() + 3_600
    with served("single") as server:
        bank, other = house.bank(server.url, "a"), house.bank(server.url, "b")
        asked, ends = [Want("day", 1_000, 10, 10, ends_s)], set()
        for turn in range(5):
            assert await bank.lease("acme", str(turn), asked) == [Grant("day", 10, 0)]
            await other.lease("acme", str(turn), asked)
            assert await bank.report("acme", [Standing("day", 0, 10 * turn + 10, 1_000, ends_s)])
            ends.add(int(server.say("PEXPIRETIME", "gw:{acme}:c:day")))
            await asyncio.sleep(0.01)
        (end_ms,) = ends
        assert end_ms / 1000 == pytest.approx(ends_s + 3 * 86_400, abs=1)


async def test_r6_f10_writes_that_a_failover_lost_are_noticed_and_rebuilt_from_the_ledger(house: House) -> None:
    with served("sentinels") as servers:
        first = servers.master
        bank = house.bank(servers.url, "a")
        await bank.lease("acme", "0", want(500))
        replica = next(server for server in servers.servers if server is not first)
        assert first.say("WAIT", 1, 5_000) == 1
        replica.say("REPLICAOF", "127.0.0.1", free_port())
        house.books = {"a": {"day": 300}}
        assert await bank.report("acme", standing(300, 0)) == [Total(300, 0)]
        first.kill()
        read = house.read
        answer = await soon(lambda: bank.lease("acme", "1", want(701)), 30.0)
        assert answer == Denied("day", 700, 300)
        assert house.read == read + 1


async def test_r7_f9_after_a_flush_the_counters_are_put_together_from_the_ledger(house: House) -> None:
    with served("single") as server:
        a, b = house.bank(server.url, "a", grace_s=2.0), house.bank(server.url, "b", grace_s=2.0)
        for bank in (a, b):
            await soon(partial(bank.lease, "acme", "0", want(100, 300)))
        house.books = {"a": {"day": 200}}
        await a.report("acme", standing(200, 100))
        began_s = time.monotonic()
        server.say("FLUSHALL")
        with pytest.raises(BankAway):
            await a.lease("acme", "1", want(1))
        await b.sweep()
        answer = await soon(lambda: a.lease("acme", "2", want(401)))
        assert answer == Denied("day", 400, 200)
        assert time.monotonic() - began_s < 5.0
        assert house.read == 2


async def test_r7_several_processes_rebuild_once(house: House) -> None:
    with served("single") as server:
        banks = [house.bank(server.url, f"b{index}") for index in range(4)]
        await asyncio.gather(*(soon(partial(bank.lease, "acme", "0", want(1))) for bank in banks))
        assert house.read == 1
        server.say("FLUSHALL")
        await asyncio.gather(*(soon(partial(bank.lease, "acme", "1", want(1))) for bank in banks))
        assert house.read == 2


async def test_r8_a_script_that_was_flushed_is_sent_whole_once(house: House) -> None:
    with served("single") as server:
        bank = house.bank(server.url, "a")
        await bank.lease("acme", "0", want(10))
        server.say("SCRIPT", "FLUSH")
        server.say("CONFIG", "RESETSTAT")
        await bank.lease("acme", "1", want(10))
        await bank.lease("acme", "2", want(10))
        stats = server.say("INFO", "commandstats")
        assert (stats["cmdstat_eval"]["calls"], stats["cmdstat_evalsha"]["calls"]) == (1, 2)


async def test_r9_a_slot_that_has_moved_is_followed(house: House) -> None:
    with served("cluster") as cluster:
        link = house.link(cluster.url, timeout_s=5.0)
        await link.ask("SET", "gw:{acme}:x", 1)
        slot = cluster.servers[0].say("CLUSTER", "KEYSLOT", "gw:{acme}:x")
        ids = [server.say("CLUSTER", "MYID").decode() for server in cluster.servers]
        owner = min(index for index, edge in enumerate((5461, 10923, 16384)) if slot < edge)
        other = (owner + 1) % 3
        cluster.servers[owner].say("DEL", "gw:{acme}:x")
        for server in cluster.servers:
            server.say("CLUSTER", "SETSLOT", slot, "NODE", ids[other])
        assert await link.ask("GET", "gw:{acme}:x") is None
        assert not link.resting


@pytest.mark.parametrize(
    "script",
    [
        Script("test.oom", "return redis.error_reply('OOM command not allowed')"),
        Script("test.readonly", "return redis.error_reply('READONLY You can not write against a read only replica.')"),
        Script("test.loading", "return redis.error_reply('LOADING Redis is loading the dataset in memory')"),
        Script("test.busy", "return redis.error_reply('BUSY Redis is busy running a script')"),
    ],
    ids=lambda script: script.name,
)
async def test_r9_a_store_that_refuses_is_away(house: House, script: Script) -> None:
    with served("single") as server:
        link = house.link(server.url)
        for _ in range(3):
            with pytest.raises(BankAway):
                await link.run(script, ["gw:{a}:x"], [])
        assert link.resting


async def test_r9_all_keys_of_a_call_are_in_one_slot_also_for_odd_names(house: House) -> None:
    with served("cluster") as cluster:
        bank = RedisBank(house.link(cluster.url, timeout_s=5.0), "a", nothing_known, grace_s=0.0)
        for tenant in ("acme", "a}b{c", "Müller & Söhne", "{}", "-"):
            wants = [Want(f"day|{who}", 100, 10, 10, ENDS_S) for who in ("x", "}{", "ü")]
            answer = await bank.lease(tenant, f"t-{tenant}", wants)
            assert not isinstance(answer, Denied)
            assert [grant.amount for grant in answer] == [10, 10, 10]
            assert (
                await bank.report(tenant, [Standing(w.counter, 10, 0, 100, ENDS_S) for w in wants])
                == [Total(10, 0)] * 3
            )


async def nothing_known(tenant: str) -> Rebuilt:
    del tenant
    return Rebuilt()


async def test_r10_a_store_whose_clock_jumped_forgets_no_money(house: House) -> None:
    """All processes look dead at once: their credit counts as spent until each says that it lives."""
    with served("single") as server:
        a, b = house.bank(server.url, "a"), house.bank(server.url, "b")
        await a.lease("acme", "1", want(600))
        for bank in (a, b):
            await bank.sweep()
        ahead_ms = int(server.say("TIME")[0]) * 1_000 + 3_600_000
        server.say("HSET", "gw.boots:{gw}:clock", "last", ahead_ms)
        assert await b.sweep() == []
        (taken,) = await b.sweep()
        assert (taken.boot, taken.amount) == ("a", 600)
        assert await b.lease("acme", "2", want(401)) == Denied("day", 400, 600)
        assert await a.report("acme", standing(100, 500)) == [Total(100, 500)]
        assert await b.lease("acme", "3", want(401)) == Denied("day", 400, 100)


async def test_r10_time_never_runs_backward_for_the_deadlines_of_processes(house: House) -> None:
    with served("single") as server:
        a, b = house.bank(server.url, "a"), house.bank(server.url, "b")
        await a.lease("acme", "1", want(600))
        for bank in (a, b, a, b):
            assert await bank.sweep() == []
        before = int(server.say("HGET", "gw.boots:{gw}:clock", "last"))
        server.say("HSET", "gw.boots:{gw}:clock", "last", before + 20_000)
        assert await b.sweep() == []
        assert int(server.say("HGET", "gw.boots:{gw}:clock", "last")) == before + 20_000


async def test_r11_callers_that_leave_cross_no_answers_and_drop_no_connection(house: House) -> None:
    with served("single") as server:
        link = house.link(server.url, timeout_s=5.0)
        for number in range(100):
            await link.ask("SET", f"gw:{{a}}:{number}", number)
        made = server.say("INFO", "stats")["total_connections_received"]
        crossed = completed = 0
        for turn in range(60):
            tasks = [asyncio.create_task(link.ask("GET", f"gw:{{a}}:{number}")) for number in range(8)]
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            for number, answer in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                if isinstance(answer, bytes):
                    completed += 1
                    crossed += answer != str(number).encode()
        assert (crossed, completed > 100) == (0, True)
        others = server.say("INFO", "stats")["total_connections_received"] - made
        assert others <= 10


async def test_r11_a_lease_whose_caller_left_is_taken_back_by_the_next_call(house: House) -> None:
    with served("single") as server:
        a, b = house.bank(server.url, "a"), house.bank(server.url, "b")
        await a.lease("acme", "0", [])
        task = asyncio.create_task(a.lease("acme", "1", want(600)))
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await a.lease("acme", "2", [])
        assert await b.lease("acme", "3", want(1_000)) == [Grant("day", 1_000, 0)]


async def test_a_cluster_without_one_node_serves_the_tenants_of_the_others(house: House) -> None:
    with served("cluster") as cluster:
        link = house.link(cluster.url, timeout_s=1.0)
        keys: dict[int, str] = {}
        for number in range(100):
            slot = cluster.servers[0].say("CLUSTER", "KEYSLOT", f"gw:{{t{number}}}:x")
            keys.setdefault(min(i for i, edge in enumerate((5461, 10923, 16384)) if slot < edge), f"gw:{{t{number}}}:x")
        for key in keys.values():
            await link.ask("SET", key, 1)
        cluster.servers[2].kill()
        for _ in range(4):
            with pytest.raises(BankAway):
                await link.ask("GET", keys[2])
        for index in (0, 1):
            assert await soon(partial(link.ask, "GET", keys[index]), 5.0) == b"1"


def test_the_versions_of_scripts_are_in_their_names() -> None:
    """P7: old and new processes run side by side."""
    found = [value for value in vars(scripts).values() if isinstance(value, Script)]
    assert len(found) >= 8
    assert all(script.name.rpartition(".")[2].isdigit() for script in found)
    assert len({script.name for script in found}) == len(found)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis://h", (("h", 6379),)),
        ("rediss://u:p%40@h:1/3", (("h", 1),)),
        ("redis+sentinel://a:1,b/gw", (("a", 1), ("b", 26379))),
        ("redis+cluster://a:1,[::1]:2", (("a", 1), ("::1", 2))),
        ("REDISS+cluster://u@[::1],b?x=[]", (("::1", 6379), ("b", 6379))),
    ],
)
def test_a_url_names_its_hosts(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    assert address_of(url).hosts == hosts


@pytest.mark.parametrize("url", ["http://h", "redis+other://h", "redis+sentinel://h:1"])
def test_a_url_that_is_none_of_the_four_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="redis"):
        address_of(url)


def test_the_breaker_asks_once_a_second_while_it_is_open() -> None:
    from_link, clock = Link("redis://127.0.0.1:1", ToldClock()), ToldClock()
    breaker = from_link._breaker("")
    for _ in range(3):
        breaker.failed(clock.monotonic_s(), timeout=False)
    assert not breaker.admits(clock.monotonic_s())
    clock.now_s += PROBE_EVERY_S
    assert [breaker.admits(clock.monotonic_s()) for _ in range(3)] == [True, False, False]
    breaker.answered()
    assert breaker.admits(clock.monotonic_s())
