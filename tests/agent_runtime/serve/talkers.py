"""Agents that the chat page is tried with."""

from agent_runtime.api import Agent
from agent_runtime.domain.limits import Limits
from tests.workflows.troupe import erase

slowly = Agent("slowly", model="slow-words", limits=Limits(output_tokens=1_000))
careful = Agent("careful", model="eraser", tools=[erase], limits=Limits(output_tokens=100))
