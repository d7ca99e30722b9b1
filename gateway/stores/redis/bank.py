"""Credit on counters that several processes share: the bank, kept in Redis, rebuilt from the ledger."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote, unquote

from gateway.domain.ledger import CORRECTIONS
from gateway.domain.value import value
from gateway.ports import BankAway, Denied, Grant, Standing, Total, Want
from gateway.stores.redis import scripts
from gateway.stores.redis.link import Link, ReplyLost, Script, Word
from gateway.stores.redis.rebuild import GRACE_S, Rebuilder, Rebuilt
from gateway.stores.redis.registry import LEASE_S, Registry

TICKET_KEPT_S = 60
CLAIM_S = 10
CHUNK = 200
AFTER_S = 3 * 86_400.0
"""A counter is kept that long after its window."""

BOOKED_S = 60.0
"""After that long the ledger has what was spent, also of a process that wrote it late."""

ROUNDS_MAX = 4
REBUILD_WAIT_S = 0.25

_log = logging.getLogger("meterway")


@value
class Expired:
    """Credit of a process that died: counted as spent until its journal says what it truly spent."""

    tenant: str
    boot: str
    counter: str
    amount: int


@value
class Oddity:
    """A figure that cannot be: `fell` spent less than before, `credit` more credit than was lent (`known`).

    It is taken in, as refusing it would only hide it; a counter with too much credit out lends nothing more.
    """

    tenant: str
    counter: str
    what: str
    said: int
    known: int


@dataclass(slots=True)
class _Book:
    """One tenant as this process knows it.

    `told` is what Redis has been told and has granted, so that it can be told again; `unsaid` has to be told before
    anything else, as Redis may have another figure for it. `spent_s` is since when no credit is left of a counter: it
    is told again only as long as the ledger may not have what was spent.
    """

    tenant: str
    name: str
    epoch: str = ""
    seen: int = 0
    registered: bool = False
    swept: bool = False
    told: dict[str, Standing] = field(default_factory=dict)
    unsaid: set[str] = field(default_factory=set)
    spent_s: dict[str, float] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    rebuilding: asyncio.Task[None] | None = None

    def key(self, *parts: str) -> str:
        return f"gw:{{{self.name}}}:{':'.join(parts)}"

    def counters(self, names: Iterable[str]) -> list[str]:
        return [self.key("c", name) for name in names]

    def follow(self, epoch: str) -> None:
        """Redis was rebuilt and knows nothing of the credit that is out."""
        self.epoch, self.seen = epoch, 0
        self.unsaid |= set(self.told)

    def remember(self, standing: Standing, now_s: float) -> None:
        name = standing.counter
        self.unsaid.discard(name)
        self.spent_s.pop(name, None)
        self.told[name] = standing
        if not standing.credit:
            self.spent_s[name] = now_s

    def forget(self, before_s: float) -> None:
        for name, at_s in list(self.spent_s.items()):
            if at_s >= before_s:
                return
            if name not in self.unsaid:
                del self.spent_s[name], self.told[name]


class RedisBank:
    """Implements ports.Bank. Calls of one tenant go out one after the other.

    Every call carries a number: what arrives after a later call changes nothing. Figures are absolute, and a lease
    whose answer was lost is taken back by telling again what is known here. `rebuild` reads a tenant's sums from the
    ledger. `alive` is how many processes there were when the store answered last.
    """

    def __init__(
        self,
        link: Link,
        boot: str,
        rebuild: Callable[[str], Awaitable[Rebuilt]],
        *,
        odd: Callable[[Oddity], None] | None = None,
        lease_s: float = LEASE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._link = link
        self._boot = boot
        self._odd = odd or _warn
        self._registry = Registry(link, boot, lease_s=lease_s)
        self._rebuilder = Rebuilder(link, self._registry, rebuild, grace_s)
        self._serial = count(1)
        self._now_s = link.clock.monotonic_s
        self._books: dict[str, _Book] = {}
        self.alive = 1

    async def lease(self, tenant: str, ticket: str, wants: Sequence[Want]) -> Sequence[Grant] | Denied:
        book = self._book(tenant)
        words: list[Word] = [TICKET_KEPT_S * 1000]
        for want in wants:
            words += (want.limit, want.need, want.wish, _ms(want.ends_s))
        keys = (book.key("k", self._boot, ticket), *book.counters(want.counter for want in wants))
        async with book.lock:
            await self._introduce(book)
            try:
                answer = await self._call(book, scripts.LEASE, keys, words)
            except (ReplyLost, asyncio.CancelledError):
                book.unsaid.update(want.counter for want in wants)
                raise
            if answer[0] == b"NO":
                _, index, left, spent = answer
                return Denied(wants[index].counter, left, spent)
            grants: list[Grant] = []
            figures = (answer[at : at + 4] for at in range(1, len(answer), 4))
            for want, (amount, spent, mine, credit) in zip(wants, figures, strict=True):
                grants.append(Grant(want.counter, amount, spent, mine))
                book.remember(Standing(want.counter, mine, credit, want.limit, want.ends_s), self._now_s())
            return grants

    async def report(self, tenant: str, standings: Sequence[Standing]) -> Sequence[Total]:
        book = self._book(tenant)
        known = book.epoch
        async with book.lock:
            await self._introduce(book)
            return await self._say(book, standings, known)

    async def first(self, tenant: str, counter: str, percent: int) -> bool:
        """Whether this process is the first of all that tells of a threshold. Raises BankAway."""
        book = self._book(tenant)
        return bool(await self._link.run(scripts.FIRST, (book.key("epoch"), book.key("c", counter)), (percent,)))

    async def before(self, tenant: str, spent: Mapping[str, tuple[int, float]]) -> None:
        """Amounts that were spent before their counters were there, and the ends of those. Raises BankAway."""
        book = self._book(tenant)
        names = sorted(spent)
        for at in range(0, len(names), CHUNK):
            part = names[at : at + CHUNK]
            words = [word for name in part for word in (spent[name][0], _ms(spent[name][1] + AFTER_S))]
            await self._link.run(scripts.BEFORE, (book.key("epoch"), *book.counters(part)), words)

    async def correct(self, tenant: str, amounts: Mapping[str, tuple[int, float]]) -> None:
        """All that was put right by entries of no process, by counter, and their ends; once more changes nothing.

        Counters that are being rebuilt learn it from the ledger. Raises BankAway.
        """
        book = self._book(tenant)
        names = sorted(amounts)
        for at in range(0, len(names), CHUNK):
            part = names[at : at + CHUNK]
            words: list[Word] = [CORRECTIONS]
            words += (word for name in part for word in (amounts[name][0], _ms(amounts[name][1] + AFTER_S)))
            await self._link.run(scripts.CORRECT, (book.key("epoch"), *book.counters(part)), words)

    async def sweep(self) -> list[Expired]:
        """Once a second, with jitter: says that this process lives, and takes in the credit of those that died.

        What it returns goes on record and is then acknowledged; if not, somebody is told of it again. Raises BankAway.
        """
        pulse = await self._registry.beat()
        self.alive = pulse.alive
        for one in self._books.values():
            one.forget(self._now_s() - BOOKED_S)
        registered = [book.name for book in self._books.values() if book.registered]
        if pulse.tenants < len(registered):
            for at in range(0, len(registered), CHUNK):
                await self._registry.register(registered[at : at + CHUNK])
        for name in pulse.rebuilt:
            book = self._books.get(unquote(name))
            if book is not None and book.told:
                async with book.lock:
                    await self._say(book, ())
        expired: list[Expired] = []
        for boot in pulse.dead:
            for name in await self._registry.tenants(boot):
                expired += await self._expire(unquote(name), boot)
        return expired

    async def acknowledge(self, expired: Sequence[Expired]) -> None:
        """All of it is on record. Raises BankAway."""
        by_boot: dict[tuple[str, str], list[str]] = {}
        for one in expired:
            by_boot.setdefault((one.tenant, one.boot), []).append(one.counter)
        for (tenant, boot), counters in by_boot.items():
            book = self._book(tenant)
            if not await self._link.run(scripts.ACKNOWLEDGE, (book.key("x"),), (boot, *counters)):
                await self._registry.done(boot, book.name)

    async def finalise(self, tenant: str, boot: str, standings: Sequence[Standing]) -> None:
        """What a dead process truly spent, from its journal: what was taken in for it is trued up, once.

        Counters that are not named were not charged by it beyond what it said. Raises BankAway.
        """
        book = self._book(tenant)
        for _ in range(ROUNDS_MAX):
            marked = set(await self._marked(book, boot)).difference(standing.counter for standing in standings)
            words: list[Word] = [boot]
            for standing in standings:
                words += (standing.spent, _ms(standing.ends_s))
            words += (-1, 0) * len(marked)
            names = [*(standing.counter for standing in standings), *marked]
            keys = (book.key("epoch"), book.key("w", boot), *book.counters(names))
            match (await self._link.run(scripts.FINALISE, keys, words))[0]:
                case b"OK":
                    return
                case b"EPOCH":
                    async with book.lock:
                        await self._rebuild(book)
        raise BankAway(f"the counters of {tenant!r} changed while {boot!r} was closed")

    async def close(self) -> None:
        """Waits for rebuilds that run; the link is its owner's to close."""
        running = [book.rebuilding for book in self._books.values() if book.rebuilding is not None]
        if running:
            await asyncio.wait(running, timeout=REBUILD_WAIT_S)
            for task in running:
                task.cancel()

    async def _introduce(self, book: _Book) -> None:
        if not book.registered:
            await self._registry.register((book.name,))
            book.registered = True

    async def _call(
        self, book: _Book, script: Script, keys: Sequence[str], words: Sequence[Word], known: str | None = None
    ) -> list[Any]:
        """Until it is answered with OK or NO: follows a rebuild and a sweep, begins a rebuild.

        Figures of what was spent are of the epoch that was `known` when they were made, and old after a rebuild:
        BankAway, so that they are said anew. The ledger may know more by then, and would seem to have known it before
        the process did.
        """
        for _ in range(ROUNDS_MAX):
            if book.unsaid or book.swept:
                await self._say_again(book)
            if known not in (None, book.epoch):
                raise BankAway(f"the counters of {book.tenant!r} were rebuilt: what was spent is to be said anew")
            answer = await self._once(book, script, keys, words)
            if answer[0] in (b"OK", b"NO"):
                return answer
            await self._heed(book, answer)
        raise BankAway(f"the counters of {book.tenant!r} are being rebuilt")

    async def _heed(self, book: _Book, answer: list[Any]) -> None:
        match answer[0]:
            case b"NEW":
                book.follow(answer[1].decode())
            case b"SWEPT":
                book.swept = True
                book.unsaid |= set(book.told)
            case b"EPOCH" | b"LOST":
                await self._rebuild(book)
            case b"GRACE":
                raise BankAway(f"the counters of {book.tenant!r} were rebuilt; processes say what they hold")
            case b"CLOSED":
                raise BankAway(f"the books of this process ({self._boot}) were closed, as it was thought dead")
            case other:
                raise BankAway(f"redis answered {other!r}: a later call came first")

    async def _once(self, book: _Book, script: Script, keys: Sequence[str], words: Sequence[Word]) -> list[Any]:
        """One numbered call; sent once more, under the same number, when its connection broke (R4)."""
        number = next(self._serial)
        keys = (book.key("epoch"), book.key("w", self._boot), *keys)
        said = (self._boot, book.epoch, number, book.seen, *words)
        try:
            answer: list[Any] = await self._link.run(script, keys, said)
        except ReplyLost as lost:
            if lost.late:
                raise
            answer = await self._link.run(script, keys, said)
        if answer[0] in (b"OK", b"NO"):
            book.seen = number
        return answer

    async def _say(self, book: _Book, standings: Sequence[Standing], known: str | None = None) -> list[Total]:
        totals: list[Total] = []
        for at in range(0, max(1, len(standings)), CHUNK):
            part = standings[at : at + CHUNK]
            answer = await self._call(book, scripts.REPORT, *_reported(book, part, again=False), known)
            self._tell_odd(book, part, answer[-1])
            for standing in part:
                book.remember(standing, self._now_s())
            totals += (Total(spent, lent) for spent, lent in zip(answer[1:-1:2], answer[2:-1:2], strict=True))
        return totals

    async def _say_again(self, book: _Book) -> None:
        """What was told before, for what is in doubt, or for all after a rebuild or a sweep."""
        rounds = ROUNDS_MAX
        while book.unsaid or book.swept:
            names = list(book.unsaid)[:CHUNK]
            part = [book.told.get(name) or Standing(name, 0, 0, 0, 0.0) for name in names]
            answer = await self._once(book, scripts.REPORT, *_reported(book, part, again=True))
            if answer[0] == b"OK":
                book.swept = False
                book.unsaid.difference_update(names)
                continue
            rounds -= 1
            if not rounds:
                raise BankAway(f"the counters of {book.tenant!r} are being rebuilt")
            await self._heed(book, answer)

    def _tell_odd(self, book: _Book, standings: Sequence[Standing], odd: Sequence[Any]) -> None:
        for index, what, known in odd:
            standing = standings[index]
            if what == b"fell":
                self._odd(Oddity(book.tenant, standing.counter, "fell", standing.spent, known))
            elif (before := book.told.get(standing.counter)) is not None and before.credit:
                self._odd(Oddity(book.tenant, standing.counter, "credit", standing.credit, known))

    async def _rebuild(self, book: _Book) -> None:
        """One rebuild at a time; whoever comes meanwhile waits for a moment only."""
        if book.rebuilding is None or book.rebuilding.done():
            book.rebuilding = asyncio.create_task(self._rebuilder.rebuild(book.tenant, book.name, book.epoch))
        done, _ = await asyncio.wait((book.rebuilding,), timeout=REBUILD_WAIT_S)
        if not done:
            raise BankAway(f"the counters of {book.tenant!r} are being rebuilt")
        book.rebuilding.result()

    async def _expire(self, tenant: str, boot: str) -> list[Expired]:
        book = self._book(tenant)
        for _ in range(ROUNDS_MAX):
            marked = await self._marked(book, boot)
            keys = (book.key("epoch"), book.key("w", boot), book.key("x"), *book.counters(marked))
            answer = await self._link.run(scripts.EXPIRE, keys, (boot, CLAIM_S * 1000))
            if answer[0] == b"OK":
                _, pending, *found = answer
                if not pending:
                    await self._registry.done(boot, book.name)
                pairs = zip(found[::2], found[1::2], strict=True)
                return [Expired(tenant, boot, name.decode(), amount) for name, amount in pairs]
            if answer[0] == b"EPOCH":
                break
        return []

    async def _marked(self, book: _Book, boot: str) -> list[str]:
        """Counters of which a process has credit, or had when it was swept."""
        fields = await self._link.ask("HKEYS", book.key("w", boot))
        return [field.decode()[2:] for field in fields if field.startswith(b"k:")]

    def _book(self, tenant: str) -> _Book:
        book = self._books.get(tenant)
        if book is None:
            book = self._books[tenant] = _Book(tenant, quote(tenant, safe=""))
        return book


def _reported(book: _Book, standings: Sequence[Standing], *, again: bool) -> tuple[list[str], list[Word]]:
    words: list[Word] = [int(again)]
    for standing in standings:
        words += (standing.spent, standing.credit, _ms(standing.ends_s))
    return book.counters(standing.counter for standing in standings), words


def _ms(wall_s: float) -> int:
    return int(min(wall_s, 1e11) * 1000)


def _warn(oddity: Oddity) -> None:
    _log.warning("a budget counter was reported wrongly: %r", oddity)
