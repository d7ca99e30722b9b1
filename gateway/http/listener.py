"""What all connections of one listener share."""

import asyncio
from typing import Any

from gateway.http.addresses import Addresses
from gateway.http.limits import DoorLimits
from gateway.outbox import Outbox


class Listener:
    """`plain_paths` need no inspection; `refused` counts connections by the cap that they were over.

    `date_line` is the Date header of every answer, renewed once a second by the server.
    """

    __slots__ = ("addresses", "connections", "date_line", "limits", "outbox", "plain_paths", "refused", "tasks")

    def __init__(self, limits: DoorLimits, plain_paths: frozenset[bytes]) -> None:
        self.limits = limits
        self.plain_paths = plain_paths
        self.outbox = Outbox()
        self.addresses = Addresses(limits.connections_per_address)
        self.refused = {"address": 0, "all": 0}
        self.connections: set[Any] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.date_line = b""
