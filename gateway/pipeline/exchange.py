"""One exchange from admission to settlement: leaving its block is settlement, also for errors and hang-ups."""

import asyncio
from dataclasses import replace
from types import TracebackType

from gateway.domain.answer import error_for
from gateway.domain.catalog import Catalog, Deployment, Route
from gateway.domain.errors import Draining, GatewayError, InternalError, UnknownModel
from gateway.domain.failure import AttemptFailed
from gateway.domain.money import cost_nano_usd
from gateway.domain.quota import Gates
from gateway.domain.reply import Reply
from gateway.domain.request import Caller, ModelRequest
from gateway.domain.routing import Session
from gateway.domain.sticky import session_key
from gateway.pipeline.admission import Ticket, admit
from gateway.pipeline.attempts import AttemptLoop, Served, deadline_of
from gateway.pipeline.desk import Desk
from gateway.pipeline.relay import Relay
from gateway.pipeline.trace import Trace, record_of, usage_of


class Exchange:
    """`async with exchange(...) as answer`: a whole Reply, or self as a stream to be read with `next`."""

    __slots__ = (
        "_caller",
        "_catalog",
        "_desk",
        "_loop",
        "_request",
        "_served",
        "_session",
        "_settled",
        "_ticket",
        "trace",
    )

    def __init__(self, desk: Desk, catalog: Catalog, caller: Caller, request: ModelRequest) -> None:
        self._desk = desk
        self._catalog = catalog
        self._caller = caller
        self._request = request
        self._session: Session | None = None
        self._ticket: Ticket | None = None
        self._served: Served | None = None
        self._loop: AttemptLoop | None = None
        self._settled = False
        self.trace = Trace()

    async def __aenter__(self) -> "Exchange":
        try:
            await self._begin()
        except BaseException as error:
            self.settle(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle(error)

    async def _begin(self) -> None:
        routes = self._routes()
        self._ticket = await admit(self._desk.quota, self._caller, self._request)
        self._session = self._find_session(routes[0])
        self._loop = AttemptLoop(
            self._desk,
            self._caller,
            self._request,
            self.trace,
            session=self._session,
            deadline_s=deadline_of(self._caller, routes[0]),
        )
        self._served = await self._loop.run(routes)
        self._pin(self._served)
        answer = self._served.answer
        if isinstance(answer, Reply):
            self.trace.usage = answer.usage
            self.trace.finish_reasons = answer.finish_reasons
            self._rate(self._served.lease.deployment)

    def _routes(self) -> list[Route]:
        names = self._catalog.routes
        route = names.get(self._request.model)
        if route is None:
            raise UnknownModel(
                f"model {self._request.model!r} does not exist here; GET /v1/models lists those that do", param="model"
            )
        return [route, *(names[name] for name in route.fallback_models if name in names)]

    def _find_session(self, route: Route) -> Session | None:
        """A named session is pinned; one known by its opening alone is only hashed."""
        if not route.sticky or len(route.deployments) <= 1:
            return None
        named = self._caller.session or self._request.session
        tenant = self._caller.key.tenant.id
        if named is not None:
            key = session_key(tenant, named)
            pin = self._desk.pins.get(key)
            return Session(key, pin)
        return Session(session_key(tenant, self._request.opening)) if self._request.opening else None

    def _pin(self, served: Served) -> None:
        session = self._session
        if session is None:
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
        return self._caller.key.tenant.gates

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

    def _rate(self, deployment: Deployment) -> None:
        if deployment.price is not None and self.trace.usage is not None:
            self.trace.cost_nano_usd = cost_nano_usd(deployment.price, self.trace.usage)

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
        tokens = 0
        if served is not None:
            if isinstance(served.answer, Relay):
                served.answer.close()
                self._rate(served.lease.deployment)
            usage, _ = usage_of(trace, self._request)
            tokens = usage.total
            served.lease.close(tokens)
        if self._ticket is not None:
            self._ticket.settle(tokens)
        now_s = self._desk.clock.monotonic_s()
        self._desk.recorder.record(record_of(trace, self._caller, self._request, now_s))
