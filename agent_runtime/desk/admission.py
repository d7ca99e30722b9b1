"""Whether a run may begin, and which run a request belongs to."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from agent_runtime.contracts.errors import ConfigError, NotAllowed, TooManyRuns, TurnConflict, UnknownRun
from agent_runtime.contracts.run import RunRequest
from agent_runtime.desk.services import Services
from agent_runtime.domain.values import RunRef
from agent_runtime.ports import RunEntry
from agent_runtime.spec.agent import AgentSpec

INPUT_CHARS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Admitted:
    """`fresh` is False when the request had begun this run before."""

    ref: RunRef
    fresh: bool
    timeout_s: float


def check(spec: AgentSpec, request: RunRequest) -> float:
    """The time that the run has: the shorter of the agent's and the caller's."""
    if not request.principal.tenant:
        raise NotAllowed("the request has no tenant; every run needs one")
    if not request.input and not request.images:
        raise ConfigError("input is empty; say what the agent shall do")
    if len(request.input) > INPUT_CHARS_MAX:
        raise ConfigError(f"input has {len(request.input)} characters; send at most {INPUT_CHARS_MAX}")
    own_s = spec.settled.timeout_s or 0.0
    if request.timeout_s is None:
        return own_s
    if request.timeout_s <= 0:
        raise ConfigError(f"timeout_s is {request.timeout_s!r}; give more than 0 seconds")
    return min(own_s, request.timeout_s)


def room(services: Services, running: Collection[tuple[str, str]], tenant: str, agent: str) -> None:
    """`running` is the tenant and the agent of each run under way in this process."""
    of_tenant = sum(one == tenant for one, _ in running)
    of_agent = sum(one == agent for _, one in running)
    why = None
    if len(running) >= services.runs_max:
        why = f"{len(running)} runs are under way, which is all that this process takes"
    elif of_tenant >= services.runs_per_tenant_max:
        why = f"tenant {tenant!r} has {of_tenant} runs under way, which is all that it may have"
    elif of_agent >= services.runs_per_agent_max:
        why = f"agent {agent!r} has {of_agent} runs under way, which is all that it may have"
    if why is not None:
        services.recorder.counted("agent.run.rejected", agent=agent, tenant=tenant, error=TooManyRuns.kind)
        raise TooManyRuns(f"{why}; try again later")


async def admit(spec: AgentSpec, services: Services, request: RunRequest) -> Admitted:
    timeout_s = check(spec, request)
    whose = request.principal
    asked = None if request.request_id is None else f"{whose.tenant}/{spec.name}/{request.request_id}"
    if asked is not None and (known := await services.runs.find(asked)) is not None:
        return await _attached(services, known, timeout_s)
    await _check_repeated(services, request)
    run_id = f"run-{secrets.token_hex(8)}"
    ref = RunRef(
        run_id=run_id,
        agent=spec.name,
        principal=whose,
        root_run_id=run_id,
        conversation_id=request.conversation_id,
        stream=request.stream,
        retry_of=request.retry_of,
    )
    conversation = request.conversation_id
    if conversation is not None:
        holder = await services.conversations.claim(whose, conversation, run_id, timeout_s + 60.0)
        if holder != run_id:
            services.recorder.counted(
                "agent.run.rejected", agent=spec.name, tenant=whose.tenant, error=TurnConflict.kind
            )
            text = f"conversation {conversation!r} has a turn under way; attach to run {holder!r}"
            raise TurnConflict(text, active_run_id=holder, ref=ref)
    began = await services.runs.begin(RunEntry(ref, request.input), asked)
    if began != run_id:
        if conversation is not None:
            await services.conversations.release(whose, conversation, run_id)
        return await _attached(services, began, timeout_s)
    return Admitted(ref, True, timeout_s)


async def _check_repeated(services: Services, request: RunRequest) -> None:
    """What a run's tools gave is for its owner alone."""
    if request.retry_of is None:
        return
    entry = await services.runs.get(request.retry_of)
    whose = request.principal
    if entry is None or (entry.ref.principal.tenant, entry.ref.principal.user) != (whose.tenant, whose.user):
        raise UnknownRun(f"retry_of is {request.retry_of!r}, which is no run of this user's that is still kept")


async def _attached(services: Services, run_id: str, timeout_s: float) -> Admitted:
    entry = await services.runs.get(run_id)
    if entry is None:
        raise ConfigError(f"run {run_id!r} is not kept any more; send a new request_id")
    return Admitted(entry.ref, False, timeout_s)
