"""What puts the books right: corrections by hand, by a price, and the comparison with what providers say."""

import hashlib
from collections.abc import Sequence
from datetime import date
from itertools import pairwise

from starlette.responses import JSONResponse, Response

from gateway.admin import shapes
from gateway.admin.access import OPERATE, OWN_ADMIN, VIEW, Access
from gateway.admin.endpoint import Call, Endpoint, shown
from gateway.admin.office import Office
from gateway.admin.problems import Problem, field, not_found
from gateway.admin.threads import in_thread
from gateway.config.prices import nano
from gateway.domain.budget import Unit
from gateway.domain.catalog import Deployment, Price
from gateway.domain.ledger import CORRECTIONS, Entry, EntryKind
from gateway.domain.money import cost_nano_usd
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.domain.tenancy import BudgetRow, TenantRow
from gateway.filing import Rerating, Span, UsagePrice
from gateway.ports import BankAway

NAME_CHARS = 100

Key = tuple[date | None, str]
Sums = tuple[int, int, int]


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Corrections(office)
    return [
        Endpoint(
            "GET",
            "/ledger/verify",
            Access(OPERATE),
            desk.verify,
            "Whether the books agree with themselves, and the counters with the books",
        ),
        Endpoint(
            "POST",
            "/ledger/adjust",
            Access(OWN_ADMIN),
            desk.adjust,
            "A correction by hand, as an entry of its own",
            shapes.AdjustIn,
            status=201,
        ),
        Endpoint(
            "POST",
            "/ledger/rerate",
            Access(OWN_ADMIN),
            desk.rerate,
            "What attempts of a model should have cost, as differences; again, it adds none",
            shapes.RerateIn,
            shapes.RerateOut,
        ),
        Endpoint(
            "POST",
            "/ledger/reconcile",
            Access(VIEW),
            desk.reconcile,
            "A provider's usage export beside what the books say",
            shapes.ReconcileIn,
            shapes.ReconcileOut,
        ),
    ]


class _Corrections:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def verify(self, call: Call) -> Response:
        del call
        await self._office.settled()
        wrong = list(await in_thread(self._office.books.verify))
        try:
            wrong += await self._office.astray()
        except BankAway as error:
            detail = f"the counters cannot be asked while the shared store is away: {error}; try again"
            raise Problem(503, "Store away", detail) from None
        return JSONResponse({"agree": not wrong, "differences": wrong})

    async def adjust(self, call: Call) -> Response:
        given: shapes.AdjustIn = call.body
        office = self._office
        who = await in_thread(self._adjusted, given)
        now_s = office.clock.wall_s()
        name = f"adjust:{office.new_key('id')[0]}"
        entry = Entry(
            attempt_id=name,
            kind=EntryKind.ADJUST,
            request_id=name,
            tenant=given.tenant,
            key_id="",
            reserved_at_s=now_s,
            posted_at_s=now_s,
            worker=CORRECTIONS,
            cost_nano_usd=nano(given.usd),
            provenance=Provenance.EXACT,
            budget_id=given.budget,
            budget_who=who,
            actor=call.principal.id,
            cause=given.cause,
        )
        line = office.line(call, "adjust", "ledger", name, tenant=given.tenant, after=given)

        def work() -> None:
            office.books.append([entry])
            office.store.note(line)

        await office.change("entry", name, work)
        await office.corrected(given.tenant)
        return JSONResponse({"attempt_id": name}, 201)

    def _adjusted(self, given: shapes.AdjustIn) -> str | None:
        """Whose account of which budget is meant, None for no budget of its own. Raises Problem."""
        if not given.usd:
            raise Problem(422, "Invalid", "nothing would change", errors=[field("usd", "is zero; say how much")])
        store = self._office.store
        if store.get(TenantRow, given.tenant) is None:
            raise not_found("tenant", given.tenant)
        if given.budget is None:
            if given.of is not None:
                raise Problem(422, "Invalid", "of what?", errors=[field("of", "is of a budget; name the budget")])
            return None
        row = store.get(BudgetRow, given.budget)
        if row is None or row.budget.tenant != given.tenant:
            raise not_found("budget", given.budget)
        if row.budget.unit is not Unit.NANO_USD:
            raise Problem(
                422, "Invalid", "not in dollars", errors=[field("budget", "is of tokens; dollars change nothing")]
            )
        if (row.budget.per == "tenant") != (given.of is None):
            words = f"this budget is for each {row.budget.per}; say for which" if given.of is None else "leave it out"
            raise Problem(422, "Invalid", "whose account?", errors=[field("of", words)])
        return given.of or given.tenant

    async def rerate(self, call: Call) -> Response:
        given: shapes.RerateIn = call.body
        office = self._office
        now_s = office.clock.wall_s()
        from_s, to_s = given.from_.timestamp(), now_s if given.to is None else given.to.timestamp()
        if to_s <= from_s:
            raise Problem(422, "Invalid", "nothing lies between", errors=[field("to", "does not lie behind from")])
        deployment = self._deployment(given.provider, given.model)
        await office.settled()
        # Prices are dated: each stretch of time has its own.
        edges = [from_s, *(at_s for at_s in _turns(deployment) if from_s < at_s < to_s), to_s]
        stretches = [(start_s, end_s, _priced_from(deployment, start_s)) for start_s, end_s in pairwise(edges)]
        line = office.line(call, "rerate", "ledger", f"{given.provider}/{given.model}", tenant=None, after=given)

        def work() -> int:
            count = 0
            for start_s, end_s, price in stretches:
                who = call.principal.id
                which = Rerating(given.provider, given.model, start_s, end_s, now_s, who, given.cause)
                count += office.books.rerate(which, price)
            office.store.note(line)
            return count

        count = await office.change("entry", given.model, work)
        await office.corrected(None)
        return shown(shapes.RerateOut(entries=count))

    async def reconcile(self, call: Call) -> Response:
        """By day where every row has one, else over the whole span; days are those of UTC."""
        given: shapes.ReconcileIn = call.body
        await self._office.settled()
        daily = all(row.day is not None for row in given.rows)
        theirs: dict[Key, Sums] = {}
        for row in given.rows:
            usd = 0 if row.usd is None else nano(row.usd)
            _add(theirs, (row.day if daily else None, row.model), (row.input_tokens, row.output_tokens, usd))
        ours = await in_thread(self._ours, given, daily)
        if daily and given.from_ is None and given.to is None:
            days = {day for day, _ in theirs}
            ours = {key: sums for key, sums in ours.items() if key[0] in days}
        with_usd = all(row.usd is not None for row in given.rows)
        lines = [
            _line(key, theirs.get(key, (0, 0, 0)), ours.get(key, (0, 0, 0)), with_usd=with_usd)
            for key in sorted({*theirs, *ours}, key=lambda key: (str(key[0]), key[1]))
        ]
        return shown(shapes.ReconcileOut(agree=all(line.agree for line in lines), lines=lines))

    def _ours(self, given: shapes.ReconcileIn, daily: bool) -> dict[Key, Sums]:
        from_s = 0.0 if given.from_ is None else given.from_.timestamp()
        to_s = 1e12 if given.to is None else given.to.timestamp()
        found: dict[Key, Sums] = {}
        groups = ("provider", "provider_model")
        for row in self._office.books.usage(Span(from_s=from_s, to_s=to_s), groups, "day" if daily else None):
            provider, model = (value for _, value in row.group)
            if provider == given.provider and model:
                day = None if row.bucket_s is None else shapes.at(row.bucket_s).date()
                _add(found, (day, model), (row.input_tokens, row.output_tokens, row.cost_nano_usd))
        return found

    def _deployment(self, provider: str, model: str) -> Deployment:
        for route in self._office.running.catalog().routes.values():
            for deployment in route.deployments:
                if (deployment.provider.name, deployment.model) == (provider, model):
                    return deployment
        raise not_found("target", f"{provider}/{model}")


