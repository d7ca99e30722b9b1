"""An MCP server for tests, over stdio, or over HTTP when a port is given."""

import os
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("lab", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(description=os.environ.get("LAB_ABOUT", "Tells what the environment holds."))
def secret() -> str:
    return os.environ.get("LAB_TOKEN", "nothing")


@server.tool()
def long(letters: int) -> str:
    """A long text."""
    return "x" * letters


@server.tool()
def fails() -> str:
    """Fails."""
    raise ValueError("broken inside")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
