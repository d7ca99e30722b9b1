"""U15-U17 and U20: a provider that has no room now, or no money left."""

import asyncio

import pytest

from tests.rows.house import TOUCHY, Document, standing

HINTS = ["retry-after-ms", "retry-after", "retry-after-date", "anthropic-reset", "openai-reset", "google", "azure"]


def throttled(*hints: Document, **more: object) -> Document:
    return {"otherwise": {"fault": {"kind": "status", "status": 429, "hints": list(hints), **more}}}


@pytest.mark.parametrize("form", HINTS)
async def test_u15_every_form_of_hint_cools_that_key_and_model_until_then(form: str) -> None:
    async with standing(trip_rule=TOUCHY, a=throttled({"form": form, "seconds": 30}), b={}) as house:
        house.moved(await house.ask(), "throttled")
        assert house.health("a") == "cooldown"
        assert 28 < house.line("a").pause_left_s <= 30.5
        house.script("a")
        for ahead_s in (0, 27.5):  # F7: nothing before its time
            house.clock.ahead_s = ahead_s
            seen = await house.ask()
            assert (seen.status, seen.attempts, house.calls("a")) == (200, 1, 1)
            assert [drop.reason for drop in house.record.drops] == ["cooldown"]
        house.clock.ahead_s = 31
        assert (await house.ask()).headers["x-gateway-target"] == "a/gpt"
        assert house.health("a") == "well"


async def test_u15_a_date_counts_against_the_providers_own_clock() -> None:
    hint = {"form": "retry-after-date", "seconds": 30, "server_skew_s": 3600}
    async with standing(a=throttled(hint), b={}) as house:
        await house.ask()
        assert 28 < house.line("a").pause_left_s <= 30.5


async def test_u15_a_dimension_that_has_room_left_is_no_hint() -> None:
    hint = {"form": "openai-reset", "seconds": 90, "remaining": 12}
    async with standing(a=throttled(hint), b={}) as house:
        await house.ask()
        assert house.line("a").pause_left_s <= 1


@pytest.mark.parametrize("value", ["nan", "-5", "inf", "1e999", "soon", "Mon, 99 Foo 9999 00:00:00 GMT", ""])
async def test_u15_a_senseless_hint_is_no_hint(value: str) -> None:
    async with standing(a=throttled(headers={"retry-after": value}), b={}) as house:
        house.moved(await house.ask(), "throttled")
        assert 0 < house.line("a").pause_left_s <= 1


async def test_u15_a_short_hint_is_waited_for_when_there_is_no_other_target() -> None:
    rule = {"when": {"requests": "1"}, **throttled({"form": "retry-after-ms", "seconds": 0.7})["otherwise"]}
    async with standing(a={"rules": [rule]}) as house:
        seen = await house.ask()
        assert (seen.status, seen.attempts) == (200, 2)
        first, second = house.record.attempts
        assert 0.7 <= second.wait_s <= 1.1
        assert second.started_s - first.started_s >= 0.7
        assert house.health("a") == "well"


async def test_u15_a_wait_that_the_deadline_does_not_allow_is_not_begun() -> None:
    async with standing(a=throttled({"form": "retry-after-ms", "seconds": 0.7})) as house:
        seen = await house.ask(headers={"x-request-timeout-ms": "1500"})
        house.refused(seen, 429, "upstream_rate_limited")
        assert house.record.duration_s < 0.3


async def test_u15_retry_after_is_the_least_of_all_candidates() -> None:
    first, second = ({"form": "retry-after", "seconds": seconds} for seconds in (10, 40))
    async with standing(a=throttled(first), b=throttled(second)) as house:
        seen = await house.ask()
        house.refused(seen, 429, "upstream_rate_limited", attempts=2)
        assert 9 <= int(seen.headers["retry-after-ms"]) / 1000 <= 10
        assert seen.headers["retry-after"] == "10"
        seen = await house.ask()  # now nothing is tried, and the caller may well come again
        assert (seen.status, seen.error["code"], seen.attempts) == (429, "upstream_rate_limited", 0)
        assert (seen.headers["retry-after"], seen.headers["x-should-retry"]) == ("10", "true")
        assert (house.calls("a"), house.calls("b")) == (1, 1)


