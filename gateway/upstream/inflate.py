"""Decodes gzip and deflate bodies piece by piece, with a guard against bombs."""

import zlib

from gateway.domain.failure import FailureKind, Sent
from gateway.upstream.failures import failed

DECODED_BYTES_MAX = 64 * 1024 * 1024
RATIO_MAX = 100
RATIO_COUNTS_FROM_BYTES = 1024 * 1024  # small texts of blanks compress well in all honesty
PIECE_BYTES = 256 * 1024
_MEMBERS_MAX = 64
ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})


class Inflater:
    """Feed what arrived; take pieces of at most PIECE_BYTES until `pending` is false."""

    __slots__ = ("_decoder", "_fed_bytes", "_gzip", "_members", "_more", "_pending", "_started", "_taken_bytes")

    def __init__(self, encoding: bytes) -> None:
        self._gzip = encoding != b"deflate"
        self._decoder = zlib.decompressobj(31 if self._gzip else 15)
        self._pending = b""
        self._more = False
        self._started = False
        self._members = 1
        self._fed_bytes = 0
        self._taken_bytes = 0

    @property
    def pending(self) -> bool:
        if not self._started:
            return len(self._pending) >= 2
        return self._more or bool(self._pending)

    @property
    def finished(self) -> bool:
        """An encoded body ends where its format says so; nothing at all is an empty body."""
        return self._decoder.eof or not (self._started or self._pending)

    def feed(self, data: bytes) -> None:
        self._pending += data
        self._fed_bytes += len(data)

    def take(self) -> bytes:
        data = self._pending
        if not self._started:
            self._started = True
            if not self._gzip and not _is_zlib(data):
                self._decoder = zlib.decompressobj(-15)
        elif self._decoder.eof:
            self._next_member()
        piece = self._decoder.decompress(data, PIECE_BYTES)
        self._pending = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
        # A full piece may leave output inside the decoder although all input is used.
        self._more = len(piece) == PIECE_BYTES and not self._decoder.eof
        self._taken_bytes += len(piece)
        self._guard()
        return piece

    def _next_member(self) -> None:
        self._members += 1
        if not self._gzip or self._members > _MEMBERS_MAX:
            raise zlib.error("data after the end of the encoded body")
        self._decoder = zlib.decompressobj(31)

    def _guard(self) -> None:
        bomb = self._taken_bytes > RATIO_COUNTS_FROM_BYTES and self._taken_bytes > self._fed_bytes * RATIO_MAX
        if bomb or self._taken_bytes > DECODED_BYTES_MAX:
            raise failed(FailureKind.RESPONSE_TOO_LARGE, f"body inflates beyond {self._taken_bytes} bytes", Sent.YES)


def _is_zlib(data: bytes) -> bool:
    """Some servers call raw deflate `deflate`; the zlib header tells them apart (RFC 1950, 2.2)."""
    return data[0] & 0x0F == 8 and (data[0] * 256 + data[1]) % 31 == 0
