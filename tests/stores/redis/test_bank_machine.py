"""The shared bank against its oracle: leases, reports, lost answers, deaths and rebuilds in any order."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from itertools import count
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.clock import SystemClock
from gateway.ports import BankAway, Denied, Standing, Total, Want
from gateway.stores.redis import scripts
from gateway.stores.redis.bank import Oddity, RedisBank
from gateway.stores.redis.link import Link, ReplyLost, Script, Word
from gateway.stores.redis.rebuild import Rebuilt
from tests.machines import play
from tests.redis import served
from tests.stores.redis.oracle import Oracle

T = TypeVar("T")
LIMITS = {"day|acme|1": 1_000, "month|acme|1": 2_500}
COUNTERS = st.sampled_from(sorted(LIMITS))
WHO = st.integers(0, 2)
ENDS_S = 4e9
ALIVE = "gw.boots:{gw}:alive"
ANSWERS = st.sampled_from(["lost", "late", "never", "held"])


class LossyLink(Link):
    """Loses the answer to the next numbered call: `lost` (a broken link), `late`, `never` sent, or `held` back."""

    plan = ""
    held: tuple[Script, Sequence[str], Sequence[Word]] | None = None

    async def run(self, script: Script, keys: Sequence[str], words: Sequence[Word]) -> Any:
        if script not in (scripts.LEASE, scripts.REPORT):
            return await super().run(script, keys, words)
        plan, self.plan = self.plan, ""
        if plan == "held":
            self.held = (script, keys, words)
        if plan in ("held", "never"):
            raise ReplyLost("no answer", late=True)
        answer = await super().run(script, keys, words)
        if plan:
            raise ReplyLost("no answer", late=plan == "late")
        held, self.held = self.held, None
        if held is not None:
            assert (await super().run(*held))[0] in (b"STALE", b"NEW")
        return answer


class Worker:
    """What one process has: `credit` to spend, `spent` for good."""

    def __init__(self, boot: str, url: str, machine: "BankMachine") -> None:
        self.boot = boot
        self.link = LossyLink(url, SystemClock(), timeout_s=10.0)
        self.bank = RedisBank(self.link, boot, machine.ledger, odd=machine.odd.append, grace_s=30.0)
        self.credit: dict[str, int] = defaultdict(int)
        self.spent: dict[str, int] = defaultdict(int)

    def standing(self, counter: str) -> Standing:
        return Standing(counter, self.spent[counter], self.credit[counter], LIMITS[counter], ENDS_S)


class BankMachine(RuleBasedStateMachine):
    server: ClassVar[Any]
    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.flush("FLUSHALL")
        self.oracle = Oracle()
        self.books: dict[tuple[str, str], int] = {}
        self.odd: list[Oddity] = []
        self.boots, self.tickets = count(1), count(1)
        self.dead: list[Worker] = []
        self.workers = [self.born() for _ in range(3)]

    def wait(self, work: Awaitable[T]) -> T:
        async def waited() -> T:
            return await work

        return self.runner.run(waited())

    async def ledger(self, tenant: str) -> Rebuilt:
        assert tenant == "acme"
        sums: dict[str, int] = defaultdict(int)
        shares: dict[str, dict[str, int]] = defaultdict(dict)
        for (boot, name), amount in self.books.items():
            sums[name] += amount
            shares[boot][name] = amount
        return Rebuilt(sums, shares, dict.fromkeys(LIMITS, ENDS_S))

    def born(self) -> Worker:
        async def made() -> Worker:
            return Worker(f"b{next(self.boots)}", self.url, self)

        return self.runner.run(made())

    def flush(self, *words: str) -> None:
        for server in self.server.masters:
            server.say(*words)

    def raw(self, *words: Any) -> Any:
        worker = self.workers[0]
        return self.wait(worker.link.ask(*words))

    @initialize()
    def begin(self) -> None:
        self.rebuilt()

    def rebuilt(self) -> None:
        """The first call finds no counters; while all say what they hold, nobody gets a lease."""
        for worker in self.workers:
            self.refused(worker)
            self.wait(worker.bank.sweep())
        assert self.raw("HDEL", "gw:{acme}:epoch", "grace")
        self.oracle.rebuild(self.books, [worker.boot for worker in self.workers])

    def refused(self, worker: Worker) -> None:
        """On a busy machine a rebuild lasts longer than a caller waits for it: then it is asked for once more."""
        said = ""
        for _ in range(100):
            with pytest.raises(BankAway) as away:
                self.wait(worker.bank.lease("acme", f"t{next(self.tickets)}", []))
            said = str(away.value)
            if "say what they hold" in said:
                return
        pytest.fail(f"no rebuild has ended: {said}")

    @rule(
        who=WHO,
        asked=st.dictionaries(COUNTERS, st.tuples(st.integers(1, 700), st.integers(0, 400)), min_size=1),
        again=st.booleans(),
    )
    def lease(self, who: int, asked: dict[str, tuple[int, int]], again: bool) -> None:
        worker = self.workers[who]
        wants = [Want(name, LIMITS[name], need, need + more, ENDS_S) for name, (need, more) in asked.items()]
        ticket = f"t{next(self.tickets)}"
        answer = self.wait(worker.bank.lease("acme", ticket, wants))
        assert answer == self.oracle.lease(worker.boot, wants)
        if isinstance(answer, Denied):
            return
        if again:
            assert self.wait(worker.bank.lease("acme", ticket, wants)) == answer
        for grant in answer:
            worker.credit[grant.counter] += grant.amount

    @rule(who=WHO, counter=COUNTERS, need=st.integers(1, 500), answer=ANSWERS)
    def a_lease_whose_answer_is_lost(self, who: int, counter: str, need: int, answer: str) -> None:
        worker = self.workers[who]
        wants = [Want(counter, LIMITS[counter], need, need, ENDS_S)]
        worker.link.plan = answer
        try:
            got = self.wait(worker.bank.lease("acme", f"t{next(self.tickets)}", wants))
        except BankAway:
            assert answer != "lost"
            self.never_oversold()
            self.wait(worker.bank.lease("acme", "ping", []))
        else:
            assert answer == "lost"
            assert got == self.oracle.lease(worker.boot, wants)
            for grant in [] if isinstance(got, Denied) else got:
                worker.credit[grant.counter] += grant.amount

    @rule(who=WHO, counter=COUNTERS, percent=st.integers(1, 100))
    def spend(self, who: int, counter: str, percent: int) -> None:
        worker = self.workers[who]
        amount = worker.credit[counter] * percent // 100
        worker.credit[counter] -= amount
        worker.spent[counter] += amount
        self.books[worker.boot, counter] = worker.spent[counter]

    @rule(who=WHO, names=st.sets(COUNTERS, min_size=1), keep=st.integers(0, 100), answer=ANSWERS | st.none())
    def report(self, who: int, names: set[str], keep: int, answer: str | None) -> None:
        worker = self.workers[who]
        for name in names:
            worker.credit[name] = worker.credit[name] * keep // 100
        standings = [worker.standing(name) for name in sorted(names)]
        worker.link.plan = answer or ""
        if answer not in (None, "lost"):
            with pytest.raises(BankAway):
                self.wait(worker.bank.report("acme", standings))
            self.never_oversold()
        assert self.reported(worker, standings) == self.oracle.report(worker.boot, standings)

    def reported(self, worker: Worker, standings: list[Standing]) -> Sequence[Total]:
        """A process that meets counters which it did not know says its figures anew."""
        try:
            return self.wait(worker.bank.report("acme", standings))
        except BankAway as away:
            if "anew" not in str(away):
                raise
        return self.wait(worker.bank.report("acme", standings))

    @rule(who=WHO, back=st.booleans(), acknowledged=st.booleans())
    def a_worker_stops(self, who: int, back: bool, acknowledged: bool) -> None:
        """SIGSTOP long enough, or SIGKILL: another one takes its credit in. It may come back."""
        worker, other = self.workers[who], self.workers[(who + 1) % 3]
        if not self.raw("ZSCORE", ALIVE, worker.boot):
            return
        self.wait(other.bank.sweep())
        self.raw("ZADD", ALIVE, 1, worker.boot)
        expected = self.oracle.expire(worker.boot)
        self.taken(other, worker, expected, acknowledged=acknowledged)
        if back:
            names = sorted(LIMITS)
            standings = [worker.standing(name) for name in names]
            assert self.reported(worker, standings) == self.oracle.report(worker.boot, standings)
            self.wait(worker.bank.sweep())
        else:
            self.dead.append(worker)
            self.workers[who] = self.born()

    def taken(self, other: Worker, dead: Worker, expected: dict[str, int], *, acknowledged: bool) -> None:
        found = self.wait(other.bank.sweep())
        assert {(one.boot, one.counter): one.amount for one in found} == {
            (dead.boot, name): amount for name, amount in expected.items()
        }
        assert not self.wait(other.bank.sweep())
        if not acknowledged:
            for one in found:
                assert self.raw("HSET", "gw:{acme}:x", f"{one.boot}|{one.counter}", f"{one.amount}:0") == 0
            told = self.wait(other.bank.sweep())
            assert sorted(map(repr, told)) == sorted(map(repr, found))
        self.wait(other.bank.acknowledge(found))
        assert self.raw("HLEN", "gw:{acme}:x") == 0

    @rule(at=st.integers(0, 5), twice=st.booleans())
    def finalise(self, at: int, twice: bool) -> None:
        if not self.dead:
            return
        worker = self.dead.pop(at % len(self.dead))
        standings = [Standing(n, amount, 0, LIMITS[n], ENDS_S) for n, amount in worker.spent.items()]
        for _ in range(1 + twice):
            self.wait(self.workers[0].bank.finalise("acme", worker.boot, standings))
        self.oracle.finalise(worker.boot, worker.spent)
        self.wait(worker.link.close())

    @rule()
    def scripts_are_flushed(self) -> None:
        self.flush("SCRIPT", "FLUSH")

    @rule()
    def everything_is_flushed(self) -> None:
        self.flush("FLUSHALL")
        self.rebuilt()

    @rule(who=WHO)
    def writes_are_lost_in_a_failover(self, who: int) -> None:
        """The promoted replica has not seen the last report, nor has it forgotten what is older."""
        worker = self.workers[who]
        before = {key: self.raw("DUMP", key) for key in self.keys()}
        self.reported(worker, [worker.standing(name) for name in LIMITS])
        for key in self.keys():
            self.raw("DEL", key)
        for key, dump in before.items():
            self.raw("RESTORE", key, 0, dump)
        self.refused(worker)
        self.oracle.report(worker.boot, [worker.standing(name) for name in LIMITS])
        self.rebuilt()

    def keys(self) -> list[str]:
        return [key.decode() for server in self.server.masters for key in server.say("KEYS", "gw:{acme}:*")]

    @invariant()
    def never_oversold(self) -> None:
        for name, limit in LIMITS.items():
            posted, leased = self.figures(name)
            assert posted + leased <= limit, "I1"
            out = sum(worker.credit[name] for worker in self.workers)
            assert out + sum(worker.spent[name] for worker in [*self.workers, *self.dead]) <= limit, "I1"

    @invariant()
    def as_the_oracle_says(self) -> None:
        for name in LIMITS:
            assert self.figures(name) == (self.oracle.posted[name], self.oracle.leased(name)), "I2"
        assert not self.odd

    def figures(self, counter: str) -> tuple[int, int]:
        found = self.raw("HGETALL", f"gw:{{acme}}:c:{counter}")
        if not found or found[b"v"] != self.raw("HGET", "gw:{acme}:epoch", "id"):
            return 0, 0
        credits_ = [int(value) for key, value in found.items() if key.startswith(b"c:")]
        assert sum(credits_) == int(found[b"l"]), "I2"
        return int(found[b"p"]), int(found[b"l"])

    def teardown(self) -> None:
        for worker in [*self.workers, *self.dead]:
            self.wait(worker.bank.close())
            self.wait(worker.link.close())
        self.runner.close()


@pytest.fixture(scope="module", params=["single", "cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with served(request.param) as made:
        yield made


def run(server: Any, examples: int) -> None:
    machine = type("Machine", (BankMachine,), {"server": server, "url": server.url})
    play(machine, examples)


def test_i1_i2_i3_i6_the_shared_bank_is_its_oracle_in_any_order(server: Any) -> None:
    run(server, 50)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_i1_i2_i3_i6_the_shared_bank_is_its_oracle_for_long(server: Any) -> None:
    run(server, 500)
