"""Whose a run is: who may have it forgotten, and who may use what it gave."""

import pytest

from agent_runtime.api import erase
from agent_runtime.connectors.scripted import Line
from agent_runtime.contracts.errors import NotAllowed, UnknownRun
from agent_runtime.domain.values import Principal
from tests.agent_runtime.cast import ANN, Props, agent, calls


async def test_row_46_erasing_leaves_nothing_of_a_run_outside_a_conversation_either() -> None:
    one = agent([calls("look", city="Rome"), Line("secret words")])
    mine = await one.run("go")
    others = await one.run("go", principal=Principal("acme", "bob"))
    assert one.services is not None
    await erase(one.services, ANN)
    assert await one.services.runs.get(mine.run_id) is None
    assert await one.services.events.read(mine.run_id, 0, 0.0) == []
    assert len(await one.services.events.read(others.run_id, 0, 0.0)) > 2
    with pytest.raises(NotAllowed, match="tenant"):
        await erase(one.services, Principal(""))


async def test_row_17_46_nobody_gets_what_anothers_tools_gave() -> None:
    props = Props()
    one = agent([calls("look"), Line("ok")], props)
    run_id = (await one.run("go")).run_id
    for stranger in (Principal("acme", "bob"), Principal("evil", "ann")):
        with pytest.raises(UnknownRun, match="no run of this user's"):
            await one.run("go", principal=stranger, retry_of=run_id)
    with pytest.raises(UnknownRun):
        await one.run("go", retry_of="run-that-never-was")
    await one.run("go", retry_of=run_id)
    assert props.used == ["look Paris"]
