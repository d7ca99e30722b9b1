"""Callers that leave: what they were given is charged, and nothing goes on for nobody."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.domain.ledger import EntryKind
from gateway.domain.record import ExchangeRecord, Provenance
from gateway.pipeline.exchange import DRAINS_MAX
from tests.money.test_budgets import IN, OUT, spending, spent
from tests.rows import house as rows
from tests.rows.house import House, standing
from tests.rows.talk import hang_up

NOTICED_S = 0.1
DAY = {"usd": 1, "per": "day"}


async def left_after(house: House, marker: bytes, **more: object) -> tuple[ExchangeRecord, float]:
    """Reads a stream up to `marker`, leaves, and waits for the record; when it left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(house.message(stream=True, **more))  # type: ignore[arg-type]
    await reader.readuntil(marker)
    left_s = time.monotonic()
    await hang_up(writer)
    async with asyncio.timeout(5):
        while not house.records:
            await asyncio.sleep(0.005)
    return house.record, left_s


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


async def test_reg8_a_reader_that_takes_all_text_and_leaves_before_the_end_pays_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger has the tokens that were delivered, and says that they were counted; the provider stops at once."""
    monkeypatch.setattr(rows, "BOOKS", tmp_path)
    text = "all of the text, to the last word."
    async with spending(DAY) as house:
        house.script("a", otherwise={"answer": {"text": text}, "fault": {"kind": "stall", "after_events": 9}})
        record, left_s = await left_after(house, b'"d."')
        tokens_in, tokens_out = await billed(house)
        assert record.usage.output == tokens_out == -(-len(text) // 4)
        await house.gateway.books.caught_up()
        (entry,) = house.gateway.kept.ledger.entries_of_request(record.request_id)
        assert (entry.kind, entry.provenance, entry.cause) == (EntryKind.POST, Provenance.COUNTED, "client_gone")
        assert (entry.usage.output, entry.cost_nano_usd) == (tokens_out, entry.usage.input * IN + tokens_out * OUT)
        assert entry.usage.input >= tokens_in
        (line,) = house.sims["a"].bill
        assert line.client_left_s is not None
        assert line.client_left_s - left_s <= NOTICED_S


DRAINING = {"a": {"on_disconnect": "drain"}}


async def waiting(house: House, **more: object) -> asyncio.StreamWriter:
    """A call that the provider has and says nothing to."""
    before = house.calls("a")
    _, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(house.message(**more))  # type: ignore[arg-type]
    await true(lambda: house.calls("a") > before)
    return writer


async def true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_reg9_a_provider_that_goes_on_is_read_to_its_end_and_its_word_counts() -> None:
    pace = {"event_gate": "go", "gate_after_events": 2}
    async with spending(DAY, answer={"text_chars": 400}, pace=pace, providers=DRAINING) as house:
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


@pytest.mark.parametrize("stream", [False, True])
async def test_reg9_a_caller_that_leaves_before_anything_came_pays_what_a_provider_that_goes_on_has_billed(
    stream: bool,
) -> None:
    async with spending(DAY, answer={"text_chars": 400}, pace={"head_gate": "go"}, providers=DRAINING) as house:
        await hang_up(await waiting(house, stream=stream))
        await true(lambda: house.gateway.door.desk.drains == 1)
        house.sims["a"].open("go")
        await true(lambda: bool(house.records))
        record = house.record
        assert (record.client_gone, record.provenance.value, record.usage.output) == (True, "exact", 100)
        assert (record.usage.input, record.usage.output) == await billed(house)
        assert house.gateway.door.desk.drains == 0
        spent(house)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_tried_again_for_a_caller_that_has_left(stream: bool) -> None:
    script = {"otherwise": {"pace": {"head_gate": "go"}, "fault": {"kind": "status", "status": 500}}}
    async with standing(a=script, b={}, providers=DRAINING) as house:
        await hang_up(await waiting(house, stream=stream))
        await true(lambda: house.gateway.door.desk.drains == 1)
        house.sims["a"].open("go")
        await true(lambda: bool(house.records))
        assert (house.calls("a"), house.calls("b"), house.record.client_gone) == (1, 0, True)


async def test_so_many_are_drained_at_once_and_calls_under_keys_are_not_among_them() -> None:
    """One more is charged what is known of it, as where nothing is drained."""
    async with spending(DAY, pace={"head_gate": "go"}, providers=DRAINING) as house:
        desk = house.gateway.door.desk
        for number in range(DRAINS_MAX):
            await hang_up(await waiting(house, max_tokens=9, headers={"idempotency-key": f"turn-{number}"}))
        for number in range(DRAINS_MAX):
            await hang_up(await waiting(house, max_tokens=9, stream=bool(number % 2)))
        await true(lambda: desk.drains == DRAINS_MAX)
        await hang_up(await waiting(house, max_tokens=9))
        await true(lambda: bool(house.records))
        assert [(one.client_gone, one.usage.output) for one in house.records] == [(True, 0)]
        house.sims["a"].open("go")
        await true(lambda: len(house.records) == 2 * DRAINS_MAX + 1)
        assert [one.provenance for one in house.records[1:]] == [Provenance.EXACT] * 2 * DRAINS_MAX
        assert desk.drains == 0
