"""The lines of the journal: JSON arrays of a checksum, the number of a booking and a fact."""

import zlib

import msgspec

from gateway.formats.facts import Fact

Line = tuple[int, int, Fact]
"""The number is that of a Booking, and of an Opened the one it is booked under; 0 for other facts."""

_ENCODE = msgspec.json.Encoder().encode
_CRC32 = zlib.crc32
_DECODER = msgspec.json.Decoder(Line)


def start_of(number: int) -> int:
    """The checksum of a line begins with its booking's number, which most lines have in common with others."""
    return _CRC32(b"%d," % number)


_NO_BOOKING = start_of(0)


def line_of(fact: Fact, number: int = 0, start: int = _NO_BOOKING) -> bytes:
    """`start` is that of the number."""
    text = _ENCODE(fact)
    return b"[%d,%d,%b]\n" % (_CRC32(text, start), number, text)


def checked(line: bytes) -> Line | None:
    """None for a line that is torn or damaged."""
    checksum, _, rest = line[1:].partition(b",")
    try:
        if int(checksum) != _CRC32(rest.rstrip(b"\n")[:-1]):
            return None
        told: Line = _DECODER.decode(line)
    except (ValueError, msgspec.DecodeError):
        return None
    return told


def read(lines: bytes) -> list[Line | None]:
    """Whole lines, of which the living process that wrote them has damaged none; others may have."""
    try:
        told: list[Line | None] = _DECODER.decode_lines(lines)
    except msgspec.DecodeError:
        return [checked(line) for line in lines.splitlines(keepends=True)]
    return told
