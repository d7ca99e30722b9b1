"""The lines of the journal: a checksum, a JSON array, a line feed."""

import zlib

import msgspec

from gateway.formats.facts import Fact

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Fact)


_HEX = [b"%02x" % byte for byte in range(256)]
"""Four looks cost half of what a number's own ways to become text do."""


def line_of(fact: Fact) -> bytes:
    text = _ENCODER.encode(fact)
    crc: int = zlib.crc32(text)
    first, second, third, fourth = _HEX[crc >> 24], _HEX[crc >> 16 & 255], _HEX[crc >> 8 & 255], _HEX[crc & 255]
    return b"%b%b%b%b %b\n" % (first, second, third, fourth, text)


def fact_of(line: bytes) -> Fact | None:
    """None for a line that is torn or damaged."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        fact: Fact = _DECODER.decode(text)
    except (ValueError, msgspec.DecodeError):
        return None
    return fact
