"""What a request would meet: the path is walked up to its turnstiles, over a copy of the books."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from gateway.admin.office import Foreseen, Sums
from gateway.admin.shapes import SimulateIn
from gateway.app.doorkeeper import Doorkeeper
from gateway.domain.budget import Budget
from gateway.domain.catalog import Catalog
from gateway.domain.errors import GatewayError
from gateway.domain.request import Caller, Dialect, ModelRequest, Needs, Operation
from gateway.pipeline.admission import admit_now
from gateway.pipeline.desk import Desk
from gateway.pipeline.exchange import Exchange
from gateway.pipeline.worst_case import candidates, claims_of, worst_case
from gateway.stores.accounts import CreditAccounts
from gateway.stores.bank import OwnBank
from gateway.stores.quota import MemoryQuota
from gateway.stores.runs import MemoryRuns


class Foresight:
    """Nothing is sent, held or counted. What requests that run hold, and rates, are left out of account."""

    def __init__(self, desk: Desk, doorkeeper: Doorkeeper, catalog: Callable[[], Catalog]) -> None:
        self._desk = desk
        self._doorkeeper = doorkeeper
        self._catalog = catalog

    async def foresee(self, asked: SimulateIn, sums: Sums) -> Foreseen | None:
        """None where there is no such tenant, or no such key of it. `sums` blocks. Raises UnknownModel."""
        key = self._doorkeeper.caller(asked.tenant, asked.key)
        if key is None:
            return None
        clock = self._desk.clock
        now_s = clock.wall_s()
        accounts = await self._copied(key.tenant.budgets, now_s, sums)
        desk = replace(self._desk, accounts=accounts, quota=MemoryQuota(clock), runs=MemoryRuns())
        tags = tuple(asked.tags.items())
        caller = Caller(key, "", clock.monotonic_s(), now_s, run_id=asked.run, tags=tags)
        needs = Needs(input_tokens=asked.input_tokens, output_tokens=asked.output_tokens)
        request = ModelRequest(Operation.CHAT, Dialect.OPENAI, asked.model, {}, needs, user=asked.user)
        exchange = Exchange(desk, self._catalog(), caller, request)
        targets, booked = candidates(exchange.routes()), await exchange.dimensions()
        claims = claims_of(key.tenant.budgets, booked, worst_case(request, targets, desk.calibration, now_s))
        spent = [(await accounts.counted(claim.budget, [claim.who]))[claim.who] for claim in claims]
        held, refusal = None, None
        try:
            held = (await admit_now(desk, caller, booked, request, targets)).worst
        except GatewayError as error:
            refusal = error
        return Foreseen(
            costs={
                one.id: None
                if one.price_at(now_s) is None
                else worst_case(request, [one], desk.calibration, now_s).nano_usd
                for one in targets
            },
            claims=[(claim, max(0, claim.budget.amount - gone)) for claim, gone in zip(claims, spent, strict=True)],
            held=held,
            refusal=refusal,
        )

    async def _copied(self, budgets: tuple[Budget, ...], now_s: float, sums: Sums) -> CreditAccounts:
        bank = OwnBank(self._desk.clock)
        for budget in budgets:
            window = budget.window(now_s)
            spent = await asyncio.to_thread(sums, budget, window.starts_s, window.ends_s)
            bank.open({budget.counter(who, window): amount for who, amount in spent.items()}, window.ends_s)
        return CreditAccounts(self._desk.clock, bank, lambda _: None, "")
