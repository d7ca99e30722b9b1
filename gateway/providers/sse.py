"""Server-sent events as bytes: any chunking of a stream gives the same frames."""

from collections.abc import Iterator

from gateway.domain.value import value

EVENT_BYTES_MAX = 16 * 1024 * 1024
LINE_BYTES_MAX = 8 * 1024 * 1024
_LF = 0x0A
_CR = 0x0D
"""As numbers, which are found at once: `in` between two bytes objects raises and catches an error inside first."""


class FramingError(Exception):
    """The stream cannot be cut into events."""


@value
class Frame:
    """`raw` ends with its blank line; `data` is None for a frame without data (a comment)."""

    raw: bytes
    data: bytes | None
    event: bytes | None = None


class Framer:
    """Cuts a byte stream at blank lines. Line ends may be LF, CRLF or CR; they leave as LF."""

    __slots__ = ("_carriage", "_pending", "_started")

    def __init__(self) -> None:
        self._pending = b""
        self._carriage = False
        self._started = False

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes. Raises FramingError when one grows too large."""
        if self._carriage or _CR in chunk:
            chunk = self._unify(chunk)
        text = self._pending + chunk if self._pending else chunk
        if not self._started and text:
            text = self._without_mark(text)
        *whole, self._pending = text.split(b"\n\n")
        for text in whole:
            if (frame := _frame(text)) is not None:
                yield frame
        if len(self._pending) > EVENT_BYTES_MAX:
            raise FramingError(f"an event is larger than {EVENT_BYTES_MAX} bytes")

    def rest(self) -> Frame | None:
        """What is left at the end of the stream, if it is a frame that lacks only its blank line."""
        text = self._pending.rstrip(b"\n")
        self._pending = b""
        return _frame(text)

    def _unify(self, chunk: bytes) -> bytes:
        """CRLF and CR become LF, also when a chunk ends between the two."""
        if self._carriage:
            chunk = b"\n" + (chunk[1:] if chunk[:1] == b"\n" else chunk) if chunk else b""
            self._carriage = not chunk
        if chunk[-1:] == b"\r":
            self._carriage = True
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_mark(self, text: bytes) -> bytes:
        mark = b"\xef\xbb\xbf"
        if len(text) < len(mark) and mark.startswith(text):
            return text
        self._started = True
        return text.removeprefix(mark)


def _frame(text: bytes) -> Frame | None:
    if text.startswith(b"data: ") and _LF not in text:
        if len(text) > LINE_BYTES_MAX:
            raise FramingError(f"a line is longer than {LINE_BYTES_MAX} bytes")
        return Frame(text + b"\n\n", text[6:])
    text = text.strip(b"\n")
    if not text:
        return None
    data: list[bytes] = []
    event = None
    for line in text.split(b"\n"):
        if len(line) > LINE_BYTES_MAX:
            raise FramingError(f"a line is longer than {LINE_BYTES_MAX} bytes")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return Frame(text + b"\n\n", b"\n".join(data) if data else None, event)
