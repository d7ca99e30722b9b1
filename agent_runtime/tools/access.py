"""Who may use a tool, and when a person has to agree."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agent_runtime.domain.values import Principal


@dataclass(frozen=True, slots=True)
class Use:
    """A tool about to be used: everything that a rule may look at."""

    tool: str
    kind: str
    risk: str
    arguments: Mapping[str, Any]
    principal: Principal
    agent: str
    spent_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class Allowed:
    pass


@dataclass(frozen=True, slots=True)
class Denied:
    reason: str = ""


Ruling = Allowed | Denied
Authorizer = Callable[[Use], Ruling | Awaitable[Ruling]]


async def authorize(use: Use, authorizers: Iterable[Authorizer]) -> Ruling:
    """The first that denies decides. One that fails, or says something else, denies."""
    for authorizer in authorizers:
        name = getattr(authorizer, "__name__", type(authorizer).__name__)
        try:
            ruling: Any = authorizer(use)
            if inspect.isawaitable(ruling):
                ruling = await ruling
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may pass
            return Denied(f"The authorizer {name} failed ({type(error).__name__}).")
        if isinstance(ruling, Denied):
            return ruling
        if not isinstance(ruling, Allowed):
            return Denied(f"The authorizer {name} gave no ruling.")
    return Allowed()


class Policy(Protocol):
    """Whether a person has to agree. `digest` is part of the agent's fingerprint."""

    @property
    def digest(self) -> str: ...
    async def asks(self, use: Use) -> bool: ...


@dataclass(frozen=True, slots=True)
class RequireAll:
    digest: str = "require_all"

    async def asks(self, use: Use) -> bool:
        del use
        return True


@dataclass(frozen=True, slots=True)
class AutoApprove:
    digest: str = "auto"

    async def asks(self, use: Use) -> bool:
        del use
        return False


@dataclass(frozen=True, slots=True)
class AllowList:
    """Those named here run by themselves; everything else asks."""

    names: frozenset[str]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", frozenset(names))

    @property
    def digest(self) -> str:
        return "allow_list:" + ",".join(sorted(self.names))

    async def asks(self, use: Use) -> bool:
        return use.tool not in self.names


@dataclass(frozen=True, slots=True)
class CustomPolicy:
    """`rule` sees the tool, its arguments, the caller and what was spent. One that fails asks."""

    name: str
    rule: Callable[[Use], bool | Awaitable[bool]]
    version: str = "1"

    @property
    def digest(self) -> str:
        return f"custom:{self.name}:{self.version}"

    async def asks(self, use: Use) -> bool:
        try:
            answer: Any = self.rule(use)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception:  # noqa: BLE001 - when in doubt, a person decides
            return True
        return bool(answer)
