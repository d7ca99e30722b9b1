"""Who says what was used, in a gateway of this process: each has to say the same when a test is over."""

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.domain.record import ExchangeRecord, Provenance
from gateway.filing import Span
from tests.sums import Said, in_all

if TYPE_CHECKING:
    from tests.rows.house import House

SETTLED_S = 5.0


async def reconciled(house: "House") -> None:
    """Records, metrics, the provider's bill and, where books are kept, ledger and usage report agree."""
    until_s = time.monotonic() + SETTLED_S
    while (apart := await _apart(house)) and time.monotonic() < until_s:
        await asyncio.sleep(0.02)
    assert not apart, apart


async def _apart(house: "House") -> list[object]:
    apart = _unlike_the_bill(house)
    recorded, measured = _recorded(house), await _measured(house)
    if recorded != measured:
        apart.append({"records": recorded, "metrics": measured})
    if house.books is not None:
        await house.gateway.books.caught_up()
        booked, reported = (
            await asyncio.to_thread(in_all, house.gateway.kept.ledger),
            await asyncio.to_thread(_reported, house),
        )
        if booked != reported or booked != recorded:
            apart.append({"ledger": booked, "usage report": reported, "records": recorded})
    return apart


def _unlike_the_bill(house: "House") -> list[object]:
    """Records of whole answers that a provider has billed otherwise, unless it lies."""
    if not house.honest:
        return []
    records = {record.request_id: record for record in house.all_records if record.provenance is Provenance.EXACT}
    lines = [line for sim in house.sims.values() for line in sim.bill if line.outcome == "completed"]
    return [
        {"bill": line, "record": record}
        for line in lines
        if (record := records.get(line.id)) is not None
        and (line.input_tokens, line.output_tokens) != (record.usage.input, record.usage.output)
    ]


def _recorded(house: "House") -> Said:
    inputs, outputs, costs = zip((0, 0, 0), *map(_said, house.all_records), strict=True)
    return sum(inputs), sum(outputs), sum(costs)


def _said(record: ExchangeRecord) -> Said:
    """With what its attempts came to that had no answer."""
    in_vain = [attempt.in_vain for attempt in record.attempts if attempt.in_vain is not None]
    usages = [record.usage, *(spent.usage for spent in in_vain)]
    cost = record.cost_nano_usd
    return (
        sum(usage.input for usage in usages),
        sum(usage.output for usage in usages),
        sum(spent.cost_nano_usd for spent in in_vain) if cost is None else cost,
    )


async def _measured(house: "House") -> Said:
    tokens = await house.metric("gateway_tokens_total")
    inputs, outputs = (
        sum(value for labels, value in tokens.items() if f'kind="{kind}"' in labels) for kind in ("input", "output")
    )
    cost_usd = sum((await house.metric("gateway_cost_usd_total")).values())
    return round(inputs), round(outputs), round(cost_usd * 1e9)


def _reported(house: "House") -> Said:
    rows = house.gateway.kept.ledger.usage(Span(), ("tenant",), None)
    return (
        sum(row.input_tokens for row in rows),
        sum(row.output_tokens for row in rows),
        sum(row.cost_nano_usd for row in rows),
    )
