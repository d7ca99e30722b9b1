"""What each station of the path costs by itself, without sockets."""

import asyncio
import timeit
from collections.abc import Awaitable, Callable

from benchmarks.micro.path import HEAD, REPLY, REQUEST, gateway
from benchmarks.servers import stream_reply
from gateway.domain.budget import Dimensions
from gateway.domain.errors import RateLimited
from gateway.domain.fact import Opened
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.money import usd_digits
from gateway.domain.quota import Room
from gateway.domain.request import Caller
from gateway.domain.routing import Conditions, Session, plan
from gateway.domain.sticky import opening_key
from gateway.domain.tokens import estimate
from gateway.formats.journal import write_line
from gateway.http import heads, response_head
from gateway.pipeline.admission import admit
from gateway.pipeline.trace import Trace, record_of
from gateway.providers import openai
from gateway.stores.entry_row import row_of
from gateway.wire import failures, openai_chat
from gateway.wire.json_body import members_of

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
    session = Session(opening_key("demo", request.opening))
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
    rooms = [Room("requests", 100, 99, 0.6), Room("tokens", 100_000, 99_000, 0.6)]
    opened, line = Opened("req_1.1", 1.5, 19, 500, 219), bytearray()
    entry = Entry("req_1.1", EntryKind.POST, "req_1", "demo", "k", 1.5, 2.5, "boot", "assistant", "a", "gpt-4.1")
    return [
        ("1 door: key and terms of a head", timed_us(lambda: (heads.bearer(head), heads.SPOKEN.isdisjoint(head)))),
        ("1 door: request id", timed_us(heads.new_request_id)),
        (
            "1 door: figures of rates, and an amount",
            timed_us(lambda: (response_head.room_figures(rooms), usd_digits(125_000))),
        ),
        ("1 door: a key that is known", timed_us(lambda: desk.keys.find(b"demo-key-1234567890"))),
        ("2 interpreter: members of a body", timed_us(lambda: members_of(REQUEST))),
        ("2 interpreter: tokens of a text", timed_us(lambda: estimate(REQUEST))),
        ("2 interpreter: parse", timed_us(lambda: openai_chat.parse(REQUEST))),
        ("3 turnstiles: admit and settle", await timed_await_us(turnstiles)),
        ("4 planner: an opening's key", timed_us(lambda: opening_key("demo", request.opening))),
        ("4 planner: session and plan", timed_us(lambda: plan(route, request.needs, calm))),
        ("5 attempts: permit, verdict, release", timed_us(permit)),
        ("6 translator: request", timed_us(lambda: openai.encode_request(request, deployment, 1.0, "req_1"))),
        ("6 translator: whole reply", timed_us(lambda: openai.decode_reply(request, REPLY))),
        ("8 relay: decode a stream of 31 events", timed_us(lambda: openai.decode_stream().feed(stream))),
        ("9 cashier: a line of the journal", timed_us(lambda: write_line(line, opened, 1))),
        ("9 books: a row of the ledger", timed_us(lambda: row_of(entry))),
        ("9 cashier: the record", timed_us(lambda: record_of(trace, caller, request, 1.0))),
        ("10 chronicler: metrics", timed_us(lambda: desk.recorder.record(record_of(trace, caller, request, 1.0)))),
        ("errors: body in the caller's dialect", timed_us(lambda: failures.body_of(RateLimited("slow down")))),
    ]


def main() -> None:
    for name, us in asyncio.run(measure()):
        print(f"{name:42} {us:8.2f} us")


if __name__ == "__main__":
    main()
