"""What budgets, limits and the ledger cost, in one run (`python -m benchmarks.accounts`, or with another command)."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import servers

SECONDS = 4
ROUNDS = 3
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def requests(port: int, lua: str) -> int:
    """How many were answered in the time."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{SECONDS}s", "-s", lua, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
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
        best: dict[str, float] = {}
        cost: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, (port, process) in served.items():
                before = cpu_s(process.pid)
                count = requests(port, str(lua))
                best[name] = max(best.get(name, 0.0), count / SECONDS)
                cost[name] = min(cost.get(name, 1e9), (cpu_s(process.pid) - before) / count * 1e6)
        for name in names:
            share = best[name] / best["without"]
            print(f"{name:12} {best[name]:8.0f} requests/s {cost[name]:6.1f} us CPU each, {share:.2f} of without")


main()
