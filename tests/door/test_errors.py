"""Who may call, what a response's head says, and which words of a request's head are refused."""

import re
from typing import Any

import pytest

from tests.door.house import CONFIG, chat, house
from tests.door.line import KEY, get, head, post

LIMITED = "another-tenant-key-0123456789"


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", KEY[:-1], KEY.upper(), "é"])
async def test_a_key_that_is_not_known_is_401_before_the_body_is_read(key: str | None) -> None:
    async with house() as made:
        line = await made.line()
        await line.send(head(key=key, content_length=10 * 1024 * 1024))
        answer = await line.answer()
        assert (answer.status, answer.code) == (401, "invalid_api_key")
        assert answer.header("www-authenticate") == "Bearer"
        assert answer.header("connection") == "close"
        assert answer.json()["error"]["type"] == "authentication_error"
        assert await line.ended() == b""
        assert made.records[0].status == 401


@pytest.mark.parametrize("late", [False, True], ids=["reads meanwhile", "reads when all is sent"])
async def test_a_refusal_arrives_although_the_client_sends_its_whole_body(late: bool) -> None:
    async with house() as made:
        line = await made.line()
        raw = post(b"x" * 10 * 1024 * 1024, key="wrong")
        if late:
            line.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that writes first
            line.writer.write(raw)
            await made.until(lambda: line.writer.transport.get_write_buffer_size() == 0)
            line.reader._transport.resume_reading()  # type: ignore[attr-defined]
        else:
            line.writer.write(raw)
        answer = await line.answer()
        assert (answer.status, answer.whole) == (401, True)


async def test_nothing_of_an_unknown_caller_s_body_is_kept() -> None:
    async with house() as made:
        line = await made.line()
        line.writer.write(post(b"x" * 3_000_000, key="wrong"))
        answer = await line.answer()
        assert answer.status == 401
        for connection in made.gateway.server.server_state.connections:
            assert made.latest(connection).unread_bytes < 512 * 1024


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"x_api_key": KEY}],
    ids=["bearer", "bearer in small letters", "x-api-key"],
)
async def test_a_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    async with house() as made:
        assert (await (await made.line()).ask(post(chat(), key=None, **headers))).status == 200


async def test_other_schemes_are_not_keys() -> None:
    async with house() as made:
        for given in (f"Basic {KEY}", KEY, f"Bearer{KEY}", f"Token {KEY}"):
            assert (await (await made.line()).ask(post(chat(), key=None, authorization=given))).status == 401


HEX = re.compile(r"req_[0-9a-f]{24}")
NUMBER = re.compile(r"\d+\.\d\d")


