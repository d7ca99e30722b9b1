"""What translation costs a stream of 31 events, in one run: `python -m benchmarks.dialects [COMMAND]`."""

import contextlib
import json
import statistics
import sys

from benchmarks import servers
from benchmarks.load import load, script

SECONDS = 4
ROUNDS = 3
CASES = {
    "OpenAI as it is": (servers.STREAM, "/v1/chat/completions"),
    "Anthropic as it is": (servers.MESSAGES, "/v1/messages"),
    "Anthropic for a caller of OpenAI": (servers.MESSAGES, "/v1/chat/completions"),
    "OpenAI for a caller of Anthropic": (servers.STREAM, "/v1/messages"),
}
"""The model, by the dialect of its provider, and the door."""


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ".venv/bin/meterway"
    found: dict[str, list[float]] = {name: [] for name in CASES}
    with contextlib.ExitStack() as stack:
        up = stack.enter_context(servers.upstream())
        port, _ = stack.enter_context(servers.gateway(up, command))
        for number in range(ROUNDS + 1):
            for name, (model, path) in CASES.items():
                asked = {"model": model, "max_tokens": 100, "stream": True}
                body = {**asked, "messages": [{"role": "user", "content": "hello"}]}
                lua = script(name.replace(" ", "-"), json.dumps(body), {})
                result = load(f"http://127.0.0.1:{port}{path}", lua, connections=32, seconds=SECONDS if number else 1)
                if result.errors:
                    raise RuntimeError(f"{name}: {result}")
                if number:
                    found[name].append(result.per_s)
    best = statistics.median(found["OpenAI as it is"])
    for name, rates in found.items():
        rate = statistics.median(rates)
        print(f"{name:34} {rate:8.0f} streams/s, {rate / best:.2f} of OpenAI as it is")


main()
