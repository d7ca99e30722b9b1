"""Writes one JSON line for each request, without ever making a request wait."""

import asyncio
import os
import select
import stat

import msgspec

from gateway.domain.errors import Fault
from gateway.domain.record import ExchangeRecord

_BUFFER_BYTES_MAX = 4 * 1024**2
_PIPE_BYTES = 4096
_RETRY_S = 0.05
_TEXT_MAX = 200
_TAGS_MAX = 32
_OUR_CONCERN = (Fault.PROVIDER, Fault.GATEWAY)


class AttemptLine(msgspec.Struct, frozen=True, omit_defaults=True):
    deployment: str
    duration_ms: float
    status: int | None = None
    failure: str | None = None
    wait_ms: float | None = None


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is told of a request: no prompt, no key, no query string. Absent means none, zero or false."""

    time_s: float
    level: str
    event: str
    request_id: str
    tenant: str
    key_id: str
    operation: str
    dialect: str
    model: str
    status: int
    duration_ms: float
    overhead_ms: float
    first_token_ms: float | None = None
    stream: bool = False
    code: str | None = None
    fault: str | None = None
    target: str | None = None
    attempts: list[AttemptLine] = []
    drops: list[tuple[str, str]] = []
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    provenance: str = "none"
    cost_nano_usd: int | None = None
    sticky: str = "none"
    retries_denied: int = 0
    panic: bool = False
    committed: bool = False
    client_gone: bool = False
    run_id: str | None = None
    parent_run_id: str | None = None
    tags: dict[str, str] = {}
    finish_reasons: tuple[str, ...] = ()


class AccessLog:
    """Collects the lines of one loop tick, then writes them at once; a slow reader costs lines, not time."""

    def __init__(self, fd: int, buffer_bytes_max: int = _BUFFER_BYTES_MAX) -> None:
        self._fd = fd
        self._max = buffer_bytes_max
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._rest = b""
        self._bytes = 0
        self._due: asyncio.Handle | None = None
        self._poll: select.poll | None = None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)
        self.dropped = 0

    def record(self, record: ExchangeRecord) -> None:
        line = self._encode(line_of(record)) + b"\n"
        if self._bytes + len(line) > self._max:
            self.dropped += 1
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        """Writes what can be written now; the rest is counted as dropped."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._write()
        self._give_up()

    def _flush(self) -> None:
        self._due = None
        self._write()
        if self._bytes:
            self._due = asyncio.get_running_loop().call_later(_RETRY_S, self._flush)

    def _write(self) -> None:
        data = self._rest + b"".join(self._lines)
        self._lines.clear()
        sent = 0
        try:
            while sent < len(data) and self._writable():
                sent += os.write(self._fd, self._portion(data, sent))
        except BlockingIOError:
            pass
        except OSError:
            self._rest = data[sent:]
            self._give_up()
            return
        self._rest = data[sent:]
        self._bytes = len(self._rest)

    def _portion(self, data: bytes, start: int) -> bytes:
        """Invariant: what poll calls writable takes one pipe buffer without waiting. Files take everything."""
        if self._poll is None:
            return data[start:] if start else data
        return data[start : start + _PIPE_BYTES]

    def _writable(self) -> bool:
        return self._poll is None or bool(self._poll.poll(0))

    def _give_up(self) -> None:
        self.dropped += self._rest.count(b"\n") + len(self._lines)
        self._rest = b""
        self._lines.clear()
        self._bytes = 0


def line_of(record: ExchangeRecord) -> LogLine:
    usage, served, fault = record.usage, record.served_by, record.fault
    first_token_s = record.first_token_s
    return LogLine(
        time_s=round(record.started_at_s, 3),
        level="warning" if fault in _OUR_CONCERN else "info",
        event="request",
        request_id=record.request_id,
        tenant=record.tenant,
        key_id=record.key_id,
        operation=record.operation,
        dialect=record.dialect,
        model=record.model[:_TEXT_MAX],
        status=record.status,
        duration_ms=_ms(record.duration_s),
        overhead_ms=_ms(record.overhead_s),
        first_token_ms=None if first_token_s is None else _ms(first_token_s),
        stream=record.stream,
        code=record.error_code,
        fault=None if fault is None else fault.value,
        target=None if served is None else served.deployment,
        attempts=[
            AttemptLine(one.deployment, _ms(one.duration_s), one.status, one.failure, _ms(one.wait_s) or None)
            for one in record.attempts
        ],
        drops=[(drop.deployment, drop.reason) for drop in record.drops],
        input_tokens=usage.input,
        output_tokens=usage.output,
        cached_input_tokens=usage.cached_input,
        reasoning_tokens=usage.reasoning,
        provenance=record.provenance.value,
        cost_nano_usd=record.cost_nano_usd,
        sticky=record.sticky,
        retries_denied=record.retries_denied,
        panic=record.panic,
        committed=record.committed,
        client_gone=record.client_gone,
        run_id=record.run_id,
        parent_run_id=record.parent_run_id,
        tags=dict(record.tags[:_TAGS_MAX]),
        finish_reasons=record.finish_reasons,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
