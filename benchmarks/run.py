"""`make bench`: ours, the upstream itself, nginx and (BENCH_PEERS=1) LiteLLM and Portkey, in one run, in turn."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import peers
from benchmarks.conditions import conditions
from benchmarks.load import Result, load, script
from benchmarks.report import report
from benchmarks.servers import CHAT_1K, CHAT_8K, STREAM, gateway, nginx_proxy, rss_mb, start_to_first_answer_s, upstream

RESULTS = Path("benchmarks/results")
SECONDS = int(os.environ.get("BENCH_SECONDS", "1"))
PURE = os.environ.get("BENCH_PURE", ".venv/bin/meterway")
COMPILED = os.environ.get("BENCH_COMPILED", ".venv-fast/bin/meterway")
OURS = (
    ("meterway", PURE, "limits"),
    ("meterway compiled", COMPILED, "limits"),
    ("meterway compiled with accounts", COMPILED, "embedded"),
)
"""Limits, metrics, prices and the access log are on in all; accounts are budgets, journal and ledger."""

WARM_S = 1

# Many short rounds: a machine whose speed changes gives all that take turns the same.
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))

QUESTION = (
    '{"model":"%s","messages":[{"role":"system","content":"You are a helpful assistant."},'
    '{"role":"user","content":"Say something short about gateways."}],"max_tokens":200%s}'
)


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    reply: str
    body: str
    connections: int

    @property
    def slug(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name)


@dataclass(frozen=True, slots=True)
class Contender:
    """`path` is where it takes chat completions of a reply kind; `headers` what it wants to be told with each."""

    name: str
    port: int
    path: str = "/v1/chat/completions"
    headers: tuple[tuple[str, str], ...] = ()

    def url(self, reply: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.path.format(reply=reply)}"

    def run(self, scenario: Scenario, seconds: int) -> Result:
        headers = {name: value.format(reply=scenario.reply) for name, value in self.headers}
        body = script(f"{self.name}-{scenario.slug}", scenario.body, headers)
        return load(self.url(scenario.reply), body, connections=scenario.connections, seconds=seconds)


def scenarios() -> list[Scenario]:
    long_text = "lorem ipsum dolor sit amet " * 24
    turns = ",".join(f'{{"role":"user","content":"{long_text}"}}' for _ in range(29))
    big = f'{{"model":"{CHAT_1K}","messages":[{turns}],"max_tokens":200}}'
    plain, stream = QUESTION % (CHAT_1K, ""), QUESTION % (STREAM, ',"stream":true')
    return [
        *(Scenario(f"chat 1 kB reply, c={c}", CHAT_1K, plain, c) for c in (1, 32, 128)),
        Scenario("chat 8 kB reply, c=32", CHAT_8K, QUESTION % (CHAT_8K, ""), 32),
        Scenario("stream of 31 events, c=32", STREAM, stream, 32),
        Scenario("20 kB request, c=32", CHAT_1K, big, 32),
    ]


def measure(scenario: Scenario, contenders: list[Contender]) -> dict[str, Result]:
    """The median of each contender's rounds; the contenders take turns."""
    found: dict[str, list[Result]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.run(scenario, WARM_S)
    for _ in range(ROUNDS):
        for contender in contenders:
            found[contender.name].append(contender.run(scenario, SECONDS))
    return {name: _middle(results) for name, results in found.items()}


def _middle(results: list[Result]) -> Result:
    middle = sorted(results, key=lambda result: result.per_s)[len(results) // 2]
    errors = sum(result.errors for result in results)
    return replace(middle, errors=errors, rounds=tuple(result.per_s for result in results))


def import_ms() -> float:
    code = "import time; s = time.perf_counter(); import gateway.app; print((time.perf_counter() - s) * 1000)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    return statistics.median(runs)


def _contender(peer: peers.Peer, up: int) -> Contender:
    if peer.host_header is None:
        return Contender(peer.name, peer.port)
    told = ((peer.host_header, f"http://127.0.0.1:{up}/{{reply}}"), ("x-portkey-provider", "openai"))
    return Contender(peer.name, peer.port, headers=told)


def main() -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has been compiled to bytecode
    where = conditions()
    with contextlib.ExitStack() as stack:
        up = stack.enter_context(upstream())
        start_s = statistics.median(start_to_first_answer_s(up, PURE) for _ in range(3))
        contenders = [
            Contender("upstream", up, "/{reply}/chat/completions"),
            Contender("nginx", stack.enter_context(nginx_proxy(up)), "/{reply}/chat/completions"),
        ]
        ours = {name: stack.enter_context(gateway(up, command, accounts)) for name, command, accounts in OURS}
        contenders += [Contender(name, port) for name, (port, _) in ours.items()]
        idle_mb = max(rss_mb(process) for _, process in ours.values())
        if os.environ.get("BENCH_PEERS") == "1":
            contenders += [_contender(peer, up) for peer in peers.started(stack, up)]
        found = {}
        for scenario in scenarios():
            print(f"{scenario.name} …", file=sys.stderr, flush=True)
            found[scenario.name] = measure(scenario, contenders)
        loaded_mb = max(rss_mb(process) for _, process in ours.values())
    own = {
        "start_to_first_answer_s": start_s,
        "idle_rss_mb": idle_mb,
        "rss_after_load_mb": loaded_mb,
        "import_gateway_app_ms": import_ms(),
    }
    text = report(where, found, own, rounds=ROUNDS, seconds=SECONDS)
    results = {name: {who: asdict(result) for who, result in row.items()} for name, row in found.items()}
    (RESULTS / "latest.json").write_text(
        json.dumps({"conditions": where, "results": results, "own": own}, indent=1) + "\n"
    )
    (RESULTS / "latest.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
