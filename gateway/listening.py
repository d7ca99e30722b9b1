"""Servers that take many new connections in one turn of the event loop."""

import asyncio
import socket
import ssl
from collections.abc import Callable

ACCEPTS_AT_ONCE = 8
"""Each more costs a connection that comes alone 6 us."""


async def listen(
    protocol: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    *,
    backlog: int,
    tls: ssl.SSLContext | None = None,
    reuse_port: bool = False,
) -> list[asyncio.Server]:
    """Accepts from now on, until all of the servers are closed; port 0 is one that is free. Raises OSError.

    libuv accepts one connection per listening descriptor and turn of the loop (since 1.45), and under load turns are
    long: new callers waited in the kernel's queue. Descriptors of the same socket share that queue, and each takes one.
    """
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(protocol, host, port, backlog=backlog, ssl=tls, reuse_port=reuse_port)]
    try:
        for listening in servers[0].sockets:
            for _ in range(ACCEPTS_AT_ONCE - 1):
                same = socket.fromfd(listening.fileno(), listening.family, listening.type)
                servers.append(await loop.create_server(protocol, sock=same, backlog=backlog, ssl=tls))
    except BaseException:
        for server in servers:
            server.close()
        raise
    return servers
