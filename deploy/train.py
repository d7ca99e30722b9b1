"""Take a gateway through its daily work, so that a compiler learns which of its code is hot: `train.py COMMAND`."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import httpx

REQUESTS = 4_000
AT_ONCE = 32
READY_S = 60.0
KEY = "training-caller-key-0123456789"

ASKED = {"model": "assistant", "max_tokens": 100, "messages": [{"role": "user", "content": "What is a gateway for?"}]}
CHAT = ("/v1/chat/completions", ASKED)
STREAM = ("/v1/chat/completions", {**ASKED, "stream": True, "stream_options": {"include_usage": True}})
MESSAGES = ("/v1/messages", {**ASKED, "stream": True})
UNKNOWN = ("/v1/chat/completions", {**ASKED, "model": "unknown"})
DAY = [CHAT] * 15 + [STREAM, STREAM, MESSAGES, MESSAGES, UNKNOWN]
"""Most traffic is small chats; where code for them and for others cannot both be near, theirs should be."""


def config(port: int, admin_port: int, sim_port: int, folder: Path) -> str:
    base = f"http://127.0.0.1:{sim_port}"
    providers = "\n".join(
        f'  {name}: {{kind: {kind}, base_url: "{base}{path}", keys: ["env:TRAINING_UP"]}}'
        for name, kind, path in (("a", "openai", "/v1"), ("b", "openai", "/v1"), ("c", "anthropic", ""))
    )
    prices = "\n".join(
        f"    - {{provider: {name}, model: sim-large, input_usd_per_million: 1, output_usd_per_million: 4}}"
        for name in "abc"
    )
    limits = "{requests_per_minute: 100000000, tokens_per_minute: 2000000000, concurrent: 1000}"
    return f"""listen: {{host: 127.0.0.1, port: {port}}}
admin: {{host: 127.0.0.1, port: {admin_port}, key: "env:TRAINING_ADMIN"}}
providers:
{providers}
models:
  assistant:
    targets:
      - {{provider: a, model: sim-large, weight: 4}}
      - {{provider: b, model: sim-large, weight: 4}}
      - {{provider: c, model: sim-large}}
tenants:
  - id: training
    keys: ["env:TRAINING_KEY"]
    limits: {limits}
    budgets: [{{usd: 1000000, per: month}}, {{tokens: 4000000000000000, per: day, for: key}}]
database: "sqlite:///{folder}/meterway.db"
journal: "{folder}/journal"
prices:
  overrides:
{prices}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{process.args!r} does not listen on port {port}")


async def work(port: int) -> int:
    """How many requests were answered as they should be."""
    turns = islice(cycle(DAY), REQUESTS)
    url, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {KEY}"}

    async def one_after_another(client: httpx.AsyncClient) -> int:
        right = 0
        for path, body in turns:
            answer = await client.post(path, json=body)
            right += answer.status_code == (404 if body["model"] == "unknown" else 200)
        return right

    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=READY_S) as client:
        return sum(await asyncio.gather(*(one_after_another(client) for _ in range(AT_ONCE))))


def main() -> None:
    command = sys.argv[1]
    port, admin_port, sim_port = free_port(), free_port(), free_port()
    env = {**os.environ, "TRAINING_UP": "sk-training", "TRAINING_KEY": KEY, "TRAINING_ADMIN": "gw_training_0123456789"}
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        told = folder / "gateway.yaml"
        told.write_text(config(port, admin_port, sim_port, folder))
        log = (folder / "log").open("wb")
        simulator = [sys.executable, "-m", "gateway", "sim", "--port", str(sim_port)]
        served = [command, "serve", "--config", str(told)]
        started = [subprocess.Popen(each, stdout=log, stderr=log, env=env) for each in (simulator, served)]  # noqa: S603 - both are ours
        try:
            wait_for(sim_port, started[0])
            wait_for(port, started[1])
            right = asyncio.run(work(port))
        finally:
            for process in reversed(started):
                process.send_signal(signal.SIGTERM)
                process.wait(READY_S)
        if right != REQUESTS:
            raise SystemExit(f"{REQUESTS - right} of {REQUESTS} requests were not answered as they should be")


if __name__ == "__main__":
    main()
