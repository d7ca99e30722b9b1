"""Runs agents on Temporal, and answers for them by run id."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Self

from opentelemetry.trace import Tracer
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from agent_runtime.contracts.errors import (
    AgentError,
    ConfigError,
    NotAllowed,
    NoWorkersAvailable,
    TurnConflict,
    UnknownRun,
)
from agent_runtime.contracts.run import RunRequest, RunStatus, status_of
from agent_runtime.desk import admission, ending
from agent_runtime.desk.following import follow
from agent_runtime.desk.services import Services
from agent_runtime.domain.approval import Decision, run_of
from agent_runtime.domain.happened import Begun
from agent_runtime.domain.limits import Mode
from agent_runtime.domain.state import new_run
from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import RunRef
from agent_runtime.ports import RunEntry
from agent_runtime.spec.agent import AgentSpec, plan_of
from agent_runtime.spec.fingerprint import fingerprint
from agent_runtime.temporal import lines
from agent_runtime.temporal.codec import Codec, converter
from agent_runtime.temporal.shapes import UNHEARD, RunInput, Settings, queue_of
from agent_runtime.temporal.tracing import Tracing
from agent_runtime.temporal.workflow import AgentRun

CONNECT_S = 10.0
UPDATE_S = 60.0
MOVING_S = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Before each try of an update: a run that moves on to a new history is there again in tenths of a second."""

UNHEARD_S = (0.1, 0.4)
"""After each try of a decision that the run has not heard of: it takes its next step when it is asked."""

POLLERS_WAIT_S = 15.0
POLLERS_EVERY_S = 0.5
LOST = (
    WorkflowExecutionStatus.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT,
    WorkflowExecutionStatus.CANCELED,
    WorkflowExecutionStatus.FAILED,
)
"""A run that ended so has put nothing on record."""
ATTRIBUTES = ("AgentName", "AgentConversation", "AgentTenant", "AgentFinishReason")


class _Unheard(NotAllowed):
    """The run knows of no such question, or not yet."""


