"""The attempt loop: one flat bounded walk over the plan, with every branch in sight."""

import hashlib
import math
from dataclasses import replace

from gateway.domain.answer import error_for, no_target, untranslatable
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Deployment, Route
from gateway.domain.errors import DeadlineExceeded, GatewayError
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Health, Sent
from gateway.domain.quota import OPEN
from gateway.domain.record import Attempt, Drop, InVain
from gateway.domain.reply import Reply
from gateway.domain.request import Caller, Dialect, ModelRequest, Operation
from gateway.domain.retry import Again, Next, Situation, Stop, decide
from gateway.domain.routing import Conditions, RoutePlan, Session, after_setbacks, lacks, left_after, plan
from gateway.domain.value import value
from gateway.pipeline.admission import Place, worst_case_tokens
from gateway.pipeline.cashier import Cashier
from gateway.pipeline.desk import Desk
from gateway.pipeline.gathered import Gathered
from gateway.pipeline.lease import Lease
from gateway.pipeline.relay import Relay
from gateway.pipeline.trace import Trace
from gateway.pipeline.translation import Interpreter
from gateway.ports import Evidence, ProviderDialect, UpstreamReply

REPLY_BYTES_MAX = 64 * 1024 * 1024
ERROR_BYTES_MAX = 256 * 1024
_BROKEN = (Health.BREAKER, Health.SLOW)
GRAIN_S = 0.002
"""Timers may wake that much early."""


@value
class Served:
    """What the loop found: the answer, and what is held for it until it has been read."""

    answer: Reply | Relay
    lease: Lease


