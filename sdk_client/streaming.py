"""A streamed reply without I/O: bytes in, deltas out, the whole reply at the end."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sdk_client.errors import StreamBroken
from sdk_client.values import Delta, Message, Part, Reasoning, Reply, Text, ToolCall, Usage
from sdk_client.wire import error_shown, told, usage_of

EVENT_BYTES_MAX = 16 * 1024 * 1024


class ReplyStream:
    """Feed it bytes; `reply` is whole once `ended`. An error event raises StreamBroken with what came before."""

    def __init__(self, headers: Mapping[str, str], output: type[Any] | Mapping[str, Any] | None) -> None:
        self._headers = headers
        self._output = output
        self._rest = b""
        self._texts: list[str] = []
        self._reasonings: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._finish = "stop"
        self._usage = Usage()
        self._model = ""
        self.ended = False

    def feed(self, data: bytes) -> Iterator[Delta]:
        lines = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > EVENT_BYTES_MAX:
            raise self.broken(f"an event is larger than {EVENT_BYTES_MAX} bytes")
        for line in lines:
            if line.startswith(b"data:"):
                yield from self._event(line[5:].strip())

    def _event(self, data: bytes) -> Iterator[Delta]:
        if data == b"[DONE]":
            self.ended = True
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            raise self.broken("an event is no JSON") from None
        if not isinstance(chunk, dict):
            raise self.broken("an event is no JSON object")
        if chunk.get("error"):
            cause = error_shown(chunk["error"], 200, self._headers)
            raise StreamBroken(
                cause.message,
                partial=self.reply(),
                cause=cause,
                code=cause.code,
                status=200,
                request_id=cause.request_id,
                retryable=cause.retryable,
            )
        self._model = chunk.get("model") or self._model
        if chunk.get("usage"):
            self._usage = usage_of(chunk["usage"])
        for choice in chunk.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
            yield from self._deltas(choice.get("delta") or {})

    def _deltas(self, delta: dict[str, Any]) -> Iterator[Delta]:
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            self._reasonings.append(reasoning)
            yield Delta(reasoning=reasoning)
        if text := delta.get("content") or delta.get("refusal"):
            self._texts.append(text)
            yield Delta(text=text)
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            known = self._calls.setdefault(call.get("index") or 0, ["", "", ""])
            known[0] = call.get("id") or known[0]
            known[1] = function.get("name") or known[1]
            known[2] += function.get("arguments") or ""
            yield Delta(
                call_index=call.get("index") or 0,
                call_id=known[0],
                call_name=known[1],
                call_arguments=function.get("arguments") or "",
            )

    def reply(self) -> Reply:
        """As far as it has come; nothing of it is checked before the end."""
        parts: list[Part] = []
        if self._reasonings:
            parts.append(Reasoning("".join(self._reasonings)))
        if self._texts:
            parts.append(Text("".join(self._texts)))
        parts += [ToolCall(*self._calls[index]) for index in sorted(self._calls)]
        reply = Reply(Message("assistant", tuple(parts)), self._finish, self._usage, self._model)
        return told(reply, self._headers, self._output if self.ended else None)

    def whole(self) -> Reply:
        if not self.ended:
            raise self.broken("the connection ended before the stream did")
        return self.reply()

    def broken(self, why: str) -> StreamBroken:
        return StreamBroken(
            f"the stream broke: {why}", partial=self.reply(), request_id=self._headers.get("x-request-id")
        )
