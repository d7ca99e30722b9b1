"""Credit on budget counters, against a pure oracle: nothing oversold, nothing lost, nothing taken from others."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.domain.budget import Budget, Claim, Crossing, Mode, Shortage, StoreAway, Unit
from gateway.domain.hold import TRANSITIONS, HoldEvent, HoldState
from gateway.domain.period import Period
from gateway.ports import BankAway, Denied, Grant, Standing, Total, Want
from gateway.stores.account import FORGET_S
from gateway.stores.accounts import REPORTS_AT_ONCE, SWEEP_S, AccountHold, CreditAccounts
from gateway.stores.bank import OwnBank
from tests.clock import ToldClock
from tests.machines import play

DAY = Budget("day", "acme", 1_000, Unit.NANO_USD, Period.DAY)
MONTH = Budget("month", "acme", 5_000, Unit.NANO_USD, Period.MONTH, when_short=DAY.when_short)
TOKENS = Budget("tokens", "acme", 300, Unit.TOKENS, Period.HOUR)


class House:
    def __init__(self) -> None:
        self.clock = ToldClock()
        self.crossings: list[Crossing] = []
        self.bank = OwnBank(self.clock)
        self.accounts = CreditAccounts(self.clock, self.bank, self.crossings.append, "boot")

    async def hold(self, *claims: Claim) -> AccountHold | Shortage:
        return await self.accounts.hold("acme", claims)

    async def held(self, *claims: Claim) -> AccountHold:
        hold = await self.hold(*claims)
        assert isinstance(hold, AccountHold)
        return hold


class SlowBank:
    """Answers reports when so many wait; `away` for one tenant."""

    def __init__(self, clock: ToldClock, together: int, away: str) -> None:
        self._bank = OwnBank(clock)
        self.lease = self._bank.lease
        self.barrier = asyncio.Barrier(together)
        self.away = away
        self.told: list[str] = []

    async def report(self, tenant: str, standings: Sequence[Standing]) -> Sequence[Total]:
        await self.barrier.wait()
        if tenant == self.away:
            raise BankAway(tenant)
        self.told.append(tenant)
        return await self._bank.report(tenant, standings)


async def test_the_bank_is_told_of_several_tenants_at_once_and_one_that_fails_stops_no_other() -> None:
    house = House()
    bank = SlowBank(house.clock, REPORTS_AT_ONCE, "t1")
    house.accounts.use(bank)
    budgets = [replace(DAY, id=f"b{number}", tenant=f"t{number}") for number in range(REPORTS_AT_ONCE)]
    for budget in budgets:
        hold = await house.accounts.hold(budget.tenant, [Claim(budget, budget.tenant, 100)])
        assert isinstance(hold, AccountHold)
        hold.dispatch()
        hold.settle(70, 0)
    async with asyncio.timeout(5):
        with pytest.raises(BankAway, match="t1"):
            await house.accounts.tend()
    assert sorted(bank.told) == ["t0", "t2", "t3"]
    bank.barrier, bank.away = asyncio.Barrier(1), ""
    await house.accounts.tend()
    assert bank.told[3:] == ["t1"], "the others were told before"
    for budget in budgets:
        assert await house.accounts.counted(budget, [budget.tenant]) == {budget.tenant: 70}


async def test_a_hold_takes_its_worst_case_and_gives_the_rest_back() -> None:
    house = House()
    hold = await house.held(Claim(DAY, "acme", 600))
    assert house.accounts.left(DAY, "acme") == 400
    hold.dispatch()
    assert hold.settle(250, 10) is False
    assert house.accounts.left(DAY, "acme") == 750


async def test_reg1_a_claim_beyond_what_is_left_is_refused_and_changes_nothing() -> None:
    house = House()
    await house.held(Claim(DAY, "acme", 600))
    short = await house.hold(Claim(MONTH, "acme", 600), Claim(DAY, "acme", 401))
    assert isinstance(short, Shortage)
    assert (short.claim.budget, short.left, short.spent, short.unspent) == (DAY, 400, 0, DAY.amount)
    assert house.accounts.left(MONTH, "acme") == 5_000


async def test_reg5_a_void_gives_back_its_own_hold_alone_and_only_once() -> None:
    house = House()
    mine, other = await house.held(Claim(DAY, "acme", 300)), await house.held(Claim(DAY, "acme", 300))
    mine.void()
    assert house.accounts.left(DAY, "acme") == 700
    with pytest.raises(AssertionError, match="I3"):
        mine.void()
    with pytest.raises(AssertionError, match="I3"):
        mine.settle(1, 1)
    assert other.state is HoldState.HELD


async def test_i10_first_requests_of_an_unknown_user_share_one_default_budget() -> None:
    house = House()
    each = Budget("each", "acme", 100, Unit.NANO_USD, Period.DAY, per="user")
    answers = await asyncio.gather(*(house.hold(Claim(each, "new", 30)) for _ in range(50)))
    assert sum(isinstance(answer, AccountHold) for answer in answers) == 3


async def test_a_charge_beyond_the_hold_is_applied_in_full_and_told_as_overrun() -> None:
    house = House()
    hold = await house.held(Claim(DAY, "acme", 100))
    hold.dispatch()
    assert hold.settle(1_500, 10) is True
    assert house.accounts.left(DAY, "acme") == 0
    assert isinstance(await house.hold(Claim(DAY, "acme", 1)), Shortage)


async def test_a_debt_is_counted_once_also_after_it_was_reported() -> None:
    house = House()
    hold = await house.held(Claim(DAY, "acme", 100))
    hold.dispatch()
    hold.settle(1_500, 10)
    await house.accounts.tend()
    raised = replace(DAY, amount=2_000)
    await house.held(Claim(raised, "acme", 500))
    assert isinstance(await house.hold(Claim(raised, "acme", 1)), Shortage)


async def test_what_running_requests_leave_over_pays_a_debt_first() -> None:
    house = House()
    small, long, cheap = [await house.held(Claim(TOKENS, "acme", amount)) for amount in (60, 100, 100)]
    for hold in (small, long, cheap):
        hold.dispatch()
    assert long.settle(0, 150)
    await house.accounts.tend()
    assert not cheap.settle(0, 10)
    assert isinstance(await house.hold(Claim(TOKENS, "acme", 81)), Shortage), "160 are spent and 60 are held of 300"
    await house.held(Claim(TOKENS, "acme", 80))


async def test_units_are_charged_each_in_their_own() -> None:
    house = House()
    hold = await house.held(Claim(DAY, "acme", 500), Claim(TOKENS, "acme", 200))
    hold.dispatch()
    hold.settle(90, 120)
    assert (house.accounts.left(DAY, "acme"), house.accounts.left(TOKENS, "acme")) == (910, 180)


async def test_a_new_window_begins_with_the_whole_amount_and_old_holds_settle_in_theirs() -> None:
    house = House()
    hold = await house.held(Claim(DAY, "acme", 900))
    house.clock.now_s += 86_400
    assert house.accounts.left(DAY, "acme") == 1_000
    hold.dispatch()
    hold.settle(900, 1)
    assert house.accounts.left(DAY, "acme") == 1_000


async def test_a_shadow_budget_counts_and_refuses_nothing() -> None:
    house = House()
    shadow = replace(DAY, mode=Mode.SHADOW)
    for _ in range(4):
        hold = await house.held(Claim(shadow, "acme", 400))
        hold.dispatch()
        hold.settle(400, 1)
    assert house.accounts.left(shadow, "acme") == 0
    assert [crossing.percent for crossing in house.crossings] == [50, 80, 95]


async def test_thresholds_are_told_once_each_in_a_window() -> None:
    house = House()
    for cost in (400, 150, 300, 100):
        hold = await house.held(Claim(DAY, "acme", cost))
        hold.dispatch()
        hold.settle(cost, 1)
    assert [(c.percent, c.spent) for c in house.crossings] == [(50, 550), (80, 850), (95, 950)]


async def test_thresholds_that_change_are_those_that_are_told_from_then_on() -> None:
    house = House()

    async def spend(budget: Budget, cost: int) -> list[tuple[int, int]]:
        hold = await house.held(Claim(budget, "acme", cost))
        hold.dispatch()
        hold.settle(cost, 1)
        told, house.crossings[:] = [(c.percent, c.spent) for c in house.crossings], []
        return told

    assert await spend(DAY, 850) == [(50, 850), (80, 850)]
    assert await spend(replace(DAY, thresholds=(90,)), 60) == [], "two were told, and there is one"
    assert await spend(replace(DAY, thresholds=(50, 80, 95, 99)), 80) == [(95, 990), (99, 990)]
    assert await spend(replace(DAY, amount=2_000), 10) == [(50, 1_000)], "of another amount each is told again"


async def test_a_hold_tells_what_is_left_of_the_tightest_of_its_budgets_in_dollars() -> None:
    house = House()
    hold = await house.held(Claim(MONTH, "acme", 600), Claim(DAY, "acme", 600), Claim(TOKENS, "acme", 10))
    assert hold.left_nano_usd() == 400
    hold.dispatch()
    hold.settle(100, 10)
    assert hold.left_nano_usd() == 900
    assert (await house.held(Claim(TOKENS, "acme", 10))).left_nano_usd() is None


async def test_an_account_at_rest_is_forgotten_and_what_was_spent_on_it_is_not() -> None:
    house = House()
    run = Budget("runs", "acme", 1_000, Unit.NANO_USD, Period.LIFETIME, per="run")
    for name in map(str, range(100)):
        hold = await house.held(Claim(run, name, 900))
        hold.dispatch()
        hold.settle(600, 1)
    house.clock.now_s += FORGET_S
    for _ in range(2):
        await house.accounts.tend()
        house.clock.now_s += SWEEP_S
    assert not house.accounts._accounts
    house.crossings.clear()
    assert isinstance(await house.hold(Claim(run, "7", 401)), Shortage)
    hold = await house.held(Claim(run, "7", 400))
    hold.dispatch()
    hold.settle(300, 1)
    assert [(c.percent, c.spent) for c in house.crossings] == [(80, 900)], "50 percent were told before"
    assert await house.accounts.counted(run, ["7", "8"]) == {"7": 900, "8": 600}


@pytest.mark.parametrize("amount", [2_000, 700, 100])
async def test_a_changed_amount_holds_from_the_next_request_on(amount: int) -> None:
    house = House()
    hold = await house.held(Claim(DAY, "acme", 500))
    changed = replace(DAY, amount=amount)
    fits = amount - 500
    if fits > 0:
        (await house.held(Claim(changed, "acme", fits))).void()
    short = await house.hold(Claim(changed, "acme", max(0, fits) + 1))
    assert isinstance(short, Shortage)
    hold.void()
    assert house.accounts.left(changed, "acme") == amount


async def test_what_the_ledger_says_was_spent_before_counts() -> None:
    house = House()
    window = DAY.window(house.clock.wall_s())
    house.bank.open({DAY.counter("acme", window): 940}, window.ends_s)
    assert isinstance(await house.hold(Claim(DAY, "acme", 61)), Shortage)
    await house.held(Claim(DAY, "acme", 60))


class Away:
    def __init__(self, clock: ToldClock) -> None:
        self._bank = OwnBank(clock)
        self.report = self._bank.report
        self.away = False

    async def lease(self, tenant: str, ticket: str, wants: Sequence[Want]) -> Sequence[Grant] | Denied:
        if self.away:
            raise BankAway
        return await self._bank.lease(tenant, ticket, wants)


@pytest.mark.parametrize(
    ("policy", "fits", "beyond"),
    [(StoreAway.DENY, False, False), (StoreAway.LOCAL, True, False), (StoreAway.ALLOW, True, True)],
)
async def test_reg4_i9_with_the_bank_away_only_leased_credit_is_spent_unless_told_otherwise(
    policy: StoreAway, *, fits: bool, beyond: bool
) -> None:
    house = House()
    bank = Away(house.clock)
    accounts = CreditAccounts(house.clock, bank, house.crossings.append, "boot")
    budget = replace(DAY, store_away=policy)
    (await accounts.hold("acme", [Claim(budget, "acme", 10)])).void()  # type: ignore[union-attr]
    bank.away = True
    assert isinstance(await accounts.hold("acme", [Claim(budget, "acme", 1_001)]), AccountHold) is beyond
    answer = await accounts.hold("acme", [Claim(budget, "acme", 100)])
    assert isinstance(answer, AccountHold) is fits
    if isinstance(answer, Shortage):
        assert answer.store_away
    bank.away = False
    assert isinstance(await accounts.hold("acme", [Claim(budget, "acme", 1)]), AccountHold) is not beyond


def test_every_edge_of_the_life_of_a_hold() -> None:
    edges = {(state, event) for state in HoldState for event in HoldEvent if event in TRANSITIONS[state]}
    assert len(edges) == 9
    assert TRANSITIONS[HoldState.POSTED] == TRANSITIONS[HoldState.VOID] == {}


class Books(RuleBasedStateMachine):
    """Random requests over three budgets; the oracle is a dictionary of what is held and spent."""

    @initialize()
    def begin(self) -> None:
        self.house = House()
        self.loop = asyncio.new_event_loop()
        self.budgets = {b.id: b for b in (DAY, MONTH, TOKENS)}
        self.holds: list[tuple[AccountHold, list[tuple[str, str, int]]]] = []
        self.spent: dict[tuple[str, str], int] = {}

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def _key(self, budget: Budget) -> tuple[str, str]:
        return budget.id, budget.window(self.house.clock.wall_s()).id

    def _held(self, key: tuple[str, str]) -> int:
        return sum(amount for hold, parts in self.holds for name, window, amount in parts if (name, window) == key)

    @rule(
        wanted=st.lists(
            st.tuples(st.sampled_from(["day", "month", "tokens"]), st.integers(0, 700)),
            max_size=3,
            unique_by=lambda pair: pair[0],
        )
    )
    def hold(self, wanted: list[tuple[str, int]]) -> None:
        claims = [Claim(self.budgets[name], "acme", amount) for name, amount in wanted]
        fits = all(
            self.spent.get(self._key(c.budget), 0) + self._held(self._key(c.budget)) + c.amount <= c.budget.amount
            for c in claims
            if c.amount  # what takes nothing fits into a budget that was cut below what it has given, too
        )
        answer = self.loop.run_until_complete(self.house.accounts.hold("acme", claims))
        assert isinstance(answer, AccountHold) is fits, answer
        if isinstance(answer, AccountHold):
            self.holds.append((answer, [(*self._key(c.budget), c.amount) for c in claims]))

    @rule(data=st.data(), part=st.sampled_from([0, 30, 99, 100, 101, 130, 200]))
    def settle(self, data: st.DataObject, part: int) -> None:
        if self.holds:
            hold, parts = self.holds.pop(data.draw(st.integers(0, len(self.holds) - 1)))
            most = max((amount for _, _, amount in parts), default=0)
            cost = most * part // 100
            hold.dispatch()
            overrun = hold.settle(cost, cost)
            assert overrun is any(cost > amount for _, _, amount in parts)
            for name, window, _ in parts:
                self.spent[name, window] = self.spent.get((name, window), 0) + cost

    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        if self.holds:
            self.holds.pop(data.draw(st.integers(0, len(self.holds) - 1)))[0].void()

    @rule(seconds=st.sampled_from([1.0, 700.0, 3_000.0, 40_000.0]), tends=st.integers(0, 3))
    def pass_time(self, seconds: float, tends: int) -> None:
        """Who tends meanwhile forgets what is at rest."""
        for _ in range(tends):
            self.house.clock.now_s += seconds / tends
            self.tend()
        self.house.clock.now_s += seconds

    def seen(self, budget: Budget) -> None:
        """By a request that costs nothing: what is left of a budget is known to those who have asked for it."""
        answer = self.loop.run_until_complete(self.house.accounts.hold("acme", [Claim(budget, "acme", 0)]))
        if isinstance(answer, AccountHold):
            answer.void()

    @rule()
    def tend(self) -> None:
        self.loop.run_until_complete(self.house.accounts.tend())
        self.house.bank.prune()

    @rule(name=st.sampled_from(["day", "month", "tokens"]), amount=st.integers(1, 6_000))
    def change(self, name: str, amount: int) -> None:
        self.budgets[name] = replace(self.budgets[name], amount=amount)

    @invariant()
    def left_is_what_the_oracle_says(self) -> None:
        if not hasattr(self, "house"):
            return
        for budget in self.budgets.values():
            key = self._key(budget)
            left = budget.amount - self.spent.get(key, 0) - self._held(key)
            self.seen(budget)
            assert self.house.accounts.left(budget, "acme") == max(0, left)


def test_i1_i2_i3_the_accounts_are_their_oracle_in_any_order() -> None:
    play(Books, 60)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_i1_i2_i3_the_accounts_are_their_oracle_for_long() -> None:
    play(Books, 500)
