"""Who calls, what may come in, and which runs are the caller's."""

from collections.abc import Mapping

from starlette.requests import Request

from agent_runtime.api.agent import Agent
from agent_runtime.api.handle import Handle
from agent_runtime.contracts.errors import ConfigError, NotAllowed, UnknownRun
from agent_runtime.desk.services import Services
from agent_runtime.domain.values import Principal

BODY_BYTES_MAX = 1024 * 1024


def principal(request: Request) -> Principal:
    tenant = request.headers.get("x-tenant", "")
    user = request.headers.get("x-user", "")
    if not tenant or not user:
        raise NotAllowed("x-tenant and x-user are missing; the proxy in front says who calls")
    scopes = tuple(filter(None, request.headers.get("x-scopes", "").split(",")))
    return Principal(tenant[:128], user[:128], scopes)


async def body_of(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise ConfigError(f"the body is larger than {BODY_BYTES_MAX} bytes")
    return body


async def attached(agents: Mapping[str, Agent], services: Services, run_id: str, whose: Principal) -> Handle:
    """Of a run of the caller's, or one whose agent the caller may approve; other people's runs are not there."""
    entry = await services.runs.get(run_id)
    owner = None if entry is None else entry.ref.principal
    agent = None if entry is None else agents.get(entry.ref.agent)
    if owner is None or agent is None or owner.tenant != whose.tenant:
        raise UnknownRun(f"there is no run {run_id!r}")
    if owner.user != whose.user and {whose.user, *whose.scopes}.isdisjoint(agent.spec.approvers):
        raise UnknownRun(f"there is no run {run_id!r}")
    return agent.attach(run_id)
