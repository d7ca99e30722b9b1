"""Starts and stops what a benchmark compares, each pinned to its core."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

UPSTREAM_CORE, PROXY_CORE = "1", "0"
WORK = Path("benchmarks/.work")
READY_S = 60.0

KEY = "bench-caller-key-0123456789"

CHAT_1K, CHAT_8K, STREAM, MESSAGES = "chat-1k", "chat-8k", "stream", "messages"
"""The models, by what their upstream answers: MESSAGES is a stream in Anthropic's dialect."""

_COMMON = """
worker_processes 1; daemon off; error_log {work}/error-{name}.log; pid {work}/{name}.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_body_buffer_size 64k;
  client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
  uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
  {body}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def chat_reply(size: int) -> str:
    """A chat completion whose body is about `size` bytes."""
    head = (
        '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
        '{"role":"assistant","content":"'
    )
    tail = (
        '","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,'
        '"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}'
    )
    return head + "x" * (size - len(head) - len(tail)) + tail


def stream_reply(events: int = 31) -> str:
    """A streamed chat completion of so many events, [DONE] and usage included."""
    chunk = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]%s}'
    role = '{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
    word = '{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}'
    stop = '{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}'
    usage = ',"usage":{"prompt_tokens":19,"completion_tokens":27,"total_tokens":46}'
    chunks = [chunk % (role, "")] + [chunk % (word, "")] * (events - 4) + [chunk % (stop, ""), chunk % ("", usage)]
    return "".join(f"data: {text}\n\n" for text in [*chunks, "[DONE]"])


def messages_reply(events: int = 31) -> str:
    """A streamed answer of Anthropic's of so many events."""
    block = '{"type":"content_block_%s","index":0%s}'
    word = block % ("delta", ',"delta":{"type":"text_delta","text":" word"}')
    usage = '"usage":{"input_tokens":19,"cache_read_input_tokens":0,"output_tokens":%d}'
    first = '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m",%s}}'
    last = '{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},%s}'
    told = [first % (usage % 1), block % ("start", ',"content_block":{"type":"text","text":""}')]
    told += [word] * (events - 5) + [block % ("stop", ""), last % (usage % 26), '{"type":"message_stop"}']
    return "".join(f"event: {text[9:].partition(chr(34))[0]}\ndata: {text}\n\n" for text in told)


def start(command: list[str], core: str, log: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    with (WORK / log).open("wb") as sink:
        return subprocess.Popen(["taskset", "-c", core, *command], stdout=sink, stderr=sink, env=env)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], timeout_s: float = READY_S) -> None:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nothing listens on port {port} after {timeout_s} s")


def _nginx(name: str, body: str) -> list[str]:
    path = (WORK / f"{name}.conf").resolve()
    path.write_text(_COMMON.format(work=WORK.resolve(), name=name, body=body))
    return ["nginx", "-c", str(path)]


def _returned(text: str) -> str:
    """nginx takes at most 4 kB in one parameter."""
    pieces = [text[at : at + 3500] for at in range(0, len(text), 3500)]
    sets = " ".join(f"set $piece{number} '{piece}';" for number, piece in enumerate(pieces))
    return f"{sets} return 200 '{''.join(f'$piece{number}' for number in range(len(pieces)))}';"


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """nginx answering from memory in one piece: the reply is chosen by the first part of the path."""
    WORK.mkdir(parents=True, exist_ok=True)
    port = free_port()
    replies = (
        (CHAT_1K, "application/json", chat_reply(1024)),
        (CHAT_8K, "application/json", chat_reply(8192)),
        (STREAM, "text/event-stream", stream_reply()),
        (MESSAGES, "text/event-stream", messages_reply()),
    )
    places = "\n".join(
        f"location /{name}/ {{ default_type {kind}; {_returned(text)} }}" for name, kind, text in replies
    )
    body = f"server {{ listen 127.0.0.1:{port} backlog=4096; {places} }}"
    process = start(_nginx("upstream", body), UPSTREAM_CORE, "upstream.log")
    try:
        wait_for(port, process)
        yield port
    finally:
        stop(process)


