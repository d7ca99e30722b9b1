"""One exchange from admission to settlement: leaving its block is settlement, also for errors and hang-ups."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from types import TracebackType

from gateway.domain.answer import error_for
from gateway.domain.budget import Dimensions, Unit
from gateway.domain.catalog import Catalog, Route
from gateway.domain.errors import Draining, GatewayError, InternalError, UnknownModel
from gateway.domain.fact import Replayed
from gateway.domain.failure import AttemptFailed
from gateway.domain.quota import Gates
from gateway.domain.record import Provenance
from gateway.domain.reply import Reply
from gateway.domain.request import Caller, ModelRequest
from gateway.domain.routing import Session
from gateway.domain.sticky import opening_key, session_key
from gateway.pipeline.admission import Ticket, admit, check_key
from gateway.pipeline.attempts import AttemptLoop, Served, deadline_of
from gateway.pipeline.cashier import Cashier
from gateway.pipeline.desk import Desk
from gateway.pipeline.relay import Relay
from gateway.pipeline.trace import Trace, record_of, usage_of
from gateway.pipeline.worst_case import candidates

DRAINS_MAX = 64
DRAIN_S = 60.0
_ANSWER = "answer:"


class Exchange:
    """`async with exchange(...) as answer`: a whole Reply, or self as a stream to be read with `next`."""

    __slots__ = (
        "_booked",
        "_caller",
        "_cashier",
        "_catalog",
        "_desk",
        "_loop",
        "_request",
        "_served",
        "_session",
        "_settled",
        "_ticket",
        "_unfound",
        "trace",
    )

    def __init__(self, desk: Desk, catalog: Catalog, caller: Caller, request: ModelRequest) -> None:
        self._desk = desk
        self._catalog = catalog
        self._caller = caller
        self._request = request
        self._session: Session | None = None
        self._ticket: Ticket | None = None
        self._booked: Dimensions | None = None
        self._cashier: Cashier | None = None
        self._served: Served | None = None
        self._loop: AttemptLoop | None = None
        self._unfound: asyncio.Task[Served] | None = None
        self._settled = False
        self.trace = Trace()

    async def __aenter__(self) -> "Exchange":
        try:
            await self._begin()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError) and (self._may_drain() or self._unfound is not None):
            self._desk.begin(self._drain())
        else:
            self.settle(error)

    def _may_drain(self) -> bool:
        """A provider that goes on when nobody listens is read to its end, for what it really charges."""
        asked = None if self._cashier is None else self._cashier.asked
        if asked is None or not asked.provider.drains or self.reply is not None:
            return False
        return self._desk.drains < DRAINS_MAX and not self._desk.interrupted and not self._settled

    async def _drain(self) -> None:
        """Where it may not be, what runs is ended at its next wait."""
        desk, bound_s = self._desk, DRAIN_S if self._may_drain() else 0.0
        desk.drains += 1
        try:
            async with asyncio.timeout(bound_s):
                if self._unfound is not None and self._loop is not None:
                    self._loop.end()
                    self._serve(await self._unfound)
                while self.reply is None and not self.ended:
                    await self.next()
        except (GatewayError, TimeoutError):
            pass
        finally:
            desk.drains -= 1
            self.settle(asyncio.CancelledError())

    async def _begin(self) -> None:
        routes = self.routes()
        booked = self._booked = await self.dimensions()
        deadline_s = deadline_of(self._caller, routes[0])
        ticket = await admit(self._desk, self._caller, booked, self._request, candidates(routes), deadline_s)
        self._ticket = ticket
        if ticket.worst.output_limit is not None:
            self._request = replace(self._request, output_limit=ticket.worst.output_limit)
        self._cashier = Cashier(self._desk, self._caller, booked, self._request, ticket)
        self._session = self._find_session(routes[0])
        self._loop = AttemptLoop(
            self._desk,
            self._caller,
            self._request,
            self.trace,
            cashier=self._cashier,
            session=self._session,
            deadline_s=deadline_s,
        )
        finding = self._loop.run(routes)
        self._serve(await (self._outlasting(finding) if any(route.drains for route in routes) else finding))

    async def _outlasting(self, finding: Coroutine[object, object, Served]) -> Served:
        """A provider that drains is not hung up on when the caller leaves, whom `_drain` stands in for then."""
        self._unfound = asyncio.create_task(finding)
        return await asyncio.shield(self._unfound)

    def _serve(self, served: Served) -> None:
        self._served, self._unfound = served, None
        answer = served.answer
        if isinstance(answer, Reply):
            self.trace.answer_id = answer.id
            self.trace.usage, self.trace.service_tier = answer.usage, answer.service_tier
            self.trace.finish_reasons = answer.finish_reasons
            if answer.usage is None and answer.choices:
                self.trace.whole_bytes = len(answer.body)
        self._pin(served)

    async def replayed(self, replay_of: str) -> None:
        """Another request's answer is this one's too: on record at no cost, as nothing is sent."""
        caller, booked = self._caller, await self.dimensions()
        self.trace.replay_of = replay_of
        self._desk.journal.write(
            Replayed(
                caller.request_id,
                replay_of,
                booked.tenant,
                booked.key,
                caller.started_at_s,
                booked.model,
                booked.user,
                caller.run_id,
                booked.run,
                booked.tags,
                caller.parent_run_id,
                caller.session,
            )
        )

    async def dimensions(self) -> Dimensions:
        """Under what the request is booked."""
        caller = self._caller
        key, tags, run = caller.key, caller.tags, caller.run_id
        if run is not None:
            run = await self._desk.runs.root(key.tenant.id, run, caller.parent_run_id)
        if key.tags:
            spoken = {name for name, _ in tags}
            tags += tuple((name, text) for name, text in key.tags if name not in spoken)
        return Dimensions(key.tenant.id, key.id, self._request.model, key.user or self._request.user, run, tags)

    def routes(self) -> list[Route]:
        """Which may come to answer. Raises UnknownModel."""
        names = self._catalog.routes
        route = names.get(self._request.model)
        if route is None:
            raise UnknownModel(
                f"model {self._request.model!r} does not exist here; GET /v1/models lists those that do", param="model"
            )
        return [route, *(names[name] for name in route.fallback_models if name in names)]

    def counted(self) -> int:
        """Tokens of the input as the first target would count them. Raises UnknownModel and what refuses the key."""
        route = self.routes()[0]
        check_key(self._caller, self._request, self._desk.clock.wall_s())
        targets = [deployment.target for deployment in route.deployments[:1]]
        factor = max((self._desk.calibration.factor(target) for target in targets), default=1.0)
        return max(1, round(self._request.needs.input_tokens * factor))

    def _find_session(self, route: Route) -> Session | None:
        """A named session is pinned; one known by its opening alone is only hashed."""
        tenant = self._caller.key.tenant.id
        if (follows := self._request.follows) is not None:
            key = session_key(tenant, _ANSWER + follows)
            return Session(key, self._desk.pins.get(key), bound=True)
        if not route.sticky or len(route.deployments) <= 1:
            return None
        named = self._caller.session or self._request.session
        if named is not None:
            key = session_key(tenant, named)
            pin = self._desk.pins.get(key)
            return Session(key, pin)
        return Session(opening_key(tenant, self._request.opening)) if self._request.opening else None

    def _pin(self, served: Served) -> None:
        session = self._session
        if (answer_id := self.trace.answer_id) is not None:
            key = session_key(self._caller.key.tenant.id, _ANSWER + answer_id)
            self._desk.pins.put(key, served.lease.deployment.credential.id)
        self.trace.provider_switched = self._switched(served.lease.deployment.provider.name)
        if session is None:
            return
        if session.bound:
            self.trace.sticky = "new" if session.pin is None else "kept"
            return
        named = self._caller.session or self._request.session
        if named is None:
            self.trace.sticky = "hashed"
            return
        if session.pin is None:
            self.trace.sticky = "new"
        else:
            self.trace.sticky = "kept" if session.pin == served.lease.deployment.id else "moved"
        self._desk.pins.put(session.key, served.lease.deployment.id)

    def _switched(self, provider: str) -> bool:
        """Whether another provider answers than the one that had the session, or that was tried first."""
        session, tried = self._session, self.trace.attempts
        if session is not None and session.pin is not None and not session.bound:
            return session.pin.partition("/")[0] != provider
        return bool(tried) and tried[0].provider != provider

    @property
    def reply(self) -> Reply | None:
        """The whole answer; None for a stream."""
        served = self._served
        return served.answer if served is not None and isinstance(served.answer, Reply) else None

    @property
    def target(self) -> str | None:
        return self._served.lease.deployment.target if self._served else None

    @property
    def gates(self) -> Gates:
        """The limits that the caller passes, or that refused it."""
        return self._caller.key.tenant.gates if self._ticket is None else self._ticket.gates

    @property
    def output_limit(self) -> int | None:
        """The limit for each choice to which the answer was cut down, None where it was not."""
        worst = None if self._ticket is None else self._ticket.worst
        return worst.output_limit if worst is not None and worst.clamped else None

    @property
    def budget_left_nano_usd(self) -> int | None:
        """What is left of the tightest of the caller's budgets in dollars."""
        if self._ticket is not None:
            hold = self._ticket.hold
            return None if hold is None else hold.left_nano_usd()
        least: int | None = None
        booked = self._booked
        for budget in self._caller.key.tenant.budgets if booked is not None else ():
            if budget.unit is Unit.NANO_USD and booked is not None and (who := budget.who(booked)) is not None:
                left = self._desk.accounts.left(budget, who)
                least = left if least is None or left < least else least
        return least

    @property
    def ended(self) -> bool:
        """Whether the whole stream has been taken with `next`."""
        served = self._served
        return served is not None and isinstance(served.answer, Relay) and served.answer.ended

    async def next(self) -> bytes:
        """The next bytes of the stream, b"" at its end. Raises the GatewayError that ends it in-band."""
        served = self._served
        if served is None or not isinstance(served.answer, Relay) or self._loop is None:
            raise AssertionError("only a stream is read with next")
        try:
            return await served.answer.next()
        except AttemptFailed as error:
            failure = error.failure
            served.lease.failure(failure, self._loop.evidence())
            last = self.trace.attempts[-1]
            lasted_s = self._desk.clock.monotonic_s() - self._caller.started_s - last.started_s
            self.trace.attempts[-1] = replace(
                last, duration_s=lasted_s, status=failure.status, failure=failure.kind.value
            )
            raise error_for(failure, None) from None

    def settle(self, error: BaseException | None = None) -> None:
        """The cashier and the chronicler, once. Never awaits, so that no cancellation can come between."""
        if self._settled:
            return
        self._settled = True
        trace, served = self.trace, self._served
        if isinstance(error, GatewayError):
            trace.error = error
        elif isinstance(error, asyncio.CancelledError) and self._desk.interrupted:
            trace.error = Draining("the gateway is shutting down; send the request again")
        elif isinstance(error, asyncio.CancelledError):
            trace.client_gone = True
        elif error is not None:
            trace.error = InternalError("the gateway failed; the operator finds the request by its id")
        if self._cashier is not None:
            self._charge(self._cashier, served)
        elif self._ticket is not None:
            self._ticket.settle(0, 0)
        self._desk.waiting.free(self._caller.key.tenant.id)
        now_s = self._desk.clock.monotonic_s()
        self._desk.recorder.record(record_of(trace, self._caller, self._request, now_s))

    def _charge(self, cashier: Cashier, served: Served | None) -> None:
        """First on record, then on the counters."""
        trace = self.trace
        usage, provenance = usage_of(trace, self._request)
        if served is not None and isinstance(served.answer, Relay):
            served.answer.close()
        cashier.settle(usage, provenance, trace.service_tier, "client_gone" if trace.client_gone else "")
        trace.overrun = cashier.overrun
        if cashier.tokens and not cashier.unpriced:
            trace.cost_nano_usd = cashier.cost_nano_usd
        if served is not None:
            target = served.lease.deployment.target
            if provenance is Provenance.EXACT:
                self._desk.calibration.observe(target, self._request.needs.input_tokens, usage.input)
                trace.cost_nano_usd = cashier.cost_nano_usd if not cashier.unpriced else None
            served.lease.close(cashier.tokens)
