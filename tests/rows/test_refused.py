"""U18, U19 and U21-U28: the provider answers, and the answer is a refusal."""

import asyncio

import pytest

from gateway.domain.breaker import TripRule
from tests.rows.house import CALLERS, TOUCHY, Document, House, standing

STREAMED = pytest.mark.parametrize("stream", [False, True])


def status(status: int, **more: object) -> Document:
    return {"otherwise": {"fault": {"kind": "status", "status": status, **more}}}


def once(number: int, **more: object) -> Document:
    return {"rules": [{"when": {"requests": "1"}, **status(number, **more)["otherwise"]}]}


@pytest.mark.parametrize(("number", "failure", "health"), [(408, "request_timeout", "open"), (409, "conflict", "well")])
async def test_u18_408_and_409_fall_over(number: int, failure: str, health: str) -> None:
    async with standing(trip_rule=TOUCHY, a=status(number), b={}) as house:
        house.moved(await house.ask(), failure)
        assert house.health("a") == health


@pytest.mark.parametrize("number", [408, 409])
async def test_u18_408_and_409_are_tried_once_more_with_jitter_then_told_as_they_are(number: int) -> None:
    async with standing(a=once(number)) as house:
        seen = await house.ask()
        assert (seen.status, seen.attempts) == (200, 2)
        assert 0 <= house.record.attempts[1].wait_s <= 0.05
    async with standing(a=status(number)) as house:
        seen = await house.ask()
        house.refused(seen, number, "timeout" if number == 408 else "conflict", "caller", attempts=2)
        assert house.calls("a") == 2


@STREAMED
@pytest.mark.parametrize("number", [500, 502, 503, 504, 520])
async def test_u19_server_errors_fall_over(number: int, stream: bool) -> None:
    said = {"body": "<html>bad gateway</html>"} if number == 503 else {}
    async with standing(trip_rule=TOUCHY, a=status(number, **said), b={}) as house:
        house.moved(await house.ask(stream=stream), "server_error")
        assert (house.health("a"), house.calls("a")) == ("open", 1)
        assert house.record.attempts[0].status == number


@pytest.mark.parametrize(("number", "told"), [(500, 502), (502, 502), (503, 503), (504, 504), (520, 502)])
async def test_u19_server_errors_are_tried_once_more_then_told_as_the_providers(number: int, told: int) -> None:
    message = "http://10.1.2.3:8000/secret-host fell over with key sk-canary-0123456789-a Traceback"
    script = status(number, message=message, code="server_error")
    async with standing(a=script) as house:
        house.canaries += [b"10.1.2.3", b"secret-host"]
        house.refused(await house.ask(), told, "upstream_error", attempts=2)
        assert house.calls("a") == 2
    async with standing(a=once(number, code="server_error")) as house:
        assert (await house.ask()).status == 200


REFUSALS: list[tuple[Document, int, str]] = [
    ({"status": 400, "code": "invalid_value"}, 400, "invalid_value"),
    ({"status": 400, "body": "no JSON at all"}, 400, "invalid_request"),
    ({"status": 422}, 422, "unprocessable_entity"),
    ({"status": 400, "code": "unsupported_parameter"}, 400, "unsupported_parameter"),
]


@STREAMED
@pytest.mark.parametrize(("said", "told", "code"), REFUSALS)
async def test_u21_an_invalid_request_is_neither_repeated_nor_taken_elsewhere(
    said: Document, told: int, code: str, stream: bool
) -> None:
    async with standing(trip_rule=TOUCHY, a=status(**said), b={}) as house:
        house.refused(await house.ask(stream=stream), told, code, "caller")
        assert (house.calls("a"), house.calls("b"), house.health("a")) == (1, 0, "well")


async def test_u21_the_providers_words_about_the_request_reach_the_caller() -> None:
    script = status(
        400, code="invalid_value", message="temperature must be at most 2", details={"param": "temperature"}
    )
    async with standing(a=script) as house:
        error = (await house.ask()).error
        assert (error["message"], error["param"]) == ("temperature must be at most 2", "temperature")
        assert (error["type"], error["retryable"]) == ("invalid_request_error", False)


async def test_u22_a_context_that_is_too_long_is_not_taken_to_a_like_target() -> None:
    async with standing(trip_rule=TOUCHY, a=status(400, code="context_length_exceeded"), b={}) as house:
        house.refused(await house.ask(), 400, "context_length_exceeded", "caller")
        assert (house.calls("a"), house.calls("b"), house.health("a")) == (1, 0, "well")


TOO_LONG = status(400, code="context_length_exceeded")


