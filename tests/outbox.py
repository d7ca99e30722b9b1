"""An outbox in a test: where writes go, and how it comes to wait for the end of a turn."""

import asyncio
from typing import cast

from gateway.outbox import AT_ONCE, FEW, Outbox


class Wire:
    """A transport that notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def get_extra_info(self, name: str) -> None:
        """Nothing is known of it."""

    def get_write_buffer_size(self) -> int:
        return 0


def transport(wire: Wire) -> asyncio.Transport:
    return cast(asyncio.Transport, wire)


def write_many(outbox: Outbox, wire: Wire, count: int) -> None:
    for number in range(count):
        outbox.put(transport(wire), b"%d" % number)


async def put_under_load(outbox: Outbox) -> None:
    """It has just seen a full turn."""
    crowd = Wire()
    write_many(outbox, crowd, AT_ONCE + FEW)
    await asyncio.sleep(0)
    assert len(crowd.written) == AT_ONCE + FEW
