"""Quota, pins and health in memory."""

import pytest

from gateway.domain.catalog import Limits
from gateway.domain.failure import Failure, FailureKind
from gateway.ports import Evidence
from gateway.stores.health import FORCED, MemoryHealth
from gateway.stores.pins import MemoryPins
from gateway.stores.quota import MemoryQuota
from tests.clock import ToldClock
from tests.domain.values import deployment

WHO = Evidence("k", "b")


async def test_all_limits_are_taken_or_none() -> None:
    quota = MemoryQuota(ToldClock())
    gates = Limits(requests_per_minute=10, tokens_per_minute=100, concurrent=2).gates("t")
    assert await quota.take(gates, 60) is None
    refusal = await quota.take(gates, 60)
    assert refusal is not None
    assert refusal.dimension == "tokens"
    assert [room.remaining for room in quota.rooms(gates)] == [9, 40], "the refused request took nothing"
    assert await quota.take(gates, 1) is None
    third = await quota.take(gates, 1)
    assert third is not None
    assert third.dimension == "concurrent"
    quota.settle(gates, 60, 10)
    assert await quota.take(gates, 85) is None


async def test_what_is_enough_here_is_taken_without_asking_and_else_nothing_is() -> None:
    quota = MemoryQuota(ToldClock())
    gates = Limits(requests_per_minute=10, tokens_per_minute=100, concurrent=1).gates("t")
    assert quota.take_now(gates, 60)
    assert not quota.take_now(gates, 1), "the one place is taken"
    quota.put_back(gates, 60)
    assert not quota.take_now(gates, 101)
    assert [room.remaining for room in quota.rooms(gates)] == [10, 100]


async def test_scopes_are_apart() -> None:
    quota = MemoryQuota(ToldClock())
    mine, yours = Limits(requests_per_minute=1).gates("mine"), Limits(requests_per_minute=1).gates("yours")
    assert await quota.take(mine, 0) is None
    assert await quota.take(mine, 0) is not None
    assert await quota.take(yours, 0) is None


def test_pins_expire_and_stay_bounded() -> None:
    clock = ToldClock()
    pins = MemoryPins(clock, ttl_s=10, pins_max=2)
    pins.put(b"a", "x")
    pins.put(b"b", "y")
    pins.put(b"a", "z")
    pins.put(b"c", "w")
    assert (pins.get(b"a"), pins.get(b"b"), pins.get(b"c")) == ("z", None, "w")
    clock.now_s += 10
    assert pins.get(b"a") is None


def told(health: MemoryHealth, kind: FailureKind, hint_s: float | None = None) -> None:
    permit = health.admit(deployment("a"), panic=False)
    assert permit is not None
    health.failure(permit, Failure(kind, "m", hint_s=hint_s), WHO)
    health.release(permit)


def test_a_throttled_key_cools_until_its_hint_and_no_circuit_moves() -> None:
    clock = ToldClock()
    health = MemoryHealth(clock)
    told(health, FailureKind.THROTTLED, 30.0)
    block = health.blocked(deployment("a"))
    assert block is not None
    assert (block.reason, block.panic_ok) == ("cooldown", False)
    assert block.until_s >= clock.now_s + 30.0
    assert health.blocked(deployment("a", key=1)) is None, "another key of the provider is free"
    clock.now_s += 31
    assert health.blocked(deployment("a")) is None


def test_cooldowns_without_a_hint_double_up_to_a_minute() -> None:
    clock = ToldClock()
    health = MemoryHealth(clock)
    lengths = []
    for _ in range(10):
        told(health, FailureKind.THROTTLED)
        block = health.blocked(deployment("a"))
        assert block is not None
        lengths.append(block.until_s - clock.now_s)
        clock.now_s = block.until_s
    assert lengths[0] <= 1.0
    assert all(shorter * 0.9 <= longer for shorter, longer in zip(lengths, lengths[2:], strict=False))
    assert 30 <= lengths[-1] <= 60


def test_overload_cools_every_key_of_the_model_and_auth_every_model_of_the_key() -> None:
    health = MemoryHealth(ToldClock())
    told(health, FailureKind.OVERLOADED)
    assert health.blocked(deployment("a", key=1)) is not None
    assert health.blocked(deployment("a", model="other")) is None
    health = MemoryHealth(ToldClock())
    told(health, FailureKind.AUTH)
    blocked = health.blocked(deployment("a", model="other"))
    assert blocked is not None
    assert blocked.reason == "misconfigured_auth"
    assert health.blocked(deployment("a", key=1)) is None


def test_success_forgets_pauses_and_calm_says_so() -> None:
    clock = ToldClock()
    health = MemoryHealth(clock)
    calm = [health.calm]
    told(health, FailureKind.THROTTLED, 1.0)
    calm.append(health.calm)
    clock.now_s += 60
    permit = health.admit(deployment("a"), panic=False)
    assert permit is not None
    health.success(permit, 0.1)
    health.release(permit)
    assert [*calm, health.calm] == [True, False, True]


def test_a_request_that_works_elsewhere_is_proof_against_the_deployment() -> None:
    clock = ToldClock()
    health = MemoryHealth(clock)
    for _ in range(25):
        permit = health.admit(deployment("a"), panic=False)
        if permit is None:
            break
        health.failure(permit, Failure(FailureKind.SERVER_ERROR, "m"), WHO)
        health.proof(permit)
        health.release(permit)
    assert health.blocked(deployment("a")) is not None


@pytest.mark.parametrize(
    ("reason", "admits"), [("forced_open", False), ("drained", False), ("misconfigured_auth", True)]
)
def test_what_another_process_paused_by_hand_is_not_asked_in_panic_either(reason: str, admits: bool) -> None:
    clock = ToldClock()
    health = MemoryHealth(clock)
    scope = deployment("a").id if reason in FORCED.values() else deployment("a").credential.id
    health.follow_pause(scope, reason, 600.0)
    clock.now_s += 60
    block = health.blocked(deployment("a"))
    assert block is not None
    assert (block.reason, block.panic_ok) == (reason, admits)
