"""The gateway as it runs: targets and their health, what is in force, prices, and what a request would meet."""

import dataclasses
from collections.abc import Sequence

from starlette.responses import JSONResponse, Response

from gateway.admin import shapes
from gateway.admin.access import OPERATE, OWN_ADMIN, VIEW, Access
from gateway.admin.endpoint import Call, Endpoint, page
from gateway.admin.office import Office
from gateway.admin.problems import not_found
from gateway.admin.threads import in_thread
from gateway.domain.budget import Unit
from gateway.domain.money import ceiling_nano_usd
from gateway.domain.tenancy import TenantRow

READ = Access(VIEW)


def endpoints(office: Office) -> Sequence[Endpoint]:
    desk = _Operations(office)
    change, simulate = shapes.TargetChange, shapes.SimulateIn
    return [
        Endpoint(
            "GET", "/targets", READ, desk.targets, "Deployments and their health", says=shapes.TargetOut, many=True
        ),
        Endpoint("POST", "/targets/{id:path}", Access(OPERATE), desk.force, "Open, close or drain one", change),
        Endpoint("GET", "/prices", READ, desk.prices, "What each target costs"),
        Endpoint("GET", "/config", READ, desk.config, "The configuration in force, without secrets"),
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
        if not self._office.running.force(name, given.state):
            raise not_found("target", name)
        if self._office.directory is not None:
            line = self._office.line(call, given.state, "target", name, tenant=None)
            await self._office.change("target", name, lambda: self._office.store.note(line))
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

    async def reload(self, call: Call) -> Response:
        problems = list(self._office.running.reload())
        if self._office.directory is not None and not problems:
            line = self._office.line(call, "reload", "config", "file", tenant=None)
            await self._office.change("config", "file", lambda: self._office.store.note(line))
        return JSONResponse({"in_force": not problems, "problems": problems}, 422 if problems else 200)

    async def simulate(self, call: Call) -> Response:
        """At each target of the route and of its fallbacks, by the prices and the health of this moment."""
        given: shapes.SimulateIn = call.body
        office = self._office
        routes = office.running.catalog().routes
        if given.model not in routes:
            raise not_found("model", given.model)
        row = await in_thread(office.store.get, TenantRow, given.tenant)
        if row is None:
            raise not_found("tenant", given.tenant)
        now_s = office.clock.wall_s()
        health = {line.deployment: line for line in office.running.targets()}
        route = routes[given.model]
        shown = []
        worst = 0
        for name in (route.name, *route.fallback_models):
            for deployment in routes[name].deployments if name in routes else ():
                price = deployment.price_at(now_s)
                cost = None if price is None else ceiling_nano_usd(price, given.input_tokens, given.output_tokens)
                worst = max(worst, cost or 0)
                line = health.get(deployment.id)
                shown.append(
                    {
                        "route": name,
                        "deployment": deployment.id,
                        "priority": deployment.priority,
                        "at_most_usd": None if cost is None else f"{shapes.usd(cost):f}",
                        "health": None if line is None else line.pause or line.circuit,
                    }
                )
        await office.settled()
        budgets = await in_thread(self._budgets, given, worst, now_s)
        allowed = not row.blocked and (not row.models or given.model in row.models)
        fits = allowed and all(one["fits"] or one["mode"] == "shadow" for one in budgets)
        return JSONResponse({"admitted": fits, "allowed": allowed, "targets": shown, "budgets": budgets})

    def _budgets(self, given: shapes.SimulateIn, worst: int, now_s: float) -> list[dict[str, object]]:
        """Whether the worst case fits into each budget of the tenant itself."""
        told: list[dict[str, object]] = []
        for row in self._office.store.snapshot().budgets:
            budget = row.budget
            if budget.tenant == given.tenant and budget.per == "tenant":
                window = budget.window(now_s)
                spent = sum(self._office.books.sums(budget, window.starts_s, window.ends_s).values())
                need = worst if budget.unit is Unit.NANO_USD else given.input_tokens + given.output_tokens
                told.append({"budget": budget.id, "mode": budget.mode.value, "fits": budget.amount - spent >= need})
        return told


def _price(price: object) -> dict[str, object]:
    """Every part that is set, in USD for each million tokens."""
    plain = {field.name: getattr(price, field.name) for field in dataclasses.fields(price)}  # type: ignore[arg-type]
    told: dict[str, object] = {"id": plain.pop("id"), "per_request_usd": f"{shapes.usd(plain.pop('per_request')):f}"}
    for name in ("simple", "dearest", "tiers"):
        plain.pop(name, None)
    return told | {f"{name}_usd_per_million": f"{shapes.usd(x):f}" for name, x in plain.items() if x is not None}
