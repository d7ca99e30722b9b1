"""Callers that leave: what they were given is charged, and nothing goes on for nobody."""

import asyncio

import pytest

from gateway.domain.record import ExchangeRecord
from tests.money.test_budgets import IN, OUT, spending
from tests.rows.house import House
from tests.rows.talk import hang_up

DAY = {"usd": 1, "per": "day"}


async def left_after(house: House, marker: bytes, **more: object) -> ExchangeRecord:
    """Reads a stream up to `marker`, leaves, and waits for the record."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(house.message(stream=True, **more))  # type: ignore[arg-type]
    await reader.readuntil(marker)
    await hang_up(writer)
    async with asyncio.timeout(5):
        while not house.records:
            await asyncio.sleep(0.005)
    return house.record


async def billed(house: House) -> tuple[int, int]:
    sim = house.sims["a"]
    await sim.idle()
    line = list(sim.bill)[-1]
    return line.input_tokens, line.output_tokens


@pytest.mark.parametrize("events", [1, 3, 7])
async def test_c3_a_cancelled_stream_is_charged_what_was_delivered(events: int) -> None:
    pace = {"event_gate": "never", "gate_after_events": events}
    async with spending(DAY, answer={"text": "abcdefgh" * 20, "events": 40}, pace=pace) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(house.message(stream=True))
        seen = b""
        while seen.count(b"abcd") + seen.count(b"efgh") < events:
            seen += await reader.read(65_536)
        await hang_up(writer)
        async with asyncio.timeout(5):
            while not house.records:
                await asyncio.sleep(0.005)
        tokens_in, tokens_out = await billed(house)
        record = house.record
        assert (record.client_gone, record.provenance.value) == (True, "counted")
        assert record.usage.output == tokens_out
        assert (record.cost_nano_usd or 0) == record.usage.input * IN + tokens_out * OUT
        assert record.usage.input >= tokens_in


async def test_reg8_a_reader_that_takes_all_text_and_leaves_before_the_end_pays_for_it() -> None:
    text = "all of the text, to the last word."
    pace = {"event_gate": "never", "gate_after_events": 9}
    async with spending(DAY, answer={"text": text}, pace=pace) as house:
        record = await left_after(house, b'"d."')
        assert record.usage.output == -(-len(text) // 4)


async def test_reg9_a_provider_that_goes_on_is_read_to_its_end_and_its_word_counts() -> None:
    pace = {"event_gate": "go", "gate_after_events": 2}
    providers = {"a": {"on_disconnect": "drain"}}
    async with spending(DAY, answer={"text_chars": 400}, pace=pace, providers=providers) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(house.message(stream=True))
        await reader.readuntil(b"content")
        await hang_up(writer)
        house.sims["a"].open("go")
        async with asyncio.timeout(5):
            while not house.records:
                await asyncio.sleep(0.005)
        record = house.record
        assert (record.client_gone, record.provenance.value, record.usage.output) == (True, "exact", 100)
        assert (record.usage.input, record.usage.output) == await billed(house)