def add_fallback(house: House, provider: str, context_tokens: int | None, model: str = "gpt") -> None:
    """One more fallback model of `m`, with one target."""
    models, name = house.document["models"], f"fallback-{len(house.document['models'])}"
    url = f"{house.sims[provider].base}/v1"
    own = {"kind": "openai", "base_url": url, "keys": [f"env:KEY_{provider.upper()}"]}
    house.document["providers"].setdefault(provider, own)
    models[name] = {"targets": [{"provider": provider, "model": model, "context_tokens": context_tokens}]}
    models["m"].setdefault("fallback_models", []).append(name)
    house.reload()


@STREAMED
@pytest.mark.parametrize(("has", "had"), [(None, None), (64_000, None), (None, 8_000), (64_000, 8_000)])
async def test_u22_a_context_that_is_too_long_goes_to_the_configured_larger_model(
    has: int | None, had: int | None, stream: bool
) -> None:
    """A fallback model whose size nobody has told is taken for the larger one: why else is it there."""
    async with standing(["a"], targets={"a": {"context_tokens": had}}, a=TOO_LONG, b={}) as house:
        add_fallback(house, "b", has)
        house.moved(await house.ask(stream=stream), "context_length")
        assert house.health("a") == "well"


async def test_u22_of_the_same_route_only_targets_known_to_be_larger_are_tried() -> None:
    sizes = {"a": 8_000, "b": 8_000, "c": None, "d": 4_000, "e": 32_000}
    targets = {name: {"context_tokens": size} for name, size in sizes.items()}
    async with standing(trip_rule=TOUCHY, targets=targets, a=TOO_LONG, b={}, c={}, d={}, e={}) as house:
        house.moved(await house.ask(), "context_length", by="e")
        assert [house.calls(name) for name in "abcde"] == [1, 0, 0, 0, 1]
        assert house.health("a") == "well"


async def test_u22_the_400_is_told_as_it_is_when_every_larger_target_finds_it_too_long_as_well() -> None:
    targets = {"a": {"context_tokens": 8_000}, "b": {"context_tokens": 32_000}, "c": {"context_tokens": 16_000}}
    async with standing(trip_rule=TOUCHY, targets=targets, a=TOO_LONG, b=TOO_LONG, c={}) as house:
        house.refused(await house.ask(), 400, "context_length_exceeded", "caller", attempts=2)
        assert ([house.calls(name) for name in "abc"], house.failures) == ([1, 1, 0], ["context_length"] * 2)


async def test_u22_a_fallback_model_known_to_be_no_larger_is_left_out_and_on_record() -> None:
    async with standing(["a"], targets={"a": {"context_tokens": 8_000}}, a=TOO_LONG, b={}, c={}) as house:
        add_fallback(house, "b", 8_000)
        house.refused(await house.ask(), 400, "context_length_exceeded", "caller")
        assert [(drop.deployment, drop.reason) for drop in house.record.drops] == [("b/gpt#0", "not_larger")]
        add_fallback(house, "c", 9_000)
        house.moved(await house.ask(), "context_length", by="c")
        assert house.calls("b") == 0


async def test_u22_the_same_model_at_the_same_provider_is_no_larger_for_being_a_fallback() -> None:
    async with standing(a=TOO_LONG) as house:
        add_fallback(house, "a", None)
        house.refused(await house.ask(), 400, "context_length_exceeded", "caller")
        assert house.calls("a") == 1


async def test_u22_requests_that_were_too_long_prove_nothing_against_a_target() -> None:
    """They work elsewhere, but that is no sign that the target is broken."""
    rule = TripRule(volume=4, callers=2, bodies=3)
    rules = [{"when": {"says": "poison"}, **status(500)["otherwise"]}]
    targets = {"a": {"context_tokens": 8_000}, "b": {"context_tokens": 16_000}}
    async with standing(
        trip_rule=rule, targets=targets, route={"attempts": 2}, a={"rules": rules, **TOO_LONG}, b={"rules": rules}
    ) as house:
        for number in range(3):
            house.moved(await house.ask(f"long {number}"), "context_length")
        for _ in range(6):
            assert (await house.ask("poison")).status == 502
        assert house.health("a") == "well"


async def test_u23_a_content_filter_is_never_evaded() -> None:
    async with standing(trip_rule=TOUCHY, a=status(400, code="content_filter"), b={}) as house:
        house.refused(await house.ask(), 400, "content_filter", "caller")
        assert (house.calls("a"), house.calls("b"), house.health("a")) == (1, 0, "well")


@STREAMED
async def test_u23_an_answer_that_was_filtered_passes_as_it_is(stream: bool) -> None:
    script = {"otherwise": {"answer": {"text": "I", "finish_reason": "content_filter"}}}
    async with standing(trip_rule=TOUCHY, a=script, b={}) as house:
        seen = await house.ask(stream=stream)
        assert (seen.status, seen.text, seen.attempts) == (200, "I", 1)
        assert b'"finish_reason":"content_filter"' in seen.body
        assert house.record.finish_reasons == ("content_filter",)
        assert house.health("a") == "well"


