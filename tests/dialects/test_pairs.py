"""Any conversation and any turn, from any dialect into any other, however the bytes are cut."""

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.fitting import fit
from gateway.domain.turn import Answer, Ended, TurnEvent
from tests.dialects.conversations import Dice, conversation, events_of, told, turn
from tests.dialects.dialects import PAIRS, TONGUES, gathered

EXAMPLES = [
    pytest.param(int(os.environ.get("METERWAY_DIALECT_EXAMPLES", "300")), id="short"),
    pytest.param(50_000, id="long", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
]
BATCH = 10
"""Examples of one seed: what Hypothesis spends on each of its own is more than one of these costs."""


def tried(examples: int, holds: Callable[[int], None]) -> None:
    """The check on so many seeds, no two of them the same."""
    seen: set[int] = set()

    @settings(max_examples=-(-examples // BATCH))
    @given(st.integers(0, 2**40))
    def batches(place: int) -> None:
        for seed in range(place * BATCH, (place + 1) * BATCH):
            holds(seed)
            seen.add(seed)

    batches()
    assert len(seen) >= examples


def decoded(dialect: str, text: bytes, dice: Dice) -> list[TurnEvent]:
    decoder = TONGUES[dialect].decoder()
    events = [event for chunk in dice.chunks(text) for event in decoder.feed(chunk)]
    return events + decoder.end()


def written(dialect: str, events: list[TurnEvent]) -> bytes:
    encoder = TONGUES[dialect].encoder()
    return b"".join(encoder.write(event) for event in events)


def made(dice: Dice, *dialects: str) -> Answer:
    several = all(TONGUES[dialect].able.choices for dialect in dialects)
    return turn(dice, 1 + dice.count(2) if several and dice.coin(0.3) else 1)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_stream_arrives_equal_in_another_dialect(source: str, target: str, examples: int) -> None:
    def holds(seed: int) -> None:
        dice = Dice(seed)
        answer = made(dice, source, target)
        first = decoded(source, written(source, list(events_of(answer, dice))), dice)
        assert gathered(first) == told(answer, source, whole=False)
        assert sum(isinstance(event, Ended) for event in first) == 1
        second = decoded(target, written(target, first), dice)
        assert gathered(second) == told(told(answer, source, whole=False), target, whole=False)
        assert isinstance(second[-1], Ended)

    tried(examples, holds)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_request_arrives_equal_in_another_dialect(source: str, target: str, examples: int) -> None:
    there, here = TONGUES[source], TONGUES[target]

    def holds(seed: int) -> None:
        asked, _ = fit(conversation(Dice(seed)), there.able)
        read = there.read(there.write(asked))
        assert fit(read, there.able) == (asked, ())
        passed, losses = fit(read, here.able)
        assert (passed, losses) == fit(asked, here.able)
        assert fit(here.read(here.write(passed)), here.able) == (passed, ())
        assert fit(passed, here.able) == (passed, ())

    tried(examples, holds)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_whole_answer_arrives_equal_in_another_dialect(source: str, target: str, examples: int) -> None:
    there, here = TONGUES[source], TONGUES[target]

    def holds(seed: int) -> None:
        answer = told(made(Dice(seed), source, target), source, whole=True)
        read = there.answer(there.body(answer))
        assert read == answer
        assert here.answer(here.body(read)) == told(answer, target, whole=True)

    tried(examples, holds)
