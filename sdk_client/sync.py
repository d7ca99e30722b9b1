"""The blocking client of the gateway: the same calls, without await."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import httpx
from tenacity import Retrying

from sdk_client import counting, wire
from sdk_client.client import ATTEMPTS_MAX, NO_CONTEXT, TIMEOUT_S, trusted
from sdk_client.retrying import policy, translated
from sdk_client.streaming import ReplyStream
from sdk_client.values import CallContext, Delta, Message, Reply, Tool


class LLMStreamSync:
    """Iterate over deltas; `reply` is the whole of it after the last one."""

    def __init__(self, response: httpx.Response, stream: ReplyStream, until_s: float) -> None:
        self._response = response
        self._until_s = until_s
        self._stream = stream
        self._deltas = self._read()

    def __iter__(self) -> Iterator[Delta]:
        return self._deltas

    def _read(self) -> Iterator[Delta]:
        chunks = self._response.iter_bytes()
        while True:
            try:
                chunk = next(chunks, None)
            except httpx.HTTPError as error:
                raise self._stream.broken(type(error).__name__) from error
            if chunk is None:
                break
            if time.monotonic() > self._until_s:
                raise self._stream.broken("the deadline has passed")
            yield from self._stream.feed(chunk)
        self._stream.whole()

    def reply(self) -> Reply:
        """Reads what is left."""
        for _ in self._deltas:
            pass
        return self._stream.whole()


class LLMClientSync:
    """`key` and `base_url` (which ends with /v1) are the gateway's, `ca_file` says who signed its certificate.

    Close it, or use it with `with`.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout_s: float = TIMEOUT_S,
        attempts_max: int = ATTEMPTS_MAX,
        ca_file: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._key = key
        self._timeout_s = timeout_s
        self._attempts_max = attempts_max
        url = base_url.rstrip("/") + "/"
        self._http = httpx.Client(base_url=url, verify=trusted(ca_file), transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def generate(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        tools: Sequence[Tool | type[Any]] = (),
        output: type[Any] | Mapping[str, Any] | None = None,
        context: CallContext = NO_CONTEXT,
        **options: Any,
    ) -> Reply:
        """As LLMClient.generate."""
        body = wire.chat_body(messages, model, tools, output, options)
        response = self._post("chat/completions", body, context)
        return wire.decode_reply(response.content, response.headers, output)

    @contextmanager
    def stream(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        tools: Sequence[Tool | type[Any]] = (),
        output: type[Any] | Mapping[str, Any] | None = None,
        context: CallContext = NO_CONTEXT,
        **options: Any,
    ) -> Iterator[LLMStreamSync]:
        """As LLMClient.stream."""
        body = wire.chat_body(messages, model, tools, output, options)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        until_s = time.monotonic() + self._time_for(context)
        response = self._post("chat/completions", body, context, stream=True)
        try:
            yield LLMStreamSync(response, ReplyStream(response.headers, output), until_s)
        finally:
            response.close()

    def embed(
        self, texts: Sequence[str], *, model: str, context: CallContext = NO_CONTEXT
    ) -> tuple[tuple[float, ...], ...]:
        response = self._post("embeddings", {"model": model, "input": list(texts)}, context)
        return wire.embeddings_of(response.content, response.headers)

    def models(self, *, context: CallContext = NO_CONTEXT) -> tuple[str, ...]:
        """The names that may be used as `model`."""
        response = self._ask("GET", "models", None, context, stream=False)
        return wire.models_of(response.content, response.headers)

    def count(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        tools: Sequence[Tool | type[Any]] = (),
        context: CallContext = NO_CONTEXT,
    ) -> int:
        """As LLMClient.count."""
        response = self._post(counting.PATH, counting.body_of(messages, model, tools), context)
        return counting.counted(response.content, response.headers)

    def _time_for(self, context: CallContext) -> float:
        return self._timeout_s if context.timeout_s is None else context.timeout_s

    def _post(self, path: str, body: dict[str, Any], context: CallContext, *, stream: bool = False) -> httpx.Response:
        keyed = context if context.idempotency_key else replace(context, idempotency_key=wire.new_key())
        return self._ask("POST", path, json.dumps(body, ensure_ascii=False).encode(), keyed, stream=stream)

    def _ask(self, method: str, path: str, body: bytes | None, context: CallContext, *, stream: bool) -> httpx.Response:
        timeout_s = self._time_for(context)
        until_s = time.monotonic() + timeout_s
        for attempt in Retrying(**policy(self._attempts_max, timeout_s)):
            with attempt:
                return self._once(method, path, body, context, until_s, stream=stream)
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self, method: str, path: str, body: bytes | None, context: CallContext, until_s: float, *, stream: bool
    ) -> httpx.Response:
        left_s = until_s - time.monotonic()
        headers = wire.headers_of(context, self._key, left_s)
        if body is not None:
            headers["content-type"] = "application/json"
        request = self._http.build_request(method, path, content=body, headers=headers, timeout=max(left_s, 0.001))
        try:
            response = self._http.send(request, stream=stream)
            if response.status_code != 200:
                try:
                    response.read()
                finally:
                    response.close()
        except httpx.HTTPError as error:
            raise translated(error, lambda: until_s - time.monotonic()) from error
        if response.status_code != 200:
            raise wire.error_of(response.status_code, response.content, response.headers)
        return response