class AttemptLoop:
    """Finds an answer for one request. Attempts are bounded by count, by the deadline and by the retry budget."""

    __slots__ = (
        "_caller",
        "_cashier",
        "_deadline_s",
        "_desk",
        "_failed",
        "_interpreter",
        "_last",
        "_left",
        "_refused",
        "_request",
        "_session",
        "_trace",
    )

    def __init__(
        self,
        desk: Desk,
        caller: Caller,
        request: ModelRequest,
        trace: Trace,
        *,
        cashier: Cashier,
        session: Session | None,
        deadline_s: float,
    ) -> None:
        self._desk = desk
        self._cashier = cashier
        self._caller = caller
        self._request = request
        self._trace = trace
        self._session = session
        self._deadline_s = deadline_s
        self._failed: list[tuple[Failure, Lease]] = []
        self._interpreter = Interpreter(desk.dialects, request, int(caller.started_at_s))
        self._refused: str | None = None
        self._last: Failure | None = None
        self._left = 0

    async def run(self, routes: list[Route]) -> Served:
        """Through the route and then its fallback models. Raises the GatewayError that the caller shall see."""
        self._left = routes[0].attempts
        self._desk.retry_budget(routes[0].name).request(self._desk.clock.monotonic_s())
        first: RoutePlan | None = None
        for route in routes:
            planned = self._plan(route)
            if first is None:
                first = planned
            else:
                planned = after_setbacks(planned, [(failure, lease.deployment) for failure, lease in self._failed])
            self._trace.drops += planned.drops
            if (served := await self._walk(route, planned)) is not None:
                return served
            if self._last is not None and not self._last.rule.fallback:
                break
        if first is None:
            raise AssertionError("a request has at least one route")
        raise self._error(routes, first)

    def end(self) -> None:
        """Nobody waits any more: the attempt that runs is the last one."""
        self._left = 0

    def _plan(self, route: Route) -> RoutePlan:
        health = self._desk.health
        dice, wall_s = self._desk.clock.dice, self._caller.started_at_s
        conditions = Conditions(health.blocked, health.latency_s, dice, self._session, health.calm, wall_s)
        planned = plan(route, self._request.needs, conditions)
        if planned.panic:
            self._trace.panic = True
            self._left = min(self._left, 1)
        order = planned.order
        if self._session is not None and self._session.bound and self._session.pin is not None:
            order = tuple(one for one in order if one.credential.id == self._session.pin)
        if not route.lossy and len(sayable := [one for one in order if self._expressible(one)]) < len(order):
            order = tuple(sayable)
        return planned if order is planned.order else replace(planned, order=order)

    def _expressible(self, deployment: Deployment) -> bool:
        refused = self._interpreter.refused(deployment)
        if refused is None:
            return True
        self._refused = self._refused or refused
        self._trace.drops.append(Drop(deployment.id, "untranslatable"))
        return False

    async def _walk(self, route: Route, planned: RoutePlan) -> Served | None:
        """None when nothing on this route answered; `_last` then holds why, if anything was tried."""
        queue = list(planned.order)
        tries_here = 0
        wait_s = 0.0
        while queue and self._left > 0 and self._may_start(route):
            deployment = queue[0]
            lease = await self._lease(deployment, panic=planned.panic)
            if lease is None:
                queue.pop(0)
                continue
            self._left -= 1
            tries_here += 1
            outcome = await self._try(lease, wait_s)
            if isinstance(outcome, Served):
                return outcome
            if route.filtered_elsewhere and outcome.kind is FailureKind.CONTENT_FILTER:
                outcome = self._last = replace(outcome, kind=FailureKind.FILTERED_HERE)
            others = left_after(outcome, deployment, queue[1:])
            match decide(
                outcome, self._situation(deployment, tries_here, others=bool(others)), self._desk.clock.dice()
            ):
                case Again(wait_s):
                    await self._desk.clock.sleep_s(wait_s)
                case Next():
                    queue, tries_here, wait_s = others, 0, 0.0
                case Stop():
                    return None
        return None

    def _situation(self, deployment: Deployment, tries_here: int, *, others: bool) -> Situation:
        now_s = self._desk.clock.monotonic_s()
        block = self._desk.health.blocked(deployment)
        opens_in_s = 0.0 if block is None else block.until_s - now_s + GRAIN_S
        return Situation(tries_here, self._left, self._deadline_s - now_s, others, opens_in_s)

    def _may_start(self, route: Route) -> bool:
        """The deadline and, for every attempt after the first, the retry budget."""
        now_s = self._desk.clock.monotonic_s()
        if now_s >= self._deadline_s:
            return False
        if self._trace.attempts and not self._desk.retry_budget(route.name).spend(now_s):
            self._trace.retries_denied += 1
            return False
        return True

    async def _lease(self, deployment: Deployment, *, panic: bool) -> Lease | None:
        """A permit and a place within the limits of the provider key; None, and a drop, when there is none now."""
        room = deployment.gates is OPEN
        place = Place(self._desk.quota, OPEN, 0) if room else await self._provider_room(deployment)
        if place is None:
            self._trace.drops.append(Drop(deployment.id, "provider_quota"))
            return None
        permit = self._desk.health.admit(deployment, panic=panic)
        if permit is None:
            place.put_back()
            block = self._desk.health.blocked(deployment)
            self._trace.drops.append(Drop(deployment.id, block.reason if block else "no_permit"))
            return None
        return Lease(self._desk.health, permit, place)

    async def _provider_room(self, deployment: Deployment) -> Place | None:
        quota, gates = self._desk.quota, deployment.gates
        tokens = worst_case_tokens(self._request)
        taken = quota.take_now(gates, tokens) or await quota.take(gates, tokens) is None
        return Place(quota, gates, tokens) if taken else None

    async def _try(self, lease: Lease, wait_s: float) -> Served | Failure:
        """One attempt. Its lease is closed here unless an answer takes it along."""
        clock, trace = self._desk.clock, self._trace
        started_s = clock.monotonic_s()
        try:
            self._cashier.open(lease.deployment)
            answer = await self._call(lease.deployment, started_s)
        except AttemptFailed as error:
            failure = self._last = error.failure
            self._note(lease.deployment, started_s, wait_s, failure, self._cashier.failed(failure))
            lease.failure(failure, self.evidence())
            self._failed.append((failure, lease))
            lease.close(0)
            return failure
        except BaseException:
            self._note(lease.deployment, started_s, wait_s, None, self._cashier.left(), cancelled=True)
            lease.close(0)
            raise
        ended_s = self._note(lease.deployment, started_s, wait_s, None)
        trace.first_token_s = ended_s - self._caller.started_s
        lease.success(ended_s - started_s)
        for failure, failed in self._failed:
            if failure.rule.health in _BROKEN:
                failed.proof()
        return Served(answer, lease)

    def _traced(self, call: UpstreamCall) -> UpstreamCall:
        """The caller's trace goes on at the provider."""
        parent = self._caller.traceparent
        return call if parent is None else replace(call, headers=(*call.headers, (b"traceparent", parent.encode())))

    async def _call(self, deployment: Deployment, started_s: float) -> Reply | Relay:
        desk, request = self._desk, self._request
        gathered = self._gathered(deployment)
        if gathered is not None:
            return await self._gather(gathered, deployment, started_s)
        dialect = self._interpreter.dialect(deployment)
        call = self._traced(dialect.encode_request(request, deployment, self._deadline_s, self._caller.request_id))
        self._trace.dropped = call.dropped
        reply = await desk.upstream.send(call)
        relay: Relay | None = None
        try:
            if reply.status != 200:
                body = await reply.read(ERROR_BYTES_MAX)
                raise AttemptFailed(dialect.decode_error(reply.status, reply.headers, body, desk.clock.wall_s()))
            if not request.stream:
                answer = dialect.decode_reply(request, await reply.read(REPLY_BYTES_MAX))
                if answer.usage is not None and self._cashier.went_beyond(answer.usage.output):
                    desk.boundless.add(deployment.target)
                return answer
            await self._refuse_document(reply, dialect)
            opening = Relay(reply, dialect, desk.clock, self._trace, self._cashier, pass_usage=request.include_usage)
            await opening.open(started_s + deployment.timeouts.first_token_s, deployment.timeouts.idle_s)
            relay = opening
            return relay
        finally:
            if relay is None:
                reply.close()

    def _gathered(self, deployment: Deployment) -> Gathered | None:
        """For a target that goes on beyond its output limit, where a budget counts: only a stream can be cut."""
        request, desk = self._request, self._desk
        if deployment.provider.enforces_output_limit and deployment.target not in desk.boundless:
            return None
        if request.stream or request.operation is not Operation.CHAT or request.needs.native or request.service_tier:
            return None
        if self._cashier.allowance() is None:
            return None
        target, caller = desk.dialects.targets[deployment.provider.kind], desk.dialects.callers[request.dialect]
        return Gathered(request, target, caller, int(self._caller.started_at_s))

    async def _gather(self, gathered: Gathered, deployment: Deployment, started_s: float) -> Reply:
        desk = self._desk
        interpreter = Interpreter(desk.dialects, gathered.request, int(self._caller.started_at_s))
        dialect = interpreter.dialect(deployment, translated=self._request.dialect is Dialect.RESPONSES)
        call = dialect.encode_request(gathered.request, deployment, self._deadline_s, self._caller.request_id)
        call = self._traced(call)
        self._trace.dropped = call.dropped
        reply = await desk.upstream.send(call)
        try:
            if reply.status != 200:
                body = await reply.read(ERROR_BYTES_MAX)
                raise AttemptFailed(dialect.decode_error(reply.status, reply.headers, body, desk.clock.wall_s()))
            await self._refuse_document(reply, dialect)
            timeouts = deployment.timeouts
            first_s = max(0.0, started_s + timeouts.first_token_s - desk.clock.monotonic_s())
            allowance = self._cashier.allowance() or 0
            return await gathered.read(reply, self._trace, allowance, first_s, timeouts.idle_s)
        finally:
            reply.close()

    async def _refuse_document(self, reply: UpstreamReply, dialect: ProviderDialect) -> None:
        """A stream was asked for and a JSON document came: an error inside a 200, or nonsense."""
        kind = next((value for name, value in reply.headers if name == b"content-type"), b"")
        if not kind.startswith(b"application/json"):
            return
        dialect.decode_reply(self._request, await reply.read(ERROR_BYTES_MAX))
        message = "the provider answered a stream request with a whole document"
        raise AttemptFailed(Failure(FailureKind.MALFORMED_STREAM, message, 200, sent=Sent.YES))

    def _note(
        self,
        deployment: Deployment,
        started_s: float,
        wait_s: float,
        failure: Failure | None,
        in_vain: InVain | None = None,
        *,
        cancelled: bool = False,
    ) -> float:
        """Writes the attempt down; when it ended."""
        ended_s = self._desk.clock.monotonic_s()
        self._trace.upstream_s += ended_s - started_s
        self._trace.attempts.append(
            Attempt(
                deployment=deployment.id,
                provider=deployment.provider.name,
                model=deployment.model,
                started_s=started_s - self._caller.started_s,
                duration_s=ended_s - started_s,
                status=failure.status if failure else None if cancelled else 200,
                failure=failure.kind.value if failure else "cancelled" if cancelled else None,
                wait_s=wait_s,
                in_vain=in_vain,
            )
        )
        return ended_s

    def evidence(self) -> Evidence:
        body = hashlib.blake2b(b"".join(self._request.members.values()), digest_size=8).hexdigest()
        return Evidence(self._caller.key.id, body)

    def _error(self, routes: list[Route], first: RoutePlan) -> GatewayError:
        now_s = self._desk.clock.monotonic_s()
        last = self._last
        if last is None and now_s >= self._deadline_s:
            return DeadlineExceeded("the deadline passed before any target could be tried")
        opens_in_s = self._opens_in_s(routes, now_s)
        if last is None and self._refused is not None and not first.order and opens_in_s is None:
            return untranslatable(self._refused, self._request.model)
        if last is None:
            return no_target(first, self._trace.drops, self._request, opens_in_s)
        return error_for(last, last.hint_s if opens_in_s is None else opens_in_s)

    def _opens_in_s(self, routes: list[Route], now_s: float) -> float | None:
        """When the first of the targets that could take the request opens again."""
        needs, health = self._request.needs, self._desk.health
        fitting = [d for route in routes for d in route.deployments if lacks(d.capabilities, needs) is None]
        blocks = [block for deployment in fitting if (block := health.blocked(deployment)) is not None]
        return min((max(0.0, block.until_s - now_s) for block in blocks), default=None)


def deadline_of(caller: Caller, route: Route) -> float:
    """The caller's deadline or the route's total, whichever comes first, with a margin to answer in."""
    total_s = route.timeouts.total_s
    if caller.deadline_s is not None:
        total_s = min(total_s, caller.deadline_s - caller.started_s)
    margin_s = min(0.05, total_s * 0.05)
    deadline_s = caller.started_s + total_s - margin_s
    return deadline_s if math.isfinite(deadline_s) else caller.started_s + route.timeouts.total_s
