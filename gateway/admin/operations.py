"""The gateway as it runs: targets and their health, what is in force, prices, and what a request would meet."""

import dataclasses
from collections.abc import Sequence

from starlette.responses import JSONResponse, Response

from gateway.admin import shapes
from gateway.admin.access import OPERATE, OWN_ADMIN, VIEW, Access
from gateway.admin.endpoint import Call, Endpoint, page
from gateway.admin.office import Office
from gateway.admin.problems import Problem, field, not_found
from gateway.admin.threads import in_thread
from gateway.config.problems import ConfigInvalid
from gateway.domain.budget import Claim, Unit
from gateway.domain.money import usd_text

READ = Access(VIEW)


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Operations(office)
    change, simulate, text = shapes.TargetChange, shapes.SimulateIn, shapes.ConfigText
    return [
        Endpoint(
            "GET", "/targets", READ, desk.targets, "Deployments and their health", says=shapes.TargetOut, many=True
        ),
        Endpoint("POST", "/targets/{id:path}", Access(OPERATE), desk.force, "Open, close or drain one", change),
        Endpoint("GET", "/prices", READ, desk.prices, "What each target costs"),
        Endpoint("GET", "/config", READ, desk.config, "The configuration in force, without secrets"),
        Endpoint("POST", "/config/validate", Access(OWN_ADMIN), desk.check, "Whether a text could be loaded", text),
        Endpoint("POST", "/config/reload", Access(OWN_ADMIN), desk.reload, "Read the file again; whole or not at all"),
        Endpoint("POST", "/simulate", READ, desk.simulate, "Which route, at what cost, would it fit", simulate),
    ]


class _Operations:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def targets(self, call: Call) -> Response:
        lines = [
            shapes.TargetOut(
                deployment=line.deployment,
                circuit=line.circuit,
                transitions=line.transitions,
                in_flight=line.in_flight,
                pause=line.pause,
                pause_left_s=line.pause_left_s,
                drained=line.pause == "drained",
            )
            for line in self._office.running.targets()
        ]
        return page(call, lines, None)

    async def force(self, call: Call) -> Response:
        given: shapes.TargetChange = call.body
        name = call.path("id")
        running = self._office.running
        if all(line.deployment != name for line in running.targets()):
            raise not_found("target", name)
        if self._office.directory is not None:
            line = self._office.line(call, given.state, "target", name, tenant=None)
            await self._office.change("target", name, lambda: self._office.store.note(line))
        if not running.force(name, given.state):
            raise not_found("target", name)  # a reload has taken it away meanwhile
        return JSONResponse({"deployment": name, "state": given.state})

    async def prices(self, call: Call) -> Response:
        del call
        now_s = self._office.clock.wall_s()
        told: dict[str, object] = {}
        for route in self._office.running.catalog().routes.values():
            for deployment in route.deployments:
                price = deployment.price_at(now_s)
                told[deployment.target] = None if price is None else _price(price)
        return JSONResponse(told)

    async def config(self, call: Call) -> Response:
        del call
        return JSONResponse(self._office.running.effective())

    async def check(self, call: Call) -> Response:
        """Nothing changes by it."""
        given: shapes.ConfigText = call.body
        try:
            warnings = await in_thread(lambda: self._office.running.check(given.text))
        except ConfigInvalid as error:
            errors = [field(one.where or "text", f"{one}; {one.remedy}") for one in error.problems]
            raise Problem(422, "Invalid", "the configuration cannot be loaded", errors=errors) from None
        return JSONResponse({"valid": True, "warnings": [f"{one}; {one.remedy}" for one in warnings]})

    async def reload(self, call: Call) -> Response:
        problems = list(self._office.running.reload())
        if self._office.directory is not None and not problems:
            line = self._office.line(call, "reload", "config", "file", tenant=None)
            await self._office.change("config", "file", lambda: self._office.store.note(line))
        return JSONResponse({"in_force": not problems, "problems": problems}, 422 if problems else 200)

    async def simulate(self, call: Call) -> Response:
        """At each target of the route and of its fallbacks, by the prices, the health and the books of this moment."""
        given: shapes.SimulateIn = call.body
        running, sums = self._office.running, self._office.books.sums
        routes = running.catalog().routes
        if given.model not in routes:
            raise not_found("model", given.model)
        await self._office.settled()
        foreseen = await running.foresee(given, sums)
        if foreseen is None:
            raise not_found("tenant", given.tenant) if given.key is None else not_found("key", given.key)
        health = {line.deployment: line.pause or line.circuit for line in running.targets()}
        shown = [
            {
                "route": name,
                "deployment": deployment.id,
                "priority": deployment.priority,
                "at_most_usd": _usd(foreseen.costs[deployment.id]),
                "health": health.get(deployment.id),
            }
            for name in (given.model, *routes[given.model].fallback_models)
            for deployment in (routes[name].deployments if name in routes else ())
        ]
        refusal, held = foreseen.refusal, foreseen.held
        return JSONResponse(
            {
                "admitted": refusal is None,
                "refused": None if refusal is None else {"code": refusal.code, "message": str(refusal)},
                "output_limit": held.output_limit if held is not None and held.clamped else None,
                "targets": shown,
                "budgets": [_claim(claim, left) for claim, left in foreseen.claims],
            }
        )


def _claim(claim: Claim, left: int) -> dict[str, object]:
    """In the budget's unit."""
    budget = claim.budget
    usd = budget.unit is Unit.NANO_USD
    needs, rest = (_usd(amount) if usd else amount for amount in (claim.amount, left))
    told = {"budget": budget.id, "for": budget.per, "of": claim.who, "mode": budget.mode.value}
    return {**told, "unit": "usd" if usd else "tokens", "needs": needs, "left": rest, "fits": claim.amount <= left}


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else usd_text(nano_usd)


def _price(price: object) -> dict[str, object]:
    """Every part that is set, in USD for each million tokens."""
    plain = {field.name: getattr(price, field.name) for field in dataclasses.fields(price)}  # type: ignore[arg-type]
    told: dict[str, object] = {"id": plain.pop("id"), "per_request_usd": f"{shapes.usd(plain.pop('per_request')):f}"}
    for name in ("simple", "dearest", "tiers"):
        plain.pop(name, None)
    return told | {f"{name}_usd_per_million": f"{shapes.usd(x):f}" for name, x in plain.items() if x is not None}
