"""Token estimates: positive, bounded, and the same for a sample as for the whole."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.tokens import estimate


@given(st.text(max_size=300))
def test_any_text_has_a_positive_bounded_estimate(text: str) -> None:
    size = len(text.encode())
    assert 1 <= estimate(text.encode()) <= 2 * size + 1


def test_long_texts_are_sampled_close_to_the_whole() -> None:
    text = ("Some words, then 123 numbers; and {punctuation}! " * 2000).encode()
    per_byte = estimate(text[:1960]) / 1960
    assert abs(estimate(text) - per_byte * len(text)) / (per_byte * len(text)) < 0.1
