"""One message to an agent elsewhere, until it has an answer, and what that answer says."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx
from a2a.client import Client
from a2a.client.errors import A2AClientError
from a2a.types import CancelTaskRequest, GetTaskRequest, Message, Part, Role, SendMessageRequest, Task, TaskState
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict, ParseError

FIRST_WAIT_S = 0.1
WAIT_MAX_S = 2.0
RUNNING = (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
WAITING = (TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_AUTH_REQUIRED)


@dataclass(frozen=True, slots=True)
class Reply:
    """`waits_as` is the task that goes on when it is answered."""

    text: str
    failed: bool = False
    waits_as: str = ""


class Errand:
    """Can be called off at any time, also before the remote agent has said which task it is."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._task_id = ""
        self._begun = asyncio.Event()
        self._work: asyncio.Task[Task | Message] | None = None
        self._over = False

    async def run(self, request: SendMessageRequest) -> Task | Message:
        self._work = asyncio.ensure_future(self._answered(request))
        answer = await asyncio.shield(self._work)
        self._over = True
        return answer

    async def _answered(self, request: SendMessageRequest) -> Task | Message:
        """A stream that breaks is no end: the task is asked for until it has one."""
        try:
            message = await self._followed(request)
        except A2AClientError:
            if not self._task_id:
                raise
            message = None
        return message or await self._ended()

    async def _followed(self, request: SendMessageRequest) -> Message | None:
        stream: Any = self._client.send_message(request)
        async with aclosing(stream) as events:
            async for event in events:
                if event.HasField("message"):
                    return Message.FromString(event.message.SerializeToString())
                self._task_id = event.task.id or event.status_update.task_id or event.artifact_update.task_id
                self._begun.set()
        return None

    async def _ended(self) -> Task:
        wait_s = FIRST_WAIT_S
        while True:
            task = await self._client.get_task(GetTaskRequest(id=self._task_id))
            if task.status.state not in RUNNING:
                return task
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, WAIT_MAX_S)

    async def drop(self, within_s: float) -> None:
        """Whoever does not wait any more ends the task: it would go on at somebody's cost."""
        if self._over or self._work is None:
            return
        begun = asyncio.ensure_future(self._begun.wait())
        try:
            async with asyncio.timeout(within_s):
                await asyncio.wait({self._work, begun}, return_when=asyncio.FIRST_COMPLETED)
                if self._task_id:
                    await self._client.cancel_task(CancelTaskRequest(id=self._task_id))
        except (A2AError, ParseError, httpx.HTTPError, OSError):
            return
        finally:
            begun.cancel()
            self._work.cancel()
            await asyncio.gather(begun, self._work, return_exceptions=True)


def asked(text: str, message_id: str, task_id: str) -> Message:
    return Message(message_id=message_id, task_id=task_id, role=Role.ROLE_USER, parts=[Part(text=text)])


def told(answer: Task | Message) -> Reply:
    if isinstance(answer, Message):
        return Reply(_text(answer.parts))
    state = answer.status.state
    parts = [part for artifact in answer.artifacts for part in artifact.parts]
    if state != TaskState.TASK_STATE_COMPLETED or not parts:
        parts += answer.status.message.parts
    waits_as = answer.id if state in WAITING else ""
    failed = not waits_as and state != TaskState.TASK_STATE_COMPLETED
    return Reply(_text(parts) if parts else TaskState.Name(state), failed, waits_as)


def _text(parts: Any) -> str:
    return "\n".join(map(_shown, parts)) or "Done."


def _shown(part: Part) -> str:
    if part.HasField("text"):
        return part.text
    if part.HasField("data"):
        return json.dumps(MessageToDict(part.data), ensure_ascii=False)
    return f"[a part that is no text: {part.filename or part.media_type or 'unnamed'}]"
