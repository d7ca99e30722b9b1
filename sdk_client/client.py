"""The asynchronous client of the gateway."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

import httpx
from tenacity import AsyncRetrying

from sdk_client import counting, wire
from sdk_client.retrying import policy, translated
from sdk_client.streaming import ReplyStream
from sdk_client.values import CallContext, Delta, Message, Reply, Tool

TIMEOUT_S = 600.0
ATTEMPTS_MAX = 3
NO_CONTEXT = CallContext()


def trusted(ca_file: str | None) -> ssl.SSLContext | bool:
    """For httpx: whose certificates are accepted. A file takes the place of the usual authorities."""
    return True if ca_file is None else ssl.create_default_context(cafile=ca_file)


class LLMStream:
    """Iterate over deltas; `reply` is the whole of it after the last one."""

    def __init__(self, response: httpx.Response, stream: ReplyStream, until_s: float) -> None:
        self._response = response
        self._stream = stream
        self._until_s = until_s
        self._deltas = self._read()

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._deltas

    async def _read(self) -> AsyncIterator[Delta]:
        chunks = self._response.aiter_bytes()
        while (chunk := await self._next(chunks)) is not None:
            for delta in self._stream.feed(chunk):
                yield delta
        self._stream.whole()

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._until_s - time.monotonic()):
                return await anext(chunks, None)
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._stream.broken(type(error).__name__) from error

    async def reply(self) -> Reply:
        """Reads what is left."""
        async for _ in self._deltas:
            pass
        return self._stream.whole()


class LLMClient:
    """`key` and `base_url` (which ends with /v1) are the gateway's, `ca_file` says who signed its certificate.

    Close it, or use it with `async with`.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout_s: float = TIMEOUT_S,
        attempts_max: int = ATTEMPTS_MAX,
        ca_file: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._key = key
        self._timeout_s = timeout_s
        self._attempts_max = attempts_max
        url = base_url.rstrip("/") + "/"
        self._http = httpx.AsyncClient(base_url=url, verify=trusted(ca_file), transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        tools: Sequence[Tool | type[Any]] = (),
        output: type[Any] | Mapping[str, Any] | None = None,
        context: CallContext = NO_CONTEXT,
        **options: Any,
    ) -> Reply:
        """`output`: a pydantic model or JSON schema for `reply.parsed`; `options` go into the body as they are."""
        body = wire.chat_body(messages, model, tools, output, options)
        response = await self._post("chat/completions", body, context)
        return wire.decode_reply(response.content, response.headers, output)

    @asynccontextmanager
    async def stream(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        tools: Sequence[Tool | type[Any]] = (),
        output: type[Any] | Mapping[str, Any] | None = None,
        context: CallContext = NO_CONTEXT,
        **options: Any,
    ) -> AsyncIterator[LLMStream]:
        """Repeats only until the answer begins; what breaks after that is StreamBroken."""
        body = wire.chat_body(messages, model, tools, output, options)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        until_s = time.monotonic() + self._time_for(context)
        response = await self._post("chat/completions", body, context, stream=True)
        try:
            yield LLMStream(response, ReplyStream(response.headers, output), until_s)
        finally:
            await response.aclose()

    async def embed(
        self, texts: Sequence[str], *, model: str, context: CallContext = NO_CONTEXT
    ) -> tuple[tuple[float, ...], ...]:
        response = await self._post("embeddings", {"model": model, "input": list(texts)}, context)
        return wire.embeddings_of(response.content, response.headers)

    async def models(self, *, context: CallContext = NO_CONTEXT) -> tuple[str, ...]:
        """The names that may be used as `model`."""
        response = await self._ask("GET", "models", None, context, stream=False)
        return wire.models_of(response.content, response.headers)

    async def count(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        tools: Sequence[Tool | type[Any]] = (),
        context: CallContext = NO_CONTEXT,
    ) -> int:
        """The input tokens as the gateway counts them for `model`; no provider is asked, and nothing is charged."""
        response = await self._post(counting.PATH, counting.body_of(messages, model, tools), context)
        return counting.counted(response.content, response.headers)

    def _time_for(self, context: CallContext) -> float:
        return self._timeout_s if context.timeout_s is None else context.timeout_s

    async def _post(
        self, path: str, body: dict[str, Any], context: CallContext, *, stream: bool = False
    ) -> httpx.Response:
        keyed = context if context.idempotency_key else replace(context, idempotency_key=wire.new_key())
        return await self._ask("POST", path, json.dumps(body, ensure_ascii=False).encode(), keyed, stream=stream)

    async def _ask(
        self, method: str, path: str, body: bytes | None, context: CallContext, *, stream: bool
    ) -> httpx.Response:
        timeout_s = self._time_for(context)
        until_s = time.monotonic() + timeout_s
        async for attempt in AsyncRetrying(**policy(self._attempts_max, timeout_s)):
            with attempt:
                return await self._once(method, path, body, context, until_s, stream=stream)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, method: str, path: str, body: bytes | None, context: CallContext, until_s: float, *, stream: bool
    ) -> httpx.Response:
        left_s = until_s - time.monotonic()
        headers = wire.headers_of(context, self._key, left_s)
        if body is not None:
            headers["content-type"] = "application/json"
        request = self._http.build_request(method, path, content=body, headers=headers, timeout=max(left_s, 0.001))
        try:
            async with asyncio.timeout(left_s):
                response = await self._http.send(request, stream=True)
                if not stream or response.status_code != 200:
                    try:
                        await response.aread()
                    finally:
                        await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise translated(error, lambda: until_s - time.monotonic()) from error
        if response.status_code != 200:
            raise wire.error_of(response.status_code, response.content, response.headers)
        return response
