"""One number for everything about an agent that a run depends on."""

import hashlib
import importlib.metadata
import json
from dataclasses import asdict
from typing import Any

from agent_runtime.spec.agent import AgentSpec
from agent_runtime.tools.tool import Tool

FORMAT = 1
"""Raise it when the same agent would behave differently under a new version of this runtime."""


def fingerprint(spec: AgentSpec) -> str:
    """SHA-256 over canonical JSON; no secret is in it."""
    text = json.dumps(digest(spec), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest(spec: AgentSpec) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "runtime": importlib.metadata.version("meterway"),
        "name": spec.name,
        "version": spec.version,
        "model": spec.model,
        "cheaper_model": spec.cheaper_model,
        "instructions": spec.instructions,
        "description": spec.description,
        "tools": [_tool(tool) for tool in sorted(spec.tools, key=lambda tool: tool.name)],
        "sub_agents": [fingerprint(one) for one in sorted(spec.sub_agents, key=lambda one: one.name)],
        "mode": spec.mode.value,
        "limits": asdict(spec.settled),
        "policy": spec.policy.digest,
        "authorizers": [_name(one) for one in spec.authorizers],
        "approvers": list(spec.approvers),
        "sequential": spec.sequential,
        "output": spec.output,
        "options": dict(spec.options),
        "hooks": [[hook.name, hook.version, sorted(hook.points)] for hook in spec.hooks],
        "retrievers": [[one.name for one in spec.retrievers], spec.retrieval],
        "memory": None if spec.memory is None else asdict(spec.memory),
        "history_size": spec.history_size,
    }


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "schema": tool.schema,
        "version": tool.version,
        "risk": tool.risk,
        "exclusive": tool.exclusive,
        "idempotent": tool.idempotent,
        "timeout_s": tool.timeout_s,
        "authorizers": [_name(one) for one in tool.authorizers],
        "origin": tool.origin,
    }


def _name(one: Any) -> str:
    return getattr(one, "__qualname__", type(one).__qualname__)
