"""Client CPU of a lease and of a report to the shared bank, over a redis-server of its own on loopback."""

import asyncio
import time

from gateway.clock import SystemClock
from gateway.ports import Standing, Want
from gateway.stores.redis import scripts
from gateway.stores.redis.bank import RedisBank
from gateway.stores.redis.link import Link, Word
from gateway.stores.redis.rebuild import Rebuilt
from tests.redis import served

CALLS = 2_000
ROUNDS = 3
PIPELINED = 16
ENDS_S = 4e9


async def nothing(tenant: str) -> Rebuilt:
    del tenant
    return Rebuilt()


def shown(name: str, cpu_s: float, wall_s: float, calls: int) -> None:
    print(f"{name:34} {cpu_s / calls * 1e6:7.1f} us of CPU {wall_s / calls * 1e6:7.1f} us")


async def one_by_one(bank: RedisBank, counters: int) -> None:
    wants = [Want(f"c{counters}.{n}", 2**50, 10, 10, ENDS_S) for n in range(counters)]
    standings = [Standing(want.counter, 10, 10, 2**50, ENDS_S) for want in wants]
    best: dict[str, tuple[float, float]] = {}
    for turn in range(ROUNDS):
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for number in range(CALLS):
            await bank.lease("acme", f"{counters}.{turn}.{number}", wants)
        between = time.process_time(), time.perf_counter()
        for _ in range(CALLS):
            await bank.report("acme", standings)
        after = time.process_time(), time.perf_counter()
        for name, ended, began in (("lease", between, (cpu_s, wall_s)), ("report", after, between)):
            spent = (ended[0] - began[0], ended[1] - began[1])
            best[name] = min(best.get(name, spent), spent)
    for name, (cpu, wall) in best.items():
        shown(f"{name}, {counters} counter(s)", cpu, wall, CALLS)


async def pipelined(link: Link, counters: int) -> None:
    """The scripts alone, in pipelines of redis-py: what coalescing would save."""
    await link.run(scripts.REPORT, ["gw:{x}:epoch", "gw:{x}:w:b"], ["b", "e", 1, 0, 0])
    client = link._client
    digest = link._digests[scripts.REPORT.name]
    await client.execute_command("HSET", "gw:{x}:epoch", "id", "e")
    keys = ["gw:{x}:epoch", "gw:{x}:w:b", *(f"gw:{{x}}:c:{n}" for n in range(counters))]
    best: tuple[float, float] | None = None
    for turn in range(ROUNDS):
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for number in range(turn * CALLS // PIPELINED, (turn + 1) * CALLS // PIPELINED):
            pipeline = client.pipeline(transaction=False)
            for call in range(PIPELINED):
                figures = (10, 10, int(ENDS_S * 1000)) * counters
                words: list[Word] = ["b", "e", number * PIPELINED + call + 2, 0, 0, *figures]
                pipeline.execute_command("EVALSHA", digest, len(keys), *keys, *words)
            await pipeline.execute()
        spent = (time.process_time() - cpu_s, time.perf_counter() - wall_s)
        best = min(best or spent, spent)
    assert best is not None
    shown(f"report, {counters} counter(s), pipeline of {PIPELINED}", *best, CALLS)


async def programme(url: str) -> None:
    link = Link(url, SystemClock(), timeout_s=5.0)
    bank = RedisBank(link, "bench", nothing, grace_s=0.0)
    for counters in (1, 4):
        await one_by_one(bank, counters)
        await pipelined(link, counters)
    await link.close()


def main() -> None:
    with served("single") as server:
        asyncio.run(programme(server.url))
        stats = server.say("INFO", "commandstats")["cmdstat_evalsha"]
        print(f"{'a script, in the server':34} {stats['usec_per_call']:7.1f} us of CPU")


if __name__ == "__main__":
    main()
