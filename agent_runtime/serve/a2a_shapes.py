"""Runs in the shapes of the A2A protocol: cards, tasks, and what a message asks for."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Artifact,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import ContentTypeNotSupportedError
from google.protobuf.json_format import MessageToDict, ParseDict

from agent_runtime.contracts.run import RunOutcome
from agent_runtime.domain.approval import Approval
from agent_runtime.domain.values import RunRef
from agent_runtime.spec.agent import AgentSpec

TEXT = "text/plain"
VERSIONS = ("1.0", "0.3")
ASKED = {"tool": "The tool", "delegation": "The delegation to", "budget": "More budget for"}
HOW = 'To decide, send a data part {"approvalId": ..., "approve": true or false} with this taskId.'


def card_of(spec: AgentSpec, base: str) -> AgentCard:
    """`base` is the address that the caller used. Only what any caller may know is in it."""
    description = spec.description or f"{spec.name} is an AI agent."
    url = f"{base}/agents/{spec.name}/a2a"
    return AgentCard(
        name=spec.name,
        description=description,
        version=spec.version,
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version) for version in VERSIONS
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=False),
        default_input_modes=[TEXT],
        default_output_modes=[TEXT],
        skills=[AgentSkill(id=spec.name, name=spec.name, description=description, tags=["agent"])],
    )


def said(message: Message) -> tuple[str, list[dict[str, Any]]]:
    """Its text, and its decisions about approvals; other data is text for the agent."""
    texts: list[str] = []
    decisions: list[dict[str, Any]] = []
    for part in message.parts:
        if part.HasField("text"):
            texts.append(part.text)
        elif part.HasField("data"):
            data: Any = MessageToDict(part.data)
            if isinstance(data, dict) and "approvalId" in data:
                decisions.append(data)
            else:
                texts.append(json.dumps(data, ensure_ascii=False))
        else:
            raise ContentTypeNotSupportedError("only text and data can be sent to this agent")
    return "\n".join(texts), decisions


def waits(task: Task) -> bool:
    return bool(task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED)


def rests(task: Task) -> bool:
    """Nothing more happens to it until somebody does something."""
    return bool(task.status.state != TaskState.TASK_STATE_WORKING)


def task_of(ref: RunRef, status: TaskStatus, artifacts: Sequence[Artifact] = ()) -> Task:
    return Task(id=ref.run_id, context_id=ref.thread_id, status=status, artifacts=artifacts)


def update_of(ref: RunRef, status: TaskStatus) -> TaskStatusUpdateEvent:
    return TaskStatusUpdateEvent(task_id=ref.run_id, context_id=ref.thread_id, status=status)


def artifact_update_of(ref: RunRef, artifact: Artifact) -> TaskArtifactUpdateEvent:
    return TaskArtifactUpdateEvent(task_id=ref.run_id, context_id=ref.thread_id, artifact=artifact, last_chunk=True)


def working(ref: RunRef, text: str = "", message_id: str = "") -> TaskStatus:
    if not text:
        return TaskStatus(state=TaskState.TASK_STATE_WORKING)
    return TaskStatus(state=TaskState.TASK_STATE_WORKING, message=_message(ref, message_id, [Part(text=text)]))


def asks(ref: RunRef, pending: Sequence[Approval]) -> TaskStatus:
    """Everything that a person has to know to decide, as text and as data."""
    lines = [f"{ASKED[one.kind]} {one.name!r} waits for an approval: {one.arguments}" for one in pending]
    parts = [Part(text="\n".join([*lines, HOW])), *map(_approval, pending)]
    message = _message(ref, f"{ref.run_id}-asks-{pending[0].id}", parts)
    return TaskStatus(state=TaskState.TASK_STATE_INPUT_REQUIRED, message=message)


def ended(ref: RunRef, run: RunOutcome) -> TaskStatus:
    """The one end that a task has; of an error users read what they may read."""
    if run.error is None:
        return TaskStatus(state=TaskState.TASK_STATE_COMPLETED)
    if run.status == "cancelled":
        return TaskStatus(state=TaskState.TASK_STATE_CANCELED)
    message = _message(ref, f"{ref.run_id}-end", [Part(text=run.error.user_message())])
    return TaskStatus(state=TaskState.TASK_STATE_FAILED, message=message)


def artifacts_of(run: RunOutcome) -> list[Artifact]:
    if run.error is not None or not run.outcome.text:
        return []
    return [Artifact(artifact_id="answer", name="answer", parts=[Part(text=run.outcome.text, media_type=TEXT)])]


def _message(ref: RunRef, message_id: str, parts: Sequence[Part]) -> Message:
    return Message(
        message_id=message_id, role=Role.ROLE_AGENT, task_id=ref.run_id, context_id=ref.thread_id, parts=parts
    )


def _approval(one: Approval) -> Part:
    facts = asdict(one)
    shown = {"approvalId": facts["id"], "timeoutS": facts["timeout_s"]}
    shown |= {name: facts[name] for name in ("kind", "name", "arguments", "risk")}
    part = Part()
    ParseDict(shown, part.data)
    return part
