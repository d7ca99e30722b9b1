"""The command `meterway-agent`."""

from agent_runtime.cli.commands import main

__all__ = ["main"]
