"""What a benchmark or an evaluation is told, in YAML."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.tools.arguments import first_problem


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    """`mock_tokens` are reported for each call, 60 % of them as input."""

    latency_ms: float = Field(default=200.0, ge=0)
    jitter_ms: float = Field(default=50.0, ge=0)
    mock_tokens: int = Field(default=500, ge=2)
    cached_share: float = Field(default=0.0, ge=0, le=1)


class ToolSection(Section):
    latency_ms: float = Field(default=50.0, ge=0)
    jitter_ms: float = Field(default=10.0, ge=0)


class ToolsSection(Section):
    count: int = Field(default=3, ge=0, le=50)
    execution: Literal["parallel", "sequential"] = "parallel"


class SubAgentsSection(Section):
    count: int = Field(default=0, ge=0, le=10)
    levels: int = Field(default=1, ge=0, le=5)


class AgentSection(Section):
    runs: int = Field(default=100, ge=1, le=100_000)
    concurrent_count: int = Field(default=10, ge=1, le=1_000)
    tools: ToolsSection = ToolsSection()
    subagents: SubAgentsSection = SubAgentsSection()


class PriceSection(Section):
    """Either a model that the price list knows, or the prices themselves."""

    model: str | None = None
    provider: str | None = None
    input_usd_per_million: float = Field(default=1.0, ge=0)
    output_usd_per_million: float = Field(default=4.0, ge=0)
    cached_input_usd_per_million: float | None = Field(default=None, ge=0)


class TemporalSection(Section):
    address: str | None = None


class GatewaySection(Section):
    """Its models instead of a scripted one; `key` may be a reference."""

    url: str
    key: str
    model: str


class Plan(Section):
    runtime: Literal["inline", "temporal"] = "inline"
    temporal: TemporalSection = TemporalSection()
    llm: ModelSection = ModelSection()
    gateway: GatewaySection | None = None
    tool: ToolSection = ToolSection()
    agent: AgentSection = AgentSection()
    prices: PriceSection = PriceSection()
    runs_per_hour: float = Field(default=1_000.0, gt=0)
    seed: int = 42


def read_plan(text: str) -> Plan:
    try:
        return Plan.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise ConfigError(f"the plan is no YAML ({error})") from None
    except ValidationError as error:
        raise ConfigError(f"the plan cannot be used: {first_problem(error)}") from None


def load_plan(path: Path) -> Plan:
    try:
        return read_plan(path.read_text())
    except OSError as error:
        raise ConfigError(f"the plan {str(path)!r} cannot be read ({type(error).__name__})") from None
