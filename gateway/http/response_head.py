"""What a response's head says."""

import functools

from gateway.domain.money import usd_digits
from gateway.domain.quota import Room
from gateway.pipeline.exchange import Exchange
from gateway.ports import Quota

Headers = list[tuple[bytes, bytes]]

Lines = list[bytes]
"""The headers of a response as they go out, each `name: value`: those that are always the same cost nothing again."""

JSON = b"content-type: application/json"
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
STREAM = (b"content-type: " + EVENTS[1], b"cache-control: no-cache", b"x-accel-buffering: no")
DROPPED_BYTES_MAX = 1_000


def account(exchange: Exchange, quota: Quota, overhead_s: float, lines: Lines) -> bytes:
    """Adds what happened to the lines, and tells its figures: whole lines that are digits of ours."""
    trace = exchange.trace
    if trace.dropped:
        lines.append(b"x-gateway-dropped: " + safe(", ".join(trace.dropped))[:DROPPED_BYTES_MAX])
    if exchange.target is not None:
        lines.append(target_line(exchange.target))
    if trace.provider_switched:
        lines.append(b"x-gateway-provider-switched: true")
    overhead = two_decimals(max(0.0, overhead_s) * 1000)
    figures = b"x-gateway-attempts: %d\r\nx-gateway-overhead-ms: %b\r\n" % (len(trace.attempts), overhead)
    if exchange.gates.rates:
        figures += room_figures(quota.rooms(exchange.gates))
    if exchange.output_limit is not None:
        figures += b"x-gateway-output-limit: %d\r\n" % exchange.output_limit
    if (left := exchange.budget_left_nano_usd) is not None:
        figures += b"x-gateway-budget-remaining-usd: %b\r\n" % usd_digits(left)
    return figures


def line(header: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b" % header


def pairs(lines: Lines, figures: bytes = b"") -> Headers:
    """For those who ask for names and values."""
    parted = [each.partition(b": ") for each in (*lines, *figures.split(b"\r\n")[:-1])]
    return [(name, value) for name, _, value in parted]


_ROOM_NAMES = {
    name: (
        b"x-ratelimit-limit-%b: " % name.encode(),
        b"\r\nx-ratelimit-remaining-%b: " % name.encode(),
        b"\r\nx-ratelimit-reset-%b: " % name.encode(),
        b"\r\nx-ratelimit-reset-%b: 0ms\r\n" % name.encode(),
    )
    for name in ("requests", "tokens")
}


def room_figures(rooms: list[Room]) -> bytes:
    """Whole lines, each with its end."""
    figures = b""
    for room in rooms:
        limit, remaining, reset, reset_now = _ROOM_NAMES[room.dimension]
        at_once = room.reset_s < 0.0005  # as most limits are far away
        ends = reset_now if at_once else b"%b%b\r\n" % (reset, duration_text(room.reset_s))
        figures += b"%b%d%b%d%b" % (limit, room.limit, remaining, room.remaining, ends)
    return figures


def length(body: bytes) -> bytes:
    return b"content-length: %d" % len(body)


def retry_headers(retry_after_s: float | None, *, again: bool) -> Headers:
    headers: Headers = [(b"x-should-retry", b"true" if again else b"false")]
    if retry_after_s is not None:
        milliseconds = max(1, round(retry_after_s * 1000))
        headers.append((b"retry-after", b"%d" % -(-milliseconds // 1000)))
        headers.append((b"retry-after-ms", b"%d" % milliseconds))
    return headers


@functools.lru_cache(maxsize=4096)
def target_line(target: str) -> bytes:
    """Of a text out of the configuration, of which there are few."""
    return b"x-gateway-target: " + safe(target)


def safe(text: str) -> bytes:
    """A text of the operator's or a caller's as a header value: printable ASCII only."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).encode()


def duration_text(seconds: float) -> bytes:
    """As OpenAI writes it: 20ms, 1.5s, 6m0s."""
    if seconds < 1:
        return b"%dms" % int(seconds * 1000 + 0.5)
    if seconds < 60:
        return f"{seconds:.3g}s".encode()
    return b"%dm%ds" % divmod(round(seconds), 60)


_HUNDREDTHS = [b"%02d" % each for each in range(100)]


def two_decimals(positive: float) -> bytes:
    """As `%.2f`: digits of whole numbers cost a tenth of those of a float."""
    hundredfold = int(positive * 100 + 0.5)
    return b"%d.%b" % (hundredfold // 100, _HUNDREDTHS[hundredfold % 100])
