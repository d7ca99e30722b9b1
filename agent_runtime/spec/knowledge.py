"""Retrievers and long-term memory as tools of an agent."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_runtime.contracts.errors import ToolError
from agent_runtime.ports import Recollection, Retriever
from agent_runtime.spec.agent import MemoryUse
from agent_runtime.spec.hooks import Hook, HookContext, consult
from agent_runtime.tools.tool import Tool, ToolContext, schema_tool

RETRIEVER = "retriever"
"""What the origin of a tool that searches begins with; its own name follows."""
SAVE_MEMORY = "save_memory"
SEARCH_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string"}},
    "required": ["query"],
    "additionalProperties": False,
}
SAVE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 2_000},
        "kind": {"enum": ["fact", "preference", "instruction", "note", "decision"]},
    },
    "required": ["text"],
    "additionalProperties": False,
}


def knowledge_tools(
    agent: str, retrievers: Sequence[Retriever], use: MemoryUse | None, hooks: Sequence[Hook]
) -> tuple[Tool, ...]:
    """The same wherever the agent is built; the store is the one that its run is given."""
    tools = tuple(_retriever(one, hooks) for one in retrievers)
    return (*tools, _saver(agent, hooks)) if use is not None and use.save_tool else tools


def _retriever(one: Retriever, hooks: Sequence[Hook]) -> Tool:
    async def search(given: Mapping[str, Any], context: ToolContext) -> str:
        about = HookContext(context.ref, tool=one.name, untrusted=True)
        query, _ = await consult(hooks, "before_retrieve", str(given["query"]), about)
        found = await one.search(query)
        shown = [{"content": d.content, "source": d.source, "score": round(d.score, 3)} for d in found]
        text, _ = await consult(hooks, "after_retrieve", json.dumps(shown, ensure_ascii=False), about)
        return str(text)

    name = "retriever_" + re.sub(r"[^A-Za-z0-9]+", "_", one.name)
    facts: dict[str, Any] = {"risk": "read", "idempotent": True, "origin": f"{RETRIEVER}:{one.name}"}
    return schema_tool(name, f"Search {one.name} for documents.", SEARCH_SCHEMA, search, **facts)


def _saver(agent: str, hooks: Sequence[Hook]) -> Tool:
    async def save(given: Mapping[str, Any], context: ToolContext) -> str:
        if context.memory is None:
            raise ToolError("there is no long-term memory here")
        about = HookContext(context.ref, tool=SAVE_MEMORY)
        text, _ = await consult(hooks, "before_memory_store", str(given["text"]), about)
        known = await context.memory.store(context.principal, agent, Recollection(text, str(given.get("kind", "note"))))
        await consult(hooks, "after_memory_store", known, about)
        return "Saved."

    text = "Keep something about this user for later conversations."
    return schema_tool(SAVE_MEMORY, text, SAVE_SCHEMA, save, idempotent=True)
