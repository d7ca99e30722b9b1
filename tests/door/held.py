"""What the gateway itself holds of a stream, measured from outside: sent, not received, and in no kernel buffer."""

import asyncio
import fcntl
import struct
import termios
from typing import Any

from gateway.app.gateway import Gateway
from gateway.sim.server import Simulator
from tests.door.line import Line

STREAM_BYTES_MAX = 256 * 1024


def in_kernel(sender: Any, receiver: Any) -> int:
    """What has been written to one end of a connection and not been read from the other."""
    waiting = ((sender, termios.TIOCOUTQ), (receiver, termios.FIONREAD))
    return sum(struct.unpack("i", fcntl.ioctl(socket.fileno(), what, b"\0" * 4))[0] for socket, what in waiting)


def held_bytes(gateway: Gateway, sim: Simulator, line: Line) -> int:
    """Of the only stream there is. Some of the provider's chunk lines count as held, as the gateway writes fewer."""
    sending: Any = next(iter(sim._calls))
    (pool,) = gateway.upstream._pools.values()
    upstream: Any = next(iter(pool._sockets))
    running: Any = next(iter(gateway.server.server_state.connections))
    sockets = [each.get_extra_info("socket") for each in (sending._transport, upstream.transport, running.transport)]
    received = len(line.kept) + len(line.reader._buffer)  # type: ignore[attr-defined]
    sent: int = sending.sent_bytes - sending._transport.get_write_buffer_size()
    return sent - in_kernel(sockets[0], sockets[1]) - in_kernel(sockets[2], line.socket) - received


async def quiet(sim: Simulator) -> int:
    """The bytes that the provider has sent once a hundred looks, 5 ms apart, have found no more.

    Looks and not time: where the machine stands still, so does the provider. Longer than TCP's timers, which ask a
    full receiver again after 200 ms: what it has put together by then takes up less, and more is sent.
    """
    call = next(iter(sim._calls))
    sent, looks = -1, 0
    async with asyncio.timeout(20):
        while looks < 100:
            looks += 1
            if call.sent_bytes != sent:
                sent, looks = call.sent_bytes, 0
            await asyncio.sleep(0.005)
    return sent
