"""Several processes at one budget: what they sell together is what there is."""

import asyncio
import multiprocessing
from typing import Any

from gateway.clock import SystemClock
from gateway.ports import BankAway, Denied, Standing, Want
from gateway.stores.redis.bank import RedisBank
from gateway.stores.redis.link import Link
from gateway.stores.redis.rebuild import Rebuilt
from tests.redis import served

PROCESSES, LEASES = 8, 1_000
LIMIT = 5_000_000
ENDS_S = 4e9


async def nothing(tenant: str) -> Rebuilt:
    del tenant
    return Rebuilt()


async def buyer(url: str, boot: str) -> tuple[int, int, int]:
    """Leases, spends a part of it, reports; what it spent, what it holds, how often it was refused."""
    link = Link(url, SystemClock(), timeout_s=5.0)
    bank = RedisBank(link, boot, nothing, grace_s=0.0)
    spent = credit = refused = 0
    for number in range(LEASES):
        need = 500 + (number * 37) % 700
        try:
            answer = await bank.lease("acme", f"{number}", [Want("day", LIMIT, need, 2 * need, ENDS_S)])
            if isinstance(answer, Denied):
                refused += 1
                continue
            credit += answer[0].amount
            spent, credit = spent + credit * 2 // 3, credit - credit * 2 // 3
            if number % 3 == 0:
                await bank.report("acme", [Standing("day", spent, credit, LIMIT, ENDS_S)])
        except BankAway:
            continue
    await bank.report("acme", [Standing("day", spent, credit, LIMIT, ENDS_S)])
    await link.close()
    return spent, credit, refused


def bought(url: str, boot: str, results: Any) -> None:
    results.put(asyncio.run(buyer(url, boot)))


def test_a1_eight_processes_with_a_thousand_leases_each_overshoot_nothing() -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with served("single") as server:
        processes = [context.Process(target=bought, args=(server.url, f"b{n}", results)) for n in range(PROCESSES)]
        for process in processes:
            process.start()
        told = [results.get(timeout=100) for _ in processes]
        for process in processes:
            process.join(10)
            process.close()
        counter = server.say("HGETALL", "gw:{acme}:c:day")
    results.close()
    results.join_thread()
    spent, credit, refused = (sum(column) for column in zip(*told, strict=True))
    assert spent + credit <= LIMIT, "overshoot"
    assert (int(counter[b"p"]), int(counter[b"l"])) == (spent, credit)
    assert refused > 0, "the limit was not reached"
    assert LIMIT - spent - credit < 1_200, "what was refused was there"
