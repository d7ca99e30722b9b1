"""MCP servers: real ones, over stdio and HTTP, and what is refused about them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_runtime.connectors.mcp import McpServer
from agent_runtime.connectors.scripted import Line
from agent_runtime.contracts.errors import ConfigError, ToolError
from agent_runtime.domain.values import RunRef
from agent_runtime.tools.tool import ToolContext
from tests.agent_runtime.cast import ANN, agent
from tests.ports import free_port

SERVER = Path(__file__).parent / "mcp_server.py"
STDIO = (sys.executable, str(SERVER))
CONTEXT = ToolContext(RunRef("r", "main", ANN, "r"), "c", "k")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([*STDIO, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until_s = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=1)
            break
        except httpx.HTTPError:
            assert time.monotonic() < until_s, "the MCP server does not start"
            time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait()


async def test_row_22_a_servers_tools_become_an_agents_and_their_arguments_are_checked() -> None:
    tools = await McpServer("lab", command=STDIO, allow=("add",)).tools()
    assert [tool.name for tool in tools] == ["mcp_lab_add"]
    script = [Line(calls=(("mcp_lab_add", {"a": 2, "b": 3}), ("mcp_lab_add", {"a": "two"}))), Line("ok")]
    result = await agent(script, tools=tools).run("go")
    assert result.messages[2].text == "[from the MCP server 'lab'; untrusted]\n5"
    assert "cannot be used" in result.messages[3].text


async def test_row_22_only_what_is_allowed_is_offered(url: str) -> None:
    both = await McpServer("lab", url=url, allow=("add", "long")).tools()
    assert [tool.name for tool in both] == ["mcp_lab_add", "mcp_lab_long"]
    assert len(await McpServer("lab", url=url, allow=("*",)).tools()) == 4
    with pytest.raises(ConfigError, match="offers no 'sub'"):
        await McpServer("lab", url=url, allow=("sub",)).tools()


async def test_row_22_a_pinned_tool_that_changes_is_refused() -> None:
    server = McpServer("lab", command=STDIO)
    pin = next(tool.version for tool in await server.tools() if tool.name == "mcp_lab_add")
    assert await McpServer("lab", command=STDIO, allow=("add",), pins={"add": pin}).tools()
    with pytest.raises(ConfigError, match="has changed"):
        await McpServer("lab", command=STDIO, allow=("add",), pins={"add": "0" * 64}).tools()


async def test_row_22_a_pinned_tool_that_changes_after_it_was_taken_in_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_SOURCE", "Tells what the environment holds.")
    facts: dict[str, Any] = {"command": STDIO, "env": {"LAB_ABOUT": "env:LAB_SOURCE", "LAB_TOKEN": "env:LAB_SOURCE"}}
    [seen] = await McpServer("lab", allow=("secret",), **facts).tools()
    [tool] = await McpServer("lab", allow=("secret",), pins={"secret": seen.version}, **facts).tools()
    assert "Tells what" in await tool.run({}, CONTEXT)
    monkeypatch.setenv("LAB_SOURCE", "Tells it to somebody else.")
    with pytest.raises(ToolError, match=r"'secret' has changed .* pin it anew"):
        await tool.run({}, CONTEXT)
    assert "somebody else" in await seen.run({}, CONTEXT)
    with pytest.raises(ToolError, match="offers no 'gone' any more"):
        await McpServer("lab", pins={"gone": "0" * 64}, **facts).call("gone", {})


async def test_row_22_results_are_cut_and_errors_are_errors(url: str) -> None:
    server = McpServer("lab", url=url, allow=("*",), result_chars_max=50)
    assert "[cut at 50 characters]" in await server.call("long", {"letters": 1_000})
    with pytest.raises(ToolError, match="Error executing tool fails"):
        await server.call("fails", {})


async def test_row_24_secrets_are_resolved_at_use_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("from a file\n")
    server = McpServer("lab", command=STDIO, env={"LAB_TOKEN": f"file:{token}"})
    assert "from a file" in await server.call("secret", {})
    monkeypatch.setenv("LAB_SOURCE", "from the environment")
    server = McpServer("lab", command=STDIO, env={"LAB_TOKEN": "env:LAB_SOURCE"})
    assert "from the environment" in await server.call("secret", {})
    tools = await McpServer("lab", command=STDIO, allow=("secret",), env={"LAB_TOKEN": "env:LAB_SOURCE"}).tools()
    assert "from the environment" not in repr(agent([], tools=tools).spec)
    with pytest.raises(ConfigError, match="cannot be read"):
        await McpServer("lab", command=STDIO, env={"LAB_TOKEN": "env:NOT_THERE"}).call("secret", {})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"url": "https://mcp.example/mcp"}, "allow is empty; name the tools"),
        ({"url": "http://mcp.example/mcp", "allow": ("a",)}, "only https leaves this machine"),
        ({"url": "https://mcp.example", "allow": ("a",), "verify": False, "production": True}, "verify is False"),
        ({"url": "https://u:p@mcp.example", "allow": ("a",)}, "url holds a password"),
        ({"url": "https://mcp.example", "allow": ("a",), "headers": {"Authorization": "Bearer abc"}}, "plain text"),
        ({"url": "https://x.example", "allow": ("a",), "headers": {"x": "sk-abcdefghijklmnopqrstu"}}, "plain text"),
        ({}, "either command"),
        ({"url": "https://x.example", "command": ("a",), "allow": ("a",)}, "either command"),
    ],
)
def test_row_22_23_43_wrong_servers_are_refused_when_they_are_written_down(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        McpServer("lab", **facts)
    assert said in str(caught.value)
    assert "sk-abc" not in str(caught.value)


def test_row_23_an_own_authority_and_certificates_are_taken() -> None:
    context = McpServer("lab", url="https://x.example", allow=("a",))._trust()
    assert context.check_hostname
    assert context.minimum_version.name == "TLSv1_2"


async def test_row_25_what_a_server_offers_is_part_of_the_fingerprint() -> None:
    one = await McpServer("lab", command=STDIO, allow=("add",)).tools()
    more = await McpServer("lab", command=STDIO, allow=("add", "long")).tools()
    prints = {agent([], tools=tools).fingerprint for tools in (one, one, more)}
    assert len(prints) == 2


async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="'gone' does not answer"):
        await McpServer("gone", url=f"http://127.0.0.1:{free_port()}/mcp", allow=("*",), timeout_s=2).tools()
