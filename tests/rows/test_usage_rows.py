"""U30-U33: what is on record of usage and price, a reload mid-stream, and a gateway that is killed."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway.domain.ledger import EntryKind
from gateway.domain.record import Provenance
from gateway.pipeline.cashier import BEAT_TOKENS
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from gateway.stores.sql.opening import Kept
from tests.rows.house import CALLERS, SECRET, standing
from tests.rows.talk import request, talk

LABELS = '{model="m",provider="a",tenant="first"}'
STREAMED = pytest.mark.parametrize("stream", [False, True])
ROOT = Path(__file__).parents[2]


@STREAMED
async def test_u30_an_explicit_zero_is_the_providers_word(stream: bool) -> None:
    async with standing(a={"otherwise": {"answer": {"usage": "zero"}}}) as house:
        house.honest = False
        assert (await house.ask(stream=stream)).status == 200
        assert (house.record.usage.total, house.record.provenance.value) == (0, "exact")
        assert house.record.cost_nano_usd == 0


@STREAMED
@pytest.mark.parametrize("usage", ["negative", "never", "null"])
async def test_u30_usage_that_is_missing_or_negative_is_never_taken_for_the_providers_word(
    usage: str, stream: bool
) -> None:
    async with standing(a={"otherwise": {"answer": {"usage": usage}}}) as house:
        seen = await house.ask(stream=stream)
        assert seen.status == 200
        assert house.record.provenance.value == ("counted" if stream else "estimated")
        assert house.record.usage.input > 0
        assert house.record.usage.output >= (9 if stream else 0)


@STREAMED
async def test_u30_usage_above_all_that_was_asked_for_is_recorded_in_full(stream: bool) -> None:
    script = {"otherwise": {"answer": {"usage": "always", "input_tokens": 90_000}}}
    async with standing(a=script) as house:
        await house.ask(stream=stream, max_tokens=1)
        assert (house.record.usage.input, house.record.provenance.value) == (90_000, "exact")


async def test_u30_absurd_usage_is_bounded() -> None:
    async with standing(a={"otherwise": {"answer": {"usage": "huge"}}}) as house:
        house.honest = False
        await house.ask()
        usage = house.record.usage
        assert 0 <= usage.total <= 2 * (1 << 40)


async def test_u30_usage_above_what_was_reserved_is_charged_in_full_and_told_as_an_overrun() -> None:
    script = {"otherwise": {"answer": {"usage": "always", "input_tokens": 90_000}}}
    tenant = {"id": "first", "keys": ["env:CALLER_ONE"], "budgets": [{"usd": 1, "per": "day"}]}
    async with standing(a=script, extra={"tenants": [tenant]}) as house:
        assert (await house.ask(max_tokens=1)).status == 200
        record = house.record
        assert (record.overrun, record.usage.input) == (True, 90_000)
        assert record.cost_nano_usd == 90_000 * 1_000 + record.usage.output * 2_000
        (key,) = house.gateway.door.catalog.keys.values()
        left = house.gateway.books.accounts.left(key.tenant.budgets[0], "first")
        assert left == 1_000_000_000 - record.cost_nano_usd
        assert await house.metric("gateway_overruns_total") == {LABELS: 1}


async def test_u31_a_model_without_a_price_is_served_and_recorded_as_unpriced() -> None:
    async with standing(a={}, extra={"prices": {"unknown": "unpriced"}}) as house:
        seen = await house.ask()
        assert seen.status == 200
        assert "x-gateway-cost-usd" not in seen.headers
        assert house.record.cost_nano_usd is None
        assert house.record.usage.total > 0


async def test_u32_a_reload_mid_stream_leaves_the_stream_its_price_and_its_target() -> None:
    pace = {"event_gate": "go", "gate_after_events": 1}
    async with standing(a={"otherwise": {"pace": pace}}, b={}) as house:
        sim = house.sims["a"]

        def reload() -> None:
            house.document["prices"]["overrides"] = [{**price, "output_usd_per_million": 2_000} for price in prices]
            house.document["models"]["m"]["targets"] = [{"provider": "b", "model": "gpt"}]
            house.reload()
            sim.open("go")

        prices = house.document["prices"]["overrides"]
        seen = await talk(house.port, house.message(stream=True), reload)
        assert seen.done
        assert house.record.cost_nano_usd == 1_000 * house.record.usage.input + 2_000 * house.record.usage.output
        seen = await house.ask()
        assert seen.headers["x-gateway-target"] == "b/gpt"
        assert house.record.cost_nano_usd is not None
        assert house.record.cost_nano_usd > 1_000_000 * house.record.usage.output


async def test_u32_a_bad_reload_changes_nothing() -> None:
    async with standing(a={}) as house:
        house.document["models"]["m"]["targets"] = []
        house.reload()
        assert (await house.ask()).status == 200


@asynccontextmanager
async def process(sim: Simulator, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A gateway of its own, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    document = {
        "listen": {"port": port},
        "providers": {"a": {"kind": "openai", "base_url": f"{sim.base}/v1", "keys": ["env:KEY_A"]}},
        "models": {"m": {"targets": [{"provider": "a", "model": "gpt"}]}},
        "tenants": [{"id": "first", "keys": ["env:CALLER"]}],
        "prices": {"unknown": "unpriced"},
        "telemetry": {"access_log": "off", "log_level": "info"},
    }
    path = folder / "gateway.json"
    path.write_bytes(msgspec.json.encode(document))
    environ = {**os.environ, "KEY_A": SECRET, "CALLER": CALLERS["one"], "PYTHONPATH": str(ROOT)}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from gateway.cli import main; main()", "serve", "--config", str(path),
        env=environ, cwd=folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert started.stderr is not None
    async with asyncio.timeout(20):
        said = b""
        while str(port).encode() not in said:
            line = await started.stderr.readline()
            assert line, said
            said += line
    try:
        yield started, port
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def test_u33_a_gateway_killed_mid_stream_breaks_the_connection_and_a_new_one_serves(tmp_path: Path) -> None:
    body = msgspec.json.encode({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    message = request(body, {"authorization": f"Bearer {CALLERS['one']}"})
    pace = {"event_s": 0.004, "event_gate": "never", "gate_after_events": 40}
    async with Simulator(parse_script({"otherwise": {"answer": {"text_chars": 400}, "pace": pace}})) as sim:
        async with process(sim, tmp_path) as (gateway, port):

            def kill_later() -> None:
                asyncio.get_running_loop().call_later(0.5, gateway.send_signal, signal.SIGKILL)

            seen = await talk(port, message, kill_later)
            assert (seen.status, seen.whole) == (200, False)  # no last chunk: a client sees that it is incomplete
            assert b"[DONE]" not in seen.body
            assert await gateway.wait() == -signal.SIGKILL
            await sim.idle()
            (cut,) = sim.bill
            assert cut.outcome == "cut"
        sim.script = parse_script({})
        async with process(sim, tmp_path) as (_, port):
            seen = await talk(port, message)
            assert seen.done
            with contextlib.closing(Kept(f"sqlite:///{tmp_path}/meterway.db")) as kept:
                async with asyncio.timeout(10):
                    while not (entries := kept.ledger.entries_of_request(cut.id)):
                        await asyncio.sleep(0.02)
        (entry,) = entries
        assert (entry.kind, entry.provenance) == (EntryKind.EXPIRE, Provenance.ESTIMATED)
        assert cut.output_tokens - BEAT_TOKENS <= entry.usage.output <= cut.output_tokens + 2 * BEAT_TOKENS
