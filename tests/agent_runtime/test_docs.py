"""What can be set or met is in docs/agents.md."""

from dataclasses import fields
from typing import get_args

import typer

from agent_runtime.api.config import SETTINGS
from agent_runtime.cli.commands import app
from agent_runtime.contracts.errors import TEXTS
from agent_runtime.domain.limits import Limits
from agent_runtime.domain.shown import USER_TEXT
from agent_runtime.domain.values import FinishReason
from agent_runtime.evaluation.plan import Plan, read_plan
from agent_runtime.spec.hooks import Point
from agent_runtime.telemetry.names import COUNTERS, GAUGES, HISTOGRAMS
from tests.house.sources import ROOT

TEXT = (ROOT / "docs" / "agents.md").read_text()


def missing(*words: str) -> list[str]:
    return [word for word in words if f"`{word}`" not in TEXT]


def test_every_setting_is_told() -> None:
    assert missing(*SETTINGS.values()) == []


def test_every_limit_is_told() -> None:
    assert missing(*(field.name for field in fields(Limits))) == []


def test_every_point_of_a_hook_and_every_end_of_a_run_is_told() -> None:
    assert missing(*get_args(Point), *get_args(FinishReason)) == []


def test_row_34_47_every_metric_is_told() -> None:
    assert missing(*COUNTERS, *GAUGES, *HISTOGRAMS) == []


def test_every_command_is_told() -> None:
    names = typer.main.get_group(app)
    commands = set(getattr(names, "commands", {}))
    assert commands
    assert [name for name in commands if f"meterway-agent {name}" not in TEXT and f"`{name}`" not in TEXT] == []


def test_row_16_every_class_of_error_has_a_text_in_every_language() -> None:
    assert all(set(texts) == set(USER_TEXT) for texts in TEXTS.values())


def test_the_plan_in_the_document_can_be_used() -> None:
    plan = TEXT.split("```yaml\n")[1].split("```")[0]
    assert read_plan(plan) == Plan.model_validate(
        {"agent": {"subagents": {"count": 2}}, "prices": {"model": "gpt-4.1", "provider": "openai"}}
    )
