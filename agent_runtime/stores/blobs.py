"""Large payloads beside Temporal's history, each below the run that it is of."""

import asyncio
import base64
import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

from redis.asyncio import Redis

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.values import lineage
from agent_runtime.ports import Clock
from agent_runtime.stores.clock import SystemClock
from agent_runtime.stores.retention import KEEP_S, SWEEP_EVERY_S

KEY = "ma:blob:"


def _gone(name: str) -> ConfigError:
    return ConfigError(f"payload {name!r} is not there any more; its run was erased, or was begun long ago")


def _of_these(name: str, run_ids: Collection[str]) -> bool:
    return not set(run_ids).isdisjoint(lineage(name.partition("/")[0]))


class FileBlobs:
    """Implements ports.Blobs in a folder that all workers and clients share. Who writes also sweeps, now and then."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, keep_s: float = KEEP_S) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()
        self._keep_s = keep_s
        self._swept_s = 0.0

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, name, data)

    def _put(self, name: str, data: bytes) -> None:
        now_s = self._clock.now_s()
        if now_s - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = now_s
            self._sweep(now_s - self._keep_s)
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
            draft.write_bytes(data)
            draft.replace(target)
        os.utime(target, (now_s, now_s))

    def _sweep(self, before_s: float) -> None:
        """Several processes may do so at once. A folder goes when it is empty and nobody has just made it."""
        for path in [*self._folder.glob("*/*"), *self._folder.glob("*")]:
            try:
                if path.stat().st_mtime < before_s:
                    path.rmdir() if path.is_dir() else path.unlink()
            except OSError:
                continue

    async def get(self, name: str) -> bytes:
        try:
            return await asyncio.to_thread((self._folder / name).read_bytes)
        except FileNotFoundError:
            raise _gone(name) from None

    async def erase(self, run_ids: Collection[str]) -> None:
        await asyncio.to_thread(self._erase, run_ids)

    def _erase(self, run_ids: Collection[str]) -> None:
        for path in self._folder.glob("*"):
            if _of_these(path.name, run_ids):
                shutil.rmtree(path, ignore_errors=True)

    async def close(self) -> None:
        """Nothing is open."""


class RedisBlobs:
    """Implements ports.Blobs; what is old goes by itself."""

    def __init__(self, redis: Redis, *, keep_s: float = KEEP_S) -> None:
        self._redis = redis
        self._ttl_s = int(keep_s)

    async def put(self, name: str, data: bytes) -> None:
        await self._redis.set(KEY + name, base64.b64encode(data), ex=self._ttl_s)

    async def get(self, name: str) -> bytes:
        found = await self._redis.get(KEY + name)
        if found is None:
            raise _gone(name)
        return base64.b64decode(found)

    async def erase(self, run_ids: Collection[str]) -> None:
        async for key in self._redis.scan_iter(f"{KEY}*", count=500):
            if _of_these(key.removeprefix(KEY), run_ids):
                await self._redis.delete(key)

    async def close(self) -> None:
        await self._redis.aclose()
