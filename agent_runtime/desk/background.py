"""What a run knows before it begins: memories, documents, and the conversation so far."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agent_runtime.desk.services import Services
from agent_runtime.domain.fit import window
from agent_runtime.domain.values import Message, RunRef
from agent_runtime.ports import Document, Knowledge, Retriever
from agent_runtime.spec.agent import AgentSpec
from agent_runtime.spec.hooks import HookContext, consult

RETRIEVER_TIMEOUT_S = 300.0


async def background(spec: AgentSpec, services: Services, ref: RunRef, query: str) -> tuple[Message, ...]:
    """In the order in which the model reads it."""
    parts: list[Message] = []
    if spec.memory is not None and spec.memory.recall and services.memory is not None:
        parts += await _memories(spec, services, ref, query)
    if spec.retrieval in ("prefetch", "hybrid") and spec.retrievers:
        parts += await _documents(spec, services, ref, query)
    return (*parts, *await _conversation(spec, services, ref))


async def _conversation(spec: AgentSpec, services: Services, ref: RunRef) -> tuple[Message, ...]:
    if ref.conversation_id is None:
        return ()
    with services.recorder.span("conversation.get_messages", ref):
        turns = await services.conversations.turns(ref.principal, ref.conversation_id)
    past = [message for turn in turns if turn.run_id != ref.run_id for message in turn.messages]
    return window(past, spec.history_size)


async def _memories(spec: AgentSpec, services: Services, ref: RunRef, query: str) -> list[Message]:
    use, memory = spec.memory, services.memory
    if use is None or memory is None:
        return []
    about = HookContext(ref)
    wanted, _ = await consult(spec.hooks, "before_memory_load", query, about)
    with services.recorder.span("memory.recall", ref), _measured(services, "memory.recall", agent=spec.name):
        found = await memory.recall(ref.principal, spec.name, wanted, use.limit, use.score_min)
    text = "\n".join(f"- {one.text}" for one in found)
    text, _ = await consult(spec.hooks, "after_memory_load", text, about)
    return [Message("user", f"Relevant memories:\n{text}")] if text else []


async def _documents(spec: AgentSpec, services: Services, ref: RunRef, query: str) -> list[Message]:
    """A retriever that fails is left out; if all do, the run goes on without documents, and it is counted."""
    wanted, _ = await consult(spec.hooks, "before_retrieve", query, HookContext(ref))
    with services.recorder.span("retriever.search", ref):
        searches = [_search(spec, services, one, wanted) for one in spec.retrievers]
        found = await asyncio.gather(*searches, return_exceptions=True)
    documents: list[Document] = []
    for one in found:
        if not isinstance(one, BaseException):
            documents += one
    text, _ = await consult(spec.hooks, "after_retrieve", shown(documents), HookContext(ref, untrusted=True))
    return [Message("user", f"Relevant context:\n{text}")] if text else []


async def _search(spec: AgentSpec, services: Services, retriever: Retriever, query: str) -> list[Document]:
    with _measured(services, "retriever", agent=spec.name, retriever=retriever.name):
        async with asyncio.timeout(RETRIEVER_TIMEOUT_S):
            return await retriever.search(query)


@contextmanager
def _measured(services: Services, what: Knowledge, **about: str) -> Iterator[None]:
    started_s, failed = services.clock.now_s(), True
    try:
        yield
        failed = False
    finally:
        services.recorder.knowledge_call(what, services.clock.now_s() - started_s, failed=failed, **about)


def shown(documents: list[Document]) -> str:
    return "\n".join(
        f"[{number}] {one.content} ({one.source}, {one.score:.2f})" for number, one in enumerate(documents, start=1)
    )
