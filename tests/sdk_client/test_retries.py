"""When the client asks again, and what every error becomes; without a network."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider

import sdk_client
from sdk_client import CallContext, LLMClient, LLMClientSync, Message, errors
from sdk_client.wire import ERRORS

ASK = [Message.user("x")]


def good(_: httpx.Request) -> httpx.Response:
    choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    return httpx.Response(200, json={"choices": [choice]})


def refusal(status: int, code: str, **headers: str) -> httpx.Response:
    shown = {"message": "no", "code": code, "retryable": True, "scope": "tenant", "resets_at": "tomorrow"}
    return httpx.Response(status, json={"error": shown}, headers={"x-request-id": "req_1", **headers})


class Gateway:
    """Answers in turn; the last one for ever."""

    def __init__(self, *answers: httpx.Response | Callable[[httpx.Request], httpx.Response]) -> None:
        self.seen: list[httpx.Request] = []
        self._answers = answers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._answers[min(len(self.seen), len(self._answers) - 1)]
        self.seen.append(request)
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def client(self, **options: Any) -> LLMClient:
        return LLMClient("http://gateway/v1", "key", transport=httpx.MockTransport(self), **options)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


INVITED = {"x-should-retry": "true", "retry-after-ms": "1"}


async def test_it_asks_again_when_it_is_invited_under_the_same_key_and_with_less_time() -> None:
    gateway = Gateway(refusal(503, "gateway_overloaded", **INVITED), good)
    assert (await gateway.client().generate(ASK, model="m")).text == "yes"
    keys = {request.headers["idempotency-key"] for request in gateway.seen}
    bodies = {request.content for request in gateway.seen}
    left_ms = [int(request.headers["x-request-timeout-ms"]) for request in gateway.seen]
    assert (len(gateway.seen), len(keys), len(bodies)) == (2, 1, 1)
    assert left_ms[1] < left_ms[0] <= 600_000


@pytest.mark.parametrize("should", ["false", None])
async def test_it_never_asks_again_uninvited(should: str | None) -> None:
    headers = {} if should is None else {"x-should-retry": should}
    gateway = Gateway(refusal(502, "upstream_error", **headers), good)
    with pytest.raises(errors.UpstreamFailed):
        await gateway.client().generate(ASK, model="m")
    assert len(gateway.seen) == 1


async def test_it_gives_up_after_its_attempts() -> None:
    gateway = Gateway(refusal(429, "rate_limit_exceeded", **INVITED))
    with pytest.raises(errors.RateLimited) as caught:
        await gateway.client(attempts_max=3).generate(ASK, model="m")
    assert len(gateway.seen) == 3
    assert caught.value.retry_after_s == pytest.approx(0.001)


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    gateway = Gateway(refusal(429, "rate_limit_exceeded", **{"x-should-retry": "true", "retry-after": "60"}))
    with pytest.raises(errors.RateLimited) as caught:
        await gateway.client().generate(ASK, model="m", context=CallContext(timeout_s=5))
    assert len(gateway.seen) == 1
    assert caught.value.retry_after_s == 60


async def test_a_gateway_that_cannot_be_reached_is_asked_again() -> None:
    gateway = Gateway(unreachable, good)
    assert (await gateway.client().generate(ASK, model="m")).text == "yes"
    with pytest.raises(errors.Overloaded, match="cannot be reached"):
        await Gateway(unreachable).client(attempts_max=1).generate(ASK, model="m")


def test_the_blocking_client_keeps_the_same_rules() -> None:
    gateway = Gateway(refusal(503, "gateway_overloaded", **INVITED), good)
    with LLMClientSync("http://gateway/v1", "key", transport=httpx.MockTransport(gateway)) as client:
        assert client.generate(ASK, model="m").text == "yes"
    gateway = Gateway(refusal(502, "upstream_error"), good)
    other = LLMClientSync("http://gateway/v1", "key", transport=httpx.MockTransport(gateway))
    with other, pytest.raises(errors.UpstreamFailed):
        other.generate(ASK, model="m")
    assert len(gateway.seen) == 1


@pytest.mark.parametrize(("code", "kind"), ERRORS.items())
async def test_every_code_has_its_class(code: str, kind: type[errors.LLMError]) -> None:
    with pytest.raises(kind) as caught:
        await Gateway(refusal(418, code)).client().generate(ASK, model="m")
    assert (caught.value.code, caught.value.request_id, caught.value.status) == (code, "req_1", 418)
    if isinstance(caught.value, errors.BudgetExceeded):
        assert (caught.value.scope, caught.value.resets_at) == ("tenant", "tomorrow")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.AuthFailed),
        (402, errors.BudgetExceeded),
        (404, errors.InvalidRequest),
        (413, errors.ContextTooLong),
        (429, errors.RateLimited),
        (500, errors.UpstreamFailed),
        (504, errors.UpstreamFailed),
    ],
)
async def test_what_is_no_gateway_is_judged_by_its_status(status: int, kind: type[errors.LLMError]) -> None:
    with pytest.raises(kind):
        await Gateway(httpx.Response(status, text="<html>")).client().generate(ASK, model="m")


async def test_an_answer_that_is_none_says_where_to_look() -> None:
    for answer in (httpx.Response(200, text="<html>"), httpx.Response(200, json=[]), httpx.Response(200, json={})):
        with pytest.raises(errors.UpstreamFailed, match="base URL"):
            await Gateway(answer).client().generate(ASK, model="m")


async def test_an_answer_that_does_not_fit_the_schema_is_an_error_without_its_text() -> None:
    with pytest.raises(errors.UpstreamFailed) as caught:
        await Gateway(good).client().generate(ASK, model="m", output={"type": "object"})
    assert caught.value.code == "output_invalid"
    assert "yes" not in str(caught.value)


async def test_a_context_is_told_in_headers_and_nothing_else_is() -> None:
    gateway = Gateway(good)
    context = CallContext(
        key="k2", session_id="s", run_id="r", parent_run_id="p", priority="autonomous", tags={"a": "1", "b": "2"}
    )
    await gateway.client().generate(ASK, model="m", context=context, temperature=0.5, stop=None)
    head = gateway.seen[0].headers
    assert head["authorization"] == "Bearer k2"
    assert [head[f"x-{name}"] for name in ("session-id", "run-id", "parent-run-id", "priority", "tags")] == [
        "s",
        "r",
        "p",
        "autonomous",
        "a=1,b=2",
    ]
    assert json.loads(gateway.seen[0].content) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "temperature": 0.5,
    }


async def test_ids_of_users_fit_into_headers_whatever_they_are() -> None:
    gateway = Gateway(good)
    context = CallContext(session_id=" größe\r\nx-evil: 1", tags={"user": "a,b=c", "team": "r&d"})
    assert (await gateway.client().generate(ASK, model="m", context=context)).text == "yes"
    head = gateway.seen[0].headers
    assert head["x-session-id"] == "gr%C3%B6%C3%9Fe%0D%0Ax-evil: 1"
    assert head["x-tags"] == "user=a%2Cb%3Dc,team=r&d"
    assert "x-evil" not in head


async def test_a_trace_goes_on_in_the_gateway_where_there_is_one() -> None:
    gateway = Gateway(good)
    await gateway.client().generate(ASK, model="m")
    with TracerProvider().get_tracer("test").start_as_current_span("outer") as span:
        await gateway.client().generate(ASK, model="m")
    here = span.get_span_context()
    assert "traceparent" not in gateway.seen[0].headers
    assert (
        gateway.seen[1].headers["traceparent"] == f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"
    )


def test_there_are_fifteen_public_names_and_ten_errors() -> None:
    assert len(sdk_client.__all__) == 15
    assert len(errors.LLMError.__subclasses__()) == 10
    assert all(hasattr(sdk_client, name) for name in sdk_client.__all__)


def test_the_client_loads_nothing_of_the_server() -> None:
    code = "import sys, sdk_client; print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    server = {"gateway", "agent_runtime", "starlette", "uvicorn", "redis", "sqlalchemy", "pydantic", "opentelemetry"}
    assert server.isdisjoint(told)
    assert {"temporalio", "mcp", "msgspec", "pybreaker", "yaml", "typer"}.isdisjoint(told)


class Dripping(httpx.SyncByteStream):
    """Says something every now and then, and never ends by itself."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            time.sleep(0.02)
            yield b": still there\n\n"


def test_a_stream_without_async_does_not_outlive_its_deadline_however_it_drips() -> None:
    head = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=head, stream=Dripping()))
    with (
        LLMClientSync("http://gateway/v1", "key", timeout_s=0.1, transport=transport) as client,
        client.stream([Message.user("x")], model="m") as stream,
        pytest.raises(errors.StreamBroken, match="the deadline has passed"),
    ):
        stream.reply()
