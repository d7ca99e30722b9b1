"""The stream machine: every pair of state and signal is either an edge or refused."""

from itertools import product

import pytest

from gateway.domain.stream import SIGNALS, TRANSITIONS, EventKind, Signal, StreamState


@pytest.mark.parametrize(("state", "signal"), list(product(StreamState, Signal)))
def test_every_pair_is_decided(state: StreamState, signal: Signal) -> None:
    ended = state in (StreamState.ENDED, StreamState.BROKEN)
    assert (signal in TRANSITIONS[state]) is not ended
    if not ended:
        after = TRANSITIONS[state][signal]
        assert (after is StreamState.BROKEN) == (signal is Signal.FAILED)
        assert (after is StreamState.ENDED) == (signal is Signal.DONE)
        assert not (state is StreamState.OPEN and after is StreamState.HELD)


def test_every_event_kind_has_a_signal() -> None:
    assert set(SIGNALS) == set(EventKind)
