"""`make bench`: what the loop takes, in one process and on Temporal, with a model and tools that take no time."""

import asyncio
import tempfile
from pathlib import Path

from agent_runtime.evaluation.bench import bench
from agent_runtime.evaluation.plan import read_plan
from benchmarks.conditions import conditions

RESULTS = Path("benchmarks/results")
PLAN = """
runtime: {runtime}
llm: {{latency_ms: 0, jitter_ms: 0}}
tool: {{latency_ms: 0, jitter_ms: 0}}
agent: {{runs: {runs}, concurrent_count: {at_once}, tools: {{count: 3}}}}
"""
ROWS = (("inline", 2_000, 1), ("temporal", 50, 1), ("temporal", 100, 10))


async def row(runtime: str, runs: int, at_once: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        told = await bench(read_plan(PLAN.format(runtime=runtime, runs=runs, at_once=at_once)), Path(folder))
    assert told["success_rate"] == 1.0, told
    activity_ms = "" if runtime == "inline" else told["per_activity_ms"]
    figures = (told["latency_ms"]["p50"], told["latency_ms"]["p99"], told["per_turn_ms"], activity_ms)
    return f"| {runtime} | {runs} | {at_once} | {' | '.join(map(str, figures))} | {runs / told['took_s']:.1f} |"


def main() -> None:
    head = (
        "| driver | runs | at once | run, p50 ms | run, p99 ms | per turn, ms | per activity, ms | runs/s |",
        "|---|---|---|---|---|---|---|---|",
    )
    rows = [asyncio.run(row(*one)) for one in ROWS]
    about = "A run is two turns and three tools side by side; Temporal is its development server, on the same cores."
    where = [f"- {name}: {fact}" for name, fact in conditions().items()]
    text = "\n".join(("# The loop of agents", "", *where, "", *head, *rows, "", about, ""))
    (RESULTS / "agents.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
