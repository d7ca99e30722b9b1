"""Usage as hosts of OpenAI's dialect tell it, part by part."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.reply import Usage
from gateway.providers.figures import TOKENS_MAX
from gateway.providers.openai_usage import usage_of

IN, OUT = "prompt_tokens_details", "completion_tokens_details"


def told(tokens_in: int, tokens_out: int, **details: Any) -> Usage | None:
    return usage_of(json.dumps({"prompt_tokens": tokens_in, "completion_tokens": tokens_out, **details}).encode())


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({IN: {"cache_write_tokens": 4}}, {"cache_write_5m": 4}),
        ({IN: {"audio_tokens": 4}}, {"audio_input": 4}),
        ({IN: {"image_tokens": 4}}, {"image_input": 4}),
        ({OUT: {"audio_tokens": 4}}, {"audio_output": 4}),
        ({IN: {"cached_tokens": 3, "cache_write_tokens": 4}}, {"cached_input": 3, "cache_write_5m": 4}),
        (
            {IN: {"cached_tokens": 3}, OUT: {"audio_tokens": 4, "reasoning_tokens": 5}},
            {"cached_input": 3, "reasoning": 5, "audio_output": 4},
        ),
        ({IN: {"audio_tokens": 99}, OUT: {"audio_tokens": 99}}, {"audio_input": 10, "audio_output": 20}),
        ({IN: {"audio_tokens": -1, "cache_write_tokens": 1e300}, OUT: {"audio_tokens": None}}, {}),
        ({IN: {"audio_tokens": 0, "text_tokens": 10}, OUT: {"accepted_prediction_tokens": 3}}, {}),
        ({IN: None, OUT: None}, {}),
    ],
)
def test_each_part_is_read_and_none_is_more_than_the_whole(details: Any, expected: dict[str, int]) -> None:
    assert told(10, 20, **details) == Usage(10, 20, **expected)


def test_reg10_explicit_zeros_are_usage_and_absence_is_not() -> None:
    assert told(0, 0) == Usage()
    assert told(0, 0) is not None
    assert [usage_of(raw) for raw in (b"", b"null", b"{}")] == [None] * 3


FIGURES = st.none() | st.integers(-5, 40) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.fixed_dictionaries(
        {"cached_tokens": FIGURES, "cache_write_tokens": FIGURES, "audio_tokens": FIGURES, "image_tokens": FIGURES}
    ),
    st.fixed_dictionaries({"reasoning_tokens": FIGURES, "audio_tokens": FIGURES}),
)
def test_whatever_the_parts_are_the_wholes_count(of_input: dict[str, Any], of_output: dict[str, Any]) -> None:
    usage = told(30, 20, **{IN: of_input, OUT: of_output})
    if usage is None:
        return  # an integer that no provider can mean
    assert (usage.input, usage.output) == (30, 20)
    parts_in = (usage.cached_input, usage.cache_write_5m, usage.audio_input, usage.image_input)
    assert all(0 <= part <= 30 for part in parts_in)
    assert all(0 <= part <= 20 for part in (usage.reasoning, usage.audio_output))
    assert told(TOKENS_MAX + 1, 1) is None
