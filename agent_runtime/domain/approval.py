"""Approvals: what is asked, what is decided, and who may decide it."""

from dataclasses import dataclass
from typing import Literal

from agent_runtime.domain.values import Principal

ApprovalKind = Literal["tool", "delegation", "budget"]


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to a person. Its id works once."""

    id: str
    run_id: str
    kind: ApprovalKind
    name: str
    arguments: str
    asked_at_s: float
    timeout_s: float
    call_id: str = ""
    risk: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer. `arguments`: run it with these instead."""

    approval_id: str
    approve: bool
    approver: Principal
    at_s: float = 0.0
    arguments: str | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """For the books: who decided what, when, over which arguments."""

    approval: Approval
    outcome: Literal["approved", "rejected", "timed_out"]
    approver: Principal | None
    at_s: float


def run_of(approval_id: str) -> str:
    """The run that waits for it: `run_id~turn~place~signature`."""
    return approval_id.split("~", 1)[0]


@dataclass(frozen=True, slots=True)
class Refusal:
    """`unheard`: there is no such question, or not yet."""

    text: str
    unheard: bool = False


def refusal(
    decision: Decision,
    *,
    pending: tuple[Approval, ...],
    spent: tuple[str, ...],
    owner: Principal,
    approvers: tuple[str, ...],
) -> Refusal | None:
    """Why this decision cannot be taken; None if it can."""
    if decision.approval_id in spent:
        return Refusal(f"approval {decision.approval_id!r} was already resolved; an approval id works once")
    if all(one.id != decision.approval_id for one in pending):
        text = f"there is no pending approval {decision.approval_id!r}; read the ids from the run's status"
        return Refusal(text, unheard=True)
    if not decision.approver.user:
        return Refusal("the approver has no user; say who decides")
    if decision.approver.tenant != owner.tenant:
        return Refusal(f"approver {decision.approver.user!r} is not of the run's tenant")
    named = {decision.approver.user, *decision.approver.scopes}
    if approvers and named.isdisjoint(approvers):
        user, known = decision.approver.user, list(approvers)
        return Refusal(f"approver {user!r} may not decide here; the agent's approvers are {known!r}")
    return None
