"""What each station of the path costs by itself, without sockets."""

import asyncio
import timeit
from collections.abc import Awaitable, Callable

from benchmarks.micro.path import HEAD, REPLY, REQUEST, gateway
from benchmarks.servers import stream_reply
from gateway.domain.budget import Dimensions
from gateway.domain.errors import RateLimited
from gateway.domain.request import Caller
from gateway.domain.routing import Conditions, Session, plan
from gateway.domain.sticky import session_key
from gateway.http import heads
from gateway.pipeline.admission import admit
from gateway.pipeline.trace import Trace, record_of
from gateway.providers import openai
from gateway.wire import failures, openai_chat

ROUNDS = 5
NUMBER = 20_000


def timed_us(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=NUMBER, repeat=ROUNDS)) / NUMBER * 1e6


async def timed_await_us(call: Callable[[], Awaitable[object]]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = timeit.default_timer()
        for _ in range(NUMBER):
            await call()
        best = min(best, timeit.default_timer() - started)
    return best / NUMBER * 1e6


async def measure() -> list[tuple[str, float]]:
    made = gateway(None)
    desk, catalog = made.door.desk, made.door.catalog
    route = catalog.routes["assistant"]
    request = openai_chat.parse(REQUEST)
    caller = Caller(next(iter(catalog.keys.values())), "req_1", 0.0, 0.0)
    booked = Dimensions("demo", "k", "assistant")
    session = Session(session_key("demo", request.opening))
    calm = Conditions(desk.health.blocked, desk.health.latency_s, desk.clock.dice, session, calm=True)
    deployment = route.deployments[0]
    stream = stream_reply().encode()
    trace = Trace()

    async def turnstiles() -> None:
        ticket = await admit(desk, caller, booked, request, route.deployments, 1e9)
        ticket.settle(0, 29)

    def permit() -> None:
        given = desk.health.admit(deployment, panic=False)
        if given is not None:
            desk.health.success(given, 0.1)
            desk.health.release(given)

    head = dict(HEAD)
    return [
        ("1 door: key and terms of a head", timed_us(lambda: (heads.bearer(head), heads.SPOKEN.isdisjoint(head)))),
        ("1 door: request id", timed_us(heads.new_request_id)),
        ("2 interpreter: parse", timed_us(lambda: openai_chat.parse(REQUEST))),
        ("3 turnstiles: admit and settle", await timed_await_us(turnstiles)),
        ("4 planner: session and plan", timed_us(lambda: plan(route, request.needs, calm))),
        ("5 attempts: permit, verdict, release", timed_us(permit)),
        ("6 translator: request", timed_us(lambda: openai.encode_request(request, deployment, 1.0, "req_1"))),
        ("6 translator: whole reply", timed_us(lambda: openai.decode_reply(request, REPLY))),
        ("8 relay: decode a stream of 31 events", timed_us(lambda: openai.decode_stream().feed(stream))),
        ("9 cashier: the record", timed_us(lambda: record_of(trace, caller, request, 1.0))),
        ("10 chronicler: metrics", timed_us(lambda: desk.recorder.record(record_of(trace, caller, request, 1.0)))),
        ("errors: body in the caller's dialect", timed_us(lambda: failures.body_of(RateLimited("slow down")))),
    ]


def main() -> None:
    for name, us in asyncio.run(measure()):
        print(f"{name:42} {us:8.2f} us")


if __name__ == "__main__":
    main()
