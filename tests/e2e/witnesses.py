"""Who says what was used, of a gateway that is a process: each has to say the same when its clients are done."""

import contextlib
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import httpx
import msgspec

from gateway.domain.record import Provenance
from gateway.stores.sql.opening import Kept
from tests.sums import Said, in_all

SETTLED_S = 10.0
LOOK_S = 0.1
"""Another process is waited for, which says nothing when it is done."""

NANO = 10**9


class InVain(msgspec.Struct):
    """What a line of the access log says of an attempt without an answer."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0


class Logged(msgspec.Struct):
    """What a line of the access log says of usage; `cost_nano_usd` is that of all attempts, unless one has no price."""

    request_id: str = ""
    provenance: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int | None = None
    attempts: list[InVain] = []

    @property
    def said(self) -> Said:
        in_vain = self.attempts
        cost = self.cost_nano_usd
        return (
            self.input_tokens + sum(attempt.input_tokens for attempt in in_vain),
            self.output_tokens + sum(attempt.output_tokens for attempt in in_vain),
            sum(attempt.cost_nano_usd for attempt in in_vain) if cost is None else cost,
        )


class Billed(msgspec.Struct):
    """A line of the simulator's bill."""

    id: str
    outcome: str
    input_tokens: int
    output_tokens: int


def reconciled(environ: Mapping[str, str], database: Path) -> None:
    """Access log, metrics, ledger, usage API and the bill of the simulator agree, and the counters with the ledger;
    `environ` is the lab's.
    """
    until_s = time.monotonic() + SETTLED_S
    while (apart := _apart(environ, database)) and time.monotonic() < until_s:
        time.sleep(LOOK_S)
    assert not apart, apart
    verified = _office(environ, "/admin/v1/ledger/verify")
    assert verified.status_code == 200, verified.text
    assert verified.json() == {"agree": True, "differences": []}


def _apart(environ: Mapping[str, str], database: Path) -> dict[str, object]:
    log = {line.request_id: line for line in _lines(Path(environ["CHECK_ACCESS_LOG"]))}
    said: dict[str, object] = {
        "access log": _logged(log.values()),
        "metrics": _measured(environ),
        "ledger": _booked(database),
        "usage API": _reported(environ),
    }
    unlike = [(line, log[line.id]) for line in _bill(environ) if line.id in log and not _alike(line, log[line.id])]
    return {**said, "unlike the bill": unlike} if unlike or len(set(said.values())) > 1 else {}


def _alike(billed: Billed, logged: Logged) -> bool:
    """Whole answers whose usage the provider has told."""
    told = billed.outcome == "completed" and logged.provenance == Provenance.EXACT.value
    return not told or (billed.input_tokens, billed.output_tokens) == (logged.input_tokens, logged.output_tokens)


def _lines(log: Path) -> list[Logged]:
    return [msgspec.json.decode(line, type=Logged) for line in log.read_bytes().splitlines()]


def _bill(environ: Mapping[str, str]) -> list[Billed]:
    answer = httpx.get(f"{environ['CHECK_SIMULATOR']}/_sim/bill", trust_env=False)
    return msgspec.json.decode(answer.content, type=list[Billed])


def _logged(lines: Iterable[Logged]) -> Said:
    inputs, outputs, costs = zip(*(line.said for line in lines), strict=True)
    return sum(inputs), sum(outputs), sum(costs)


def _measured(environ: Mapping[str, str]) -> Said:
    sums = {"input": 0, "output": 0, "cost": 0}
    for line in _office(environ, "/metrics").text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("gateway_cost_usd_total{"):
            sums["cost"] += round(float(value) * NANO)
        elif name.startswith("gateway_tokens_total{"):
            kind = name.partition('kind="')[2].partition('"')[0]
            sums[kind] = sums.get(kind, 0) + round(float(value))
    return sums["input"], sums["output"], sums["cost"]


def _booked(database: Path) -> Said:
    with contextlib.closing(Kept(f"sqlite:///{database}")) as kept:
        return in_all(kept.ledger)


def _reported(environ: Mapping[str, str]) -> Said:
    answer = _office(environ, "/admin/v1/usage?group_by=tenant")
    assert answer.status_code == 200, answer.text
    rows = answer.json()["items"]
    return (
        sum(row["input_tokens"] for row in rows),
        sum(row["output_tokens"] for row in rows),
        sum(int(Decimal(row["usd"]) * NANO) for row in rows),
    )


def _office(environ: Mapping[str, str], path: str) -> httpx.Response:
    base = environ["CHECK_METRICS"].removesuffix("/metrics")
    key = {"authorization": f"Bearer {environ['METERWAY_ADMIN_KEY']}"}
    return httpx.get(base + path, headers=key, trust_env=False)
