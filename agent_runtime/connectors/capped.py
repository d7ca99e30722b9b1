"""An HTTP transport whose answers have a size that they cannot exceed."""

from collections.abc import AsyncIterator

import httpx

from agent_runtime.contracts.errors import ToolError


class CappedTransport(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, bytes_max: int) -> None:
        self._inner = inner
        self._bytes_max = bytes_max

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["accept-encoding"] = "identity"
        answer = await self._inner.handle_async_request(request)
        if isinstance(answer.stream, httpx.AsyncByteStream):
            answer.stream = _Capped(answer.stream, self._bytes_max)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Capped(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, bytes_max: int) -> None:
        self._inner = inner
        self._bytes_max = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._inner:
            seen += len(chunk)
            if seen > self._bytes_max:
                raise ToolError(f"the answer is larger than {self._bytes_max} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