@pytest.mark.parametrize("number", [401, 403])
async def test_u24_a_refused_gateway_credential_is_replaced_by_the_next_and_taken_out(number: int) -> None:
    rule = {"when": {"key": "*a_one"}, "fault": {"kind": "status", "status": number}}
    providers = {"a": {"keys": ["env:KEY_A_ONE", "env:KEY_A_TWO"]}}
    async with standing(trip_rule=TOUCHY, providers=providers, a={"rules": [rule]}) as house:
        answers = [await house.ask() for _ in range(20)]
        assert [seen.status for seen in answers] == [200] * 20
        assert [seen.attempts for seen in answers].count(2) == 1
        assert (house.health("a", 0), house.health("a", 1)) == ("misconfigured_auth", "well")
        assert 500 < house.line("a").pause_left_s <= 600


@STREAMED
@pytest.mark.parametrize("number", [401, 403])
async def test_u24_a_refused_gateway_credential_is_never_told_as_the_callers(number: int, stream: bool) -> None:
    async with standing(trip_rule=TOUCHY, a=status(number)) as house:
        seen = await house.ask(stream=stream)
        house.refused(seen, 502, "upstream_auth")
        assert seen.error["retryable"] is False
        assert "www-authenticate" not in seen.headers
        seen = await house.ask(stream=stream)
        assert (seen.status, seen.error["code"], seen.attempts, house.calls("a")) == (502, "upstream_auth", 0, 1)
        assert seen.headers["x-should-retry"] == "false"
        house.reload()  # the operator has mended the key
        house.script("a")
        assert (await house.ask(stream=stream)).status == 200


async def test_u24_a_mended_credential_is_found_without_a_reload() -> None:
    async with standing(trip_rule=TOUCHY, a=status(401)) as house:
        await house.ask()
        house.script("a")
        house.clock.ahead_s = 5.1
        seen = await house.ask()
        assert (seen.status, house.record.panic, house.health("a")) == (200, True, "well")


async def test_u25_no_credential_of_a_caller_goes_upstream_so_none_can_harm_what_is_shared() -> None:
    """Callers cannot bring a provider key: whatever they send, the gateway's own goes upstream."""
    async with standing(trip_rule=TOUCHY, a={}) as house:
        foreign = {"x-goog-api-key": "sk-byo-1", "api-key": "sk-byo-2", "openai-organization": "org-byo", "cookie": "c"}
        seen = await house.ask(headers=foreign, api_key="sk-byo-3")
        assert seen.status == 200
        request = house.sims["a"].requests[-1]
        assert request.header("authorization") == "Bearer sk-canary-0123456789-a"
        names = {name for name, _ in request.headers}
        assert names.isdisjoint({*foreign, "x-api-key"})
        assert CALLERS["one"] not in repr(request.headers)
        assert house.health("a") == "well"


@STREAMED
async def test_u26_a_model_that_the_provider_does_not_know_falls_over_and_is_taken_out(stream: bool) -> None:
    async with standing(trip_rule=TOUCHY, a={"models": ["other"]}, b={}) as house:
        house.moved(await house.ask(stream=stream), "model_not_found")
        assert house.health("a") == "misconfigured_model_not_found"
        assert (await house.ask()).attempts == 1


async def test_u26_a_missing_model_is_told_as_the_operators_unless_the_caller_named_it() -> None:
    async with standing(trip_rule=TOUCHY, a={"models": ["other"]}) as house:
        house.refused(await house.ask(), 502, "upstream_model_not_found")
        seen = await house.ask(model="nobody-has-it")
        assert (seen.status, seen.error["code"], seen.error["fault"]) == (404, "model_not_found", "caller")
        assert (house.calls("a"), house.record.attempts) == (1, ())


async def test_u27_a_request_that_is_too_large_there_is_told_so() -> None:
    async with standing(trip_rule=TOUCHY, a=status(413), b={}) as house:
        house.refused(await house.ask(), 413, "request_too_large", "caller")
        assert (house.calls("a"), house.calls("b"), house.health("a")) == (1, 0, "well")


async def test_u27_a_request_that_is_too_large_there_goes_to_a_target_known_to_be_larger() -> None:
    targets = {"a": {"context_tokens": 8_000}, "b": {"context_tokens": 8_000}, "c": {"context_tokens": 9_000}}
    async with standing(trip_rule=TOUCHY, targets=targets, a=status(413), b={}, c={}) as house:
        house.moved(await house.ask(), "too_large", by="c")
        assert (house.calls("a"), house.calls("b"), house.health("a")) == (1, 0, "well")


