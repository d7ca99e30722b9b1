"""Records the histories anew: `python -m tests.workflows.record`. Needed when a workflow is changed on purpose."""

import asyncio
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client

from agent_runtime.api import Agent
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.values import Failure
from agent_runtime.temporal.devserver import temporary
from agent_runtime.temporal.runtime import connect
from agent_runtime.temporal.shapes import Settings
from agent_runtime.tools.access import AutoApprove, RequireAll
from tests.agent_runtime.cast import ANN, Props, calls
from tests.workflows.conftest import Stage

HISTORIES = Path(__file__).parent / "histories"


class Recorder:
    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._stage = Stage(client, folder, Settings(queue="recorded"))

    async def record(self, name: str, script: list[Line], *, after: Any = None, **facts: Any) -> str:
        if name == "continued":
            self._stage.settings = replace(self._stage.settings, history_events_max=20)
        facts.setdefault("policy", AutoApprove())
        llm = ScriptedLLM({"main": script, "kid": [Line("the kid's")]})
        one = Agent(
            "main", None, "Go.", services=self._stage.services(llm), tools=Props().tools(), principal=ANN, **facts
        )
        async with self._stage.playing(one):
            handle = await one.start("go", conversation_id=name)
            if after is not None:
                async for _, event in handle.events():
                    if event["type"] == after[0]:
                        await after[1](handle)
                        break
            await handle.outcome()
        await self.keep(name, handle.run_id)
        return handle.run_id

    async def keep(self, name: str, run_id: str) -> None:
        first = (await self._client.get_workflow_handle(run_id).describe()).raw_description
        handle = self._client.get_workflow_handle(run_id, run_id=first.workflow_execution_info.first_run_id)
        history = await handle.fetch_history()
        text = re.sub(r'"(identity|name)": "[^"]*@[^"]*"', r'"\1": "recorded"', history.to_json())
        (HISTORIES / f"{name}.json").write_text(text + "\n")


async def approve(handle: Any) -> None:
    await handle.approve((await handle.status()).pending_approvals[0].id, ANN)


async def cancel(handle: Any) -> None:
    await handle.cancel("enough")


async def main() -> None:
    HISTORIES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    async with temporary(folder) as address:
        take = Recorder(await connect(address), folder).record
        asking: dict[str, Any] = {"policy": RequireAll()}
        await take("tools", [calls("look", "breaks"), calls("alone", "slow"), Line("done")])
        await take("approval", [calls("delete", path="x"), Line("ok")], after=("CUSTOM", approve), **asking)
        short = Limits(timeout_s=60, approval_timeout_s=0.3)
        await take("approval-timed-out", [calls("delete", path="x"), Line("ok")], limits=short, **asking)
        delegated = await take("delegation", [calls("subagent_kid", query="x"), Line("ok")], sub_agents=[Agent("kid")])
        await take.__self__.keep("child", f"{delegated}-1-0")  # type: ignore[attr-defined]
        await take("cancelled", [calls("forever")], after=("TOOL_CALL_START", cancel))
        await take("failed", [Line(fails=Failure("upstream_failed", "502", "provider"))])
        await take("timed-out", [calls("forever")], limits=Limits(timeout_s=1))
        await take("continued", [calls("look")] * 4 + [Line("done")])


if __name__ == "__main__":
    asyncio.run(main())
