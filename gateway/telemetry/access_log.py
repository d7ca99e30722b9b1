"""Writes one JSON line for each request, without ever making a request wait."""

import asyncio
import functools
import os
import select
import stat

import msgspec

from gateway.domain.errors import Fault
from gateway.domain.record import Attempt, ExchangeRecord
from gateway.domain.reply import NO_USAGE
from gateway.formats.log_line import AttemptLine, LogLine

_BUFFER_BYTES_MAX = 4 * 1024**2
_PIPE_BYTES = 4096
_RETRY_S = 0.05
GATHER_S = 0.005
_TEXT_MAX = 200
_TAGS_MAX = 32
_OUR_CONCERN = (Fault.PROVIDER, Fault.GATEWAY)


class AccessLog:
    """Collects the lines of five milliseconds, then writes them at once; a slow reader costs lines, not time."""

    def __init__(self, fd: int, buffer_bytes_max: int = _BUFFER_BYTES_MAX) -> None:
        self._fd = fd
        self._max = buffer_bytes_max
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
        line = plain_line(record) if is_plain(record) else _encode(line_of(record)) + b"\n"
        if self._bytes + len(line) > self._max:
            self.dropped += 1
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(GATHER_S, self._flush)

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


def is_plain(record: ExchangeRecord) -> bool:
    """The common case: one attempt, answered whole, nothing to remark."""
    attempts = record.attempts
    return (
        len(attempts) == 1
        and attempts[0].failure is None
        and record.status == 200
        and record.error_code is None
        and record.first_token_s is not None
        and not (record.drops or record.dropped or record.tags or record.run_id or record.parent_run_id or record.panic)
        and record.trace_id is None
    )


def plain_line(record: ExchangeRecord) -> bytes:
    """The line of a plain record without the detour over a LogLine, at a fifth of its cost."""
    attempt, usage, cost = record.attempts[0], record.usage, record.cost_nano_usd
    texts = (
        record.tenant,
        record.key_id,
        record.operation,
        record.dialect,
        record.model,
        attempt.deployment,
        record.provenance.value,
        record.sticky,
    )
    return _form(texts, record.finish_reasons, record.stream, record.committed) % (
        record.started_at_s,
        _encode(record.request_id),
        record.duration_s * 1000,
        record.overhead_s * 1000,
        (record.first_token_s or 0.0) * 1000,
        attempt.duration_s * 1000,
        usage.input,
        usage.output,
        usage.cached_input,
        usage.reasoning,
        b"" if cost is None else b',"cost_nano_usd":%d' % cost,
    )


@functools.lru_cache(maxsize=4096)
def _form(texts: tuple[str, ...], finish_reasons: tuple[str, ...], stream: bool, committed: bool) -> bytes:
    """The line with a place for everything that differs from request to request: of the rest there are few."""
    tenant, key_id, operation, dialect, model, target, provenance, sticky = map(_text, texts)
    return b"".join(
        (
            b'{"time_s":%.3f,"level":"info","event":"request","request_id":%b,"tenant":',
            tenant,
            b',"key_id":',
            key_id,
            b',"operation":',
            operation,
            b',"dialect":',
            dialect,
            b',"model":',
            model,
            b',"status":200,"duration_ms":%.3f,"overhead_ms":%.3f,"first_token_ms":%.3f',
            b',"stream":true' if stream else b"",
            b',"target":',
            target,
            b',"attempts":[{"deployment":',
            target,
            b',"duration_ms":%.3f,"status":200}],"input_tokens":%d,"output_tokens":%d',
            b',"cached_input_tokens":%d,"reasoning_tokens":%d,"provenance":',
            provenance,
            b'%b,"sticky":',
            sticky,
            b',"committed":true' if committed else b"",
            b',"finish_reasons":',
            _encode(finish_reasons).replace(b"%", b"%%"),
            b"}\n",
        )
    )


def _text(text: str) -> bytes:
    """As JSON, inside a form."""
    return _encode(text[:_TEXT_MAX]).replace(b"%", b"%%")


_encode = msgspec.json.Encoder().encode


def _attempt_line(attempt: Attempt) -> AttemptLine:
    in_vain, wait_ms = attempt.in_vain, _ms(attempt.wait_s) or None
    usage, cost = (NO_USAGE, 0) if in_vain is None else (in_vain.usage, in_vain.cost_nano_usd)
    spent = usage.input, usage.output, cost
    return AttemptLine(attempt.deployment, _ms(attempt.duration_s), attempt.status, attempt.failure, wait_ms, *spent)


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
        attempts=[_attempt_line(attempt) for attempt in record.attempts],
        drops=[(drop.deployment, drop.reason) for drop in record.drops],
        dropped=record.dropped,
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
        trace_id=record.trace_id,
        tags=dict(record.tags[:_TAGS_MAX]),
        finish_reasons=record.finish_reasons,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
