"""Tools of MCP servers: which are let in, how they are pinned, and what their answers may be."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent
from mcp_types import Tool as Offered

from agent_runtime.connectors import remote, secrets
from agent_runtime.contracts.errors import ConfigError, ToolError
from agent_runtime.tools.tool import NAME, Tool, ToolContext, schema_tool

TIMEOUT_S = 30.0
ATTEMPTS_MAX = 3
WAIT_S = 0.05
RESULT_CHARS_MAX = 20_000
TOOLS_MAX = 500


@dataclass(frozen=True, slots=True)
class McpServer:
    """Either `command` (stdio) or `url` (streamable HTTP). `allow` names the tools; ("*",) takes all of them.

    `pins` holds the hash of each tool's schema as it was reviewed; a server that changes one is refused, also
    at the call: its answer comes from the session in which the hash was looked at.
    """

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    pins: Mapping[str, str] = field(default_factory=dict)
    idempotent: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S
    result_chars_max: int = RESULT_CHARS_MAX
    ca_file: str | None = None
    client_cert: tuple[str, str] | None = None
    verify: bool = True
    production: bool = False

    def __post_init__(self) -> None:
        found = list(filter(None, (*self._transport(), *self._secrets())))
        if found:
            raise ConfigError(f"MCP server {self.name!r}: " + "; ".join(found))

    def _transport(self) -> list[str | None]:
        if bool(self.command) == bool(self.url):
            return ["give either command (stdio) or url (streamable HTTP)"]
        if not self.url:
            return []
        found = remote.problems(self.url, self.allow, offers="tools", verify=self.verify, production=self.production)
        return list(found)

    def _secrets(self) -> list[str | None]:
        return [secrets.problem(name, value) for name, value in (*self.headers.items(), *self.env.items())]

    async def tools(self) -> list[Tool]:
        """Asks the server what it offers, and takes what is allowed."""
        offered = {one.name: one for one in await self._listed()}
        wanted = list(offered) if self.allow in ((), ("*",)) else list(self.allow)
        missing = [name for name in wanted if name not in offered]
        if missing:
            raise ConfigError(f"MCP server {self.name!r} offers no {missing[0]!r}; it has {sorted(offered)!r}")
        return [self._tool(offered[name]) for name in wanted]

    async def _listed(self) -> list[Offered]:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with asyncio.timeout(self.timeout_s), self._session() as client:
                    return await _all_tools(client)
            except (OSError, TimeoutError, MCPError, httpx2.HTTPError, ExceptionGroup) as error:
                if attempt == ATTEMPTS_MAX:
                    text = f"MCP server {self.name!r} does not answer ({type(error).__name__}); check that it runs"
                    raise ConfigError(text) from error
                await asyncio.sleep(WAIT_S * attempt)
        raise AssertionError("the last attempt returns or raises")

    def _changed(self, offered: Offered) -> str | None:
        pinned, actual = self.pins.get(offered.name), schema_hash(offered)
        if pinned is None or pinned == actual:
            return None
        return (
            f"MCP server {self.name!r}: tool {offered.name!r} has changed "
            f"(pinned {pinned[:12]}, now {actual[:12]}); review it and pin it anew"
        )

    def _tool(self, offered: Offered) -> Tool:
        if (why := self._changed(offered)) is not None:
            raise ConfigError(why)
        name = f"mcp_{self.name}_{offered.name}"
        if not NAME.fullmatch(name):
            raise ConfigError(f"MCP server {self.name!r}: tool name {offered.name!r} cannot be used here")

        async def run(given: Mapping[str, Any], context: ToolContext) -> str:
            del context
            return await self.call(offered.name, given)

        return schema_tool(
            name,
            (offered.description or offered.name)[:1_000],
            offered.input_schema,
            run,
            idempotent=offered.name in self.idempotent,
            timeout_s=self.timeout_s,
            version=schema_hash(offered),
            origin=f"mcp:{self.name}:{self.url or ' '.join(self.command)}",
        )

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Once: whether it may be repeated is not the server's to say. An error of the tool is one of ours."""
        try:
            async with asyncio.timeout(self.timeout_s), self._session() as client:
                result = await self._drifted(client, tool) or await client.call_tool(tool, dict(arguments))
        except (MCPError, httpx2.HTTPError, OSError, ExceptionGroup) as error:
            raise ToolError(f"MCP server {self.name!r} failed ({type(error).__name__})") from error
        if isinstance(result, str):
            raise ToolError(result)
        text = text_of(result)
        if len(text) > self.result_chars_max:
            text = f"{text[: self.result_chars_max]}\n[cut at {self.result_chars_max} characters]"
        if result.is_error:
            raise ToolError(text)
        return f"[from the MCP server {self.name!r}; untrusted]\n{text}"

    async def _drifted(self, client: Client, tool: str) -> str | None:
        """Why it is not called. A server may offer one thing when it is reviewed and another one when it is called."""
        if tool not in self.pins:
            return None
        offered = next((one for one in await _all_tools(client) if one.name == tool), None)
        return f"MCP server {self.name!r} offers no {tool!r} any more" if offered is None else self._changed(offered)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Client]:
        if self.command:
            env = {name: secrets.resolved(value) for name, value in self.env.items()}
            server = StdioServerParameters(command=self.command[0], args=list(self.command[1:]), env=env)
            async with Client(server, read_timeout_seconds=self.timeout_s) as client:
                yield client
            return
        headers = {name: secrets.resolved(value) for name, value in self.headers.items()}
        async with httpx2.AsyncClient(headers=headers, timeout=self.timeout_s, verify=self._trust()) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, read_timeout_seconds=self.timeout_s) as client:
                yield client

    def _trust(self) -> ssl.SSLContext:
        return remote.trust(self.ca_file, self.client_cert, verify=self.verify)


async def _all_tools(client: Client) -> list[Offered]:
    found: list[Offered] = []
    cursor: str | None = None
    while len(found) < TOOLS_MAX:
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def schema_hash(offered: Offered) -> str:
    """Of everything that a model reads about the tool."""
    shown = {"name": offered.name, "description": offered.description, "schema": offered.input_schema}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def text_of(result: CallToolResult) -> str:
    texts = [one.text for one in result.content if isinstance(one, TextContent)]
    if texts:
        return "\n".join(texts)
    if result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "Done." if not result.content else f"[{len(result.content)} parts that are no text]"
