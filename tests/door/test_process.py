"""P1, P4, P5, P6: the gateway as a process, ended, starved and reconfigured under live streams."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.sim.script import parse_script
from gateway.sim.server import Simulator
from gateway.telemetry.watchdog import Watchdog
from tests.door.house import CONFIG, ENVIRON, chat, house
from tests.door.line import Line, get, post

METERWAY = Path(sys.executable).with_name("meterway")
HELD = {"pace": {"event_gate": "go", "gate_after_events": 2}}
SERVING = re.compile(r"serving .* on http://127\.0\.0\.1:(\d+)/v1; metrics on http://127\.0\.0\.1:(\d+)/")
ADMIN = 'admin: {port: 0, key: "env:ADMIN"}\n'
SPARE_S = 2.0


@dataclass
class Served:
    """A running `meterway serve`; `said` is its standard error so far."""

    process: Process
    sim: Simulator
    file: Path
    port: int = 0
    admin_port: int = 0
    said: str = ""
    lines: list[Line] = field(default_factory=list)

    async def line(self, port: int | None = None) -> Line:
        line = Line(*await asyncio.open_connection("127.0.0.1", port or self.port))
        self.lines.append(line)
        return line

    async def says(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Reads its words until they match."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while (found := re.search(pattern, self.said)) is None:
                words = await self.process.stderr.readline()
                assert words, self.said
                self.said += words.decode()
        return found

    async def ended(self, timeout_s: float) -> int:
        assert self.process.stderr is not None
        async with asyncio.timeout(timeout_s):
            self.said += (await self.process.stderr.read()).decode()
            return await self.process.wait()

    async def streams(self, count: int) -> list[Line]:
        """So many streams that have begun and wait at the gate."""
        lines = [await self.line() for _ in range(count)]
        for line in lines:
            await line.send(post(chat(stream=True)))
        for line in lines:
            await line.sees(b"data: ")
        return lines


@contextlib.asynccontextmanager
async def served(
    folder: Path, *rules: dict[str, Any], grace_s: float = 30.0, files: int = 1024
) -> AsyncIterator[Served]:
    async with Simulator(parse_script({"rules": list(rules)})) as sim:
        file = folder / "gateway.yaml"
        text = ADMIN + CONFIG.format(port=sim.port).replace("grace_s: 0.2", f"grace_s: {grace_s}")
        file.write_text(text)
        command = ("/bin/sh", "-c", f'ulimit -n {files}; exec "$0" "$@"', str(METERWAY), "serve", "--config", str(file))
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **ENVIRON}, stderr=PIPE)
        made = Served(process, sim, file)
        try:
            found = await made.says(SERVING)
            made.port, made.admin_port = int(found[1]), int(found[2])
            yield made
        finally:
            for line in made.lines:
                await line.close()
            if process.returncode is None:
                process.kill()
            await process.communicate()
            assert "Traceback" not in made.said, made.said


async def refused(made: Served) -> None:
    """Until nobody listens any more."""
    async with asyncio.timeout(SPARE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", made.port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.005)


async def test_p1_streams_go_on_after_sigterm_and_the_process_ends_with_the_last(tmp_path: Path) -> None:
    async with served(tmp_path, HELD) as made:
        idle = await made.line()
        assert (await idle.ask(get("/health/ready"))).status == 200
        streams = await made.streams(50)
        made.process.send_signal(signal.SIGTERM)
        assert await idle.ended() == b""
        await refused(made)
        made.sim.open("go")
        for line in streams:
            answer = await line.answer()
            assert answer.whole
            assert answer.body.endswith(b"data: [DONE]\n\n")
        assert await made.ended(SPARE_S) == 0
        assert {bill.outcome for bill in made.sim.bill} == {"completed"}


async def test_p1_what_is_left_after_the_grace_is_told_so_and_the_process_ends_in_time(tmp_path: Path) -> None:
    async with served(tmp_path, {**HELD, "when": {"stream": True}}, {"pace": {"head_gate": "go"}}, grace_s=1.0) as made:
        streams = await made.streams(20)
        waiting, reading = await made.line(), await made.line()
        await waiting.send(post(chat()))
        await made.sim.arrived(21)
        await reading.send(post(chat())[:-3])
        began_s = time.monotonic()
        made.process.send_signal(signal.SIGTERM)
        for line in streams:
            answer = await line.answer()
            assert answer.whole
            assert answer.body.count(b"event: error\n") == 1
            last = answer.body.split(b"\n\n")[-2]
            assert last.startswith(b"event: error\ndata: {")
            assert b'"code":"gateway_shutting_down"' in last
            assert b"[DONE]" not in answer.body
        for line in (waiting, reading):
            answer = await line.answer()
            assert (answer.status, answer.code) == (503, "gateway_shutting_down")
            assert answer.header("connection") == "close"
            assert answer.header("retry-after") == "1"
        assert time.monotonic() - began_s > 0.9
        assert await made.ended(1.0 + SPARE_S) == 0
        assert time.monotonic() - began_s < 1.0 + SPARE_S
        await made.sim.idle()
        assert {bill.outcome for bill in made.sim.bill} == {"cut"}


async def test_p1_a_second_sigterm_ends_the_grace_and_not_the_last_word(tmp_path: Path) -> None:
    async with served(tmp_path, HELD, grace_s=600.0) as made:
        streams = await made.streams(5)
        made.process.send_signal(signal.SIGTERM)
        await refused(made)
        began_s = time.monotonic()
        made.process.send_signal(signal.SIGTERM)
        for line in streams:
            assert b"gateway_shutting_down" in (await line.answer()).body
        assert await made.ended(SPARE_S) == 0
        assert time.monotonic() - began_s < SPARE_S


async def test_p1_a_reader_that_has_stopped_does_not_hold_up_the_end(tmp_path: Path) -> None:
    rule = {"fault": {"kind": "endless", "text": "x" * 4000}}
    async with served(tmp_path, rule, grace_s=0.5) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)))
        await line.sees(b"data: ")
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that reads no more
        made.process.send_signal(signal.SIGTERM)
        assert await made.ended(0.5 + SPARE_S) == 0


async def test_p1_readiness_is_false_at_once_where_it_can_still_be_asked() -> None:
    async with house(HELD) as made:
        line = await made.line()
        await line.send(post(chat(stream=True)) + get("/health/ready"))
        await line.sees(b"data: ")
        made.gateway.stop()
        made.sim.open("go")
        assert (await line.answer()).whole
        answer = await line.answer()
        assert (answer.status, answer.json()) == (503, {"status": "not ready", "reason": "draining"})
        assert await line.ended() == b""


async def test_p1_what_the_shutdown_cut_short_is_on_record_as_that() -> None:
    async with house({"pace": {"head_gate": "go"}}) as made:
        line = await made.line()
        await line.send(post(chat()))
        await made.sim.arrived(1)
        made.gateway.stop()
        assert (await line.answer()).code == "gateway_shutting_down"
        (record,) = made.records
        assert (record.status, record.error_code, record.client_gone) == (503, "gateway_shutting_down", False)


async def test_p4_a_blocked_loop_is_noticed_and_its_place_written_down(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog()
    watchdog.start(asyncio.get_running_loop())
    try:
        with caplog.at_level(logging.WARNING, "meterway.watchdog"):
            hold_everything_up(watchdog)
    finally:
        watchdog.stop()
    assert watchdog.blocks == 1
    (record,) = caplog.records
    assert "the event loop is blocked" in record.getMessage()
    assert "hold_everything_up" in record.getMessage()


def hold_everything_up(watchdog: Watchdog) -> None:
    until_s = time.monotonic() + 10
    while not watchdog.blocks and time.monotonic() < until_s:
        time.sleep(0.01)


async def test_p5_streams_and_health_outlive_a_flood_of_connections(tmp_path: Path) -> None:
    async with served(tmp_path, {**HELD, "when": {"says": "hold"}}, files=200) as made:
        streams = [await made.line() for _ in range(5)]
        for line in streams:
            await line.send(post(chat(stream=True, messages=[{"role": "user", "content": "hold"}])))
            await line.sees(b"data: ")
        flood = [await made.line() for _ in range(400)]
        live = await made.line(made.admin_port)
        assert (await live.ask(get("/health/live", key=None))).status == 200
        assert len(list(Path(f"/proc/{made.process.pid}/fd").iterdir())) < 200
        admin_flood = [await made.line(made.admin_port) for _ in range(200)]
        assert (await live.ask(get("/health/live", key=None))).status == 200
        made.sim.open("go")
        for line in streams:
            assert (await line.answer()).body.endswith(b"data: [DONE]\n\n")
        for line in [*flood, *admin_flood]:
            await line.close()
        async with asyncio.timeout(5):
            while True:
                line = await made.line()
                answer = await line.ask(post(chat()))
                if answer.status == 200:
                    break
                await line.close()


async def reloaded(made: Served, text: str, how: str) -> None:
    """The file replaced whole, as editors and orchestrators do."""
    fresh = made.file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(made.file)
    if how == "SIGHUP":
        made.process.send_signal(signal.SIGHUP)


async def test_p6_a_bad_file_changes_nothing_and_a_good_one_everything_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, HELD) as made:
        good = made.file.read_text()
        line = await made.line()
        for how, broken in (("SIGHUP", good.replace("keys:", "kyes:")), ("file", "models: [")):
            made.said = ""
            await reloaded(made, broken, how)
            await made.says("stays as it was")
            assert [one["id"] for one in (await line.ask(get("/v1/models"))).json()["data"]] == ["m"]
        (stream,) = await made.streams(1)
        for version, how in (("n1", "SIGHUP"), ("n2", "file")):
            made.said = ""
            await reloaded(
                made, good.replace("  m: {", f"  {version}: {{").replace("model: up", f"model: {version}"), how
            )
            await made.says("is in force")
            assert [one["id"] for one in (await line.ask(get("/v1/models"))).json()["data"]] == [version]
            assert (await line.ask(post(chat()))).code == "model_not_found"
            assert (await line.ask(post(chat() | {"model": version}))).header("x-gateway-target") == f"p/{version}"
        made.sim.open("go")
        answer = await stream.answer()
        assert answer.header("x-gateway-target") == "p/up"
        assert answer.body.endswith(b"data: [DONE]\n\n")
        made.process.send_signal(signal.SIGTERM)
        assert await made.ended(SPARE_S) == 0
