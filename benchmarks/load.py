"""One load of wrk, and what it found."""

import re
import subprocess
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median

from benchmarks.servers import KEY, UPSTREAM_CORE, WORK

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Result:
    """`errors` counts answers that were not 2xx and broken sockets; `rounds` are the rates of all of its rounds."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    bytes_per_s: float
    rounds: tuple[float, ...] = ()

    def share_of(self, other: "Result") -> float:
        """The middle of the rounds' ratios: two that follow each other meet the same moods of the machine.

        A round in which the other has answered nothing at all says nothing.
        """
        ratios = [mine / theirs for mine, theirs in zip(self.rounds, other.rounds, strict=True) if theirs]
        return median(ratios) if ratios else inf


def _duration_ms(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise ValueError(f"wrk printed an unknown duration {text!r}")
    return float(found[1]) * _UNITS_MS[found[2]]


def _bytes(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([KMG]?)B", text)
    if found is None:
        raise ValueError(f"wrk printed an unknown size {text!r}")
    return float(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2]]


def script(name: str, body: str, headers: dict[str, str]) -> Path:
    path = WORK / f"{name}.lua"
    more = "".join(f'wrk.headers["{header}"] = "{value}"\n' for header, value in headers.items())
    path.write_text(
        f"""wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {KEY}"
{more}wrk.body = [==[{body}]==]
"""
    )
    return path


def load(url: str, body: Path, *, connections: int, seconds: int) -> Result:
    command = ["taskset", "-c", UPSTREAM_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    done = subprocess.run([*command, "-s", str(body), url], capture_output=True, text=True, check=True)
    text = done.stdout
    rate, transfer = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"Transfer/sec:\s+(\S+)", text)
    middle, tail = (
        re.search(r"^ +50% +(\S+) *$", text, re.MULTILINE),
        re.search(r"^ +99% +(\S+) *$", text, re.MULTILINE),
    )
    if rate is None or transfer is None or middle is None or tail is None:
        raise RuntimeError(f"wrk printed something else:\n{text}\n{done.stderr}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = (int(wrong[1]) if wrong else 0) + (sum(map(int, sockets.groups())) if sockets else 0)
    return Result(float(rate[1]), _duration_ms(middle[1]), _duration_ms(tail[1]), errors, _bytes(transfer[1]))
