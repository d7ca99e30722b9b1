"""Agents elsewhere as tools: which of their skills are let in, how they are pinned, and what their answers may be."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from agent_runtime.connectors import remote, secrets
from agent_runtime.connectors.capped import CappedTransport
from agent_runtime.contracts.errors import AgentError, ConfigError, ToolError
from agent_runtime.domain.values import Principal
from agent_runtime.tools.tool import NAME, Tool, ToolContext, schema_tool

try:
    from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
    from a2a.client.errors import A2AClientError
    from a2a.types import AgentCard, AgentSkill, SendMessageRequest
    from a2a.utils.constants import TransportProtocol
    from a2a.utils.errors import A2AError
    from google.protobuf.json_format import MessageToDict, ParseError

    from agent_runtime.connectors.errand import Errand, Reply, asked, told
except ImportError as error:
    raise ConfigError("agents over A2A need the extra a2a; pip install 'meterway[agents,a2a]'") from error

TIMEOUT_S = 30.0
ATTEMPTS_MAX = 3
WAIT_S = 0.05
CANCEL_S = 5.0
RESULT_CHARS_MAX = 20_000
ANSWER_BYTES_MAX = 8 * 1024 * 1024
SKILLS_MAX = 500
TROUBLES = (A2AClientError, ParseError, httpx.HTTPError, OSError, ValueError)
SCHEMA = {
    "type": "object",
    "properties": {
        "message": {
            "type": "string",
            "minLength": 1,
            "description": "The whole task; the remote agent sees nothing else.",
        },
        "task_id": {"type": "string", "description": "Only when the agent waits for an answer: the id that it gave."},
    },
    "required": ["message"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class A2aAgent:
    """`url` is where its card is, without the well-known path. `allow` names skills; ("*",) takes all of them.

    `pins` holds the hash of each skill as it was reviewed; an agent that changes one, or its card, is refused.
    `tells_caller` names the run's tenant and user to it: only for agents of one's own house.
    """

    name: str
    url: str
    allow: tuple[str, ...] = ()
    pins: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    tells_caller: bool = False
    idempotent: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S
    result_chars_max: int = RESULT_CHARS_MAX
    answer_bytes_max: int = ANSWER_BYTES_MAX
    ca_file: str | None = None
    client_cert: tuple[str, str] | None = None
    verify: bool = True
    production: bool = False

    def __post_init__(self) -> None:
        place = remote.problems(self.url, self.allow, offers="skills", verify=self.verify, production=self.production)
        found = [*filter(None, place), *filter(None, (secrets.problem(*one) for one in self.headers.items()))]
        if self.timeout_s <= 0:
            found.append(f"timeout_s is {self.timeout_s!r}; give more than 0 seconds")
        if found:
            raise ConfigError(f"A2A agent {self.name!r}: " + "; ".join(found))

    async def tools(self) -> list[Tool]:
        """Fetches its card, and makes a tool of each skill that is allowed."""
        card = await self._card()
        self._check(card)
        offered = {one.id: one for one in card.skills[:SKILLS_MAX]}
        wanted = list(offered) if self.allow == ("*",) else list(self.allow)
        missing = [skill for skill in wanted if skill not in offered]
        if missing:
            raise ConfigError(f"A2A agent {self.name!r} offers no {missing[0]!r}; it has {sorted(offered)!r}")
        return [self._tool(card, offered[skill]) for skill in wanted]

    async def _card(self) -> AgentCard:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with asyncio.timeout(self.timeout_s), self._http(None) as http:
                    return await A2ACardResolver(http, self.url).get_agent_card()
            except AgentError:
                raise
            except TROUBLES as error:
                if attempt == ATTEMPTS_MAX:
                    text = (
                        f"A2A agent {self.name!r} shows no card at {self.url!r} ({type(error).__name__}); "
                        "check that it runs there"
                    )
                    raise ConfigError(text) from error
                await asyncio.sleep(WAIT_S * attempt)
        raise AssertionError("the last attempt returns or raises")

    def _check(self, card: AgentCard) -> None:
        """What the card says is followed with our secrets: it may lead nowhere but where it came from."""
        ways = [one for one in card.supported_interfaces if one.protocol_binding == TransportProtocol.JSONRPC]
        if not ways:
            raise ConfigError(f"A2A agent {self.name!r} does not speak JSONRPC; its card names no such interface")
        elsewhere = [one.url for one in ways if origin(one.url) != origin(self.url)]
        if elsewhere:
            raise ConfigError(
                f"A2A agent {self.name!r}: its card leads to {elsewhere[0]!r}, which is not where url is; "
                "give the url of the host that answers"
            )
        needs = [one.uri for one in card.capabilities.extensions if one.required]
        if needs:
            raise ConfigError(f"A2A agent {self.name!r} needs the extension {needs[0]!r}, which is not spoken here")

    def _tool(self, card: AgentCard, skill: AgentSkill) -> Tool:
        pinned, actual = self.pins.get(skill.id), skill_hash(card, skill)
        if pinned is not None and pinned != actual:
            raise ConfigError(
                f"A2A agent {self.name!r}: skill {skill.id!r} or its card has changed "
                f"(pinned {pinned[:12]}, now {actual[:12]}); "
                "review it and pin it anew"
            )
        name = f"a2a_{self.name}_{skill.id}"
        if not NAME.fullmatch(name):
            raise ConfigError(f"A2A agent {self.name!r}: skill id {skill.id!r} cannot be used here")

        async def run(given: Mapping[str, Any], context: ToolContext) -> str:
            return await self.call(card, skill.id, given, context)

        return schema_tool(
            name,
            f"{skill.name}: {skill.description or skill.name}"[:1_000],
            SCHEMA,
            run,
            idempotent=skill.id in self.idempotent,
            timeout_s=self.timeout_s + CANCEL_S + 1.0,
            version=actual,
            origin=f"a2a:{self.name}:{self.url}",
        )

    async def call(self, card: AgentCard, skill: str, given: Mapping[str, Any], context: ToolContext) -> str:
        """The message's id is the call's key, so that an agent that knows it does a repeated call once."""
        message = asked(given["message"], context.idempotency_key, given.get("task_id", ""))
        request = SendMessageRequest(message=message, metadata={"skill": skill})
        try:
            async with self._http(context.principal) as http:
                reply = told(await self._answered(self._client(http, card), request))
        except AgentError:
            raise
        except TROUBLES as error:
            raise ToolError(f"A2A agent {self.name!r} failed ({type(error).__name__})") from error
        except A2AError as error:
            raise ToolError(f"A2A agent {self.name!r} refuses: {error.message[:200]}") from error
        return self._shown(reply)

    async def _answered(self, client: Client, request: SendMessageRequest) -> Any:
        errand = Errand(client)
        try:
            async with asyncio.timeout(self.timeout_s):
                return await errand.run(request)
        finally:
            await errand.drop(CANCEL_S)

    def _shown(self, reply: Reply) -> str:
        text = reply.text
        if len(text) > self.result_chars_max:
            text = f"{text[: self.result_chars_max]}\n[cut at {self.result_chars_max} characters]"
        if reply.failed:
            raise ToolError(f"A2A agent {self.name!r} failed: {text}")
        if reply.waits_as:
            text += f"\n[It waits for an answer; to give one, call again with task_id {reply.waits_as!r}.]"
        return f"[from the A2A agent {self.name!r}; untrusted]\n{text}"

    def _client(self, http: httpx.AsyncClient, card: AgentCard) -> Client:
        polling = not card.capabilities.streaming
        return ClientFactory(ClientConfig(httpx_client=http, polling=polling)).create(card)

    @asynccontextmanager
    async def _http(self, caller: Principal | None) -> AsyncIterator[httpx.AsyncClient]:
        headers = {name: secrets.resolved(value) for name, value in self.headers.items()}
        headers["x-request-timeout-ms"] = str(int(self.timeout_s * 1_000))
        if self.tells_caller and caller is not None:
            headers |= {"x-tenant": caller.tenant, "x-user": caller.user}
        trust = remote.trust(self.ca_file, self.client_cert, verify=self.verify)
        transport = CappedTransport(httpx.AsyncHTTPTransport(verify=trust), self.answer_bytes_max)
        async with httpx.AsyncClient(headers=headers, timeout=self.timeout_s, transport=transport) as http:
            yield http


def origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def skill_hash(card: AgentCard, skill: AgentSkill) -> str:
    """Of everything that a model reads about the skill, and of where its messages go."""
    shown = {
        "agent": card.name,
        "description": card.description,
        "interfaces": [MessageToDict(one) for one in card.supported_interfaces],
        "skill": MessageToDict(skill),
    }
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
