"""Payloads on their way to Temporal's history: large ones by reference, all of them encrypted if a key is given."""

import asyncio
import base64
import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio import Redis
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, PayloadCodec

from agent_runtime.contracts.errors import ConfigError

LARGE_BYTES = 64 * 1024
NONCE_BYTES = 12
REFERENCE = b"meterway/reference"
ENCRYPTED = b"meterway/aes-gcm"
KEPT_S = 40 * 86_400


class Blobs(Protocol):
    """Where large payloads lie; `put` is harmless when repeated, as the name is the hash of the content."""

    async def put(self, name: str, data: bytes) -> None: ...
    async def get(self, name: str) -> bytes: ...


class FileBlobs:
    """A folder that all workers and clients share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, name, data)

    def _put(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / name
        if not target.exists():
            draft = self._folder / f".{name}.{uuid.uuid4().hex}"
            draft.write_bytes(data)
            draft.replace(target)

    async def get(self, name: str) -> bytes:
        return await asyncio.to_thread((self._folder / name).read_bytes)


class RedisBlobs:
    def __init__(self, redis: Redis, *, ttl_s: int = KEPT_S) -> None:
        self._redis = redis
        self._ttl_s = ttl_s

    async def put(self, name: str, data: bytes) -> None:
        await self._redis.set(f"ma:blob:{name}", base64.b64encode(data), ex=self._ttl_s)

    async def get(self, name: str) -> bytes:
        found = await self._redis.get(f"ma:blob:{name}")
        if found is None:
            raise ConfigError(f"payload {name[:12]!r} is not in Redis any more; keep it at least as long as runs last")
        return base64.b64decode(found)


class Codec(PayloadCodec):
    """`key` is 32 bytes, base64."""

    def __init__(self, *, blobs: Blobs | None = None, key: str | None = None, large_bytes: int = LARGE_BYTES) -> None:
        self._blobs = blobs
        self._large_bytes = large_bytes
        try:
            self._cipher = None if key is None else AESGCM(base64.b64decode(key, validate=True))
        except ValueError:
            raise ConfigError("the payload key is no base64 of 32 bytes; make one with os.urandom(32)") from None

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._encoded(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._decoded(payload) for payload in payloads]

    async def _encoded(self, payload: Payload) -> Payload:
        if self._cipher is not None:
            nonce = os.urandom(NONCE_BYTES)
            data = nonce + self._cipher.encrypt(nonce, payload.SerializeToString(), None)
            payload = Payload(metadata={"encoding": ENCRYPTED}, data=data)
        if self._blobs is None or payload.ByteSize() <= self._large_bytes:
            return payload
        data = payload.SerializeToString()
        name = hashlib.sha256(data).hexdigest()
        await self._blobs.put(name, data)
        return Payload(metadata={"encoding": REFERENCE}, data=name.encode())

    async def _decoded(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") == REFERENCE:
            if self._blobs is None:
                raise ConfigError(
                    "a payload lies elsewhere and this process has no store for it; give it the same blobs"
                )
            payload = Payload.FromString(await self._blobs.get(payload.data.decode()))
        if payload.metadata.get("encoding") == ENCRYPTED:
            if self._cipher is None:
                raise ConfigError("a payload is encrypted and this process has no key; give it the same one")
            nonce, data = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
            payload = Payload.FromString(self._cipher.decrypt(nonce, data, None))
        return payload


def converter(codec: Codec | None = None) -> DataConverter:
    return replace(pydantic_data_converter, payload_codec=codec)