@contextlib.contextmanager
def nginx_proxy(upstream_port: int) -> Iterator[int]:
    """nginx as a plain reverse proxy: the yardstick."""
    port = free_port()
    body = f"""upstream u {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 100000000; }}
      server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://u; proxy_http_version 1.1;
      proxy_set_header Connection ""; }} }}"""
    process = start(_nginx("proxy", body), PROXY_CORE, "proxy.log")
    try:
        wait_for(port, process)
        yield port
    finally:
        stop(process)


def gateway_config(port: int, upstream_port: int, accounts: str = "embedded") -> Path:
    """Two targets a model, metrics, access log; `accounts`: none, limits, embedded (all), or a Redis."""
    base = f"http://127.0.0.1:{upstream_port}"
    names = (CHAT_1K, CHAT_8K, STREAM, MESSAGES)
    kinds = {MESSAGES: "anthropic"}
    providers = "\n".join(
        f'  {name}-{side}: {{kind: {kinds.get(name, "openai")}, base_url: "{base}/{name}", keys: ["env:BENCH_UP"]}}'
        for name in names
        for side in "ab"
    )
    models = "\n".join(
        f"  {name}:\n    targets: [{{provider: {name}-a, model: gpt-4.1}}, {{provider: {name}-b, model: gpt-4.1}}]"
        for name in names
    )
    overrides = "\n".join(
        f"    - {{provider: {name}-{side}, model: gpt-4.1, input_usd_per_million: 2, output_usd_per_million: 8}}"
        for name in names
        for side in "ab"
    )
    limits = "{requests_per_minute: 100000000, tokens_per_minute: 2000000000, concurrent: 1000}"
    budgets = "[{usd: 1000000, per: month}, {tokens: 4000000000000000, per: day, for: key}]"
    kept = (
        f'database: "sqlite:///{WORK.resolve()}/gateway-{port}.db"\njournal: "{WORK.resolve()}/gateway-{port}.journal"'
    )
    if accounts in ("none", "limits"):
        limits, budgets, kept = "{}" if accounts == "none" else limits, "[]", "database: memory"
    elif accounts != "embedded":
        kept += f'\nredis: "{accounts}"'
    path = WORK / f"gateway-{port}.yaml"
    path.write_text(
        f"""listen: {{host: 127.0.0.1, port: {port}}}
admin: {{host: 127.0.0.1, port: {free_port()}, key: "env:BENCH_ADMIN"}}
providers:
{providers}
models:
{models}
tenants:
  - {{id: bench, keys: ["env:BENCH_KEY"], limits: {limits}, budgets: {budgets}}}
{kept}
prices:
  unknown: unpriced
  overrides:
{overrides}
"""
    )
    return path


@contextlib.contextmanager
def gateway(
    upstream_port: int, command: str = ".venv/bin/meterway", accounts: str = "embedded"
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Ours, as a user runs it; the access log goes to a file. What it left on the disk goes at the end."""
    port = free_port()
    path = gateway_config(port, upstream_port, accounts)
    env = {
        **os.environ,
        "BENCH_UP": "sk-bench-upstream-key",
        "BENCH_KEY": KEY,
        "BENCH_ADMIN": "gw_bench_admin_0123456789",
    }
    process = start([command, "serve", "--config", str(path)], PROXY_CORE, f"gateway-{port}.log", env)
    try:
        wait_for(port, process)
        yield port, process
    finally:
        stop(process)
    for left in WORK.glob(f"gateway-{port}.*"):  # gigabytes in a day; of a failed run they tell why
        shutil.rmtree(left) if left.is_dir() else left.unlink()


async def _answer(port: int, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def start_to_first_answer_s(upstream_port: int, command: str) -> float:
    """From the start of the process to the end of the first answer."""
    started_s = time.perf_counter()
    with gateway(upstream_port, command) as (port, _):
        body = b'{"model":"chat-1k","messages":[{"role":"user","content":"hi"}]}'
        answer = asyncio.run(_answer(port, body))
        if b" 200 OK" not in answer[:20]:
            raise RuntimeError(f"the first answer was {answer[:200]!r}")
        return time.perf_counter() - started_s


def rss_mb(process: subprocess.Popen[bytes]) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
