"""The commands, and how their arguments become what they work with."""

import asyncio
import json
import logging
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from agent_runtime.api.config import checked, config_of, inside, load_agents, services_of
from agent_runtime.cli.doctor import Doctor
from agent_runtime.cli.durable import drained, environ, on_temporal, own_folder, replay
from agent_runtime.cli.running import Ask, run_once, serve_agents, work
from agent_runtime.contracts.errors import AgentError
from agent_runtime.domain.values import Principal
from agent_runtime.evaluation.bench import bench, evaluate
from agent_runtime.evaluation.plan import load_plan
from agent_runtime.temporal.workers import Tuning

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Agents: run them, work for them, serve them.")
Agents = Annotated[str, typer.Option("--agents", help="package.module:name, several with commas")]
Temporal = Annotated[str | None, typer.Option("--temporal", help="HOST:PORT of Temporal")]
LOG_FORMAT = "%(message)s"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def main() -> None:
    level = environ().get("METERWAY_AGENT_LOG_LEVEL", "info").upper()
    logging.basicConfig(level=level if level in LEVELS else "INFO", format=LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("temporalio").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("a2a").setLevel(logging.WARNING)
    if "" not in sys.path:
        sys.path.insert(0, "")
    app()


def done(work_: Coroutine[Any, Any, int]) -> None:
    """An error of ours is told in one line; anything else is a bug and keeps its traceback."""
    try:
        code = asyncio.run(work_)
    except AgentError as error:
        typer.echo(f"meterway-agent: {error}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(code)


@app.command()
def worker(
    agents: Agents,
    temporal: Temporal = None,
    health_port: Annotated[int, typer.Option(help="of /healthz and /readyz; 0 for none")] = 0,
    health_host: Annotated[
        str, typer.Option(help="where they listen; 0.0.0.0 for probes from elsewhere")
    ] = "127.0.0.1",
    activities: Annotated[int | None, typer.Option(help="at the same time, for each queue")] = None,
    workflow_tasks: Annotated[int | None, typer.Option(help="at the same time, for each queue")] = None,
    per_second: Annotated[float | None, typer.Option(help="activities begun each second, for each queue")] = None,
    models: Annotated[int | None, typer.Option(min=1, help="calls of models at the same time, for each queue")] = None,
    tools: Annotated[int | None, typer.Option(min=1, help="tools at the same time, for each queue")] = None,
    cached_workflows: Annotated[int, typer.Option(min=0, help="runs kept in memory, for each queue")] = 1_000,
    grace_s: Annotated[float, typer.Option(help="for what is under way when it is told to stop")] = 30.0,
) -> None:
    """Work for agents: poll their queues and those of all agents below them."""
    config = inside(config_of(environ()), temporal=temporal)
    tuning = Tuning(workflow_tasks, activities, per_second, models, tools, cached_workflows, grace_s)
    done(work(config, agents, tuning, health_host, health_port))


@app.command()
def run(
    agent: Annotated[str, typer.Argument(help="package.module:name")],
    text: Annotated[str, typer.Argument(help="what it shall do")],
    temporal: Temporal = None,
    dev: Annotated[bool, typer.Option("--dev", help="on a Temporal server and workers of its own")] = False,
    tenant: str = "demo",
    user: str = "you",
    approve: Annotated[Ask, typer.Option(help="who decides about tools")] = Ask.ASK,
    show_json: Annotated[bool, typer.Option("--json", help="the result as JSON")] = False,
) -> None:
    """Run an agent once: in this process, or on Temporal with --temporal or --dev."""
    config = inside(config_of(environ()), temporal=temporal)
    durable = temporal is not None or dev

    async def go() -> int:
        services = services_of(config)
        loaded = load_agents(agent, services)
        who = Principal(tenant, user)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(services.close)
            if durable:
                await stack.enter_async_context(on_temporal(config, loaded, services, development=dev))
            return await run_once(loaded[0], text, who, approve, show_json=show_json)

    done(go())


@app.command()
def drain(
    agents: Agents,
    temporal: Temporal = None,
    wait_s: Annotated[float, typer.Option(help="for runs of this make to end")] = 0.0,
) -> None:
    """Before workers of this make are stopped for good: 0 if none of its runs is under way any more."""
    config = inside(config_of(environ()), temporal=temporal)

    async def go() -> int:
        services = services_of(config)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(services.close)
            left = await drained(config, load_agents(agents, services), services, wait_s)
        for queue, runs in left.items():
            typer.echo(f"{queue}: {runs} under way")
        return int(any(left.values()))

    done(go())


@app.command("replay")
def replay_command(folder: Annotated[Path, typer.Argument(help="of recorded histories, *.json")]) -> None:
    """Replay recorded histories: 1 if this code would go another way than what was recorded."""

    async def go() -> int:
        told = await replay(folder, config_of(environ()))
        for name, why in told:
            typer.echo(f"{name}: {'as recorded' if why is None else why}")
        if not told:
            typer.echo(f"there is no *.json in {str(folder)!r}", err=True)
        return int(not told or any(why is not None for _, why in told))

    done(go())


@app.command()
def serve(
    agents: Agents,
    host: str = "127.0.0.1",
    port: int = 8085,
    temporal: Temporal = None,
    dev: Annotated[bool, typer.Option("--dev", help="on a Temporal server and workers of its own")] = False,
) -> None:
    """Serve agents over HTTP, with a chat page."""
    config = inside(config_of(environ()), temporal=temporal)
    durable = temporal is not None or dev
    done(serve_agents(config, agents, host, port, durable=durable, development=dev))


@app.command("bench")
def bench_command(plan: Annotated[Path, typer.Argument(help="YAML, see docs/agents.md")]) -> None:
    """Run a benchmark with a scripted model: times, tokens, USD for 1000 runs, capacity."""

    async def go() -> int:
        typer.echo(json.dumps(await bench(load_plan(plan), own_folder()), indent=2))
        return 0

    done(go())


@app.command("eval")
def eval_command(
    plan: Annotated[Path, typer.Argument(help="YAML, see docs/agents.md")], prompt: str = "evaluate"
) -> None:
    """One run of the evaluation agent, told as JSON."""

    async def go() -> int:
        typer.echo(json.dumps(await evaluate(load_plan(plan), prompt), indent=2))
        return 0

    done(go())


@app.command()
def doctor(
    agents: Agents,
    env: Annotated[str | None, typer.Option("--env", help="development or production")] = None,
    temporal: Temporal = None,
    histories: Annotated[Path | None, typer.Option(help="recorded histories to replay")] = None,
) -> None:
    """Thirteen checks before agents go into production: 1 if one of them fails."""

    async def go() -> int:
        config = checked(inside(config_of(environ()), temporal=temporal, environment=env))
        services = services_of(inside(config, otlp_endpoint=""))  # what it finds out is told, not exported
        found = await Doctor(config, load_agents(agents, services), services, histories).examine()
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
        return int(not all(one.ok for one in found))

    done(go())


@app.command("fingerprint")
def fingerprint_command(agents: Agents) -> None:
    """Print the fingerprint of each agent, as workers and callers compare it."""
    config = inside(config_of(environ()), store="memory")
    loaded = load_agents(agents, services_of(config))
    typer.echo(json.dumps({agent.spec.name: agent.fingerprint for agent in loaded}, indent=2))
