"""What a run shows, in the names of the AG-UI protocol."""

from agent_runtime.domain.approval import Approval
from agent_runtime.domain.todo import Outcome, Shown
from agent_runtime.domain.values import Failure, RunRef, Usage

TERMINAL = ("RUN_FINISHED", "RUN_ERROR")

USER_TEXT = {
    "timeout": "This took longer than it may. Please try again, or ask for less at once.",
    "provider": "The language model cannot be reached at the moment. Please try again later.",
    "logic": "Something went wrong in this task. The operator has been told.",
    "config": "This assistant is not set up correctly. The operator has been told.",
    "denied": "This is not allowed here.",
}
"""What users read; the detail is for operators. Category by category."""


def run_started(ref: RunRef) -> Shown:
    return {"type": "RUN_STARTED", "threadId": ref.thread_id, "runId": ref.run_id}


def run_finished(outcome: Outcome) -> Shown:
    ref = outcome.ref
    result: Shown = {
        "text": outcome.text,
        "finishReason": outcome.finish_reason,
        "usage": usage_shown(outcome.total),
        "byAgent": {name: usage_shown(usage) for name, usage in outcome.by_agent.items()},
    }
    return {"type": "RUN_FINISHED", "threadId": ref.thread_id, "runId": ref.run_id, "result": result}


def usage_shown(usage: Usage) -> Shown:
    return {
        "llmCalls": usage.llm_calls,
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cachedTokens": usage.cached_tokens,
        "reasoningTokens": usage.reasoning_tokens,
        "costNanoUsd": usage.cost_nano_usd,
    }


def run_error(failure: Failure) -> Shown:
    return {"type": "RUN_ERROR", "message": USER_TEXT[failure.category], "code": failure.category}


def run_ended(outcome: Outcome) -> Shown:
    """The one terminal event."""
    return run_finished(outcome) if outcome.failure is None else run_error(outcome.failure)


def text(message_id: str, words: str) -> tuple[Shown, ...]:
    return (
        {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": words},
        {"type": "TEXT_MESSAGE_END", "messageId": message_id},
    )


def tool_call(call_id: str, name: str, arguments: str, message_id: str) -> tuple[Shown, ...]:
    start: Shown = {
        "type": "TOOL_CALL_START",
        "toolCallId": call_id,
        "toolCallName": name,
        "parentMessageId": message_id,
    }
    if not arguments:
        return (start,)
    return (start, {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": arguments})


def tool_result(call_id: str, content: str) -> tuple[Shown, ...]:
    result: Shown = {
        "type": "TOOL_CALL_RESULT",
        "messageId": f"{call_id}-result",
        "toolCallId": call_id,
        "content": content,
        "role": "tool",
    }
    return ({"type": "TOOL_CALL_END", "toolCallId": call_id}, result)


def step(kind: str, agent: str) -> Shown:
    return {"type": kind, "stepName": agent}


def approval_asked(ref: RunRef, approval: Approval) -> Shown:
    names = {"tool": "tool_approval", "delegation": "sub_agent_delegation", "budget": "budget_approval"}
    value: Shown = {
        "agentName": ref.agent,
        "runId": ref.run_id,
        "approvalId": approval.id,
        "toolCallId": approval.call_id,
        "name": approval.name,
        "args": approval.arguments,
        "risk": approval.risk,
        "timeoutS": approval.timeout_s,
    }
    return {"type": "CUSTOM", "name": names[approval.kind], "value": value}


def approval_resolved(approval: Approval, outcome: str, approver: str) -> Shown:
    value: Shown = {"approvalId": approval.id, "outcome": outcome, "approver": approver}
    return {"type": "CUSTOM", "name": "approval_resolved", "value": value}
