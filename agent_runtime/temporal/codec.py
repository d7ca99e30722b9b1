"""Payloads on their way to Temporal's history: large ones by reference, all of them encrypted if a key is given."""

import base64
import copy
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.ports import Blobs

LARGE_BYTES = 64 * 1024
NONCE_BYTES = 12
REFERENCE = b"meterway/reference"
ENCRYPTED = b"meterway/aes-gcm"
NOBODYS = "nobodys"
"""What is of no run is erased with none."""


class Codec(PayloadCodec, WithSerializationContext):
    """`key` is 32 bytes, base64."""

    def __init__(self, *, blobs: Blobs | None = None, key: str | None = None, large_bytes: int = LARGE_BYTES) -> None:
        self._blobs = blobs
        self.run_id = NOBODYS
        self._large_bytes = large_bytes
        try:
            self._cipher = None if key is None else AESGCM(base64.b64decode(key, validate=True))
        except ValueError:
            raise ConfigError("the payload key is no base64 of 32 bytes; make one with os.urandom(32)") from None

    def with_context(self, context: SerializationContext) -> Self:
        """What it encodes is then of that run."""
        made = copy.copy(self)
        if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext) and context.workflow_id:
            made.run_id = re.sub(r"[^A-Za-z0-9_-]", "_", context.workflow_id)
        return made

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
        name = f"{self.run_id}/{hashlib.sha256(data).hexdigest()}"
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
