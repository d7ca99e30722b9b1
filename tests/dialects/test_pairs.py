"""Any conversation and any turn, from any dialect into any other, however the bytes are cut."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.fitting import fit
from gateway.domain.turn import Answer, Ended, TurnEvent
from tests.dialects.conversations import Dice, conversation, events_of, told, turn
from tests.dialects.dialects import PAIRS, TONGUES, gathered

EXAMPLES = int(os.environ.get("METERWAY_DIALECT_EXAMPLES", "300"))
BATCH = 10
"""Examples of one seed: what Hypothesis spends on each of its own is more than one of these costs."""

SEEDS = st.integers(0, 2**40).map(lambda seed: range(seed * BATCH, (seed + 1) * BATCH))


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


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=EXAMPLES // BATCH)
@given(SEEDS)
def test_a_stream_arrives_equal_in_another_dialect(source: str, target: str, seeds: range) -> None:
    for seed in seeds:
        dice = Dice(seed)
        answer = made(dice, source, target)
        first = decoded(source, written(source, list(events_of(answer, dice))), dice)
        assert gathered(first) == told(answer, source, whole=False)
        assert sum(isinstance(event, Ended) for event in first) == 1
        second = decoded(target, written(target, first), dice)
        assert gathered(second) == told(told(answer, source, whole=False), target, whole=False)
        assert isinstance(second[-1], Ended)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=EXAMPLES // BATCH)
@given(SEEDS)
def test_a_request_arrives_equal_in_another_dialect(source: str, target: str, seeds: range) -> None:
    for seed in seeds:
        there, here = TONGUES[source], TONGUES[target]
        asked, _ = fit(conversation(Dice(seed)), there.able)
        read = there.read(there.write(asked))
        assert fit(read, there.able) == (asked, ())
        passed, losses = fit(read, here.able)
        assert (passed, losses) == fit(asked, here.able)
        assert fit(here.read(here.write(passed)), here.able) == (passed, ())
        assert fit(passed, here.able) == (passed, ())


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=EXAMPLES // BATCH // 5 + 1)
@given(SEEDS)
def test_a_whole_answer_arrives_equal_in_another_dialect(source: str, target: str, seeds: range) -> None:
    for seed in seeds:
        there, here = TONGUES[source], TONGUES[target]
        answer = told(made(Dice(seed), source, target), source, whole=True)
        read = there.answer(there.body(answer))
        assert read == answer
        assert here.answer(here.body(read)) == told(answer, target, whole=True)
