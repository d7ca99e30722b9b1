"""What the Python checks share: where things are, what the provider saw, and how results are told."""

import asyncio
import inspect
import json
import os
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

GATEWAY = os.environ.get("CHECK_GATEWAY", "")
KEY = os.environ.get("METERWAY_DEMO_KEY", "")
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
SAID = "Hello from the simulator. You said: Hello!"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def provider_requests(model: str) -> list[dict[str, Any]]:
    """The bodies that reached the simulated provider for this model."""
    bodies = [json.loads(request["body"]) for request in _simulator("requests") if request["body"]]
    return [body for body in bodies if body.get("model") == model]


def bill(model: str) -> list[dict[str, Any]]:
    return [line for line in _simulator("bill") if line["model"] == model]


def gateway_lines(model: str) -> list[dict[str, Any]]:
    """The gateway's access log for this model, as far as it has been written."""
    text = Path(os.environ["CHECK_ACCESS_LOG"]).read_text()
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if line["model"] == model]


class Since:
    """Counts what a block of a check causes for one model."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._before = self._settled()

    def counts(self) -> tuple[int, int]:
        """Requests that the gateway logged, and those that reached the provider."""
        logged, asked = self._settled()
        return logged - self._before[0], asked - self._before[1]

    def _settled(self) -> tuple[int, int]:
        """Counted until nothing was added for a while: log lines are gathered before they are written."""
        found, same = (-1, -1), 0
        while same < 3:
            now = (len(gateway_lines(self._model)), len(provider_requests(self._model)))
            found, same = now, same + 1 if now == found else 0
            time.sleep(0.05)
        return found


def eventually(true: Callable[[], object], timeout_s: float = 5.0) -> Any:
    until_s = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < until_s, f"it did not come true within {timeout_s} s"
        time.sleep(0.02)
    return found


def tell(namespace: Mapping[str, Any]) -> None:
    """Runs every `check_…` and prints what came of each as one JSON object."""
    results: dict[str, str | None] = {}
    for name, check in namespace.items():
        if name.startswith("check_"):
            try:
                asyncio.run(check()) if inspect.iscoroutinefunction(check) else check()
                results[name] = None
            except Exception:  # noqa: BLE001 - whatever goes wrong is the result
                results[name] = traceback.format_exc()
    print(json.dumps(results))
    sys.exit(any(results.values()))


def _simulator(what: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{os.environ['CHECK_SIMULATOR']}/_sim/{what}", timeout=5) as reply:
        found: list[dict[str, Any]] = json.load(reply)
    return found
