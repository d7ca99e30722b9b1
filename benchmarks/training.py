"""Take a gateway through its daily work: `python -m benchmarks.training COMMAND` shows a compiler what is hot in it."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import httpx

from benchmarks.servers import free_port, wait_for

REQUESTS = 4_000
AT_ONCE = 32
BOUND_S = 60.0
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

    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=BOUND_S) as client:
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
        started = [subprocess.Popen(each, stdout=log, stderr=log, env=env) for each in (simulator, served)]
        try:
            wait_for(sim_port, started[0])
            wait_for(port, started[1])
            right = asyncio.run(work(port))
        finally:
            for process in reversed(started):
                process.send_signal(signal.SIGTERM)
                process.wait(BOUND_S)
        if right != REQUESTS:
            raise SystemExit(f"{REQUESTS - right} of {REQUESTS} requests were not answered as they should be")


if __name__ == "__main__":
    main()
