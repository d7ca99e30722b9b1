"""Real Redis servers on loopback: alone, with a replica and sentinels, as a cluster; started and ended by tests."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.ports import free_port

START_S = 10.0
BOUND_S = 20.0


class Server:
    """One redis-server process. `stop` and `cont` freeze it, `kill` is SIGKILL, `start` begins it anew, empty, and
    with `more` options."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def masters(self) -> list["Server"]:
        """Those that take writes."""
        return [self]

    def start(self, *more: str) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self._process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no", *self._options, *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: self.say("PING"), "redis-server answers")

    def say(self, *words: Any) -> Any:
        """One command over a connection of its own, which tells no library's version: finding that out takes longer."""
        with contextlib.closing(redis.Redis(port=self.port, socket_timeout=5, protocol=3, driver_info=None)) as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Sentinels:
    """A master `gw`, one replica, three sentinels."""

    def __init__(self, folder: Path) -> None:
        self.servers: list[Server] = []
        self.watchers: list[tuple[int, subprocess.Popen[bytes]]] = []
        with _ended_if_it_fails(self):
            self._start(folder)

    def _start(self, folder: Path) -> None:
        self.servers += [Server(_made(folder / "a")), Server(_made(folder / "b"))]
        self.servers[1].say("REPLICAOF", "127.0.0.1", self.servers[0].port)
        for name in ("x", "y", "z"):
            port, path = free_port(), _made(folder / name) / "sentinel.conf"
            path.write_text(
                f"port {port}\nbind 127.0.0.1\nsentinel monitor gw 127.0.0.1 {self.servers[0].port} 2\n"
                "sentinel down-after-milliseconds gw 400\nsentinel failover-timeout gw 3000\n"
            )
            command = ["redis-server", str(path), "--sentinel"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.watchers.append((port, process))
        until(self._ready, "three sentinels know each other and the replica")

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port, _ in self.watchers) + "/gw"

    @property
    def master(self) -> Server:
        with contextlib.closing(redis.Redis(port=self.watchers[0][0], socket_timeout=2)) as client:
            found: Any = client.sentinel_get_master_addr_by_name("gw")
            port = int(found[1])
        return next(server for server in self.servers if server.port == port)

    @property
    def masters(self) -> list[Server]:
        return [self.master]

    def kill(self) -> None:
        for _, process in self.watchers:
            process.kill()
            process.wait()
        for server in self.servers:
            server.kill()

    def _ready(self) -> bool:
        for port, _ in self.watchers:
            with contextlib.closing(redis.Redis(port=port, socket_timeout=2)) as client:
                state: Any = client.sentinel_master("gw")
                if state["num-other-sentinels"] != 2 or state["num-slaves"] != 1:
                    return False
        return bool(self.servers[1].say("INFO", "replication").get("master_link_status") == "up")


class Cluster:
    """Three masters, no replicas."""

    def __init__(self, folder: Path) -> None:
        options = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
        )
        self.servers: list[Server] = []
        with _ended_if_it_fails(self):
            self._start(folder, options)

    def _start(self, folder: Path, options: tuple[str, ...]) -> None:
        for name in ("a", "b", "c"):
            self.servers.append(Server(_made(folder / name), *options))
        edges = (0, 5461, 10923, 16384)
        for index, server in enumerate(self.servers):
            server.say("CLUSTER", "ADDSLOTSRANGE", edges[index], edges[index + 1] - 1)
            server.say("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
        until(lambda: all(self._whole(server) for server in self.servers), "the cluster is whole")

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    @property
    def masters(self) -> list[Server]:
        return self.servers

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def _whole(self, server: Server) -> bool:
        info = server.say("CLUSTER", "INFO").split()
        return {b"cluster_state:ok", b"cluster_slots_assigned:16384", b"cluster_known_nodes:3"} <= set(info)


@contextmanager
def served(kind: str) -> Iterator[Any]:
    """`single`, `sentinels` or `cluster`."""
    folder = Path(tempfile.mkdtemp(prefix="gw-redis-"))
    made = {"single": Server, "sentinels": Sentinels, "cluster": Cluster}[kind](folder)
    try:
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ended_if_it_fails(made: "Sentinels | Cluster") -> Iterator[None]:
    try:
        yield
    except BaseException:
        made.kill()
        raise


def until(ready: Any, what: str, bound_s: float = BOUND_S) -> None:
    """Polls; fails with `what` when it does not come true."""
    ends_s = time.monotonic() + bound_s
    while time.monotonic() < ends_s:
        with contextlib.suppress(redis.RedisError, OSError, KeyError):
            if ready():
                return
        time.sleep(0.02)
    raise AssertionError(f"not within {bound_s} s: {what}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
