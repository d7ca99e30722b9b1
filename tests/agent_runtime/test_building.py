"""What is put together wrongly fails when it is built, with the field and the remedy."""

from typing import Any

import pytest

from agent_runtime.api import Agent
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.limits import Limits, Mode
from agent_runtime.spec.agent import MemoryUse
from agent_runtime.spec.hooks import Hook
from agent_runtime.tools.access import AllowList, AutoApprove, CustomPolicy, Policy, RequireAll
from agent_runtime.tools.tool import Tool, tool
from tests.agent_runtime.cast import Props, agent


def deep(levels: int) -> Agent:
    one = Agent("level-0")
    for level in range(1, levels):
        one = Agent(f"level-{level}", sub_agents=[one])
    return one


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"name": "no spaces"}, "name is 'no spaces'; take 1 to 64"),
        ({"name": "x" * 65}, "take 1 to 64"),
        ({"model": ""}, "model is empty; name one"),
        ({"tools": Props().tools() + Props().tools()[:1]}, "tools has 'look' 2 times; rename"),
        ({"hooks": [Hook("a"), Hook("a")]}, "hooks has 'a' 2 times"),
        ({"sub_agents": [Agent("kid"), Agent("kid")]}, "'subagent_kid' 2 times"),
        ({"sub_agents": [Agent("a", sub_agents=[Agent("main")])]}, "cycle (main > a > main); take 'main' out of 'a'"),
        ({"sub_agents": [deep(3)]}, "3 levels deep"),
        ({"limits": Limits(timeout_s=60, approval_timeout_s=90)}, "approval_timeout_s is 90, not less than"),
        ({"limits": Limits(iterations_max=0)}, "iterations_max is 0; give at least 1"),
        ({"history_size": 0}, "history_size is 0"),
        ({"instructions": "use sk-abcdefghijklmnop123456"}, "looks like a key"),
        ({"limits": Limits(on_budget="degrade")}, "cheaper_model is ''; name another model"),
        ({"cheaper_model": "small"}, "nothing would use it; set limits.on_budget to 'degrade'"),
        ({"limits": Limits(nano_usd_max=5)}, "limits.nano_usd_max is 5 and services.treasurer"),
        ({"limits": Limits(on_budget="approve")}, "no budget that a person could raise; set limits.tokens_max"),
        ({"limits": Limits(top_up_tokens=0)}, "limits.top_up_tokens is 0; give at least 1"),
        ({"memory": MemoryUse()}, "services.memory is None; use sqlite_services"),
    ],
)
def test_row_43_and_others_wrong_agents_are_refused(facts: dict[str, Any], said: str) -> None:
    name = facts.pop("name", "main")
    instructions = facts.pop("instructions", "")
    llm = agent([]).services.llm  # type: ignore[union-attr]
    with pytest.raises(ConfigError) as caught:
        Agent(name, llm, instructions, **facts)
    assert said in str(caught.value)
    assert "sk-abc" not in str(caught.value)


def test_row_04_the_deepest_allowed_tree_can_be_built() -> None:
    assert [one.name for one in Agent("main", sub_agents=[deep(2)]).spec.below()] == ["main", "level-1", "level-0"]


def test_functions_that_cannot_be_tools_are_refused() -> None:
    def untyped(city) -> str:  # type: ignore[no-untyped-def]
        return str(city)

    def open_ended(**names: str) -> str:
        return str(names)

    with pytest.raises(ConfigError, match="'city' has no type; annotate"):
        tool(untyped)
    with pytest.raises(ConfigError, match="name every parameter"):
        tool(open_ended)
    with pytest.raises(ConfigError, match="timeout_s is 0"):
        tool(name="x", timeout_s=0)(lambda: "")
    with pytest.raises(ConfigError, match="cannot be used"):
        tool(name="a b")(lambda: "")


def test_a_tool_describes_itself() -> None:
    look = Props().tools()[0]
    assert (look.name, look.description, look.risk, look.idempotent) == ("look", "Look at a city.", "read", True)
    assert look.schema["properties"]["city"]["type"] == "string"
    assert look.schema["additionalProperties"] is False
    flaky = Props().tools()[3]
    assert flaky.schema["properties"] == {}


CHANGES: dict[str, dict[str, Any]] = {
    "instructions": {"instructions": "Other."},
    "model": {"model": "other"},
    "description": {"description": "x"},
    "tools": {"tools": Props().tools()[:2]},
    "tool facts": {"tools": [Tool(t.name, t.description, t.arguments, t.run, version="2") for t in Props().tools()]},
    "sub_agents": {"sub_agents": [Agent("kid")]},
    "policy": {"policy": AllowList("look")},
    "custom policy": {"policy": CustomPolicy("x", lambda _: True)},
    "limits": {"limits": Limits(iterations_max=6)},
    "approvers": {"approvers": ["lead"]},
    "sequential": {"sequential": True},
    "output": {"output": {"type": "object"}},
    "options": {"options": {"temperature": 0.5}},
    "hooks": {"hooks": [Hook("a")]},
    "history_size": {"history_size": 5},
    "mode": {"mode": Mode.AUTONOMOUS},
    "cheaper model": {"cheaper_model": "small", "limits": Limits(on_budget="degrade")},
    "authorizers": {"authorizers": [print]},
    "version": {"version": "2"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_row_29_the_fingerprint_sees_everything_that_matters(name: str) -> None:
    change = dict(CHANGES[name])
    instructions = change.pop("instructions", "Be brief.")
    plain = Agent("main", None, "Be brief.", tools=Props().tools(), policy=AutoApprove())
    other = Agent("main", None, instructions, **{"tools": Props().tools(), "policy": AutoApprove(), **change})
    assert plain.fingerprint != other.fingerprint
    assert (
        plain.fingerprint == Agent("main", None, "Be brief.", tools=Props().tools(), policy=AutoApprove()).fingerprint
    )


def test_row_29_the_fingerprint_sees_the_schema_of_a_tool() -> None:
    @tool
    async def look(city: str) -> str:
        """Look."""
        return city

    @tool(name="look")
    async def other(city: str, days: int = 1) -> str:
        """Look."""
        return city * days

    assert Agent("main", tools=[look]).fingerprint != Agent("main", tools=[other]).fingerprint


def test_row_29_a_sub_agents_change_is_its_parents_too() -> None:
    one = Agent("main", sub_agents=[Agent("kid", None, "a")])
    other = Agent("main", sub_agents=[Agent("kid", None, "b")])
    assert one.fingerprint != other.fingerprint


def test_row_18_every_policy_has_a_digest_of_its_own() -> None:
    policies: list[Policy] = [
        RequireAll(),
        AutoApprove(),
        AllowList("a"),
        AllowList("a", "b"),
        CustomPolicy("x", lambda _: True),
    ]
    assert len({policy.digest for policy in policies}) == 5
