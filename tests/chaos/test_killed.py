"""P2: gateways that are killed at random under load lose no charge, double none and hold nothing afterwards."""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from pathlib import Path

import psutil
import pytest

from gateway.domain.ledger import Entry, EntryKind
from gateway.filing import Span
from gateway.pipeline.cashier import BEAT_TOKENS
from gateway.sim.bill import BillLine
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from gateway.stores.sql.opening import Kept
from tests.chaos.street import OUTPUT_TOKENS, Street, lent_out, usages
from tests.redis import served
from tests.sums import ENTRIES_MAX

SCRIPT = {"otherwise": {"answer": {"text_chars": 240}, "pace": {"first_event_s": 0.01, "event_s": 0.008}}}
WORKERS = 3


async def storm_of_workers(street: Street, seconds: float, kills: int, dice: random.Random) -> int:
    """Workers that serve are killed, one while others go on, at least so long and so often; how many were."""
    supervisor = await street.serve_all()
    killed = 0
    until_s, ended = time.monotonic() + seconds, asyncio.Event()
    callers = [asyncio.create_task(street.caller(first, ended)) for first in range(24)]
    while time.monotonic() < until_s or killed < kills:
        await asyncio.sleep(dice.uniform(0.02, 0.3))
        if len(serving := await street.serving(supervisor)) > 1:
            street.kill(dice.choice(serving))
            killed += 1
    ended.set()
    await asyncio.gather(*callers)
    await street.sim.idle()
    await street.ready()  # who comes back finishes the journals of the dead
    await street.books_agreed()
    assert await asyncio.to_thread(supervisor.stop) == 0, supervisor.said[-4_000:]
    return killed


async def storm(street: Street, seconds: float, dice: random.Random) -> int:
    """How often the gateway was killed."""
    kills = 0
    until_s, ended = time.monotonic() + seconds, asyncio.Event()
    callers = [asyncio.create_task(street.caller(first, ended)) for first in range(12)]
    while time.monotonic() < until_s:
        process = await street.serve()
        await asyncio.sleep(dice.uniform(0.02, 0.6))
        street.kill(psutil.Process(process.pid))
        await asyncio.to_thread(process.ended)
        kills += 1
    ended.set()
    await asyncio.gather(*callers)
    last = await street.serve()
    await street.ready()
    await street.books_agreed()
    assert await asyncio.to_thread(last.stop) == 0
    await street.sim.idle()
    return kills


def fold(street: Street) -> tuple[dict[str, list[Entry]], dict[str, BillLine]]:
    entries: dict[str, list[Entry]] = defaultdict(list)
    with contextlib.closing(Kept(f"sqlite:///{street.folder}/books.db")) as kept:
        for _, entry in kept.ledger.entries(Span(), 0, ENTRIES_MAX):
            entries[entry.request_id].append(entry)
    return entries, {line.id: line for line in street.sim.bill}


@pytest.mark.parametrize("seconds", [8.0, pytest.param(60.0, marks=[pytest.mark.long, pytest.mark.timeout(180)])])
@pytest.mark.parametrize("budget_usd", [1_000.0, 0.02], ids=["plenty", "at-the-limit"])
async def test_p2_a_killed_gateway_loses_no_charge_doubles_none_and_holds_nothing(
    tmp_path: Path, budget_usd: float, seconds: float
) -> None:
    dice = random.Random(2)
    async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, budget_usd) as street:
        kills = await storm(street, seconds, dice)
        print(f"[{kills} kills] ", end="")
        assert kills >= 3
        balanced(street)


HUNDREDS = pytest.param(60.0, 200, marks=[pytest.mark.long, pytest.mark.timeout(1200)])


@pytest.mark.parametrize(("seconds", "kills"), [(10.0, 5), HUNDREDS])
@pytest.mark.parametrize("budget_usd", [1_000.0, 0.006], ids=["plenty", "at-the-limit"])
async def test_f11_killed_workers_that_share_a_budget_lose_no_charge_and_overspend_nothing(
    tmp_path: Path, budget_usd: float, seconds: float, kills: int
) -> None:
    dice = random.Random(11)
    with served("single") as server:
        async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, budget_usd, WORKERS, server) as street:
            killed = await storm_of_workers(street, seconds, kills, dice)
            print(f"[{killed} kills] ", end="")
            balanced(street)
            assert lent_out(server) == [(street.kept_in_all()[2], 0)]


def balanced(street: Street, calls: int = 20) -> None:
    """The provider's bill, the ledger and what callers saw agree.

    A stream that was killed is charged at most one checkpoint less than the provider had produced by then: one
    interval beyond its last checkpoint. A whole answer is charged all that was held, and no call more than that. What
    was on record and killed before it was sent expires, and is on no bill.
    """
    entries, bill = fold(street)
    least = least_of_bill = 0
    assert len(bill) >= calls
    for name, line in bill.items():
        told = entries[name]
        assert len(told) == 1, (line, told)
        entry = told[0]
        over = entry.usage.output - line.output_tokens
        match entry.kind:
            case EntryKind.POST:
                assert (-BEAT_TOKENS if line.outcome == "cut" else 0) <= over <= 0, (line, entry)
            case EntryKind.EXPIRE if line.stream:
                produced = street.produced(line)
                over_then = entry.usage.output - produced
                # An interval is what came in one read where that is more, and so much is charged on top.
                assert -BEAT_TOKENS <= over_then <= max(2 * BEAT_TOKENS, produced), (line, produced, entry)
                assert entry.usage.output <= OUTPUT_TOKENS, (line, entry)
                least, least_of_bill = min(least, over_then), min(least_of_bill, over)
            case _:
                assert entry.kind is EntryKind.EXPIRE, (line, entry)
                assert 0 <= over <= OUTPUT_TOKENS - line.output_tokens, (line, entry)
    unsent = [entry for name, told in entries.items() if name not in bill for entry in told]
    assert {entry.kind for entry in unsent} <= {EntryKind.EXPIRE, EntryKind.VOID}
    assert street.kept_in_all()[2] <= street.budget_usd * 10**9
    assert street.billed()[2] <= street.budget_usd * 10**9, "the provider's bill is the witness"
    whole = [seen for seen in street.answers if seen.status == 200 and seen.whole]
    for seen in whole:
        (entry,) = entries[seen.headers["x-request-id"]]
        assert entry.kind is EntryKind.POST
        for usage in usages(seen):
            assert (usage["prompt_tokens"], usage["completion_tokens"]) == (entry.usage.input, entry.usage.output)
    assert not list((street.folder / "journal").glob("*.journal")), "every journal is finished"
    kinds = [entry.kind.value for told in entries.values() for entry in told]
    print(f"[{len(bill)} calls, {kinds.count('expire')} expired, {len(unsent)} never sent; ", end="")
    print(f"charged too little at most {-least} tokens at the kill, {-least_of_bill} in the end] ", end="")
