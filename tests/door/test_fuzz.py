"""H1: requests with bytes changed, lost, doubled and moved never hurt a live gateway."""

import asyncio
import random
import re
from collections.abc import Iterator

import pytest

from tests.conftest import SEED
from tests.door.house import House, chat, dumped, house
from tests.door.line import Line, get, head, post
from tests.door.test_wire import chunks

SEEDS = [
    post(chat()),
    post(chat(stream=True)),
    post(chat(messages=[{"role": "user", "content": "x" * 2000}], max_tokens=5, tools=[])),
    head(transfer_encoding="chunked") + chunks(dumped(chat())[:20], dumped(chat())[20:]),
    post({"model": "m", "input": ["a", "b"]}, path="/v1/embeddings"),
    get("/v1/models"),
    get("/health/live") * 3,
    post(chat(), expect="100-continue", x_tags="a=b", x_request_timeout_ms=5000),
    post(chat(), connection="upgrade", upgrade="h2c"),
    post(chat(), version="1.0"),
]
WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b" ",
    b"\t",
    b"\xff",
    b"0\r\n\r\n",
    b"transfer-encoding: chunked\r\n",
    b"content-length: 5\r\n",
    b"HTTP/1.1",
    b"HTTP/9.9",
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"host: x\r\n",
    b"connection: close\r\n",
    b"expect: 100-continue\r\n",
    b"ffffffffffffffff\r\n",
    b"-1",
    b"[" * 70,
    b'{"a":',
    b'"model":"m",',
    b"\\ud800",
    b"1e999",
    b"%00",
    b"/../",
    b"//",
    b"upgrade: websocket\r\nconnection: upgrade\r\n",
    b"x" * 9000,
]
AT_ONCE = 16


def mutated(dice: random.Random) -> bytes:
    data = bytearray(dice.choice(SEEDS))
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        at = dice.randrange(len(data) + 1)
        to = min(len(data), at + dice.choice((1, 1, 2, 10, 100)))
        match dice.randrange(6):
            case 0:
                data[at:to] = dice.randbytes(to - at)
            case 1:
                del data[at:to]
            case 2:
                data[at:at] = dice.choice(WORDS)
            case 3:
                data[at:to] = dice.choice(WORDS)
            case 4:
                data[at:at] = data[at:to]
            case _:
                other = dice.choice(SEEDS)
                data[at:] = other[dice.randrange(len(other)) :]
    return bytes(data)


def statuses(kept: bytes) -> Iterator[int]:
    for found in re.finditer(rb"(?:^|\n|})HTTP/1\.1 (\d\d\d) [A-Z]", kept):
        yield int(found[1])


async def hostile(made: House, dice: random.Random) -> list[int]:
    """One mutated request in up to three writes, then the end of input."""
    raw = mutated(dice)
    line = Line(*await asyncio.open_connection("127.0.0.1", made.port))
    try:
        cuts = sorted(dice.randrange(len(raw) + 1) for _ in range(dice.randrange(3)))
        for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            line.writer.write(raw[begin:end])
            await asyncio.sleep(0)
        if dice.random() < 0.8:
            line.half_close()
        return list(statuses(await line.ended(10)))
    except ConnectionError:
        return []
    finally:
        await line.close()


async def attack(made: House, dice: random.Random, count: int) -> set[int]:
    seen: set[int] = set()
    for number in range(count):
        found = await hostile(made, dice)
        assert all(status < 500 for status in found), found
        seen.update(found)
        if number % 50 == 0:
            clean = Line(*await asyncio.open_connection("127.0.0.1", made.port))
            assert (await clean.ask(post(chat()))).status == 200
            await clean.close()
    return seen


async def fuzz(count: int) -> None:
    async with house(head_timeout_s=0.3, body_timeout_s=0.3, keep_alive_s=0.3) as made:
        dice = [random.Random(f"{SEED}:{number}") for number in range(AT_ONCE)]
        async with asyncio.TaskGroup() as group:
            attacks = [group.create_task(attack(made, one, count // AT_ONCE)) for one in dice]
        seen = set.union(*(one.result() for one in attacks))
        assert {200, 400, 401, 404, 408} <= seen
        line = await made.line()
        assert (await line.ask(post(chat()))).status == 200
        await line.close()
        await made.until(lambda: not made.connections and not made.gateway.server.server_state.tasks)


async def test_h1_5_000_mutated_requests_break_nothing() -> None:
    await fuzz(5_000)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_h1_200_000_mutated_requests_break_nothing() -> None:
    await fuzz(200_000)