async def test_u15_only_the_throttled_key_is_cooled() -> None:
    rule = {"when": {"key": "*a_one"}, **throttled({"form": "retry-after", "seconds": 30})["otherwise"]}
    providers = {"a": {"keys": ["env:KEY_A_ONE", "env:KEY_A_TWO"]}}
    async with standing(providers=providers, a={"rules": [rule]}) as house:
        answers = [await house.ask() for _ in range(20)]
        assert {seen.status for seen in answers} == {200}
        assert max(seen.attempts for seen in answers) == 2
        assert (house.health("a", 0), house.health("a", 1), house.calls("a")) == ("cooldown", "well", 21)


async def test_u15_an_answer_that_began_before_the_429_does_not_end_the_cooldown() -> None:
    held = {"when": {"says": "slow"}, "pace": {"head_gate": "later"}}
    async with standing(a={"rules": [held], **throttled({"form": "retry-after", "seconds": 30})}, b={}) as house:
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(house.ask("slow"))
            await house.sims["a"].arrived(1)
            house.moved(await house.ask(), "throttled")
            house.sims["a"].open("later")
        assert slow.result().headers["x-gateway-target"] == "a/gpt"
        assert house.health("a") == "cooldown"


async def test_u16_a_429_without_a_hint_is_not_repeated_there_and_cools_ever_longer() -> None:
    async with standing(trip_rule=TOUCHY, a=throttled()) as house:
        for strike in range(9):
            seen = await house.ask()
            house.refused(seen, 429, "upstream_rate_limited")
            assert house.health("a") == "cooldown"
            left_s = house.line("a").pause_left_s
            backoff_s = min(60, 2**strike)
            assert backoff_s / 2 - 0.1 < left_s <= backoff_s
            assert abs(int(seen.headers["retry-after-ms"]) / 1000 - left_s) < 0.1
            assert house.calls("a") == strike + 1
            house.clock.ahead_s += left_s + 0.01


async def test_u16_a_429_without_a_hint_falls_over() -> None:
    async with standing(trip_rule=TOUCHY, a=throttled(), b={}) as house:
        house.moved(await house.ask(stream=True), "throttled")
        assert house.record.attempts[1].wait_s == 0


GONE: list[Document] = [
    {"code": "insufficient_quota"},
    {"code": "credit_balance_exhausted"},
    {"code": "organization_spend_limit_exceeded"},
    {"code": "project_spend_limit_exceeded"},
    {"code": "organization_usage_limit_exceeded"},
    {"status": 429, "code": "enforced_spend_limit_reached"},
    {"status": 402, "code": "billing_hard_limit_reached"},
    {"status": 402, "body": "pay first"},
    {"status": 403, "code": "insufficient_quota"},
    {"status": 429, "hints": [{"form": "retry-after", "seconds": 3600}]},
    {"status": 429, "hints": [{"form": "google", "seconds": 7200}]},
    {"status": 429, "body": '{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":'
        '[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"retryDelay":"37s"}]}}'},
]  # fmt: skip


