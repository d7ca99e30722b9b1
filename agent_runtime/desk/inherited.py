"""What a child run may do at most: never more than its parent has left."""

from dataclasses import replace

from agent_runtime.domain.plan import LoopPlan
from agent_runtime.domain.state import RunState
from agent_runtime.domain.todo import RunChild
from agent_runtime.spec.agent import AgentSpec, plan_of
from agent_runtime.spec.fingerprint import fingerprint


def inherited(spec: AgentSpec, parent: RunState, todo: RunChild) -> LoopPlan:
    plan = plan_of(spec, fingerprint(spec))
    limits = replace(
        plan.limits,
        tokens_max=_least(plan.limits.tokens_max, todo.tokens_left),
        nano_usd_max=_least(plan.limits.nano_usd_max, todo.nano_usd_left),
        depth_max=parent.plan.limits.depth_max,
        timeout_s=min(plan.limits.timeout_s or 0.0, parent.plan.limits.timeout_s or 0.0),
    )
    return replace(plan, limits=limits, mode=parent.plan.mode)


def _least(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
