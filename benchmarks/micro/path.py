"""What one chat completion costs the processor from its bytes in to its bytes out: the whole path, no sockets."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.app.gateway import Gateway
from gateway.config.load import load_text
from gateway.domain.call import UpstreamCall
from gateway.http.cycle import DoorCycle
from gateway.http.flow import Flow
from gateway.http.inspection import RequestHead
from gateway.wire import openai_chat

CONFIG = """
listen: {host: 127.0.0.1, port: 0}
providers:
  a: {kind: openai, base_url: "http://127.0.0.1:9/v1", keys: ["env:KEY"]}
  b: {kind: openai, base_url: "http://127.0.0.1:9/v1", keys: ["env:KEY"]}
models:
  assistant:
    targets: [{provider: a, model: gpt-4.1}, {provider: b, model: gpt-4.1}]
tenants:
  - id: demo
    keys: ["env:DEMO"]
    limits: {requests_per_minute: 100000000, tokens_per_minute: 2000000000, concurrent: 99}
    budgets: [{usd: 1000000, per: month}]
database: memory
prices:
  overrides:
    - {provider: a, model: gpt-4.1, input_usd_per_million: 2, output_usd_per_million: 8}
    - {provider: b, model: gpt-4.1, input_usd_per_million: 2, output_usd_per_million: 8}
"""
REQUEST = (
    b'{"model":"assistant","messages":[{"role":"system","content":"You are a helpful assistant."},'
    b'{"role":"user","content":"Say something short about gateways."}],"max_tokens":200}'
)
REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"' + b"x" * 620 + b'","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0}}}'
)
HEAD = [
    (b"host", b"127.0.0.1:9102"),
    (b"authorization", b"Bearer demo-key-1234567890"),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(REQUEST)),
]


class _Wire(asyncio.Transport):
    """To nobody; a refusal is no measurement."""

    def write(self, data: bytes) -> None:  # type: ignore[override]  # it is told whole heads only
        if not data.startswith(b"HTTP/1.1 200"):
            raise AssertionError(data)

    def is_closing(self) -> bool:
        return False


class _Answer:
    """A provider that answers at once."""

    status = 200
    headers: list[tuple[bytes, bytes]] = []  # noqa: RUF012  # never written

    async def send(self, call: UpstreamCall) -> "_Answer":
        return self

    async def read(self, limit_bytes: int) -> bytes:
        return REPLY

    def close(self) -> None:
        pass


def gateway(log_fd: int | None) -> Gateway:
    environ = {"KEY": "sk-up-1234567890", "DEMO": "demo-key-1234567890"}
    loaded = load_text(CONFIG, Path("bench.yaml"), environ)
    return Gateway(loaded, lambda _: loaded, log_fd=log_fd)


async def whole_path(count: int, *, log: bool) -> float:
    """Microseconds for each request."""
    made = gateway(os.open(os.devnull, os.O_WRONLY) if log else None)
    made.door.desk.upstream = _Answer()  # type: ignore[assignment]  # stands for HttpUpstream
    await made.doorkeeper.begin(None, made.door.catalog)
    loop = asyncio.get_running_loop()
    flow = Flow(_Wire(), loop, made.server.listener.outbox, 60.0)
    head = RequestHead()
    head.method, head.path, head.headers = b"POST", b"/v1/chat/completions", HEAD
    door = made.door
    started = time.process_time()
    for number in range(count):
        cycle = DoorCycle(made.server.listener, flow, loop, head, None, keep_alive=True)
        cycle.arrived(REQUEST)
        cycle.arrived_whole()
        await door.serve(cycle)
        if number % 32 == 0:
            await asyncio.sleep(0)
    return (time.process_time() - started) / count * 1e6


def timed(call: Callable[[], object], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - started) / count * 1e6


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for _ in range(3):
        print(f"whole path, access log on   {asyncio.run(whole_path(count, log=True)):7.2f} us")
        print(f"whole path, access log off  {asyncio.run(whole_path(count, log=False)):7.2f} us")
        print(f"  parse                     {timed(lambda: openai_chat.parse(REQUEST), count):7.2f} us")


if __name__ == "__main__":
    main()