@pytest.mark.parametrize("said", GONE)
async def test_u17_money_that_is_gone_takes_the_key_out_for_long(said: Document) -> None:
    script = {"otherwise": {"fault": {"kind": "status", **said}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        house.moved(await house.ask(), "quota_gone")
        assert house.health("a") == "misconfigured_quota_gone"
        assert 599 < house.line("a").pause_left_s <= 7200
        house.clock.ahead_s = 590
        assert (await house.ask()).attempts == 1
        assert house.calls("a") == 1


@pytest.mark.parametrize("said", GONE)
async def test_u17_money_that_is_gone_is_told_as_such_and_waiting_is_not_advised(said: Document) -> None:
    script = {"otherwise": {"fault": {"kind": "status", **said}}}
    async with standing(trip_rule=TOUCHY, a=script) as house:
        for attempts in (1, 0):
            seen = await house.ask()
            assert (seen.status, seen.error["code"], seen.attempts) == (503, "provider_quota_exhausted", attempts)
            assert (seen.headers["x-should-retry"], seen.error["retryable"]) == ("false", False)
            assert "retry-after" not in seen.headers
        assert house.calls("a") == 1


OVERLOADED: list[Document] = [
    {"status": 529},
    {"code": "overloaded_error"},
    {"status": 503, "code": "server_is_overloaded"},
    {"status": 503, "message": "no capacity for this model"},
]


@pytest.mark.parametrize("said", OVERLOADED)
async def test_u20_overload_cools_the_model_with_all_keys_and_falls_over_to_another_provider(said: Document) -> None:
    script = {"otherwise": {"fault": {"kind": "status", **said}}}
    providers = {"a": {"keys": ["env:KEY_A_ONE", "env:KEY_A_TWO"]}}
    async with standing(trip_rule=TOUCHY, providers=providers, a=script, b={}) as house:
        house.moved(await house.ask(), "overloaded")
        assert (house.health("a", 0), house.health("a", 1), house.calls("a")) == ("cooldown", "cooldown", 1)
        assert 2.4 < house.line("a").pause_left_s <= 5


async def test_u20_after_overload_another_provider_comes_before_another_model_of_the_same() -> None:
    """Among the rest the order stays: b before c, then a's other models."""
    overloaded = {"otherwise": {"fault": {"kind": "status", "status": 529}}}
    failing = {"otherwise": {"fault": {"kind": "status", "status": 500}}}
    rules = {"rules": [{"when": {"model": "gpt"}, **overloaded["otherwise"]}]}
    async with standing(route={"attempts": 4}, a=rules, b=failing, c=failing) as house:
        rows = house.document["models"]["m"]["targets"]
        rows[1]["priority"], rows[2]["priority"] = 3, 4
        rows.append({"provider": "a", "model": "gpt-mini", "priority": 2})
        house.reload()
        seen = await house.ask()
        assert (seen.status, seen.headers["x-gateway-target"]) == (200, "a/gpt-mini")
        tried = [attempt.deployment for attempt in house.record.attempts]
        assert tried == ["a/gpt#0", "b/gpt#0", "c/gpt#0", "a/gpt-mini#0"]


async def test_u20_after_overload_a_fallback_model_is_asked_of_another_provider_first() -> None:
    overloaded = {"otherwise": {"fault": {"kind": "status", "status": 529}}}
    rules = {"rules": [{"when": {"model": "gpt"}, **overloaded["otherwise"]}]}
    async with standing(a=rules, b={}) as house:
        rows = house.document["models"]["m"]["targets"]
        other = {"provider": "b", "model": "gpt-mini", "priority": 2}
        house.document["models"]["mini"] = {"targets": [{"provider": "a", "model": "gpt-mini", "priority": 1}, other]}
        house.document["models"]["m"] |= {"targets": rows[:1], "fallback_models": ["mini"]}
        house.reload()
        seen = await house.ask()
        assert (seen.status, seen.headers["x-gateway-target"], seen.attempts) == (200, "b/gpt-mini", 2)


@pytest.mark.parametrize("said", OVERLOADED)
async def test_u20_overload_is_told_with_a_time_to_come_again(said: Document) -> None:
    async with standing(trip_rule=TOUCHY, a={"otherwise": {"fault": {"kind": "status", **said}}}) as house:
        seen = await house.ask()
        house.refused(seen, 503, "upstream_overloaded")
        assert 3 <= int(seen.headers["retry-after"]) <= 5
        assert house.calls("a") == 1
