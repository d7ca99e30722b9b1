"""What a response's head says of the limits."""

import pytest

from gateway.domain.quota import Room
from gateway.http.response_head import pairs, room_figures


@pytest.mark.parametrize(
    ("reset_s", "told"),
    [
        (0.0, b"0ms"),
        (0.0004, b"0ms"),
        (0.0006, b"1ms"),
        (0.0204, b"20ms"),
        (1.5, b"1.5s"),
        (59.96, b"60s"),
        (360.0, b"6m0s"),
    ],
)
def test_the_time_until_all_of_a_limit_is_back_is_written_as_clients_expect_it(reset_s: float, told: bytes) -> None:
    assert pairs([], room_figures([Room("requests", 100, 99, reset_s), Room("tokens", 5_000, 0, reset_s)])) == [
        (b"x-ratelimit-limit-requests", b"100"),
        (b"x-ratelimit-remaining-requests", b"99"),
        (b"x-ratelimit-reset-requests", told),
        (b"x-ratelimit-limit-tokens", b"5000"),
        (b"x-ratelimit-remaining-tokens", b"0"),
        (b"x-ratelimit-reset-tokens", told),
    ]
