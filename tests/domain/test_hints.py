"""Wait hints: every form, in order, clamped, never an exception."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.domain.hints import HINT_MAX_S, clamped_s, wait_hint_s

NOW_S = 1_790_000_000.0


def date(offset_s: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW_S + offset_s, UTC), usegmt=True)


def rfc3339(offset_s: float) -> str:
    return datetime.fromtimestamp(NOW_S + offset_s, UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("headers", "body", "expected_s"),
    [
        ({"retry-after-ms": "1500"}, b"", 1.5),
        ({"retry-after-ms": "12.5", "retry-after": "9"}, b"", 0.0125),
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after": "0.25"}, b"", 0.25),
        ({"retry-after": date(30)}, b"", 30.0),
        ({"retry-after": date(-30)}, b"", 0.0),
        ({"retry-after": date(3630), "date": date(3600)}, b"", 30.0),
        ({"retry-after": date(30), "date": date(1)}, b"", 30.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, b"", 1.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, b"", 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, b"", 0.02),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, b"", 3723.5),
        ({"x-ratelimit-remaining-tokens": "1", "x-ratelimit-reset-tokens": "6m0s"}, b"", None),
        ({"x-ratelimit-reset-tokens": "6m0s"}, b"", None),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": rfc3339(12)}, b"", 12.0),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": rfc3339(5),
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": rfc3339(9),
            },
            b"",
            9.0,
        ),
        ({}, b'{"error":{"details":[{"retryDelay": "37s"}]}}', 37.0),
        ({}, b"Please retry after 12 seconds.", 12.0),
        ({}, b"retry after 500 milliseconds", 0.5),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "inf"}, b"", None),
        ({"retry-after": "-1"}, b"", None),
        ({"retry-after": "90000"}, b"", None),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "nan", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "2s"}, b"", 2.0),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, b"", None),
        ({}, b"", None),
    ],
)
def test_each_hint_form_is_understood(headers: dict[str, str], body: bytes, expected_s: float | None) -> None:
    hint_s = wait_hint_s(headers, body, NOW_S)
    assert hint_s == (None if expected_s is None else pytest.approx(expected_s, abs=1e-3))


NAMES = [
    "retry-after-ms",
    "retry-after",
    "date",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
]
VALUES = st.one_of(
    st.text(max_size=20),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        ["0", "1s", "6m0s", "20ms", "1h", "h", "-5s", "1e400", "١٢", rfc3339(9), date(9), "0001-01-01T00:00:00Z"]
    ),
)
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES)


@settings(max_examples=400)
@example({"retry-after": "1e309"}, b"")
@given(HEADERS, st.binary(max_size=60))
def test_h7_any_headers_give_a_clamped_wait_or_none(headers: dict[str, str], body: bytes) -> None:
    wait_s = clamped_s(wait_hint_s(headers, body, NOW_S))
    assert wait_s is None or 0 <= wait_s <= HINT_MAX_S


@pytest.mark.long
@settings(max_examples=1_000_000)
@given(HEADERS, st.binary(max_size=60))
def test_h7_a_million_random_header_sets(headers: dict[str, str], body: bytes) -> None:
    wait_s = clamped_s(wait_hint_s(headers, body, NOW_S))
    assert wait_s is None or 0 <= wait_s <= HINT_MAX_S
