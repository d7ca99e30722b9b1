"""The planner: order, drops with reasons, panic, sessions."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.catalog import Capabilities, Deployment, Price, Strategy
from gateway.domain.failure import Failure, FailureKind
from gateway.domain.request import Needs
from gateway.domain.routing import Block, Conditions, RoutePlan, Session, after_setbacks, lacks, left_after, plan
from gateway.domain.sticky import rendezvous, session_key
from tests.domain.values import deployment, route

A, B, C = deployment("a"), deployment("b"), deployment("c")


def conditions(
    blocks: dict[str, Block] | None = None,
    session: Session | None = None,
    latency: dict[str, float] | None = None,
    dice: Callable[[], float] | None = None,
) -> Conditions:
    return Conditions(
        blocked=lambda d: (blocks or {}).get(d.id),
        latency_s=lambda d: (latency or {}).get(d.id, 0.0),
        dice=dice or random.Random(7).random,
        session=session,
    )


def ids(order: tuple[Deployment, ...]) -> list[str]:
    return [d.provider.name for d in order]


def test_priorities_come_in_order() -> None:
    late, early = deployment("late", priority=2), deployment("early", priority=1)
    assert ids(plan(route(late, early), Needs(), conditions()).order) == ["early", "late"]


def test_weights_share_the_first_place() -> None:
    heavy, light = deployment("heavy", weight=3), deployment("light", weight=1)
    now = conditions()
    firsts = Counter(plan(route(heavy, light), Needs(), now).order[0].provider.name for _ in range(4000))
    assert firsts["heavy"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_least_latency_and_cheapest_lead() -> None:
    now = conditions(latency={A.id: 0.5, B.id: 0.1, C.id: 0.9})
    assert ids(plan(route(A, B, C, strategy=Strategy.LEAST_LATENCY), Needs(), now).order) == ["b", "a", "c"]
    dear, cheap = deployment("dear", price=Price(5, 9)), deployment("cheap", price=Price(1, 2))
    order = plan(route(A, dear, cheap, strategy=Strategy.CHEAPEST), Needs(input_tokens=5), conditions()).order
    assert ids(order) == ["cheap", "dear", "a"]


def test_the_cheapest_is_the_one_of_today() -> None:
    falling = replace(deployment("falling", price=Price(5, 9)), later_prices=((100.0, Price(1, 1)),))
    steady = deployment("steady", price=Price(2, 2))
    both = route(falling, steady, strategy=Strategy.CHEAPEST)
    before, after = (plan(both, Needs(input_tokens=5), replace(conditions(), wall_s=at)).order for at in (99.0, 101.0))
    assert (ids(before), ids(after)) == (["steady", "falling"], ["falling", "steady"])


@pytest.mark.parametrize(
    ("has", "needs", "reason"),
    [
        (Capabilities(tools=False), Needs(tools=True), "no_tools"),
        (Capabilities(vision=False), Needs(vision=True), "no_vision"),
        (Capabilities(json_schema=False), Needs(json_schema=True), "no_json_schema"),
        (Capabilities(context_tokens=10), Needs(input_tokens=8, output_tokens=3), "context_too_small"),
        (Capabilities(output_tokens=10), Needs(output_tokens=11), "output_too_small"),
        (Capabilities(context_tokens=11, output_tokens=3), Needs(input_tokens=8, output_tokens=3), None),
    ],
)
def test_a_drop_says_what_is_lacking(has: Capabilities, needs: Needs, reason: str | None) -> None:
    assert lacks(has, needs) == reason
    planned = plan(route(deployment("x", capabilities=has), A), needs, conditions())
    assert [drop.reason for drop in planned.drops] == ([] if reason is None else [reason])


def test_blocked_targets_are_dropped_and_panic_brings_back_only_broken_ones() -> None:
    blocks = {A.id: Block("circuit_open", 9, panic_ok=True), B.id: Block("cooldown", 5, panic_ok=False)}
    calm = plan(route(A, B, C), Needs(), conditions(blocks))
    assert (ids(calm.order), calm.panic) == (["c"], False)
    assert {drop.reason for drop in calm.drops} == {"circuit_open", "cooldown"}
    panic = plan(route(A, B), Needs(), conditions(blocks))
    assert (ids(panic.order), panic.panic, panic.opens_at_s) == (["a"], True, 5)
    nothing = plan(route(B), Needs(), conditions(blocks))
    assert (nothing.order, nothing.panic, nothing.fits) == ((), False, True)


def test_f6_a_session_keeps_its_target_and_moves_only_when_it_is_gone() -> None:
    key = session_key("t", "s")
    first = rendezvous(key, [A, B, C])[0]
    others = [d for d in (A, B, C) if d is not first]
    for _ in range(5):
        assert plan(route(A, B, C), Needs(), conditions(session=Session(key))).order[0] is first
    gone = {first.id: Block("circuit_open", 9, panic_ok=True)}
    moved = plan(route(A, B, C), Needs(), conditions(gone, Session(key, first.id))).order[0]
    assert moved in others
    pinned = plan(route(A, B, C), Needs(), conditions(session=Session(key, moved.id))).order[0]
    assert pinned is moved


@given(st.binary(min_size=1, max_size=16), st.integers(0, 2))
def test_removing_a_target_moves_only_its_own_sessions(session: bytes, gone: int) -> None:
    key, everyone = session_key("t", session), [A, B, C]
    before = rendezvous(key, everyone)[0]
    left = [d for i, d in enumerate(everyone) if i != gone]
    if before in left:
        assert rendezvous(key, left)[0] is before


def test_rendezvous_follows_weights_and_tenants_are_apart() -> None:
    heavy, light = deployment("heavy", weight=3), deployment("light", weight=1)
    firsts = Counter(rendezvous(session_key("t", str(i)), [heavy, light])[0].provider.name for i in range(4000))
    assert firsts["heavy"] / 4000 == pytest.approx(0.75, abs=0.03)
    assert session_key("t", "s") != session_key("u", "s")


@given(st.lists(st.sampled_from(["ok", "open", "cool"]), min_size=1, max_size=6), st.booleans())
def test_every_target_is_either_in_the_order_or_dropped_with_a_reason(states: list[str], sticky: bool) -> None:
    targets = [deployment(f"p{i}", priority=i % 2) for i in range(len(states))]
    kinds = {"open": Block("circuit_open", 1, panic_ok=True), "cool": Block("cooldown", 1, panic_ok=False)}
    blocks = {d.id: kinds[s] for d, s in zip(targets, states, strict=True) if s != "ok"}
    session = Session(b"k" * 16) if sticky else None
    planned = plan(route(*targets), Needs(), conditions(blocks, session))
    dropped = {drop.deployment for drop in planned.drops}
    assert {d.id for d in planned.order} | dropped == {d.id for d in targets}
    assert planned.panic == ("ok" not in states and "open" in states)
    assert len(set(planned.order)) == len(planned.order)


SIZES = st.none() | st.integers(1, 4).map(lambda size: size * 8_000)
TOO_BIG = [FailureKind.CONTEXT_LENGTH, FailureKind.TOO_LARGE]


def sized(name: str, tokens: int | None) -> Deployment:
    return deployment(name, capabilities=Capabilities(context_tokens=tokens))


@given(st.sampled_from(TOO_BIG), SIZES, st.lists(SIZES, max_size=6))
def test_u22_and_u27_of_a_route_only_what_is_known_to_be_larger_is_left_in_its_order(
    kind: FailureKind, had: int | None, sizes: list[int | None]
) -> None:
    rest = [sized(f"p{number}", size) for number, size in enumerate(sizes)]
    left = left_after(Failure(kind, "m"), sized("failed", had), rest)
    sure = [d for d, has in zip(rest, sizes, strict=True) if has is not None and had is not None and has > had]
    assert left == sure


@given(st.lists(st.tuples(st.sampled_from(TOO_BIG), SIZES), min_size=1, max_size=3), st.lists(SIZES, max_size=6))
def test_u22_and_u27_of_a_fallback_model_only_what_is_known_to_be_no_larger_is_dropped(
    setbacks: list[tuple[FailureKind, int | None]], sizes: list[int | None]
) -> None:
    order = tuple(sized(f"p{number}", size) for number, size in enumerate(sizes))
    failed = [(Failure(kind, "m"), sized(f"f{number}", had)) for number, (kind, had) in enumerate(setbacks)]
    planned = after_setbacks(RoutePlan(order), failed)
    largest = max((had for _, had in setbacks if had is not None), default=0)
    kept = tuple(d for d, has in zip(order, sizes, strict=True) if has is None or has > largest)
    assert planned.order == kept
    assert [drop.deployment for drop in planned.drops] == [d.id for d in order if d not in kept]
    assert {drop.reason for drop in planned.drops} <= {"not_larger"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("mn"), st.integers(0, 1)), max_size=8, unique=True))
def test_u20_after_overload_the_other_providers_come_first_and_the_order_stays(
    rest: list[tuple[str, str, int]],
) -> None:
    failed = deployment("a", model="m")
    left = left_after(
        Failure(FailureKind.OVERLOADED, "m"), failed, [deployment(name, model=m, key=key) for name, m, key in rest]
    )
    elsewhere = [f"{name}/{m}#{key}" for name, m, key in rest if name != "a"]
    here = [f"{name}/{m}#{key}" for name, m, key in rest if name == "a" and m != "m"]
    assert [d.id for d in left] == elsewhere + here


@given(st.lists(st.sampled_from("abc"), max_size=6))
def test_u20_a_fallback_models_plan_loses_nothing_to_an_overload(names: list[str]) -> None:
    order = tuple(deployment(name, model="n", key=key) for key, name in enumerate(names))
    planned = after_setbacks(RoutePlan(order), [(Failure(FailureKind.OVERLOADED, "m"), deployment("a"))])
    assert planned.order == tuple(sorted(order, key=lambda d: d.provider.name == "a"))
    assert planned.drops == ()


@pytest.mark.parametrize("kind", [k for k in FailureKind if k not in (*TOO_BIG, FailureKind.OVERLOADED)])
def test_no_other_setback_changes_a_fallback_models_plan(kind: FailureKind) -> None:
    planned = RoutePlan((A, B, C))
    assert after_setbacks(planned, [(Failure(kind, "m"), A)]).order == (A, B, C)
