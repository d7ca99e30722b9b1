"""F2-F5 and F7: targets fail in every way, and callers notice as little as can be."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.domain.breaker import TripRule
from gateway.domain.catalog import Deployment
from gateway.domain.failure import Failure, FailureKind
from gateway.ports import Evidence, Permit
from gateway.sim.server import Simulator
from gateway.stores.health import MemoryHealth
from tests.chaos.crowd import crowd, served
from tests.rows.house import SHORT, Document, House, MovableClock, standing

RULE = TripRule()
BREAKING: dict[str, Document] = {
    "500": {"fault": {"kind": "status", "status": 500}},
    "reset": {"fault": {"kind": "reset"}},
    "mute": {"pace": {"head_gate": "never"}},
    "stall": {"fault": {"kind": "stall", "preamble": True, "ping_s": 0.05}},
    "garbage": {"fault": {"kind": "malformed_sse"}},
}
PAUSING: dict[str, Document] = {
    "429": {"fault": {"kind": "status", "status": 429}},
    "429 with a hint": {"fault": {"kind": "status", "status": 429, "hints": [{"form": "retry-after", "seconds": 20}]}},
    "529": {"fault": {"kind": "status", "status": 529}},
    "401": {"fault": {"kind": "status", "status": 401}},
    "no money": {"fault": {"kind": "status", "code": "insufficient_quota"}},
}
GARBAGE: Document = {
    "rules": [{"when": {"stream": False}, "fault": {"kind": "malformed_json"}}],
    "otherwise": BREAKING["garbage"],
}
REQUESTS = 200


@asynccontextmanager
async def dead_port(*, listening: bool) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """A provider that refuses connections, or swallows them; the function given repairs it."""
    async with AsyncExitStack() as stack:
        holder = contextlib.ExitStack()
        stack.callback(holder.close)
        taken = holder.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if listening:
            taken.listen(0)
            for _ in range(4):
                filler = holder.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))

        async def repair() -> None:
            holder.close()
            sim = Simulator()
            await sim.start(port=port)
            stack.push_async_callback(sim.stop)

        yield f"http://127.0.0.1:{port}/v1", repair


async def survives(house: House, bad: str, repair: Callable[[], Awaitable[None]]) -> None:
    """The whole life of an outage: it is noticed, probed without loss, and over soon after it is mended."""
    answers = await crowd(house, REQUESTS)
    assert sum(map(served, answers)) == REQUESTS
    assert max(seen.attempts for seen in answers) <= 2
    assert house.health(bad) == "open"
    failed = sum(seen.attempts == 2 for seen in answers)
    assert RULE.volume <= failed <= RULE.volume + 8

    house.clock.ahead_s += RULE.open_s + 0.01
    answers = await crowd(house, 40, first=REQUESTS)
    assert sum(map(served, answers)) == 40
    assert sum(seen.attempts == 2 for seen in answers) == 1  # one probe, and its caller did not notice
    assert house.health(bad) == "open"

    await repair()
    house.clock.ahead_s += RULE.open_s + 0.01
    answers = await crowd(house, 40, first=2 * REQUESTS)
    assert sum(map(served, answers)) == 40
    assert house.health(bad) == "well"
    assert (await house.ask("again")).headers["x-gateway-target"] == f"{bad}/gpt"


@pytest.mark.parametrize("way", BREAKING)
async def test_f3_no_caller_notices_that_the_first_of_two_targets_is_broken(way: str) -> None:
    async with standing(a={"otherwise": BREAKING[way]}, b={}) as house:
        if way == "garbage":
            house.script("a", **GARBAGE)

        async def repair() -> None:
            house.script("a")

        await survives(house, "a", repair)


@pytest.mark.parametrize("listening", [False, True], ids=["refuses", "swallows"])
async def test_f3_no_caller_notices_that_the_first_of_two_targets_cannot_be_reached(listening: bool) -> None:
    async with (
        dead_port(listening=listening) as (url, repair),
        standing(["dead", "b"], urls={"dead": url}, b={}) as house,
    ):
        await survives(house, "dead", repair)


@pytest.mark.parametrize("way", PAUSING)
async def test_f3_no_caller_notices_that_the_first_of_two_targets_turns_requests_away(way: str) -> None:
    async with standing(a={"otherwise": PAUSING[way]}, b={}) as house:
        answers = await crowd(house, REQUESTS)
        assert sum(map(served, answers)) == REQUESTS
        assert max(seen.attempts for seen in answers) <= 2
        assert house.calls("a") <= 8 + 1
        house.script("a")
        house.clock.ahead_s += 601
        answers = await crowd(house, 20)
        assert {seen.headers["x-gateway-target"] for seen in answers} == {"a/gpt"}
        assert house.health("a") == "well"


async def test_f3_a_target_that_fails_now_and_then_costs_no_caller_an_answer() -> None:
    rules = [{"when": {"every": 10}, "fault": {"kind": "status", "status": 500}}]
    async with standing(a={"rules": rules}, b={}) as house:
        answers = await crowd(house, REQUESTS)
        assert sum(map(served, answers)) == REQUESTS
        assert house.health("a") == "well"


def calls_of(house: House) -> int:
    return sum(house.calls(name) for name in house.sims)


@pytest.mark.parametrize("way", [*BREAKING, *PAUSING])
async def test_f2_when_all_fail_there_is_one_call_for_a_request_and_a_typed_error(way: str) -> None:
    script: Document = {"otherwise": (BREAKING | PAUSING)[way]}
    if way == "garbage":
        script = GARBAGE
    quick = {"timeouts": {**SHORT, "first_token_s": 0.1}}
    async with standing(route=quick, a=script, b=script, c=script) as house:
        first = await crowd(house, 100)
        warm = calls_of(house)
        answers = await crowd(house, 100, first=100)
        steady = (calls_of(house) - warm) / 100
        assert steady <= 1.25
        for seen in first + answers:
            assert seen.status in (429, 502, 503, 504)
            assert seen.error["fault"] == "provider"
            assert seen.attempts <= 3
        print(f"F2 {way}: warm {warm / 100:.2f}, steady {steady:.2f}")


@pytest.mark.parametrize("way", ["mute", "stall", "500"])
async def test_f2_an_error_comes_before_the_callers_deadline(way: str) -> None:
    script = {"otherwise": BREAKING[way]}
    async with standing(a=script, b=script, c=script) as house:
        for stream in (False, True):
            started_s = time.monotonic()
            seen = await house.ask(stream=stream, headers={"x-request-timeout-ms": "500"})
            assert time.monotonic() - started_s < 0.5
            assert seen.status in (502, 504)
            assert seen.error["code"] in ("upstream_timeout", "upstream_stalled", "deadline_exceeded", "upstream_error")


async def test_f5_nobody_is_locked_out_and_the_first_success_closes() -> None:
    script = {"otherwise": BREAKING["500"]}
    async with standing(a=script, b=script, c=script) as house:
        await crowd(house, 200)
        assert {house.health(name) for name in "abc"} == {"open"}
        house.script("c")  # only the last in line is mended
        answers = [await house.ask(f"{n}") for n in range(40)]
        assert any(map(served, answers))
        at = next(n for n, seen in enumerate(answers) if served(seen))
        assert all(map(served, answers[at:]))
        assert (house.health("c"), house.health("a")) == ("well", "open")


async def ask_leave(health: MemoryHealth, deployment: Deployment) -> Permit | None:
    await asyncio.sleep(0)
    return health.admit(deployment, panic=False)


@pytest.mark.parametrize("outcome", ["success", "failure", "neutral"])
async def test_f4_a_half_open_circuit_lets_exactly_one_of_a_thousand_callers_through(outcome: str) -> None:
    async with standing(a={}) as house:
        deployment = house.gateway.door.catalog.routes["m"].deployments[0]
    clock = MovableClock()
    health = MemoryHealth(clock)
    broken = Failure(FailureKind.SERVER_ERROR, "broken")
    for number in range(RULE.volume):
        permit = health.admit(deployment, panic=False)
        assert permit is not None
        health.failure(permit, broken, Evidence("one", str(number)))
        health.release(permit)
    assert health.admit(deployment, panic=False) is None
    clock.ahead_s += RULE.open_s + 0.01
    for _ in range(5):
        found = await asyncio.gather(*(ask_leave(health, deployment) for _ in range(1000)))
        (permit,) = [permit for permit in found if permit is not None]
        if outcome == "success":
            health.success(permit, 0.1)
            assert health.admit(deployment, panic=False) is not None
            return
        if outcome == "failure":
            health.failure(permit, broken, Evidence("one", "x"))
            assert health.admit(deployment, panic=False) is None
            clock.ahead_s += RULE.open_s + 0.01
        else:
            health.neutral(permit)
        health.release(permit)


async def test_f7_nobody_calls_a_cooled_target_before_its_time_and_it_is_used_soon_after() -> None:
    hint = {"form": "retry-after-ms", "seconds": 1.2}
    rules = [{"when": {"until_s": 1.0}, "fault": {"kind": "status", "status": 429, "hints": [hint]}}]
    async with standing(a={"rules": rules}, b={}) as house:
        async with asyncio.timeout(10):
            number = 0
            while not any(line.outcome == "completed" for line in house.sims["a"].bill):
                answers = await crowd(house, 40, at_once=16, first=number)
                assert all(map(served, answers))
                number += 40
        bill = list(house.sims["a"].bill)
        told_s = max(line.ended_s for line in bill if line.status == 429)
        again_s = min(line.started_s for line in bill if line.status == 200)
        assert max(line.started_s for line in bill if line.status == 429) <= min(line.ended_s for line in bill) + 0.05
        assert told_s + 1.15 <= again_s <= told_s + 2.2
