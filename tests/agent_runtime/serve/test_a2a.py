"""Agents over A2A: the official client, and ours, against what `meterway-agent serve` serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict, ParseDict

from agent_runtime.api import Agent
from agent_runtime.cli.running import listening
from agent_runtime.connectors.a2a import A2aAgent
from agent_runtime.connectors.scripted import Line
from agent_runtime.contracts.errors import NotAllowed
from agent_runtime.desk.services import Services
from agent_runtime.domain.shown import USER_TEXT
from agent_runtime.domain.values import Failure, Principal, RunRef
from agent_runtime.serve.app import agent_app
from agent_runtime.tools.access import RequireAll
from agent_runtime.tools.tool import Tool, ToolContext
from tests.agent_runtime.cast import Props, agent, asked, calls
from tests.ports import free_port

ANN = {"x-tenant": "acme", "x-user": "ann"}
EVE = {"x-tenant": "evil", "x-user": "ann"}
TALK = "some words that are long enough for more than one piece of text"
ENDS = (
    TaskState.TASK_STATE_COMPLETED,
    TaskState.TASK_STATE_FAILED,
    TaskState.TASK_STATE_CANCELED,
    TaskState.TASK_STATE_REJECTED,
)


class Host:
    def __init__(self, one: Agent, url: str, stack: AsyncExitStack) -> None:
        self.agent = one
        self.url = url
        self._stack = stack

    @property
    def services(self) -> Services:
        assert self.agent.services is not None
        return self.agent.services

    async def client(self, headers: dict[str, str] = ANN, *, streaming: bool = True, **more: Any) -> Client:
        http = await self._stack.enter_async_context(httpx.AsyncClient(headers=headers, timeout=20))
        card = await A2ACardResolver(http, f"{self.url}/agents/{self.agent.spec.name}").get_agent_card()
        return ClientFactory(ClientConfig(httpx_client=http, streaming=streaming, **more)).create(card)


@asynccontextmanager
async def host(one: Agent) -> AsyncIterator[Host]:
    assert one.services is not None
    port = free_port()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(one.close)
        stack.push_async_callback(await listening(agent_app([one], one.services, checks={}), "127.0.0.1", port))
        yield Host(one, f"http://127.0.0.1:{port}", stack)


@pytest.fixture
async def house() -> AsyncIterator[Host]:
    async with host(agent([calls("look"), Line(TALK)])) as made:
        yield made


@pytest.fixture
async def asking() -> AsyncIterator[Host]:
    async with host(agent([calls("delete", path="x"), Line("ok")], Props(), policy=RequireAll())) as made:
        yield made


@pytest.fixture
async def endless() -> AsyncIterator[Host]:
    async with host(agent([calls("forever"), Line("never")])) as made:
        yield made


def message(text: str = "go", message_id: str = "m", **facts: Any) -> SendMessageRequest:
    parts = [Part(text=text)] if text else []
    return SendMessageRequest(message=Message(message_id=message_id, role=Role.ROLE_USER, parts=parts, **facts))


def decision(task: Task, *, approve: bool, **more: Any) -> SendMessageRequest:
    request = message("", "decision", task_id=task.id)
    ParseDict(
        {"approvalId": asked_of(task)["approvalId"], "approve": approve, **more}, request.message.parts.add().data
    )
    return request


def asked_of(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(task.status.message.parts[1].data)
    return found


async def sent(client: Client, request: SendMessageRequest) -> list[StreamResponse]:
    return [event async for event in client.send_message(request)]


async def done(client: Client, request: SendMessageRequest) -> Task:
    """Of a client that does not stream."""
    (event,) = await sent(client, request)
    return event.task


async def test_the_card_is_at_the_well_known_paths_and_says_no_more_than_anybody_may_know(house: Host) -> None:
    async with httpx.AsyncClient() as http:
        first, own = [
            (await http.get(f"{house.url}{path}/.well-known/agent-card.json")).json() for path in ("", "/agents/main")
        ]
    assert first == own
    assert (own["name"], own["description"]) == ("main", "main is an AI agent.")
    assert own["capabilities"]["streaming"] is True
    assert {one["url"] for one in own["supportedInterfaces"]} == {f"{house.url}/agents/main/a2a"}
    assert "look" not in str(own)
    assert "Be brief" not in str(own)


async def test_a_message_is_answered_whole_and_its_task_can_be_read(house: Host) -> None:
    client = await house.client(streaming=False)
    task = await done(client, message())
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert [part.text for part in task.artifacts[0].parts] == [TALK]
    assert await client.get_task(GetTaskRequest(id=task.id)) == task
    entry = await house.services.runs.get(task.id)
    assert entry is not None
    assert entry.ref.principal == Principal("acme", "ann")


async def test_a_stream_shows_its_text_as_it_comes_and_has_one_end(house: Host) -> None:
    client = await house.client()
    events = await sent(client, message())
    assert events[0].task.status.state == TaskState.TASK_STATE_WORKING
    updates = [one.status_update.status for one in events if one.HasField("status_update")]
    pieces = [part.text for one in updates for part in one.message.parts]
    assert ("".join(pieces), len(pieces) > 1) == (TALK, True)
    assert [one.state for one in updates if one.state in ENDS] == [TaskState.TASK_STATE_COMPLETED]
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
    artifacts = [one.artifact_update.artifact for one in events if one.HasField("artifact_update")]
    assert [artifact.parts[0].text for artifact in artifacts] == [TALK]
    assert artifacts == list((await client.get_task(GetTaskRequest(id=events[0].task.id))).artifacts)


async def test_row_17_the_same_message_is_the_same_task_and_a_context_goes_on(house: Host) -> None:
    client = await house.client(streaming=False)
    first = await done(client, message())
    assert await done(client, message()) == first
    other = await done(client, message("more", "m2", context_id=first.context_id))
    assert (other.id != first.id, other.context_id) == (True, first.context_id)
    turns = await house.services.conversations.turns(Principal("acme", "ann"), first.context_id)
    assert [turn.run_id for turn in turns] == [first.id, other.id]
    bob = await done(await house.client({"x-tenant": "acme", "x-user": "bob"}, streaming=False), message())
    assert bob.id not in (first.id, other.id)


async def test_row_19_an_approval_is_told_as_input_required_and_decided_in_the_task(asking: Host) -> None:
    client = await asking.client(streaming=False)
    task = await done(client, message())
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert "The tool 'delete' waits for an approval" in task.status.message.parts[0].text
    assert asked_of(task)["arguments"] == '{"path": "x"}'
    assert (await client.get_task(GetTaskRequest(id=task.id))).status == task.status
    ended = await done(client, decision(task, approve=True, arguments={"path": "y"}))
    assert (ended.id, ended.status.state) == (task.id, TaskState.TASK_STATE_COMPLETED)
    assert ended.artifacts[0].parts[0].text == "ok"
    with pytest.raises(UnsupportedOperationError, match="is over"):
        await done(client, decision(task, approve=False))


async def test_row_19_a_stream_ends_where_a_person_is_asked_and_goes_on_with_the_decision(asking: Host) -> None:
    client = await asking.client()
    events = await sent(client, message())
    assert events[-1].status_update.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    task = Task(id=events[0].task.id, status=events[-1].status_update.status)
    more = await sent(client, decision(task, approve=False, comment="no"))
    states = [one.status_update.status.state for one in more if one.HasField("status_update")]
    assert [state for state in states if state in ENDS] == [TaskState.TASK_STATE_COMPLETED]
    assert TaskState.TASK_STATE_INPUT_REQUIRED not in states


async def test_row_19_only_approvers_decide() -> None:
    one = agent([calls("delete", path="x"), Line("ok")], policy=RequireAll(), approvers=["lead"])
    async with host(one) as made:
        client = await made.client(streaming=False)
        task = await done(client, message())
        with pytest.raises(InvalidRequestError, match="may not decide here"):
            await done(client, decision(task, approve=True))
        boss = await made.client({"x-tenant": "acme", "x-user": "boss", "x-scopes": "lead"}, streaming=False)
        assert (await done(boss, decision(task, approve=True))).status.state == TaskState.TASK_STATE_COMPLETED


async def test_a_task_is_cancelled_once(endless: Host) -> None:
    client = await endless.client(streaming=False, polling=True)
    task = await done(client, message())
    assert task.status.state == TaskState.TASK_STATE_WORKING
    cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
    assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
    assert not cancelled.artifacts
    with pytest.raises(TaskNotCancelableError):
        await client.cancel_task(CancelTaskRequest(id=task.id))


async def test_row_59_a_task_can_be_followed_by_whoever_comes_later(endless: Host) -> None:
    client = await endless.client()
    stream = client.send_message(message())
    task = (await anext(stream)).task
    later = client.subscribe(SubscribeToTaskRequest(id=task.id))
    assert (await anext(later)).task.id == task.id
    await client.cancel_task(CancelTaskRequest(id=task.id))
    for events in (later, stream):
        states = [one.status_update.status.state async for one in events if one.HasField("status_update")]
        assert states == [TaskState.TASK_STATE_CANCELED]
    with pytest.raises(UnsupportedOperationError):
        await anext(client.subscribe(SubscribeToTaskRequest(id=task.id)))


async def test_row_46_other_peoples_tasks_are_not_there(asking: Host) -> None:
    task = await done(await asking.client(streaming=False), message())
    for headers in (EVE, {"x-tenant": "acme", "x-user": "bob"}):
        other = await asking.client(headers, streaming=False)
        for call in (
            other.get_task(GetTaskRequest(id=task.id)),
            other.cancel_task(CancelTaskRequest(id=task.id)),
            done(other, decision(task, approve=True)),
        ):
            with pytest.raises(TaskNotFoundError):
                await call


async def test_nobody_is_refused_as_everywhere_in_the_house(house: Host) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{house.url}/agents/main/a2a", json={"jsonrpc": "2.0", "id": 1, "method": "GetTask"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, NotAllowed.kind)


async def test_a_body_has_a_size(house: Host) -> None:
    async with httpx.AsyncClient(headers=ANN) as http:
        answer = await http.post(f"{house.url}/agents/main/a2a", content=b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, "larger than" in answer.text) == (400, True)


async def test_what_went_wrong_is_told_as_users_may_read_it() -> None:
    failure = Failure("provider_error", "secret detail of the provider", "provider")
    async with host(agent([Line(fails=failure)])) as made:
        task = await done(await made.client(streaming=False), message())
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert task.status.message.parts[0].text == USER_TEXT["provider"]
    assert "secret" not in str(task)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (message("go", ""), InvalidParamsError),
        (message(""), InvalidParamsError),
        (message("go", "x" * 129), InvalidParamsError),
        (message("go", task_id="run-nobody"), TaskNotFoundError),
        (
            SendMessageRequest(message=Message(message_id="m", role=Role.ROLE_USER, parts=[Part(url="http://x")])),
            A2AError,
        ),
    ],
    ids=["no id", "no parts", "a long id", "no such task", "a file"],
)
async def test_wrong_messages_are_refused(house: Host, request_: SendMessageRequest, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await done(await house.client(streaming=False), request_)


async def test_a_deadline_that_comes_along_is_kept(endless: Host) -> None:
    client = await endless.client({**ANN, "x-request-timeout-ms": "200"}, streaming=False)
    task = await done(client, message())
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert task.status.message.parts[0].text == USER_TEXT["timeout"]
    with pytest.raises(InvalidParamsError, match="x-request-timeout-ms"):
        await done(await endless.client({**ANN, "x-request-timeout-ms": "soon"}, streaming=False), message())


async def test_what_is_not_offered_is_said(house: Host) -> None:
    with pytest.raises(UnsupportedOperationError, match="tasks are not listed"):
        await (await house.client()).list_tasks(ListTasksRequest())


async def test_callers_of_the_protocols_version_0_3_are_served(house: Host) -> None:
    said = {"messageId": "old", "role": "user", "kind": "message", "parts": [{"kind": "text", "text": "go"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": said}}
    async with httpx.AsyncClient(headers=ANN) as http:
        answer = (await http.post(f"{house.url}/agents/main/a2a", json=body)).json()
        assert answer["result"]["status"]["state"] == "completed"
        body |= {"method": "tasks/get", "params": {"id": answer["result"]["id"]}}
        again = (await http.post(f"{house.url}/agents/main/a2a", json=body)).json()
    assert again["result"]["artifacts"][0]["parts"][0]["text"] == TALK


async def tool_for(made: Host, **facts: Any) -> Tool:
    url = f"{made.url}/agents/{made.agent.spec.name}"
    return (await A2aAgent("colleague", url, ("*",), tells_caller=True, **facts).tools())[0]


async def test_an_agent_of_ours_delegates_to_one_of_ours_elsewhere(house: Host) -> None:
    tool = await tool_for(house)
    lead = agent([calls(tool.name, message="look around"), Line("done")], tools=[tool], name="lead")
    result = await lead.run("go")
    assert result.messages[2].text == f"[from the A2A agent 'colleague'; untrusted]\n{TALK}"
    entries = [await house.services.runs.get(run) for run in runs_of(house)]
    assert [(one.ref.principal.user, one.input) for one in entries if one] == [("ann", "look around")]


async def test_row_22_a_delegated_call_that_is_repeated_is_one_run_elsewhere(house: Host) -> None:
    tool = await tool_for(house)
    context = ToolContext(RunRef("r", "lead", Principal("acme", "ann"), "r"), "c", "one key")
    assert await tool.run({"message": "go"}, context) == await tool.run({"message": "go"}, context)
    assert len(runs_of(house)) == 1


async def test_a_run_that_is_cancelled_cancels_what_it_delegated(endless: Host) -> None:
    tool = await tool_for(endless)
    lead = agent([calls(tool.name, message="go"), Line("done")], tools=[tool], name="lead")
    handle = await lead.start("go")
    while not (begun := runs_of(endless)):
        await asyncio.sleep(0.005)
    await handle.cancel()
    assert (await handle.outcome()).status == "cancelled"
    assert (await endless.agent.attach(begun[0]).outcome()).status == "cancelled"


async def test_a_colleague_that_needs_an_approval_says_so_to_the_model(asking: Host) -> None:
    tool = await tool_for(asking)
    lead = agent([calls(tool.name, message="go"), Line("done")], tools=[tool], name="lead")
    text = (await lead.run("go")).messages[2].text
    assert "The tool 'delete' waits for an approval" in text
    assert "call again with task_id 'run-" in text


def runs_of(made: Host) -> list[str]:
    """Of which the model was asked something."""
    return sorted({one.ref.run_id for one in asked(made.agent)})
