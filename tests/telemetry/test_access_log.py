"""The access log: its schema, its bounds, what it never tells."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.record import Attempt
from gateway.domain.reply import Usage
from gateway.formats.log_line import LogLine
from gateway.telemetry.access_log import AccessLog, line_of, plain_line
from tests.telemetry import samples


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass


async def flushed(log: AccessLog) -> None:
    """Until what was gathered has been dealt with."""
    async with asyncio.timeout(5):
        while log._bytes:
            await asyncio.sleep(0)


async def test_lines_are_gathered_and_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    log = AccessLog(fd)
    for record in samples.ALL:
        log.record(record)
    assert path.read_bytes() == b""
    await flushed(log)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    os.close(fd)
    assert [line["status"] for line in lines] == [record.status for record in samples.ALL]
    assert log.dropped == 0


def test_a_line_has_this_schema() -> None:
    line = line_of(samples.FAILED_OVER)
    told = json.loads(msgspec.json.encode(line))
    assert told == {
        "time_s": 1800000000.123,
        "level": "info",
        "event": "request",
        "request_id": "req_1",
        "tenant": "demo",
        "key_id": "demo#0",
        "operation": "chat",
        "dialect": "openai",
        "model": "assistant",
        "status": 200,
        "duration_ms": 1500.0,
        "overhead_ms": 0.4,
        "first_token_ms": 300.0,
        "stream": True,
        "target": "anthropic/claude#0",
        "attempts": [
            {"deployment": "openai/gpt-4.1#0", "duration_ms": 200.0, "status": 503, "failure": "server_error"},
            {
                "deployment": "openai/gpt-4.1#0",
                "duration_ms": 200.0,
                "status": 503,
                "failure": "server_error",
                "wait_ms": 100.0,
            },
            {"deployment": "anthropic/claude#0", "duration_ms": 1400.0, "status": 200},
        ],
        "drops": [["groq/llama#0", "circuit_open"]],
        "input_tokens": 1000,
        "output_tokens": 200,
        "cached_input_tokens": 600,
        "reasoning_tokens": 50,
        "provenance": "exact",
        "cost_nano_usd": 3600000,
        "sticky": "moved",
        "retries_denied": 1,
        "panic": True,
        "committed": True,
        "finish_reasons": ["stop"],
    }


def test_what_a_caller_says_stays_in_one_bounded_line() -> None:
    line = msgspec.json.encode(line_of(samples.UNKNOWN_MODEL))
    assert len(line) < 1000
    assert line_of(samples.ABORTED).level == "warning"
    assert b"\n" not in line


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_reader_that_does_not_read_costs_lines_and_no_time(pipe: tuple[int, int], blocking: bool) -> None:
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    log = AccessLog(writer, buffer_bytes_max=20_000)
    count = 1000
    for _ in range(count):
        log.record(samples.GOOD)
        await asyncio.sleep(0)
    assert log.dropped > 0
    received = b""
    async with asyncio.timeout(10):
        while log._bytes:
            try:
                received += os.read(reader, 65536)
            except BlockingIOError:
                pass
            await asyncio.sleep(0.01)
    try:
        received += os.read(reader, 1_000_000)
    except BlockingIOError:
        pass
    lines = received.splitlines()
    assert all(json.loads(line)["request_id"] == "req_1" for line in lines)
    assert len(lines) + log.dropped == count
    log.close()


async def test_a_closed_reader_is_counted(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    log = AccessLog(writer)
    log.record(samples.GOOD)
    log.record(samples.GOOD)
    await flushed(log)
    assert log.dropped == 2
    log.record(samples.GOOD)
    log.close()
    assert log.dropped == 3


@example(Usage(1, 2, 0, 0), "100 %d %b %%", 1.0, None, False, ["%s"])
@given(
    st.builds(Usage, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9)),
    st.text(max_size=250),
    st.floats(0, 1e4),
    st.none() | st.integers(0, 10**15),
    st.booleans(),
    st.lists(st.text(max_size=5), max_size=3),
)
def test_the_short_way_to_a_plain_line_says_the_same(
    usage: Usage, model: str, seconds: float, cost: int | None, stream: bool, reasons: list[str]
) -> None:
    attempt = Attempt("a/m#0", "a", "m", 0.0, seconds, 200, None)
    plain = replace(
        samples.GOOD,
        attempts=(attempt,),
        drops=(),
        tags=(),
        run_id=None,
        parent_run_id=None,
        error_code=None,
        fault=None,
        status=200,
        model=model,
        duration_s=seconds,
        first_token_s=seconds,
        usage=usage,
        cost_nano_usd=cost,
        stream=stream,
        committed=stream,
        finish_reasons=tuple(reasons),
    )
    short = msgspec.json.decode(plain_line(plain), type=LogLine)
    assert short == msgspec.json.decode(msgspec.json.encode(line_of(plain)), type=LogLine)
