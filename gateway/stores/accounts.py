"""What this process may still spend: budget counters with credit from the bank, and the holds of running requests."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from gateway.domain.budget import Budget, Claim, Crossing, Mode, Shortage, StoreAway, Unit
from gateway.domain.hold import TRANSITIONS, HoldEvent, HoldState
from gateway.ports import Accounts, Bank, BankAway, Clock, Denied, Hold, Want
from gateway.stores.account import Account

LEASES_MAX = 4
REPORTS_AT_ONCE = 4
"""So many tenants side by side: requests need connections to the bank too."""

ASKED_AT_ONCE = 200

SWEEP_S = 30.0

Parts = list[tuple[Account, Claim]]
"""Of one request."""


class AccountHold(Hold):
    """Over the accounts of one request."""

    __slots__ = ("_books", "_parts", "state")

    def __init__(self, books: "CreditAccounts", parts: Parts) -> None:
        self._books = books
        self._parts = parts
        self.state = HoldState.HELD

    def dispatch(self) -> None:
        self._move(HoldEvent.DISPATCH)

    def settle(self, cost_nano_usd: int, tokens: int) -> bool:
        self._move(HoldEvent.SETTLE)
        overrun = False
        for account, claim in self._parts:
            amount = claim.amount
            charge = cost_nano_usd if account.budget.unit is Unit.NANO_USD else tokens
            assert charge >= 0, f"I7: {charge} would take spending on {account.name} back"
            overrun = overrun or charge > amount
            account.held -= amount
            account.running -= 1
            assert account.held >= 0, f"I2: {account.name} holds less than its requests"
            account.credit += amount - charge
            account.spent += charge
            self._books.charged(account)
        return overrun

    def void(self) -> None:
        self._move(HoldEvent.VOID)
        for account, claim in self._parts:
            account.held -= claim.amount
            account.running -= 1
            assert account.held >= 0, f"I2: {account.name} holds less than its requests"
            account.credit += claim.amount
            self._books.touched(account)

    def left_nano_usd(self) -> int | None:
        least: int | None = None
        for account, _ in self._parts:
            if account.budget.unit is Unit.NANO_USD and (least is None or account.left < least):
                least = account.left
        return least

    def _move(self, event: HoldEvent) -> None:
        following = TRANSITIONS[self.state].get(event)
        assert following is not None, f"I3: a hold that is {self.state.value} cannot {event.value}"
        self.state = following


class CreditAccounts(Accounts):
    """A request waits for the bank only when the credit here does not cover it.

    `told` hears of each threshold once; `boot` makes the tickets of this process unique.
    """

    def __init__(self, clock: Clock, bank: Bank, told: Callable[[Crossing], None], boot: str) -> None:
        self._clock = clock
        self._bank = bank
        self._told = told
        self._boot = boot
        self._serial = count(1)
        self._accounts: dict[tuple[str, str], Account] = {}
        self._past: set[Account] = set()
        self._dirty: set[Account] = set()
        self._keeping: set[Account] = set()
        self._swept_s = 0.0
        self._locks: dict[str, asyncio.Lock] = {}
        self._away = False

    def use(self, bank: Bank) -> None:
        """Another bank, before anything was leased."""
        self._bank = bank

    def hold_now(self, tenant: str, claims: Sequence[Claim]) -> AccountHold | None:
        parts = self._parts(claims)
        if not self._covered(parts) or (self._away and _denies(parts)):
            return None
        return self._taken(tenant, parts)

    async def hold(self, tenant: str, claims: Sequence[Claim]) -> AccountHold | Shortage:
        held = self.hold_now(tenant, claims)
        if held is not None:
            return held
        short = await self._borrow(tenant, claims)
        return self._taken(tenant, self._parts(claims)) if short is None else short

    def _taken(self, tenant: str, parts: Parts) -> AccountHold:
        for account, claim in parts:
            account.credit -= claim.amount
            account.held += claim.amount
            account.running += 1
            budget = account.budget
            assert budget.tenant == tenant, f"I8: {account.name} is not of {tenant}"
            paid = account.credit >= 0 or not claim.amount or budget.mode is Mode.SHADOW or self._may_owe(budget)
            assert paid, f"I1, I9, I10: {account.name} is sold beyond its credit"
        return AccountHold(self, parts)

    def _may_owe(self, budget: Budget) -> bool:
        return self._away and budget.store_away is StoreAway.ALLOW

    def charge(self, budget: Budget, who: str, amount: int) -> None:
        """What was spent here before the budget was known; the bank hears of it as of a debt."""
        account = self._account(budget, who, self._clock.wall_s())
        account.credit -= amount
        account.spent += amount
        self.charged(account)

    def left(self, budget: Budget, who: str) -> int:
        return self._account(budget, who, self._clock.wall_s()).left

    async def counted(self, budget: Budget, whose: Iterable[str]) -> dict[str, int]:
        """What all processes have spent in the current window, as the bank says; of those that are known here too.

        Raises BankAway.
        """
        now_s = self._clock.wall_s()
        window = budget.window(now_s)
        async with self._lock(budget.tenant):
            here = {a.who: a for a in self._accounts.values() if a.budget.id == budget.id and a.window == window}
            accounts = [here.get(who) or Account(budget, who, window, now_s) for who in sorted({*here, *whose})]
            await self._say(budget.tenant, accounts)
        return {account.who: account.total for account in accounts}

    def touched(self, account: Account) -> None:
        """Its standing is no longer what the bank was told."""
        self._dirty.add(account)

    def charged(self, account: Account) -> None:
        """Something was spent on it."""
        self._dirty.add(account)
        self._tell(account)

    def _tell(self, account: Account) -> None:
        """Of the thresholds that the account has crossed, each once."""
        while (percent := account.passed()) is not None:
            self._told(Crossing(account.budget, account.who, account.window, percent, account.total))

    async def tend(self) -> None:
        """Reports what was spent, gives idle credit back and forgets what has ended. Raises BankAway."""
        now_s = self._clock.wall_s()
        self._sweep(now_s)
        self._dirty.update(account for account in self._keeping if account.idle(now_s))
        by_tenant: dict[str, list[Account]] = {}
        for account in self._dirty:
            by_tenant.setdefault(account.budget.tenant, []).append(account)
        tenants = list(by_tenant.items())
        for at in range(0, len(tenants), REPORTS_AT_ONCE):
            reports = [self._report(tenant, accounts) for tenant, accounts in tenants[at : at + REPORTS_AT_ONCE]]
            for error in filter(None, await asyncio.gather(*reports, return_exceptions=True)):
                raise error
        self._past = {account for account in self._past if account.held}
        self._locks = {tenant: lock for tenant, lock in self._locks.items() if lock.locked()}

    async def give_back(self) -> None:
        """At the end: all that is free goes back to the bank. Raises BankAway."""
        for account in list(self._accounts.values()):
            self._put_aside(account)
        await self.tend()

    def _sweep(self, now_s: float) -> None:
        """Puts aside the accounts that have ended, and forgets those at rest."""
        if abs(now_s - self._swept_s) < SWEEP_S:
            return
        self._swept_s = now_s
        for account in list(self._accounts.values()):
            if account.ends_s <= now_s:
                self._put_aside(account)
            elif account.at_rest(now_s) and account not in self._dirty:
                del self._accounts[account.budget.id, account.who]

    def _put_aside(self, account: Account) -> None:
        del self._accounts[account.budget.id, account.who]
        self._past.add(account)
        self._dirty.add(account)

    def _parts(self, claims: Sequence[Claim]) -> Parts:
        now_s = self._clock.wall_s()
        return [(self._account(claim.budget, claim.who, now_s), claim) for claim in claims]

    def _account(self, budget: Budget, who: str, now_s: float) -> Account:
        key = (budget.id, who)
        account = self._accounts.get(key)
        if account is not None and (now_s >= account.window.ends_s or not account.counts_as(budget)):
            self._put_aside(account)
            account = None
        if account is None:
            account = self._accounts[key] = Account(budget, who, budget.window(now_s))
        account.used_s = now_s
        return account

    def _covered(self, parts: Parts) -> bool:
        """Whether the credit here is enough, under the budgets as they are now. Shadow budgets may go into debt."""
        for account, claim in parts:
            if account.budget is not claim.budget:
                if account.budget.amount != claim.budget.amount:
                    return False
                account.budget = claim.budget
            if not account.known or _is_short(account, claim):
                return False
        return True

    async def _borrow(self, tenant: str, claims: Sequence[Claim]) -> Shortage | None:
        """None once the credit covers the claims; one borrower at a time for each tenant."""
        async with self._lock(tenant):
            parts = self._parts(claims)
            for _ in range(LEASES_MAX):
                try:
                    await self._recall(tenant, parts)
                    if not self._away and self._covered(parts):
                        return None
                    denied = await self._lease(tenant, parts)
                    self._away = False
                except BankAway:
                    self._away = True
                    return self._without_bank(parts)
                if denied is not None:
                    return denied
            return None if self._covered(parts) else _shortage(parts)

    async def _recall(self, tenant: str, parts: Parts) -> None:
        """A budget was changed: all free credit goes back, so that the next lease follows the new amount."""
        changed: list[Account] = []
        for account, claim in parts:
            if account.budget is not claim.budget:
                if account.budget.amount != claim.budget.amount:
                    changed.append(account)
                    account.credit = -account.held  # what they leave over is free only within the new amount
                    account.begin_anew()
                account.budget = claim.budget
        if changed:
            await self._say(tenant, changed)

    async def _lease(self, tenant: str, parts: Parts) -> Shortage | None:
        wants: list[Want] = []
        short: list[tuple[Account, Claim]] = []
        for account, claim in parts:
            if _is_short(account, claim):
                need = claim.amount - account.credit
                wants.append(Want(account.name, claim.budget.amount, need, account.wish(need), account.ends_s))
                short.append((account, claim))
            elif not account.known:
                wants.append(_question(account))
                short.append((account, claim))
        answer = await self._bank.lease(tenant, self._ticket(), wants)
        if isinstance(answer, Denied):
            for account, claim in short:
                if account.name == answer.counter:
                    account.others = answer.spent - account.reported
                    self._dirty.add(account)  # less is left than was known: what it keeps may be too much
                    return Shortage(claim, account.window, max(0, account.credit + answer.left), account.total)
            raise AssertionError("I6: the bank denied a counter that it was not asked for")
        for (account, _), grant in zip(short, answer, strict=True):
            account.learn(grant)
            self._dirty.add(account)
        return None

    def _ticket(self) -> str:
        return f"{self._boot}.{next(self._serial)}"

    def _without_bank(self, parts: Parts) -> Shortage | None:
        """What each budget says shall happen; `allow` goes into debt, which is reported when the bank is back."""
        for account, claim in parts:
            budget = claim.budget
            if budget.mode is Mode.SHADOW or budget.store_away is StoreAway.ALLOW:
                continue
            if budget.store_away is StoreAway.DENY or account.credit < claim.amount:
                return Shortage(claim, account.window, max(0, account.credit), account.total, store_away=True)
        return None

    async def _report(self, tenant: str, accounts: list[Account]) -> None:
        async with self._lock(tenant):
            now_s = self._clock.wall_s()
            for account in accounts:
                keep = 0 if account in self._past or account.idle(now_s) else account.wish(0)
                account.credit = min(account.credit, keep)
            self._dirty.difference_update(accounts)  # what changes while the bank is told makes them dirty again
            try:
                await self._say(tenant, accounts)
            except BaseException:
                self._dirty.update(accounts)
                raise
            self._keeping.difference_update(accounts)
            self._keeping.update(account for account in accounts if account.credit > 0)

    async def _say(self, tenant: str, accounts: list[Account]) -> None:
        """A debt ends here, as the bank knows now of all that was spent and lends only what is truly left. Not as long
        as more is spent and lent than there is: what this process's running requests leave over pays it first.
        """
        await self._ask(tenant, [account for account in accounts if not account.known])
        standings = [account.standing() for account in accounts]
        debts = [min(0, account.credit) for account in accounts]
        totals = await self._bank.report(tenant, standings)
        for account, standing, debt, total in zip(accounts, standings, debts, totals, strict=True):
            account.reported = standing.spent
            account.others = total.spent - standing.spent
            lasting = max(debt, -standing.credit, min(0, account.budget.amount - total.spent - total.lent))
            account.credit += lasting - debt
            if lasting:
                self._dirty.add(account)
            self._tell(account)

    async def _ask(self, tenant: str, accounts: list[Account]) -> None:
        """What was spent on them by this boot before they were there."""
        for at in range(0, len(accounts), ASKED_AT_ONCE):
            part = accounts[at : at + ASKED_AT_ONCE]
            answer = await self._bank.lease(tenant, self._ticket(), [_question(account) for account in part])
            assert not isinstance(answer, Denied), "I6: who needs nothing is denied nothing"
            for account, grant in zip(part, answer, strict=True):
                account.learn(grant)

    def _lock(self, tenant: str) -> asyncio.Lock:
        lock = self._locks.get(tenant)
        if lock is None:
            lock = self._locks[tenant] = asyncio.Lock()
        return lock


def _is_short(account: Account, claim: Claim) -> bool:
    return 0 < claim.amount > account.credit and claim.budget.mode is Mode.ENFORCE


def _question(account: Account) -> Want:
    return Want(account.name, account.budget.amount, 0, 0, account.ends_s)


def _shortage(parts: Parts) -> Shortage:
    """Other requests took what the bank gave, each time: the first claim that is not covered."""
    for account, claim in parts:
        if _is_short(account, claim):
            return Shortage(claim, account.window, max(0, account.credit), account.total)
    raise AssertionError("every claim is covered")


def _denies(parts: Parts) -> bool:
    return any(account.budget.store_away is StoreAway.DENY for account, _ in parts)
