"""What budgets, limits and the ledger cost, in one run (`python -m benchmarks.accounts`, or with another command)."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import servers

SECONDS = 1
ROUNDS = 15
"""Short and many: a machine whose speed changes gives each of a round the same, and the middle round is told."""

NEW_BANK_S = 3
"""An empty Redis is asked for two seconds what other processes know of it."""

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def requests(port: int, lua: str, *, warm: bool = False) -> int:
    """How many were answered in the time; while it gets warm, some may be refused."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{SECONDS}s", "-s", lua, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert warm or "Non-2xx" not in said, said
    return int(next(line for line in said.splitlines() if "requests in" in line).split()[0])


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ".venv/bin/meterway"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lua = folder / "chat.lua"
        asked = {"model": servers.CHAT_1K, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
        body = json.dumps(asked)
        lua.write_text(
            f"wrk.method='POST' wrk.body='{body}' wrk.headers['content-type']='application/json' "
            f"wrk.headers['authorization']='Bearer {servers.KEY}'"
        )
        store = servers.free_port()
        redis = servers.start(["redis-server", "--port", str(store), "--save", ""], "1", "redis.log")
        stack.callback(servers.stop, redis)
        up = stack.enter_context(servers.upstream())
        names = {"without": "none", "embedded": "embedded", "with Redis": f"redis://127.0.0.1:{store}"}
        served = {name: stack.enter_context(servers.gateway(up, command, kind)) for name, kind in names.items()}
        time.sleep(1)
        for port, _ in served.values():
            requests(port, str(lua), warm=True)
        time.sleep(NEW_BANK_S)
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name, (port, process) in served.items():
                before = cpu_s(process.pid)
                count = requests(port, str(lua))
                rounds[name].append((count / SECONDS, (cpu_s(process.pid) - before) / count * 1e6))
        without = [rate for rate, _ in rounds["without"]]
        for name, told in rounds.items():
            share = median(rate / plain for (rate, _), plain in zip(told, without, strict=True))
            rate, cost = median(rate for rate, _ in told), median(cost for _, cost in told)
            print(f"{name:12} {rate:8.0f} requests/s {cost:6.1f} us CPU each, {share:.2f} of without")


main()
