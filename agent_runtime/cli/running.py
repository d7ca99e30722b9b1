"""What the commands do once their arguments are understood."""

import asyncio
import json
import logging
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette

from agent_runtime.api.agent import Agent
from agent_runtime.api.config import RuntimeConfig, load_agents, services_of
from agent_runtime.cli.durable import client_of, crew_of, on_temporal, settings_of, until_told
from agent_runtime.desk.services import Services
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.values import Principal
from agent_runtime.serve.app import agent_app
from agent_runtime.serve.health import Check, health_routes, server
from agent_runtime.temporal.runtime import TemporalRuntime
from agent_runtime.temporal.workers import Crew, Tuning
from sdk_client.client import trusted

LOG = logging.getLogger("meterway.agent")
GATEWAY_CHECK_S = 2.0
START_S = 10.0
COLLECTOR_PORT = 4318


class Ask(StrEnum):
    """Who decides about tools that need a person."""

    ASK = "ask"
    ALL = "all"
    NONE = "none"


def decider(how: Ask) -> Any:
    async def at_the_terminal(approval: Approval) -> bool:
        print(f"\n{approval.kind} {approval.name} {approval.arguments}\napprove? [y/N] ", end="", file=sys.stderr)
        answer = await asyncio.to_thread(sys.stdin.readline)
        return answer.strip().lower() in ("y", "yes")

    match how:
        case Ask.ASK:
            return at_the_terminal
        case Ask.ALL:
            return lambda _: True
        case Ask.NONE:
            return lambda _: False


async def run_once(agent: Agent, text: str, who: Principal, how: Ask, *, show_json: bool) -> int:
    outcome = await agent.try_run(text, on_approval=decider(how), principal=who)
    if show_json:
        print(json.dumps(asdict(outcome.outcome), default=str))
    elif outcome.error is not None:
        print(f"{outcome.error.user_message()}\n({outcome.error})", file=sys.stderr)
    else:
        print(outcome.result.text)
    await agent.close()
    return 0 if outcome.error is None else 1


async def gateway_ready(config: RuntimeConfig) -> str | None:
    verify = trusted(config.gateway_ca)
    async with httpx.AsyncClient(timeout=GATEWAY_CHECK_S, verify=verify, trust_env=False) as http:
        answer = await http.get(config.gateway_url.rstrip("/").removesuffix("/v1") + "/health/ready")
    return None if answer.status_code == 200 else f"the gateway answers {answer.status_code}"


async def collector_ready(endpoint: str) -> str | None:
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else COLLECTOR_PORT)
    _, writer = await asyncio.open_connection(parts.hostname or "", port)
    writer.close()
    return None


def checks_of(config: RuntimeConfig, services: Services, runtime: TemporalRuntime | None) -> dict[str, Check]:
    """Whatever a process of this runtime needs; `runtime` is None where its runs are its own."""

    async def store() -> str | None:
        await services.runs.find("health")
        return None

    checks: dict[str, Check] = {"gateway": lambda: gateway_ready(config), "store": store}
    endpoint = config.otlp_endpoint
    if endpoint is not None:
        checks["collector"] = lambda: collector_ready(endpoint)
    if runtime is not None:
        checks["temporal"] = runtime.ready
    return checks


def polling_of(runtime: TemporalRuntime, crew: Crew) -> Check:
    async def polling() -> str | None:
        silent = [queue for queue in crew.queues if not await runtime.polled(queue)]
        return f"nobody polls {silent[0]!r}" if silent else None

    return polling


async def work(config: RuntimeConfig, names: str, tuning: Tuning, health_host: str, health_port: int) -> int:
    services = services_of(config)
    agents = load_agents(names, services)
    client = await client_of(config, services)
    runtime = TemporalRuntime(client, services, settings_of(config))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(services.close)
        crew = await stack.enter_async_context(crew_of(client, agents, services, config, tuning))
        if health_port:
            checks = {**checks_of(config, services, runtime), "polling": polling_of(runtime, crew)}
            app = Starlette(routes=health_routes(checks))
            stack.push_async_callback(await listening(app, health_host, health_port))
        for queue in crew.queues:
            LOG.info("%s works on %s", crew.name, queue)
        told = asyncio.ensure_future(until_told())
        ended = asyncio.ensure_future(crew.wait())
        await asyncio.wait({told, ended}, return_when=asyncio.FIRST_COMPLETED)
        failed = ended.done()
        told.cancel()
        ended.cancel()
        LOG.info("%s stops", crew.name)
    return int(failed)


async def listening(app: Starlette, host: str, port: int) -> Any:
    """Serves until the returned function is awaited."""
    made = server(app, host, port)
    task = asyncio.ensure_future(made.serve())
    async with asyncio.timeout(START_S):
        while not made.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def stop() -> None:
        made.should_exit = True
        await asyncio.gather(task, return_exceptions=True)

    return stop


async def serve_agents(
    config: RuntimeConfig, names: str, host: str, port: int, *, durable: bool, development: bool
) -> int:
    services = services_of(config)
    agents = load_agents(names, services)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(services.close)
        runtime: TemporalRuntime | None = None
        if durable:
            runtime = await stack.enter_async_context(on_temporal(config, agents, services, development=development))
        else:
            for agent in agents:
                stack.push_async_callback(agent.close)
        app = agent_app(agents, services, checks=checks_of(config, services, runtime))
        stack.push_async_callback(await listening(app, host, port))
        LOG.info("serving %s on http://%s:%d", ", ".join(agent.spec.name for agent in agents), host, port)
        await until_told()
    return 0
