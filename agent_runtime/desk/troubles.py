"""Foreign exceptions as failures, by a table."""

from agent_runtime.contracts.errors import AgentError
from agent_runtime.domain.values import Failure
from agent_runtime.ports import LLMTrouble


def failure_of(error: BaseException) -> Failure:
    """The detail is the class alone where the text is not ours: it may hold what a user said."""
    match error:
        case LLMTrouble():
            return error.failure
        case AgentError():
            return error.to_failure()
        case TimeoutError():
            return Failure("deadline_exceeded", "no answer in time", "timeout", True)
        case OSError():
            return Failure("unavailable", f"a store cannot be reached ({type(error).__name__})", "provider", True)
        case _:
            return Failure("bug", f"{type(error).__name__} in the agent's own code", "logic")
