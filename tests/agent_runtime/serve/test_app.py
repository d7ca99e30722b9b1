"""Agents over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agent_runtime.api import Agent
from agent_runtime.connectors.scripted import Line
from agent_runtime.serve.app import agent_app
from agent_runtime.tools.access import RequireAll
from tests.agent_runtime.cast import Props, agent, calls

ANN = {"x-tenant": "acme", "x-user": "ann"}
TALK = "some words that are long enough for more than one piece of text"


class House:
    def __init__(self, one: Agent, checks: Any = None) -> None:
        assert one.services is not None
        self.agent = one
        self.app = agent_app([one], one.services, checks=checks or {})
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://agents", headers=ANN)

    async def start(self, **body: Any) -> str:
        answer = await self.http.post("/agents/main/runs", json={"input": "go", **body})
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/runs/{answer.json()['run_id']}"
        return str(answer.json()["run_id"])

    async def events(self, run_id: str, **headers: str) -> list[tuple[int, dict[str, Any]]]:
        answer = await self.http.get(f"/runs/{run_id}/events", headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")] if answer.text else []
        return [(int(number[4:]), json.loads(data[6:])) for number, data in blocks]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House(agent([calls("look"), Line(TALK)]))
    yield made
    await made.agent.close()


@pytest.fixture
async def asking() -> AsyncIterator[House]:
    made = House(agent([calls("delete", path="x"), Line("ok")], Props(), policy=RequireAll()))
    yield made
    await made.agent.close()


async def test_a_run_is_started_followed_and_read(house: House) -> None:
    run_id = await house.start(conversation_id="c")
    events = await house.events(run_id)
    assert [number for number, _ in events] == list(range(len(events)))
    assert (events[0][1]["type"], events[-1][1]["type"]) == ("RUN_STARTED", "RUN_FINISHED")
    status = (await house.http.get(f"/runs/{run_id}")).json()
    assert (status["status"], status["finish_reason"]) == ("completed", "complete")
    turns = (await house.http.get("/conversations/c")).json()["items"]
    assert [message["role"] for message in turns[0]["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert (await house.http.get("/agents")).json()["items"][0]["name"] == "main"


async def test_row_59_a_stream_goes_on_behind_the_last_event_that_was_seen(house: House) -> None:
    run_id = await house.start()
    whole = await house.events(run_id)
    for seen in range(len(whole) + 2):  # whoever has seen the end is told that nothing comes
        assert await house.events(run_id, **{"last-event-id": str(seen)}) == whole[seen + 1 :]
    answer = await house.http.get(f"/runs/{run_id}/events", headers={"last-event-id": "x"})
    assert answer.status_code == 400
    assert "last event" in answer.json()["error"]["message"]


async def test_row_59_a_second_turn_gets_409_with_the_run_to_attach_to(asking: House) -> None:
    run_id = await asking.start(conversation_id="c")
    answer = await asking.http.post("/agents/main/runs", json={"input": "more", "conversation_id": "c"})
    assert (answer.status_code, answer.json()["error"]["active_run_id"]) == (409, run_id)
    await asking.http.post(f"/runs/{run_id}/cancel", json={})
    events = await asking.events(run_id)
    assert events[-1][1]["result"]["finishReason"] == "cancelled"


async def test_row_17_the_same_request_is_the_same_run(house: House) -> None:
    first = await house.start(request_id="r", conversation_id="c")
    assert await house.start(request_id="r", conversation_id="c") == first


async def pending(house: House, run_id: str) -> str:
    while True:
        status = (await house.http.get(f"/runs/{run_id}")).json()
        if status["pending_approvals"]:
            return str(status["pending_approvals"][0]["id"])
        await asyncio.sleep(0.005)


async def test_row_19_approvals_over_http_have_an_identity_and_work_once(asking: House) -> None:
    run_id = await asking.start()
    path = f"/runs/{run_id}/approvals/{await pending(asking, run_id)}"
    nobody = await asking.http.post(path, json={"approve": True}, headers={"x-user": ""})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (403, "denied")
    assert (await asking.http.post(path, json={"approve": True, "arguments": {"path": "y"}})).status_code == 204
    assert (await asking.http.post(path, json={"approve": False})).status_code == 403
    result = [event for _, event in await asking.events(run_id) if event["type"] == "TOOL_CALL_RESULT"]
    assert result[0]["content"] == "deleted"


async def test_a_message_can_be_said_meanwhile(asking: House) -> None:
    run_id = await asking.start(conversation_id="c")
    approval = await pending(asking, run_id)
    assert (await asking.http.post(f"/runs/{run_id}/messages", json={"text": "hurry"})).status_code == 204
    await asking.http.post(f"/runs/{run_id}/approvals/{approval}", json={"approve": True})
    await asking.events(run_id)
    turns = (await asking.http.get("/conversations/c")).json()["items"]
    assert "hurry" in [message["text"] for message in turns[0]["messages"]]


async def test_row_46_other_tenants_see_nothing_and_erasing_leaves_nothing(house: House) -> None:
    run_id = await house.start(conversation_id="c")
    await house.events(run_id)
    eve = {"x-tenant": "evil", "x-user": "ann"}
    for method, path in [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/approvals/x")]:
        answer = await house.http.request(method, f"/runs/{run_id}{path}", headers=eve)
        assert answer.status_code == 404, path
    assert (await house.http.get("/conversations/c", headers=eve)).json() == {"items": []}
    assert (await house.http.delete("/me")).status_code == 204
    assert (await house.http.get(f"/runs/{run_id}")).status_code == 404
    assert (await house.http.get("/conversations/c")).json() == {"items": []}
    services = house.agent.services
    assert services is not None
    assert await services.events.read(run_id, 0, 0.01) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "input: Field required"),
        ({"input": ""}, "input: String should have at least 1"),
        ({"input": "x", "extra": 1}, "extra: Extra inputs"),
        ({"input": "x", "timeout_s": 0}, "timeout_s is 0"),
        ("[", "Invalid JSON"),
    ],
)
async def test_wrong_requests_name_the_field(house: House, body: Any, said: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = await house.http.post("/agents/main/runs", content=content)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


async def test_unknown_agents_runs_and_callers(house: House) -> None:
    assert (await house.http.post("/agents/nobody/runs", json={"input": "x"})).status_code == 404
    assert (await house.http.get("/runs/nothing")).status_code == 404
    assert (
        await house.http.post("/agents/main/runs", json={"input": "x"}, headers={"x-tenant": ""})
    ).status_code == 403
    large = await house.http.post("/agents/main/runs", content=b'{"input": "' + b"x" * 2_000_000 + b'"}')
    assert large.status_code == 400


async def test_the_page_runs_no_foreign_script(house: House) -> None:
    page = await house.http.get("/")
    policy = page.headers["content-security-policy"]
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert policy.startswith("default-src 'none'")
    assert page.text.count(f'nonce="{nonce}"') == 2
    assert "NONCE" not in page.text
    assert "innerHTML" not in page.text
    assert (await house.http.get("/")).headers["content-security-policy"] != policy


async def test_row_60_readiness_names_what_is_missing() -> None:
    async def away() -> str | None:
        raise OSError

    async def fine() -> str | None:
        return None

    house = House(agent([Line("x")]), {"gateway": away, "store": fine})
    assert (await house.http.get("/healthz")).status_code == 200
    answer = await house.http.get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, {"gateway": "OSError"})
    ready = House(agent([Line("x")]), {"store": fine})
    assert (await ready.http.get("/readyz")).status_code == 200
