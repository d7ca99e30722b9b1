"""What is put right in the ledger counts in every process and outlives the store; counters that go astray are told."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from tests.chaos.street import NANO, Street, lent_out
from tests.redis import Server, served

SCRIPT = {"otherwise": {"answer": {"text_chars": 200}}}
ADMIN = "/admin/v1"


async def post(street: Street, path: str, **body: Any) -> Any:
    async with street.office() as client:
        answer = await client.post(ADMIN + path, json=body, timeout=20)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()


async def verified(street: Street) -> Any:
    async with street.office() as client:
        answer = await client.get(f"{ADMIN}/ledger/verify", timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def counts(street: Street, store: Server, amount: int) -> None:
    async with asyncio.timeout(20):
        while [spent for spent, _ in lent_out(store)] != [amount]:
            await asyncio.sleep(0.05)
    assert await verified(street) == {"agree": True, "differences": []}


async def dearer(street: Street) -> Any:
    """Tokens cost ten times as much from now on, in the process that is asked."""
    path = street.folder / "gateway.yaml"
    document = msgspec.json.decode(path.read_bytes())
    for name in ("input_usd_per_million", "output_usd_per_million"):
        document["prices"]["overrides"][0][name] *= 10
    path.write_bytes(msgspec.json.encode(document))
    await post(street, "/config/reload")
    words = {"provider": "a", "model": "gpt", "from": "2020-01-01T00:00:00Z", "cause": "the list was wrong"}
    return await post(street, "/ledger/rerate", **words)


async def test_reg12_what_is_put_right_counts_in_every_process_and_outlives_the_store(tmp_path: Path) -> None:
    with served("single") as store:
        async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, 1.0, 2, store) as street:
            process = await street.serve_all()
            for number in range(20):
                await street.ask(number, stream=bool(number % 2))
            spent = (await street.agreed())[2]
            await counts(street, store, spent)
            await post(street, "/ledger/adjust", tenant="t", usd="0.9", cause="an invoice of another system")
            await counts(street, store, spent + 9 * NANO // 10)
            await post(street, "/ledger/adjust", tenant="t", usd="0.2", cause="another one")
            while (seen := await street.ask(1, stream=False)) is None or seen.status != 402:
                await asyncio.sleep(0.01)  # what each process has leased before
            await post(street, "/ledger/adjust", tenant="t", usd="-1.1", cause="neither was ours")
            answers = [await street.ask(2, stream=bool(number % 2)) for number in range(8)]
            assert [seen and seen.status for seen in answers] == [200] * 8
            await counts(street, store, street.billed()[2])
            calls = len(street.sim.bill)
            assert await dearer(street) == {"entries": calls}
            spent = 10 * street.billed()[2]
            await counts(street, store, spent)
            store.say("FLUSHALL")
            async with asyncio.timeout(20):
                while sum(figure for figure, _ in lent_out(store)) < spent:
                    await street.ask(3, stream=False)
                    await asyncio.sleep(0.1)
            assert (await verified(street))["agree"] is True
            assert await asyncio.to_thread(process.stop) == 0, process.said[-3_000:]


async def test_a_counter_that_is_not_what_the_ledger_says_is_told(tmp_path: Path) -> None:
    with served("single") as store:
        async with Simulator(parse_script(SCRIPT)) as sim, Street(tmp_path, sim, 1.0, 2, store) as street:
            process = await street.serve_all()
            await street.ask(1, stream=False)
            spent = (await street.agreed())[2]
            await counts(street, store, spent)
            (counter,) = store.say("KEYS", "gw:*:c:*")
            store.say("HINCRBY", counter, "p", 7)
            (line,) = (await verified(street))["differences"]
            assert f"the counter says {spent + 7} nano_usd, the ledger {spent}" in line
            store.say("HINCRBY", counter, "p", -7)
            assert (await verified(street))["agree"] is True
            assert await asyncio.to_thread(process.stop) == 0, process.said[-3_000:]
