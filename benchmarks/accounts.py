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
ROUNDS = 5
"""Short and many: a machine whose speed changes gives each of a round the same, and the middle round is told."""

STARTS = 5
"""Of each gateway: where the pages of a process lie makes one of them up to a tenth faster than the next."""

NEW_BANK_S = 3
"""An empty Redis is asked for two seconds what other processes know of it."""

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def requests(port: int, lua: str, *, warm: bool = False) -> tuple[int, float]:
    """How many were answered in how many seconds: now and then it takes a tenth more than it is told.

    While it gets warm, some may be refused.
    """
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{SECONDS}s", "-s", lua, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert warm or "Non-2xx" not in said, said
    count, _, _, taken, *_ = next(line for line in said.splitlines() if "requests in" in line).split()
    return int(count), float(taken.strip("s,"))


Round = dict[str, tuple[float, float]]
"""Of each gateway: requests a second, and microseconds of CPU for one."""


def rounds(command: str, lua: str) -> list[Round]:
    """With gateways that were just started."""
    with contextlib.ExitStack() as stack:
        store = servers.free_port()
        redis = servers.start(["redis-server", "--port", str(store), "--save", ""], "1", "redis.log")
        stack.callback(servers.stop, redis)
        up = stack.enter_context(servers.upstream())
        names = {"without": "none", "embedded": "embedded", "with Redis": f"redis://127.0.0.1:{store}"}
        served = {name: stack.enter_context(servers.gateway(up, command, kind)) for name, kind in names.items()}
        time.sleep(1)
        for port, _ in served.values():
            requests(port, lua, warm=True)
        time.sleep(NEW_BANK_S)
        told: list[Round] = []
        for _ in range(ROUNDS):
            told.append({})
            for name, (port, process) in served.items():
                before = cpu_s(process.pid)
                count, taken_s = requests(port, lua)
                told[-1][name] = count / taken_s, (cpu_s(process.pid) - before) / count * 1e6
        return told


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ".venv/bin/meterway"
    asked = {"model": servers.CHAT_1K, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
    with tempfile.TemporaryDirectory() as folder:
        lua = Path(folder) / "chat.lua"
        lua.write_text(
            f"wrk.method='POST' wrk.body='{json.dumps(asked)}' wrk.headers['content-type']='application/json' "
            f"wrk.headers['authorization']='Bearer {servers.KEY}'"
        )
        told = [each for _ in range(STARTS) for each in rounds(command, str(lua))]
    for name in told[0]:
        share = median(each[name][0] / each["without"][0] for each in told)
        rate, cost = median(each[name][0] for each in told), median(each[name][1] for each in told)
        print(f"{name:12} {rate:8.0f} requests/s {cost:6.1f} us CPU each, {share:.2f} of without")


main()
