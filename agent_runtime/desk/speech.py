"""The text of one answer on its way into the event log while it is being written."""

from agent_runtime.domain.todo import Shown
from agent_runtime.domain.values import RunRef
from agent_runtime.ports import Entry, EventLog
from agent_runtime.spec.agent import AgentSpec
from agent_runtime.spec.hooks import HoldBack

PIECE_CHARS = 24
"""Pieces are gathered up to this size: an entry of the log for each token would cost more than the token."""


class Speech:
    """One attempt at one turn. A further attempt first takes back what the one before has shown."""

    def __init__(self, log: EventLog, spec: AgentSpec, ref: RunRef, turn: int, attempt: int) -> None:
        self._log = log
        self._ref = ref
        self._guard = HoldBack([hook.stream for hook in spec.hooks if hook.stream is not None], ref)
        self._key = f"{ref.run_id}:turn-{turn}:{attempt}"
        self._id = self._message_id(turn, attempt)
        self._before = self._message_id(turn, attempt - 1) if attempt > 1 else None
        self._gathered = ""
        self._count = 0
        self.begun = False

    def _message_id(self, turn: int, attempt: int) -> str:
        return f"{self._ref.run_id}-{turn}" + (f".{attempt}" if attempt > 1 else "")

    async def open(self) -> None:
        if self._before is not None:
            await self._show(_discarded(self._before))

    async def hear(self, piece: str) -> None:
        self._gathered += self._guard.push(piece)
        if len(self._gathered) >= PIECE_CHARS:
            await self._flush()

    async def end(self) -> None:
        self._gathered += self._guard.end()
        await self._flush()
        if self.begun:
            await self._show({"type": "TEXT_MESSAGE_END", "messageId": self._id})

    async def discard(self) -> None:
        if self.begun:
            await self._show({"type": "TEXT_MESSAGE_END", "messageId": self._id}, _discarded(self._id))

    async def _flush(self) -> None:
        if not self._gathered:
            return
        piece, self._gathered = self._gathered, ""
        content: Shown = {"type": "TEXT_MESSAGE_CONTENT", "messageId": self._id, "delta": piece}
        if self.begun:
            await self._show(content)
            return
        self.begun = True
        await self._show({"type": "TEXT_MESSAGE_START", "messageId": self._id, "role": "assistant"}, content)

    async def _show(self, *events: Shown) -> None:
        entries = [Entry(f"{self._key}:{self._count + at}", event) for at, event in enumerate(events)]
        self._count += len(events)
        await self._log.append(self._ref.root_run_id, entries)


def _discarded(message_id: str) -> Shown:
    return {"type": "CUSTOM", "name": "message_discarded", "value": {"messageId": message_id}}
