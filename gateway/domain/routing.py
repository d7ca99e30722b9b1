"""The planner: which deployments may answer, in which order, and why the others were dropped."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.domain.catalog import Capabilities, Deployment, Route, Strategy
from gateway.domain.failure import Failure, FailureKind, Scope
from gateway.domain.record import Drop
from gateway.domain.request import Needs
from gateway.domain.sticky import rendezvous
from gateway.domain.value import value


@dataclass(frozen=True, slots=True)
class Block:
    """Why a deployment is not to be used now. `panic_ok` says that it may be tried when nothing else is left."""

    reason: str
    until_s: float
    panic_ok: bool


@value
class Session:
    """A sticky session: its key, and where it was served last (a deployment id) if that is known.

    `bound`: what it goes on with exists there alone.
    """

    key: bytes
    pin: str | None = None
    bound: bool = False


@value
class RoutePlan:
    """`order` is what to try, best first. In `panic` everything is out and one attempt is worth making: on any."""

    order: tuple[Deployment, ...]
    drops: tuple[Drop, ...] = ()
    panic: bool = False
    opens_at_s: float | None = None
    fits: bool = True


@value
class Conditions:
    """What the planner is told about the world; `calm` says that nothing at all is blocked. Latency in seconds.

    Prices are those of `wall_s`.
    """

    blocked: Callable[[Deployment], Block | None]
    latency_s: Callable[[Deployment], float]
    dice: Callable[[], float]
    session: Session | None = None
    calm: bool = False
    wall_s: float = 0.0


def plan(route: Route, needs: Needs, now: Conditions) -> RoutePlan:
    if now.calm and route.undemanding and not needs.native:
        return RoutePlan(_ordered(route.tiers, route, needs, now))
    drops: list[Drop] = []
    fitting = [d for d in route.deployments if _fits(d, needs, drops)]
    usable: list[Deployment] = []
    spare: list[Deployment] = []
    opens_at_s: float | None = None
    for deployment in fitting:
        block = now.blocked(deployment)
        if block is None:
            usable.append(deployment)
            continue
        drops.append(Drop(deployment.id, block.reason))
        opens_at_s = block.until_s if opens_at_s is None else min(opens_at_s, block.until_s)
        if block.panic_ok:
            spare.append(deployment)
    panic = not usable and bool(spare)
    if panic:
        order = tuple(_by_strategy(spare, Strategy.WEIGHTED, needs, now))
        return RoutePlan(order, tuple(drops), panic, opens_at_s)
    left = frozenset(d.id for d in usable)
    tiers = tuple(tuple(d for d in tier if d.id in left) for tier in route.tiers)
    return RoutePlan(_ordered(tiers, route, needs, now), tuple(drops), opens_at_s=opens_at_s, fits=bool(fitting))


def _fits(deployment: Deployment, needs: Needs, drops: list[Drop]) -> bool:
    lacking = lacks(deployment.capabilities, needs)
    if lacking is None:
        return True
    drops.append(Drop(deployment.id, lacking))
    return False


def lacks(has: Capabilities, needs: Needs) -> str | None:
    """The first thing that a request needs and a target does not have."""
    if needs.tools and not has.tools:
        return "no_tools"
    if needs.vision and not has.vision:
        return "no_vision"
    if needs.json_schema and not has.json_schema:
        return "no_json_schema"
    if needs.native and needs.native not in has.native:
        return f"no_{needs.native}"
    if has.context_tokens is not None and needs.input_tokens + (needs.output_tokens or 0) > has.context_tokens:
        return "context_too_small"
    if has.output_tokens is not None and needs.output_tokens is not None and needs.output_tokens > has.output_tokens:
        return "output_too_small"
    return None


def left_after(failure: Failure, failed: Deployment, rest: Iterable[Deployment]) -> list[Deployment]:
    """Those of the rest of a route that lie beyond the reach of a failure, in the order in which to try them."""
    left = [other for other in rest if not _meets_again(failure, failed, other)]
    return _elsewhere_first(failed, left) if failure.kind is FailureKind.OVERLOADED else left


def after_setbacks(planned: RoutePlan, setbacks: Iterable[tuple[Failure, Deployment]]) -> RoutePlan:
    """A fallback model's plan, given what failed on the routes before it."""
    order = list(planned.order)
    drops: list[Drop] = []
    for failure, failed in setbacks:
        if failure.rule.scope is Scope.SIZE:
            drops += [Drop(other.id, "not_larger") for other in order if not _larger(other, failed, unknown=True)]
            order = [other for other in order if _larger(other, failed, unknown=True)]
        elif failure.kind is FailureKind.OVERLOADED:
            order = _elsewhere_first(failed, order)
    return replace(planned, order=tuple(order), drops=(*planned.drops, *drops))


def _meets_again(failure: Failure, failed: Deployment, other: Deployment) -> bool:
    """Whether `other` lies within the reach of what failed."""
    match failure.rule.scope:
        case Scope.PROVIDER:
            return failed.provider.name == other.provider.name
        case Scope.MODEL:
            return failed.target == other.target
        case Scope.CREDENTIAL:
            return failed.credential.id == other.credential.id
        case Scope.DEPLOYMENT:
            return failed.id == other.id
        case Scope.SIZE:
            return not _larger(other, failed, unknown=False)
        case Scope.REQUEST:
            return True


def _larger(other: Deployment, failed: Deployment, *, unknown: bool) -> bool:
    """Whether a request too large for `failed` may fit `other`; `unknown` is the answer where a size is not known."""
    if other.target == failed.target:
        return False
    has, had = other.capabilities.context_tokens, failed.capabilities.context_tokens
    return unknown if has is None or had is None else has > had


def _elsewhere_first(failed: Deployment, order: list[Deployment]) -> list[Deployment]:
    """What overloads one model of a provider is likely to weigh on its others."""
    return sorted(order, key=lambda other: other.provider.name == failed.provider.name)


def _ordered(
    tiers: tuple[tuple[Deployment, ...], ...], route: Route, needs: Needs, now: Conditions
) -> tuple[Deployment, ...]:
    session = now.session if route.sticky else None
    ranked: list[Deployment] = []
    for tier in tiers:
        if len(tier) <= 1:
            ranked += tier
        elif session is not None:
            ranked += rendezvous(session.key, tier)
        else:
            ranked += _by_strategy(tier, route.strategy, needs, now)
    if session is not None and session.pin is not None:
        ranked.sort(key=lambda deployment: deployment.id != session.pin)
    return tuple(ranked)


def _by_strategy(group: Sequence[Deployment], strategy: Strategy, needs: Needs, now: Conditions) -> list[Deployment]:
    """Weighted order without replacement (Efraimidis and Spirakis 2006) breaks every tie."""
    drawn = sorted(group, key=lambda deployment: -math.log(1.0 - now.dice()) / deployment.weight)
    if strategy is Strategy.LEAST_LATENCY:
        drawn.sort(key=now.latency_s)
    elif strategy is Strategy.CHEAPEST:
        drawn.sort(key=lambda deployment: _price(deployment, needs, now.wall_s))
    return drawn


def _price(deployment: Deployment, needs: Needs, wall_s: float) -> float:
    price = deployment.price_at(wall_s)
    if price is None:
        return math.inf
    return price.input * max(needs.input_tokens, 1) + price.output * (needs.output_tokens or needs.input_tokens or 1)
