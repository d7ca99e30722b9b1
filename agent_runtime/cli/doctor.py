"""Thirteen questions to ask before agents go into production, each with an answer and a remedy."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_runtime.api.agent import Agent
from agent_runtime.api.config import RuntimeConfig, collector_problem
from agent_runtime.cli.durable import client_of, replay, settings_of, specs_of
from agent_runtime.cli.running import collector_ready, gateway_ready
from agent_runtime.connectors import secrets
from agent_runtime.contracts.errors import BY_KIND
from agent_runtime.desk.services import Services
from agent_runtime.domain.shown import USER_TEXT
from agent_runtime.spec.agent import AgentSpec
from agent_runtime.temporal.runtime import TemporalRuntime
from agent_runtime.temporal.workers import queues
from agent_runtime.tools.access import AutoApprove
from sdk_client import LLMClient, LLMError

CHECK_S = 10.0
LONGEST_S = 24 * 3_600.0
ITERATIONS_MAX = 50


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    ok: bool
    said: str


class Doctor:
    """Each check gives None, or what is wrong and what to do."""

    def __init__(
        self, config: RuntimeConfig, agents: Sequence[Agent], services: Services, histories: Path | None
    ) -> None:
        self._config = config
        self._specs: list[AgentSpec] = specs_of(list(agents))
        self._services = services
        self._histories = histories

    async def examine(self) -> list[Finding]:
        checks: dict[str, Callable[[], Awaitable[str | None]]] = {
            "fallback": self._fallback,
            "rate_limits": lambda: gateway_ready(self._config),
            "cost": self._cost,
            "errors": self._errors,
            "timeouts": self._timeouts,
            "iterations": self._iterations,
            "approvals": self._approvals,
            "temporal": self._temporal,
            "workers": self._workers,
            "conversation": self._conversation,
            "observability": self._observability,
            "secrets": self._secrets,
            "upgrade": self._upgrade,
        }
        return [await self._asked(name, check) for name, check in checks.items()]

    async def _asked(self, name: str, check: Callable[[], Awaitable[str | None]]) -> Finding:
        try:
            async with asyncio.timeout(CHECK_S):
                why = await check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is no
            why = f"{type(error).__name__}: {error}"
        return Finding(name, why is None, why or "as it should be")

    async def _fallback(self) -> str | None:
        config = self._config
        key = secrets.resolved(config.gateway_key)
        client = LLMClient(config.gateway_url, key, timeout_s=CHECK_S, ca_file=config.gateway_ca)
        async with client:
            try:
                known = await client.models()
            except LLMError as error:
                return str(error)
        missing = sorted({one for spec in self._specs for one in (spec.model, spec.cheaper_model) if one} - set(known))
        return f"the gateway has no route {missing[0]!r}; add one, with a second target" if missing else None

    async def _cost(self) -> str | None:
        if not self._config.production:
            return None
        free = [one.name for one in self._specs if one.limits.tokens_max is None and one.limits.nano_usd_max is None]
        return f"agent {free[0]!r} has no budget; set limits.tokens_max or limits.nano_usd_max" if free else None

    async def _errors(self) -> str | None:
        silent = [kind for kind, error in BY_KIND.items() if error.category not in USER_TEXT]
        return f"{silent[0]!r} has no text for users" if silent else None

    async def _timeouts(self) -> str | None:
        long = [one.name for one in self._specs if (one.settled.timeout_s or 0.0) > LONGEST_S]
        return f"agent {long[0]!r} may run longer than a day; lower limits.timeout_s" if long else None

    async def _iterations(self) -> str | None:
        many = [one.name for one in self._specs if one.limits.iterations_max > ITERATIONS_MAX]
        return f"agent {many[0]!r} may take more than {ITERATIONS_MAX} iterations; lower the limit" if many else None

    async def _approvals(self) -> str | None:
        for spec in self._specs:
            dangerous = [tool.name for tool in spec.tools if tool.risk == "dangerous"]
            if dangerous and isinstance(spec.policy, AutoApprove):
                return f"agent {spec.name!r} runs {dangerous[0]!r} without asking anybody; choose another policy"
        return None

    async def _temporal(self) -> str | None:
        await client_of(self._config, self._services)
        return None

    async def _workers(self) -> str | None:
        runtime = TemporalRuntime(
            await client_of(self._config, self._services), self._services, settings_of(self._config)
        )
        silent = [queue for queue in queues(self._specs, self._config.queue) if not await runtime.polled(queue)]
        return f"nobody polls {silent[0]!r}; start 'meterway-agent worker'" if silent else None

    async def _conversation(self) -> str | None:
        local = self._services.local_stores()
        if local:
            return f"services.{local[0]} is in the memory of one process; set METERWAY_AGENT_STORE"
        if self._config.production and not self._config.store.startswith(("redis://", "rediss://")):
            return "METERWAY_AGENT_STORE is a file of one machine; use redis:// in production"
        await self._services.runs.find("doctor")
        return None

    async def _observability(self) -> str | None:
        endpoint = self._config.otlp_endpoint
        if endpoint is None:
            return "METERWAY_OTLP_ENDPOINT is not set; nobody would see metrics" if self._config.production else None
        why = collector_problem(endpoint) if self._config.production else None
        return why or await collector_ready(endpoint)

    async def _secrets(self) -> str | None:
        if secrets.problem("gateway_key", self._config.gateway_key):
            return "the gateway's key stands in plain text; give env:NAME or file:PATH"
        if self._config.production and self._config.payload_key is None:
            return "METERWAY_PAYLOAD_KEY is not set; Temporal's history would hold what users say"
        return None

    async def _upgrade(self) -> str | None:
        if self._histories is None:
            return "no histories to replay; give --histories" if self._config.production else None
        changed = [f"{name}: {why}" for name, why in await replay(self._histories, self._config) if why is not None]
        return changed[0] if changed else None
