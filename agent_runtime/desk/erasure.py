"""Forgets a user, or a whole tenant, in every store of the runtime."""

from agent_runtime.contracts.errors import NotAllowed
from agent_runtime.desk.services import Services
from agent_runtime.domain.values import Principal


async def erase(services: Services, whose: Principal) -> None:
    """Conversations, events, inputs, results, payloads, memories; without a user, those of everybody in the tenant."""
    if not whose.tenant:
        raise NotAllowed("erasing needs a tenant; say whose data it is")
    run_ids = {*await services.conversations.erase(whose), *await services.runs.erase(whose)}
    await services.events.erase(sorted(run_ids))
    if services.blobs is not None:
        await services.blobs.erase(run_ids)
    if services.memory is not None:
        await services.memory.erase(whose)
