"""Ports for servers that tests start: below those that the system gives to callers, who come and go all the time."""

import contextlib
import random
import socket


def free_ports(count: int) -> int:
    """The first of so many free ones in a row. A node of a cluster also uses the port 10 000 above its own.

    Not of the seeded dice: another run of the same tests would ask for the same ones.
    """
    while True:
        first = random.SystemRandom().randrange(12_000, 22_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                for used in (port, port + 10_000):
                    stack.enter_context(socket.create_server(("127.0.0.1", used)))
            return first


def free_port() -> int:
    return free_ports(1)