async def connect(
    address: str,
    *,
    namespace: str = "default",
    codec: Codec | None = None,
    tracer: Tracer | None = None,
    tls: TLSConfig | None = None,
) -> Client:
    """Also makes sure that the search attributes exist. `tracer`: of the recorder; else OpenTelemetry's global one."""
    try:
        async with asyncio.timeout(CONNECT_S):
            client = await Client.connect(
                address,
                namespace=namespace,
                data_converter=converter(codec),
                interceptors=[Tracing(tracer)],
                tls=tls,
            )
    except (RuntimeError, TimeoutError) as error:
        raise ConfigError(f"Temporal does not answer at {address!r}; start it or give another address") from error
    wanted = AddSearchAttributesRequest(
        namespace=namespace,
        search_attributes=dict.fromkeys(ATTRIBUTES, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
    )
    try:
        await client.operator_service.add_search_attributes(wanted)
    except RPCError as error:
        if error.status not in (RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.PERMISSION_DENIED):
            raise
    return client


def plans_of(spec: AgentSpec) -> dict[str, Any]:
    return {one.name: plan_of(one, fingerprint(one)) for one in spec.below()}


class TemporalRuntime:
    """Implements api.Runtime. Any process may start, follow and decide; the work is done by workers."""

    def __init__(
        self,
        client: Client,
        services: Services,
        settings: Settings | None = None,
        *,
        pollers_wait_s: float = POLLERS_WAIT_S,
    ) -> None:
        local = services.local_stores()
        if local:
            raise ConfigError(
                f"services.{local[0]} is in the memory of one process, which workers cannot see; "
                "use sqlite_services on one machine, or redis_services"
            )
        self.services = services
        self._client = client
        self._settings = settings or Settings()
        self._pollers_wait_s = pollers_wait_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Runs go on without this process."""

    async def start(self, spec: AgentSpec, request: RunRequest) -> str:
        made = fingerprint(spec)
        queue = queue_of(self._settings.queue, spec.name, made)
        timeout_s = admission.check(spec, self.services, request)
        if spec.mode is Mode.INTERACTIVE:
            await self._wait_for_pollers(spec, queue, min(self._pollers_wait_s, timeout_s))
        admitted = await self._admitted(spec, request)
        if admitted.fresh:
            try:
                await self._start(spec, made, admitted, request)
            except RPCError:
                await admission.give_back(self.services, admitted.ref)
                raise
        return admitted.ref.run_id

    async def _admitted(self, spec: AgentSpec, request: RunRequest) -> admission.Admitted:
        """A run that was lost gives its conversation back as soon as somebody asks for it."""
        try:
            return await admission.admit(spec, self.services, request)
        except TurnConflict as conflict:
            if await self._known_end(conflict.active_run_id) is None:
                raise
            return await admission.admit(spec, self.services, request)

    async def _start(self, spec: AgentSpec, made: str, admitted: admission.Admitted, request: RunRequest) -> None:
        now_s = self.services.clock.now_s()
        deadline_s = now_s + admitted.timeout_s
        state = new_run(admitted.ref, plan_of(spec, made), deadline_s, secrets.token_hex(16))
        begun = Begun(request.input, request.images)
        run = RunInput(state, self._settings, now_s, begun, None, plans_of(spec))
        limit = None if spec.limits.pause_while_asking else admitted.timeout_s + self._settings.grace_s
        await self._client.start_workflow(
            AgentRun.run,
            run,
            id=admitted.ref.run_id,
            task_queue=queue_of(self._settings.queue, spec.name, made),
            execution_timeout=None if limit is None else timedelta(seconds=limit),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=_attributes(admitted.ref),
            memo={"agent": spec.name, "fingerprint": made, "version": spec.version},
            static_summary=f"{spec.name} for {request.principal.tenant}",
        )

    async def _wait_for_pollers(self, spec: AgentSpec, queue: str, wait_s: float) -> None:
        """Somebody waits for the answer: better an error now than silence until the deadline."""
        clock = self.services.clock
        until_s = clock.now_s() + wait_s
        while not await self.polled(queue):
            if clock.now_s() >= until_s:
                raise NoWorkersAvailable(
                    f"no worker of agent {spec.name!r} with this fingerprint polls {queue!r}; start one with "
                    f"'meterway-agent worker', or check that it loads the same agent"
                )
            await clock.sleep_s(POLLERS_EVERY_S)

    async def ready(self) -> str | None:
        """Why Temporal cannot be worked with; None if it can."""
        healthy = await self._client.service_client.check_health(timeout=timedelta(seconds=CONNECT_S))
        return None if healthy else "Temporal does not serve"

    async def polled(self, queue: str) -> bool:
        """Whether a worker is on the roster, and somebody asks for workflows and for activities there."""
        if not await self.services.roster.present(queue):
            return False
        return await lines.polled(self._client, queue)

    async def outcome(self, run_id: str) -> Outcome:
        handle = self._client.get_workflow_handle(run_id, result_type=Outcome)
        try:
            outcome: Outcome = await handle.result()
        except WorkflowFailureError as error:
            if (known := await self._known_end(run_id)) is not None:
                return known
            kind = type(error.cause).__name__
            raise AgentError(f"run {run_id!r} was lost in Temporal ({kind}); see its history there") from error
        except RPCError as error:
            raise await self._gone(run_id, error) from error
        return outcome

    async def _gone(self, run_id: str, error: RPCError) -> Exception:
        if error.status is RPCStatusCode.NOT_FOUND:
            return UnknownRun(f"run {run_id!r} is not known here; it may have ended too long ago")
        return error

    async def status(self, run_id: str) -> RunStatus:
        """With the approvals that runs below it wait for."""
        outcome = await self._known_end(run_id)
        if outcome is not None:
            ref, reason = outcome.ref, outcome.finish_reason
            return RunStatus(
                run_id, ref.agent, status_of(reason), "done", outcome.usage.llm_calls, outcome.total, (), reason
            )
        handle = self._client.get_workflow_handle(run_id)
        try:
            status: RunStatus = await handle.query(AgentRun.status, rpc_timeout=timedelta(seconds=CONNECT_S))
        except RPCError as error:
            raise await self._gone(run_id, error) from error
        pending = list(status.pending_approvals)
        for child in status.children:
            try:
                pending += (await self.status(child)).pending_approvals
            except (UnknownRun, WorkflowQueryFailedError):
                continue
        return _with_pending(status, pending)

    async def _known_end(self, run_id: str) -> Outcome | None:
        """None while the run is under way. What was ended from outside is put on record by whoever sees it first."""
        entry = await self.services.runs.get(run_id)
        if entry is None or entry.outcome is not None:
            return None if entry is None else entry.outcome
        how = await self._lost(entry)
        return None if how is None else await ending.lose(self.services, entry, how)

    async def _lost(self, entry: RunEntry) -> str | None:
        """How nothing can come of a run any more; None if something can. What Temporal does not know was never begun:
        whoever admitted it has had its time to do so.
        """
        try:
            described = await self._describe(entry.ref.run_id)
        except RPCError as error:
            unknown = error.status is RPCStatusCode.NOT_FOUND
            return "before it began; ask again" if unknown and entry.overdue(self.services.clock.now_s()) else None
        status = described.status
        if status is None or status not in LOST:
            return None
        return f"in Temporal ({status.name.lower()}); see its history there"

    async def decide(self, decision: Decision) -> None:
        """Said again where the run knows of no such question: people are told of one before it is on record, and a
        worker that comes in the place of a killed one gets to it only after it was told of the answer.
        """
        for pause_s in UNHEARD_S:
            with contextlib.suppress(_Unheard):
                return await self._update(run_of(decision.approval_id), AgentRun.decide, decision)
            await self.services.clock.sleep_s(pause_s)
        return await self._update(run_of(decision.approval_id), AgentRun.decide, decision)

    async def say(self, run_id: str, text: str) -> None:
        await self._update(run_id, AgentRun.say, text)

    async def cancel(self, run_id: str, reason: str = "") -> None:
        await self._update(run_id, AgentRun.cancel, reason)

    async def _update(self, run_id: str, update: Any, argument: Any) -> None:
        """Said again where a long run was moving on to a new history, which takes no update."""
        refused: RPCError | None = None
        for pause_s in MOVING_S:
            await self.services.clock.sleep_s(pause_s)
            try:
                return await self._update_once(run_id, update, argument)
            except RPCError as error:
                if not await self._runs_on(run_id):
                    raise await self._gone(run_id, error) from error
                refused = error
        raise NoWorkersAvailable(
            f"run {run_id!r} takes nothing at the moment; ask for its status before trying again"
        ) from refused

    async def _runs_on(self, run_id: str) -> bool:
        described = await self._described(run_id)
        going = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW)
        return described is not None and described.status in going

    async def _described(self, run_id: str) -> WorkflowExecutionDescription | None:
        """None if Temporal does not know it, or does not answer."""
        try:
            return await self._describe(run_id)
        except RPCError:
            return None

    async def _describe(self, run_id: str) -> WorkflowExecutionDescription:
        return await self._client.get_workflow_handle(run_id).describe(rpc_timeout=timedelta(seconds=CONNECT_S))

    async def _update_once(self, run_id: str, update: Any, argument: Any) -> None:
        handle = self._client.get_workflow_handle(run_id)
        try:
            await handle.execute_update(update, argument, rpc_timeout=timedelta(seconds=UPDATE_S))
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if not isinstance(cause, ApplicationError):
                raise NotAllowed("the run has ended meanwhile") from error
            raise (_Unheard if cause.type == UNHEARD else NotAllowed)(cause.message) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise NoWorkersAvailable(
                f"no worker answers for run {run_id!r}; ask for its status before trying again"
            ) from error

    def events(self, run_id: str, offset: int = 0) -> AsyncIterator[tuple[int, Shown]]:
        return follow(self.services, run_id, offset, self._known_end)


def _with_pending(status: RunStatus, pending: list[Any]) -> RunStatus:
    return RunStatus(
        status.run_id,
        status.agent,
        status.status,
        status.phase,
        status.turn,
        status.usage,
        tuple(pending),
        status.finish_reason,
        status.children,
    )


def _attributes(ref: RunRef) -> TypedSearchAttributes:
    values = {
        "AgentName": ref.agent,
        "AgentTenant": ref.principal.tenant,
        "AgentConversation": ref.conversation_id or "",
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()]
    )
