"""The four ways to name a Redis, and the client for each, with none of redis-py's patience."""

import re
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

TIMEOUT_S = 0.05
CONNECT_TIMEOUT_S = 0.2
CONNECTIONS = 8
PORT = 6379
POLICY = "noeviction"
SENTINEL_PORT = 26379

_URL = re.compile(r"(?P<scheme>[^:/?#]+)://((?P<user>[^/?#]*)@)?(?P<hosts>[^/?#]*)(?P<path>[^?#]*)")
"""A list of hosts is no URL of RFC 3986: newer `urllib`s refuse one with brackets that do not begin it."""


@dataclass(frozen=True, slots=True)
class Address:
    """`master` is the service of sentinels; `cluster` and a master exclude each other."""

    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    cluster: bool = False
    master: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = None


class Evicting(RedisError):
    """A server that may drop what it was given: the counters of budgets must not be evicted (R7)."""


class OnceRedirected(RedisCluster):
    """A cluster client that follows one redirect; a second one means that the cluster is being rearranged."""

    RedisClusterRequestTTL = 2

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        for given in (self.connection_kwargs, *(node.connection_kwargs for node in self.startup_nodes)):
            given["redis_connect_func"] = refuse_evicting  # which it does not take itself


async def refuse_evicting(connection: Connection) -> None:
    """At the begin of each connection, so that a server that comes later or after a failover is looked at as well."""
    await connection.on_connect()
    await connection.send_command("INFO", "memory")
    lines = str(await connection.read_response(), "utf-8").splitlines()
    policy = next((line.partition(":")[2] for line in lines if line.startswith("maxmemory_policy:")), "unknown")
    if policy != POLICY:
        raise Evicting(
            f"redis at {connection.host}:{connection.port} has maxmemory-policy {policy!r}: it could drop budget "
            f"counters; set it to {POLICY!r}"
        )


def address_of(url: str) -> Address:
    """redis://, rediss://, redis+sentinel://HOST:PORT,HOST:PORT/MASTER[/DB], redis+cluster://HOST:PORT,HOST:PORT."""
    found = _URL.match(url)
    scheme, _, kind = ("" if found is None else found["scheme"].lower()).partition("+")
    if found is None or scheme not in ("redis", "rediss") or kind not in ("", "sentinel", "cluster"):
        raise ValueError(
            f"a Redis URL begins with redis://, rediss://, redis+sentinel:// or redis+cluster://: {kind!r}"
        )
    path = [unquote(part) for part in found["path"].split("/") if part]
    master = (path.pop(0) if path else "") if kind == "sentinel" else None
    if master == "":
        raise ValueError(
            "a redis+sentinel:// URL ends with the name of the master: redis+sentinel://host:26379/mymaster"
        )
    username, _, password = (found["user"] or "").partition(":")
    return Address(
        hosts=_hosts(found["hosts"], SENTINEL_PORT if kind == "sentinel" else PORT),
        tls=scheme == "rediss",
        cluster=kind == "cluster",
        master=master,
        db=int(path[0]) if path else 0,
        username=unquote(username) or None,
        password=unquote(password) or None,
    )


def client_of(address: Address, *, timeout_s: float | None = TIMEOUT_S) -> "Redis | RedisCluster":
    """Nothing is connected yet. `timeout_s` of None is for a connection that listens."""
    words = {"username": address.username, "password": address.password, **patience(timeout_s)}
    if address.cluster:
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return OnceRedirected(startup_nodes=nodes, ssl=address.tls, max_connections=CONNECTIONS, **words)
    words |= {"db": address.db, "max_connections": CONNECTIONS + 1, "redis_connect_func": refuse_evicting}
    if address.master is not None:
        asked = patience(CONNECT_TIMEOUT_S)
        sentinel = Sentinel(list(address.hosts), sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
        return cast("Redis", sentinel.master_for(address.master, ssl=address.tls, **words))
    (host, port), *_ = address.hosts
    if address.tls:
        words["connection_class"] = SSLConnection
    return Redis.from_pool(ConnectionPool(host=host, port=port, **words))


def listener_of(address: Address, attempt: int) -> Redis:
    """For subscriptions: without a deadline for answers; of a cluster any node will do, each time another."""
    if not address.cluster:
        return cast("Redis", client_of(address, timeout_s=None))
    host = address.hosts[attempt % len(address.hosts)]
    return cast("Redis", client_of(replace(address, hosts=(host,), cluster=False), timeout_s=None))


def patience(timeout_s: float | None) -> dict[str, Any]:
    """No retries anywhere: a call that was repeated unasked would be counted twice (and ten times by default)."""
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": max(CONNECT_TIMEOUT_S, timeout_s or 0.0),
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 3,
        "legacy_responses": False,
        "decode_responses": False,
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def _hosts(texts: str, default: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for text in texts.split(","):
        one = urlsplit(f"//{text}")
        hosts.append((one.hostname or "127.0.0.1", one.port or default))
    return tuple(hosts)


async def close_client(client: "Redis | RedisCluster") -> None:
    """With the connections to the sentinels, which redis-py leaves open."""
    await client.aclose()
    if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
        await client.connection_pool.sentinel_manager.aclose()