@pytest.mark.parametrize(("has", "moves"), [(None, True), (64_000, True), (8_000, False), (4_000, False)])
async def test_u27_a_request_that_is_too_large_there_goes_to_a_fallback_model_unless_it_is_no_larger(
    has: int | None, moves: bool
) -> None:
    async with standing(["a"], targets={"a": {"context_tokens": 8_000}}, a=status(413), b={}) as house:
        add_fallback(house, "b", has)
        seen = await house.ask()
        if moves:
            house.moved(seen, "too_large")
        else:
            house.refused(seen, 413, "request_too_large", "caller")
        assert house.calls("b") == (1 if moves else 0)


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
async def test_u28_a_redirect_is_never_followed(number: int) -> None:
    async with standing(["a", "b"], trip_rule=TOUCHY, a={}, b={}, sink={}) as house:
        location = f"{house.sims['sink'].base}/v1/chat/completions"
        house.script("a", otherwise={"fault": {"kind": "redirect", "status": number, "location": location}})
        house.moved(await house.ask(), "redirect")
        assert (house.health("a"), house.calls("sink"), house.sims["sink"].connections_total) == ("open", 0, 0)


async def test_u28_a_redirect_is_a_security_event_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    redirect = {"otherwise": {"fault": {"kind": "redirect"}}}
    async with standing(a=redirect, b=redirect, c={}) as house:
        for ahead_s in (0.0, 30.0, 70.0):
            house.clock.ahead_s = ahead_s
            assert (await house.ask()).attempts == 3
        counted = await house.metric("gateway_security_events_total")
        assert counted == {'{kind="redirect",provider="a"}': 3, '{kind="redirect",provider="b"}': 3}
        said = [record for record in caplog.records if record.name == "meterway.security"]
        assert [record.levelname for record in said] == ["WARNING"] * 4
        assert ["provider 'a'" in record.message for record in said] == [True, False, True, False]
        assert all("169.254" not in record.message and "127.0.0.1" not in record.message for record in said)


async def test_u28_a_redirect_is_told_as_invalid() -> None:
    async with standing(a={"otherwise": {"fault": {"kind": "redirect"}}}) as house:
        house.canaries.append(b"169.254")
        house.refused(await house.ask(), 502, "upstream_invalid_response")
        assert house.calls("a") == 1


TOO_MUCH: list[Document] = [
    {"kind": "interim_flood"},
    {"kind": "endless_headers"},
    {"kind": "large_header", "header_bytes": 40_000},
    {"kind": "large_body", "body_bytes": 100_000_000},
    {"kind": "gzip_bomb", "plain_bytes": 100_000_000},
]


@pytest.mark.parametrize("fault", TOO_MUCH, ids=lambda fault: fault["kind"])
async def test_u29_an_answer_without_measure_falls_over(fault: Document) -> None:
    route = {"timeouts": {"connect_s": 5.0, "first_token_s": 10.0, "idle_s": 10.0, "total_s": 30.0}}
    async with standing(trip_rule=TOUCHY, a={"otherwise": {"fault": fault}}, b={}, route=route) as house:
        house.moved(await house.ask(), "response_too_large")
        assert house.health("a") == "open"


@pytest.mark.parametrize("fault", TOO_MUCH[:3], ids=lambda fault: fault["kind"])
async def test_u29_a_head_without_measure_is_told_as_too_large(fault: Document) -> None:
    async with standing(a={"otherwise": {"fault": fault}}) as house:
        house.refused(await house.ask(stream=True), 502, "upstream_response_too_large")


async def test_u29_a_whole_answer_without_end_is_refused() -> None:
    async with standing(trip_rule=TOUCHY, a={"otherwise": {"fault": {"kind": "endless"}}}, b={}) as house:
        house.moved(await house.ask(), "response_too_large")


async def test_u29_an_event_without_measure_ends_a_stream_with_an_error_event() -> None:
    script = {"otherwise": {"fault": {"kind": "large_body", "body_bytes": 20_000_000}}}
    async with standing(trip_rule=TOUCHY, a=script) as house:
        seen = await house.ask(stream=True)
        assert seen.error["code"] in ("upstream_invalid_response", "upstream_response_too_large")
        assert b"[DONE]" not in seen.body
        assert house.health("a") == "open"


async def test_the_same_failure_of_one_caller_alone_opens_nothing_for_the_others() -> None:
    """Breaker poisoning: one key's one body, however often it fails, is no evidence against the deployment."""
    async with standing(
        route={"attempts": 1}, a={"rules": [{"when": {"says": "poison"}, **status(500)["otherwise"]}]}
    ) as house:
        for _ in range(40):
            assert (await house.ask("poison")).status == 502
        assert house.health("a") == "well"
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(house.ask(f"hi {n}", caller="two")) for n in range(5)]
        assert {task.result().status for task in others} == {200}
