"""Streams of events: any chunking gives the same frames, and every oddity of the format is read."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.providers.sse import EVENT_BYTES_MAX, LINE_BYTES_MAX, Framer, FramingError

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.one_of(
    st.binary(max_size=12).filter(lambda b: b"\n" not in b and b"\r" not in b),
    st.sampled_from([b"data: {}", b"data:x", b"data", b": ping", b"event: error", b"id: 1", b"retry: 5", b"", b""]),
)


def frames(chunks: list[bytes]) -> list[tuple[bytes, bytes | None, bytes | None]]:
    framer = Framer()
    found = [frame for chunk in chunks for frame in framer.feed(chunk)]
    last = framer.rest()
    return [(frame.raw, frame.data, frame.event) for frame in [*found, *([last] if last else [])]]


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=500)
@given(st.lists(st.tuples(LINES, LINE_ENDS), max_size=20), st.lists(st.integers(0, 1000), max_size=8), st.booleans())
def test_h5_any_chunking_gives_identical_frames(
    lines: list[tuple[bytes, bytes]], places: list[int], mark: bool
) -> None:
    text = (b"\xef\xbb\xbf" if mark else b"") + b"".join(line + end for line, end in lines)
    whole = frames([text])
    assert frames(cut(text, places)) == whole
    assert frames([text[i : i + 1] for i in range(len(text))]) == whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": ping\n\ndata: a\n\n", [None, b"a"]),
        (b"event: error\ndata: {}\n\n", [b"{}"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\n", [b""]),
    ],
)
def test_the_format_is_read_as_the_standard_says(text: bytes, expected: list[bytes | None]) -> None:
    assert [data for _, data, _ in frames([text])] == expected


def test_sizes_are_bounded() -> None:
    framer = Framer()
    assert list(framer.feed(b"x" * EVENT_BYTES_MAX)) == []
    with pytest.raises(FramingError, match="event"):
        list(framer.feed(b"x"))
    with pytest.raises(FramingError, match="line"):
        list(Framer().feed(b"data: " + b"x" * LINE_BYTES_MAX + b"\n\n"))
