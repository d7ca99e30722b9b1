"""A gateway and a simulated provider of the runtime's own, as processes that can be killed and come back."""

import json
import re
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.processes import _SERVING, _SIMULATING, METERWAY, Process
from tests.ports import free_port

HERE = Path(__file__).parent
CHILDREN = 50
LOOK_S = 0.02
"""Between two looks at the metrics of another process, which says nothing when a call begins."""


class Lab:
    """`url` stays the same when the gateway is killed and started again."""

    def __init__(self, folder: Path, redis_url: str | None = None) -> None:
        self.folder = folder
        self.environ = {f"METERWAY_{name}": secrets.token_hex(16) for name in ("ADMIN_KEY", "DEMO_KEY", "SLOW_KEY")}
        self.key = self.environ["METERWAY_DEMO_KEY"]
        self.admin_key = self.environ["METERWAY_ADMIN_KEY"]
        script = folder / "script.yaml"
        family = ", ".join(["{name: subagent_kid, arguments: {query: go}}"] * CHILDREN)
        script.write_text((HERE / "lab_script.yaml").read_text().replace("FAMILY", family))
        self._sim = self._process("sim", "sim", "--port", "0", "--script", str(script))
        self.sim_url = self._sim.wait_for(_SIMULATING)[1]
        config = (HERE / "lab.yaml").read_text().replace("SIMULATOR", f"{self.sim_url}/v1")
        self._config = folder / "gateway.yaml"
        shared = "" if redis_url is None else f'\nredis: "{redis_url}"\n'
        self._config.write_text(config.replace("PORT", str(free_port())) + shared)
        self._starts = 0
        self.start_gateway()

    def _process(self, name: str, *command: str) -> Process:
        folder = self.folder / name
        folder.mkdir()
        return Process(folder, str(METERWAY), *command, environ=self.environ, cwd=self.folder)

    def start_gateway(self) -> None:
        self._starts += 1
        self.gateway = self._process(f"gateway-{self._starts}", "serve", "--config", str(self._config))
        serving = self.gateway.wait_for(_SERVING)
        self.url, self.admin_url = serving[1], serving[2].removesuffix("/metrics")

    def kill_gateway(self) -> None:
        self.gateway.signal(signal.SIGKILL)
        self.gateway.ended()

    def kill_gateway_amid_a_call(self, within_s: float) -> None:
        """The provider is frozen until then, as calls are short."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        until_s = time.monotonic() + within_s
        self._sim.signal(signal.SIGSTOP)
        try:
            with httpx.Client(headers=headers, trust_env=False) as http:
                while not under_way(http.get(f"{self.admin_url}/metrics").text):
                    assert time.monotonic() < until_s, "no call was under way when the gateway was to be killed"
                    time.sleep(LOOK_S)
            self.kill_gateway()
        finally:
            self._sim.signal(signal.SIGCONT)

    def bill(self) -> list[dict[str, Any]]:
        """One line for each call that reached the provider."""
        answer = httpx.get(f"{self.sim_url}/_sim/bill", trust_env=False)
        lines: list[dict[str, Any]] = answer.json()
        return lines

    def reset(self) -> None:
        httpx.post(f"{self.sim_url}/_sim/reset", trust_env=False).raise_for_status()

    def admin(self, path: str) -> Any:
        headers = {"authorization": f"Bearer {self.admin_key}"}
        answer = httpx.get(f"{self.admin_url}/admin/v1/{path}", headers=headers, trust_env=False)
        answer.raise_for_status()
        return answer.json()

    def ledger(self, run_ids: set[str]) -> list[dict[str, Any]]:
        """Every charge of these runs."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        url = f"{self.admin_url}/admin/v1/ledger?tenant=demo&format=jsonl"
        rows = map(json.loads, httpx.get(url, headers=headers, trust_env=False).text.splitlines())
        return [row for row in rows if row["run_id"] in run_ids]

    def stop(self) -> None:
        self.gateway.stop()
        self._sim.stop()


def under_way(metrics: str) -> float:
    return sum(map(float, re.findall(r"^gateway_upstream_in_flight\S* (\S+)$", metrics, re.MULTILINE)))


@contextmanager
def running(folder: Path, redis_url: str | None = None) -> Iterator[Lab]:
    """With Redis, what the gateway has answered outlives it."""
    lab = Lab(folder, redis_url)
    try:
        yield lab
    finally:
        lab.stop()
