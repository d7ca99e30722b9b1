"""How long a provider asks us to wait: every hint form, in order of trust, parsed and clamped."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

HINT_MAX_S = 120.0
"""The longest cooldown that a hint can cause; the OpenAI SDK gives up above it too."""

_DAY_S = 86_400.0
_SKEW_S = 2.0
_GO_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_GO_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|ns|h|m|s))+")
_GO_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GOOGLE_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,9}(?:\.\d{1,9})?)s"')
_AZURE_DELAY = re.compile(rb"retry after (\d{1,9}) (milli)?seconds?", re.IGNORECASE)
_DIMENSIONS = (
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
)


def wait_hint_s(headers: Mapping[str, str], body: bytes, wall_s: float) -> float | None:
    """The hint in seconds, in [0, 86400], or None. `headers` has lower-case names; `wall_s` is our wall clock."""
    now_s = _provider_now_s(headers, wall_s)
    return _sane(
        _first(
            _scaled(headers.get("retry-after-ms"), 1e-3),
            _scaled(headers.get("retry-after"), 1.0),
            _date_s(headers.get("retry-after"), now_s),
            _exhausted_s(headers, now_s),
            _body_s(body),
        )
    )


def clamped_s(hint_s: float | None) -> float | None:
    """A hint as a cooldown: in [0, 120] or None."""
    return None if hint_s is None else min(hint_s, HINT_MAX_S)


def _first(*candidates_s: float | None) -> float | None:
    return next((value for value in candidates_s if _sane(value) is not None), None)


def _sane(value_s: float | None) -> float | None:
    if value_s is None or not math.isfinite(value_s) or not 0 <= value_s <= _DAY_S:
        return None
    return value_s


def _scaled(text: str | None, unit_s: float) -> float | None:
    try:
        return None if text is None else float(text) * unit_s
    except ValueError:
        return None


def _parse_date_s(text: str | None) -> float | None:
    if not text:
        return None
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return when.timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _parse_rfc3339_s(text: str) -> float | None:
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return when.timestamp()
    except (ValueError, OverflowError):
        return None


def _provider_now_s(headers: Mapping[str, str], wall_s: float) -> float:
    """Dates in a reply count against the reply's own Date where its clock and ours disagree."""
    theirs = _parse_date_s(headers.get("date"))
    return theirs if theirs is not None and abs(theirs - wall_s) > _SKEW_S else wall_s


def _date_s(text: str | None, now_s: float) -> float | None:
    when = _parse_date_s(text)
    return None if when is None else max(0.0, when - now_s)


def _exhausted_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """The longest reset among the dimensions that have nothing left."""
    waits = [
        _sane(_reset_s(headers[reset], now_s))
        for remaining, reset in _DIMENSIONS
        if reset in headers and headers.get(remaining, "").strip() == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _reset_s(text: str, now_s: float) -> float | None:
    text = text.strip()
    if _GO_WHOLE.fullmatch(text):
        return sum(float(amount) * _GO_UNITS_S[unit] for amount, unit in _GO_PART.findall(text))
    when = _parse_rfc3339_s(text)
    return None if when is None else max(0.0, when - now_s)


def _body_s(body: bytes) -> float | None:
    if found := _GOOGLE_DELAY.search(body):
        return float(found[1])
    if found := _AZURE_DELAY.search(body):
        return float(found[1]) * (1e-3 if found[2] else 1.0)
    return None