async def test_a_whole_answer_says_what_happened() -> None:
    async with house() as made:
        line = await made.line()
        answer = await line.ask(post(chat(), key=LIMITED))
        assert answer.status == 200
        assert answer.header("content-type") == "application/json"
        assert HEX.fullmatch(answer.header("x-request-id") or "")
        assert made.sim.requests[0].header("x-request-id") == answer.header("x-request-id")
        assert made.records[0].request_id == answer.header("x-request-id")
        assert answer.header("x-gateway-target") == "p/up"
        assert answer.header("x-gateway-attempts") == "1"
        assert NUMBER.fullmatch(answer.header("x-gateway-overhead-ms") or "")
        usage = answer.json()["usage"]
        cost = (usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1_000_000
        assert float(answer.header("x-gateway-cost-usd") or "") == pytest.approx(cost)
        assert answer.header("x-ratelimit-limit-requests") == "2"
        assert answer.header("x-ratelimit-remaining-requests") == "1"
        assert answer.header("x-ratelimit-limit-tokens") == "100000"
        assert int(answer.header("x-ratelimit-remaining-tokens") or "") < 100_000
        for name in ("requests", "tokens"):
            assert re.fullmatch(r"\d+ms|[\d.]+s|\d+m\d+s", answer.header(f"x-ratelimit-reset-{name}") or "")
        assert answer.header("date")
        names = [name for name, _ in answer.headers]
        assert len(names) == len(set(names))
        assert "server" not in names


async def test_a_stream_says_what_is_known_at_its_start() -> None:
    async with house() as made:
        line = await made.line()
        answer = await line.ask(post(chat(stream=True), key=LIMITED))
        assert answer.header("content-type") == "text/event-stream; charset=utf-8"
        assert answer.header("cache-control") == "no-cache"
        assert answer.header("transfer-encoding") == "chunked"
        assert (answer.header("x-gateway-target"), answer.header("x-gateway-attempts")) == ("p/up", "1")
        assert HEX.fullmatch(answer.header("x-request-id") or "")
        assert answer.header("x-gateway-cost-usd") is None
        assert answer.header("x-ratelimit-remaining-requests") == "1"
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_a_limit_that_is_reached_says_when_to_come_back() -> None:
    async with house() as made:
        line = await made.line()
        for _ in range(2):
            assert (await line.ask(post(chat(), key=LIMITED))).status == 200
        answer = await line.ask(post(chat(), key=LIMITED))
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
        wait_ms = int(answer.header("retry-after-ms") or "")
        assert 0 < wait_ms <= 30_000
        assert answer.header("retry-after") == str(-(-wait_ms // 1000))
        assert answer.header("x-should-retry") == "true"
        assert answer.header("x-gateway-attempts") == "0"
        assert answer.header("x-ratelimit-limit-requests") == "2"
        assert answer.header("x-ratelimit-remaining-requests") == "0"
        error = answer.json()["error"]
        assert (error["fault"], error["retryable"]) == ("policy", True)
        assert made.sim.arrived_count == 2


FAILING = CONFIG.replace("targets:", "attempts: 2, targets:")


async def test_an_error_after_attempts_tells_the_sdk_not_to_retry() -> None:
    rule = {"fault": {"kind": "status", "status": 503, "hints": [{"form": "retry-after", "seconds": 0}]}}
    async with house(rule, config=FAILING) as made:
        answer = await (await made.line()).ask(post(chat()))
        assert answer.status >= 500
        assert answer.header("x-gateway-attempts") == str(made.sim.arrived_count)
        assert answer.header("x-should-retry") == "false"
        assert answer.json()["error"]["fault"] == "provider"
        assert HEX.fullmatch(answer.header("x-request-id") or "")
        assert b"127.0.0.1" not in answer.body


async def test_the_provider_s_word_about_waiting_is_passed_on() -> None:
    rule = {"fault": {"kind": "status", "status": 429, "hints": [{"form": "retry-after", "seconds": 7}]}}
    async with house(rule) as made:
        answer = await (await made.line()).ask(post(chat()))
        assert answer.status == 429
        assert 6000 < int(answer.header("retry-after-ms") or "") <= 7000
        assert answer.header("retry-after") == "7"


@pytest.mark.parametrize(
    "headers",
    [
        *(
            {"x_request_timeout_ms": value}
            for value in ("", "0", "-1", "1.5", "1e3", "abc", "86400001", "9" * 40, "+5", "²")
        ),
        *({"x_priority": value} for value in ("", "high", "INTERACTIVE")),
        *(
            {"x_tags": value}
            for value in ("", "team", "=a", "team=a,", ",".join(f"t{at}=1" for at in range(17)), "t=" + "x" * 255)
        ),
        {"x_run_id": "x" * 257},
        {"x_parent_run_id": "x" * 257},
        {"x_session_id": "x" * 257},
        {"x_conversation_id": "x" * 257},
    ],
)
async def test_a_header_that_cannot_be_meant_is_400_and_named(headers: dict[str, str]) -> None:
    async with house() as made:
        raw = post(chat(), **{name: value.encode().decode("latin-1") for name, value in headers.items()})
        answer = await (await made.line()).ask(raw)
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert next(iter(headers)).replace("_", "-") in answer.message
        assert answer.header("x-should-retry") == "false"
        assert made.sim.arrived_count == 0


async def test_headers_that_say_something_are_on_the_record() -> None:
    async with house() as made:
        given: dict[str, Any] = {"x_run_id": "r1", "x_parent_run_id": "r0", "x_tags": " team = a ,feature=b=c"}
        given |= {"x_priority": "autonomous", "x_request_timeout_ms": "86400000", "x_session_id": "s"}
        assert (await (await made.line()).ask(post(chat(), **given))).status == 200
        record = made.records[0]
        assert (record.run_id, record.parent_run_id) == ("r1", "r0")
        assert record.tags == (("team", "a"), ("feature", "b=c"))


async def test_the_caller_s_deadline_ends_the_request() -> None:
    async with house({"pace": {"head_gate": "never"}}) as made:
        line = await made.line()
        answer = await line.ask(post(chat(), x_request_timeout_ms=150))
        assert (answer.status, answer.code) == (504, "deadline_exceeded")
        assert made.records[0].duration_s < 1.0
        await made.sim.idle()


async def test_c17_no_decision_uses_the_client_s_clock() -> None:
    async with house() as made:
        line = await made.line()
        for date in ("Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday"):
            answer = await line.ask(post(chat(), date=date, if_modified_since=date, expires=date, x_request_start=date))
            assert answer.status == 200
        sent = [name for request in made.sim.requests for name, _ in request.headers]
        assert not {"date", "if-modified-since", "expires", "x-request-start"} & set(sent)


async def test_nothing_of_a_caller_s_head_reaches_the_provider() -> None:
    async with house() as made:
        line = await made.line()
        given = {"cookie": "a=b", "x_forwarded_for": "1.2.3.4", "forwarded": "for=1", "x_evil": "1", "te": "trailers"}
        given |= {"proxy_authorization": "Basic x", "x_request_id": "mine", "openai_organization": "o"}
        answer = await line.ask(post(chat(), **given))
        assert answer.status == 200
        sent = dict(made.sim.requests[0].headers)
        assert not ({name.replace("_", "-") for name in given} - {"x-request-id"}) & set(sent)
        assert sent["x-request-id"] != "mine"
        assert KEY not in str(sent)


@pytest.mark.source
async def test_a_failure_of_our_own_is_told_in_the_caller_s_dialect() -> None:
    async with house() as made:

        async def broken(call: object) -> object:
            del call
            raise ZeroDivisionError("secret detail")

        made.gateway.door.desk.upstream.send = broken  # type: ignore[method-assign,assignment]  # a bug
        line = await made.line()
        answer = await line.ask(post(chat()))
        assert (answer.status, answer.code, answer.whole) == (500, "internal_error", True)
        assert answer.json()["error"]["fault"] == "gateway"
        assert HEX.fullmatch(answer.header("x-request-id") or "")
        assert b"secret" not in answer.body
        assert made.records[0].status == 500


async def test_health_and_models_say_their_request_id_only_on_errors() -> None:
    async with house() as made:
        line = await made.line()
        assert (await line.ask(get("/health/live", key=None))).status == 200
        answer = await line.ask(get("/nothing"))
        assert HEX.fullmatch(answer.header("x-request-id") or "")
        assert answer.header("x-should-retry") == "false"
