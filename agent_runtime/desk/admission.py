"""Whether a run may begin, and which run a request belongs to."""

import secrets
from dataclasses import dataclass

from agent_runtime.contracts.errors import ConfigError, NotAllowed, TooManyRuns, TurnConflict, UnknownRun
from agent_runtime.contracts.run import RunRequest
from agent_runtime.desk.services import Services
from agent_runtime.domain.values import RunRef
from agent_runtime.ports import RunEntry
from agent_runtime.spec.agent import AgentSpec

INPUT_CHARS_MAX = 200_000
CLAIM_GRACE_S = 60.0
"""How long past its time a lost run keeps its conversation and its place."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """`fresh` is False when the request had begun this run before."""

    ref: RunRef
    fresh: bool
    timeout_s: float


def check_services(spec: AgentSpec, services: Services) -> None:
    """What the agent needs of them is there; a budget that nothing would hold is refused, rather than believed in."""
    dear = next((one for one in spec.below() if one.limits.nano_usd_max is not None), None)
    if dear is not None and services.treasurer is None:
        raise ConfigError(
            f"agent {dear.name!r}: limits.nano_usd_max is {dear.limits.nano_usd_max!r} and services.treasurer is None, "
            "so that nothing would hold it; give a GatewayTreasurer (METERWAY_ADMIN_URL), or set limits.tokens_max"
        )
    forgetful = next((one for one in spec.below() if one.memory is not None), None)
    if forgetful is not None and services.memory is None:
        raise ConfigError(
            f"agent {forgetful.name!r}: memory is asked for and services.memory is None; use sqlite_services"
        )
    limits = spec.limits
    if limits.on_budget == "approve" and limits.tokens_max is None and limits.nano_usd_max is None:
        raise ConfigError(
            f"agent {spec.name!r}: limits.on_budget is 'approve' and there is no budget that a person could raise; "
            "set limits.tokens_max or limits.nano_usd_max"
        )


def check(spec: AgentSpec, services: Services, request: RunRequest) -> float:
    """The time that the run has: the shorter of the agent's and the caller's."""
    check_services(spec, services)
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


async def _take_place(services: Services, ref: RunRef, until_s: float) -> None:
    """Bounds hold over all processes that share the stores."""
    most = (services.runs_max, services.runs_per_tenant_max, services.runs_per_agent_max)
    bounds = dict(zip(scopes(ref), most, strict=True))
    full = await services.runs.take_place(ref.run_id, bounds, services.clock.now_s(), until_s)
    if full is not None:
        tenant = ref.principal.tenant
        services.recorder.counted("agent.run.rejected", agent=ref.agent, tenant=tenant, error=TooManyRuns.kind)
        text = f"{full} has {bounds[full]} runs under way, which is all that it may have; try again later"
        raise TooManyRuns(text, ref=ref)


def scopes(ref: RunRef) -> tuple[str, str, str]:
    return "this installation", f"tenant {ref.principal.tenant!r}", f"agent {ref.agent!r}"


async def give_back(services: Services, ref: RunRef) -> None:
    """The run is over or did not begin: its conversation and its place are free again."""
    if ref.conversation_id is not None:
        await services.conversations.release(ref.principal, ref.conversation_id, ref.run_id)
    if ref.depth == 0:
        await services.runs.leave_place(ref.run_id, scopes(ref))


async def admit(spec: AgentSpec, services: Services, request: RunRequest) -> Admitted:
    timeout_s = check(spec, services, request)
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
        holder = await services.conversations.claim(whose, conversation, run_id, timeout_s + CLAIM_GRACE_S)
        if holder != run_id:
            services.recorder.counted(
                "agent.run.rejected", agent=spec.name, tenant=whose.tenant, error=TurnConflict.kind
            )
            text = f"conversation {conversation!r} has a turn under way; attach to run {holder!r}"
            raise TurnConflict(text, active_run_id=holder, ref=ref)
    until_s = services.clock.now_s() + timeout_s + CLAIM_GRACE_S
    entry = RunEntry(ref, request.input, until_s=until_s, pauses=spec.limits.pause_while_asking)
    try:
        await _take_place(services, ref, until_s)
        began = await services.runs.begin(entry, asked)
    except BaseException:
        await give_back(services, ref)
        raise
    if began != run_id:
        await give_back(services, ref)
        return await _attached(services, began, timeout_s)
    services.recorder.run_started(ref)
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