def _turns(deployment: Deployment) -> list[float]:
    """When any of its prices changes."""
    dated = [deployment.later_prices, *deployment.service_prices.values()]
    return sorted({starts_s for prices in dated for starts_s, _ in prices})


def _priced_from(deployment: Deployment, wall_s: float) -> UsagePrice:
    """Raises Problem where the usual price is not known."""
    if deployment.price_at(wall_s) is None:
        detail = (
            f"{deployment.target!r} has no price at {shapes.at(wall_s):%Y-%m-%d}; add one to the configuration first"
        )
        raise Problem(409, "No price", detail)

    def priced(usage: Usage, service_tier: str | None) -> tuple[int, str]:
        price = deployment.price_at(wall_s, service_tier)
        if price is None:
            raise AssertionError("a tier without a price of its own has the usual one")
        return cost_nano_usd(price, usage), _name(price)

    return priced


def _name(price: Price) -> str:
    """By its figures too: a price that is put right twice under one name is two prices."""
    digest = hashlib.blake2b(repr(price).encode(), digest_size=6).hexdigest()
    return f"{price.id[:NAME_CHARS]}~{digest}"


def _add(sums: dict[Key, Sums], key: Key, more: Sums) -> None:
    have = sums.get(key, (0, 0, 0))
    sums[key] = (have[0] + more[0], have[1] + more[1], have[2] + more[2])


def _line(key: Key, theirs: Sums, ours: Sums, *, with_usd: bool) -> shapes.ReconcileLine:
    compared = 3 if with_usd else 2
    return shapes.ReconcileLine(
        day=key[0],
        model=key[1],
        theirs=_figures(theirs, with_usd=with_usd),
        ours=_figures(ours, with_usd=True),
        agree=theirs[:compared] == ours[:compared],
    )


def _figures(sums: Sums, *, with_usd: bool) -> shapes.Figures:
    usd = shapes.usd(sums[2]) if with_usd else None
    return shapes.Figures(input_tokens=sums[0], output_tokens=sums[1], usd=usd)
