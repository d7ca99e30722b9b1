"""The lines of the journal: a checksum, a JSON array, a line feed."""

import zlib

import msgspec

from gateway.formats.facts import Fact

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Fact)


def line_of(fact: Fact) -> bytes:
    text = _ENCODER.encode(fact)
    checksum = zlib.crc32(text).to_bytes(4, "big").hex()
    return b"%b %b\n" % (checksum.encode(), text)


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
