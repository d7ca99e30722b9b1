"""Retrievers and long-term memory as tools of an agent."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_runtime.ports import Memory, Recollection, Retriever
from agent_runtime.spec.agent import MemoryUse
from agent_runtime.tools.tool import Tool, ToolContext, schema_tool

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
    agent: str, retrievers: Sequence[Retriever], use: MemoryUse | None, memory: Memory | None
) -> tuple[Tool, ...]:
    tools = tuple(_retriever(one) for one in retrievers)
    if use is not None and use.save_tool and memory is not None:
        return (*tools, _saver(agent, memory))
    return tools


def _retriever(one: Retriever) -> Tool:
    async def search(given: Mapping[str, Any], context: ToolContext) -> str:
        del context
        found = await one.search(str(given["query"]))
        shown = [{"content": d.content, "source": d.source, "score": round(d.score, 3)} for d in found]
        return json.dumps(shown, ensure_ascii=False)

    name = "retriever_" + re.sub(r"[^A-Za-z0-9]+", "_", one.name)
    facts: dict[str, Any] = {"risk": "read", "idempotent": True, "origin": "retriever"}
    return schema_tool(name, f"Search {one.name} for documents.", SEARCH_SCHEMA, search, **facts)


def _saver(agent: str, memory: Memory) -> Tool:
    async def save(given: Mapping[str, Any], context: ToolContext) -> str:
        one = Recollection(str(given["text"]), str(given.get("kind", "note")))
        await memory.store(context.principal, agent, one)
        return "Saved."

    text = "Keep something about this user for later conversations."
    return schema_tool("save_memory", text, SAVE_SCHEMA, save, idempotent=True)
