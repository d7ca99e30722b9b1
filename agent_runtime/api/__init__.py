"""What programs use: agents, and handles of their runs."""

from agent_runtime.api.agent import Agent
from agent_runtime.api.handle import Handle
from agent_runtime.api.services import local_services, redis_services, sqlite_services
from agent_runtime.desk.erasure import erase

__all__ = ["Agent", "Handle", "erase", "local_services", "redis_services", "sqlite_services"]
