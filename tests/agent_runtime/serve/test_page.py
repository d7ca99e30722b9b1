"""The chat page in a browser, in front of `meterway-agent serve`, the real gateway and the simulated provider."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.agent_runtime.lab import Lab
from tests.agent_runtime.serve.browser import Tab, tab
from tests.e2e.processes import Process
from tests.ports import free_port
from tests.workflows.test_commands import COMMAND, environ_of

AGENTS = "tests.agent_runtime.serve.talkers:slowly,tests.agent_runtime.serve.talkers:careful"
WHO = {"x-tenant": "demo", "x-user": "you"}
SAID = "[...document.querySelectorAll('.say.{kind}')].map(one => one.textContent)"
OVER = "document.querySelector('#stop').hidden"


@pytest.fixture
def url(own_lab: Lab, tmp_path: Path) -> Iterator[str]:
    port = str(free_port())
    command = (COMMAND, "serve", "--agents", AGENTS, "--port", port)
    process = Process(tmp_path, *command, environ=environ_of(own_lab, tmp_path))
    try:
        process.wait_for(re.compile(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


@pytest.fixture
def page(url: str, tmp_path: Path) -> Iterator[Tab]:
    (tmp_path / "browser").mkdir()
    with tab(tmp_path / "browser") as one:
        one.tell("Page.navigate", url=url)
        one.until("document.querySelectorAll('#agent option').length == 2")
        yield one
        assert one.thrown == []


def send(page: Tab, agent: str, text: str) -> None:
    page.value(f"document.querySelector('#agent').value = {json.dumps(agent)}")
    page.value(f"document.querySelector('#text').value = {json.dumps(text)}")
    page.value("document.querySelector('#form').requestSubmit()")


def said(page: Tab, kind: str) -> list[str]:
    found: list[str] = page.value(SAID.format(kind=kind))
    return found


def kept(page: Tab, url: str) -> list[str]:
    """What the agents said, as the transcript has it."""
    conversation = page.value("JSON.parse(localStorage.getItem('meterway')).conversation")
    turns = httpx.get(f"{url}/conversations/{conversation}", headers=WHO, trust_env=False).json()["items"]
    return [one["text"] for turn in turns for one in turn["messages"] if one["role"] == "assistant" and one["text"]]


def test_text_streams_into_the_page_and_is_whole_after_a_reload_amid_the_stream(page: Tab, url: str) -> None:
    send(page, "slowly", "tell me")
    first = page.until(SAID.format(kind="assistant") + "[0]")
    longer = page.until(f"{SAID.format(kind='assistant')}.find(one => one.length > {len(first)})")
    assert longer.startswith(first)
    assert not page.value(OVER), "it was reloaded while it was streaming"
    page.tell("Page.reload")
    page.until(f"document.querySelectorAll('.assistant').length && {OVER}")
    assert said(page, "user") == ["tell me"]
    [whole] = said(page, "assistant")
    assert [whole] == kept(page, url)
    assert whole.startswith(longer)
    assert len(whole) > len(longer)
    assert said(page, "error") == []


def test_row_19_a_tool_is_approved_in_the_page(page: Tab, url: str) -> None:
    send(page, "careful", "erase it")
    page.until("document.querySelectorAll('.ask button').length == 2")
    assert said(page, "ask")[0].startswith("May careful use erase?")
    page.value("[...document.querySelectorAll('.ask button')].find(one => one.textContent == 'Approve').click()")
    page.until("document.querySelector('.ask').textContent == 'approved by you'")
    page.until(f"document.querySelectorAll('.assistant').length == 2 && {OVER}")
    assert said(page, "assistant") == kept(page, url)
    assert said(page, "error") == []
