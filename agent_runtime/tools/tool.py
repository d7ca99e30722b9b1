"""A tool, and the decorator that makes one of a typed function."""

import asyncio
import contextvars
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.values import Principal, RunRef
from agent_runtime.ports import Memory
from agent_runtime.tools.access import Authorizer
from agent_runtime.tools.arguments import Arguments, SchemaArguments, first_problem

Risk = Literal["read", "write", "dangerous"]
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
TIMEOUT_S = 1_800.0
THREADS = 64
"""Plain functions that run at once in a process; the stores need the loop's own threads, which are few."""

_THREADS = ThreadPoolExecutor(THREADS, "tool")


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know. `idempotency_key` is the same when the same call is made again."""

    ref: RunRef
    call_id: str
    idempotency_key: str
    memory: Memory | None = None

    @property
    def principal(self) -> Principal:
        return self.ref.principal


Runner = Callable[[Mapping[str, Any], ToolContext], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Tool:
    """`idempotent`: it may be run again after a failure. `exclusive`: nothing else runs meanwhile."""

    name: str
    description: str
    arguments: Arguments
    run: Runner
    risk: Risk = "write"
    exclusive: bool = False
    idempotent: bool = False
    timeout_s: float = TIMEOUT_S
    version: str = "1"
    authorizers: tuple[Authorizer, ...] = ()
    origin: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"tool name {self.name!r} cannot be used; take 1 to 64 letters, digits, '_' or '-'")
        if self.timeout_s <= 0:
            raise ConfigError(f"tool {self.name!r}: timeout_s is {self.timeout_s!r}; give more than 0 seconds")

    @property
    def schema(self) -> Mapping[str, Any]:
        return self.arguments.schema


@dataclass(frozen=True, slots=True)
class ModelArguments:
    """Arguments as a pydantic model describes them."""

    model: type[BaseModel]
    schema: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", self.model.model_json_schema())

    def problem(self, given: Any) -> str | None:
        try:
            self.model.model_validate(given)
        except ValidationError as error:
            return first_problem(error)
        return None

    def values(self, given: Any) -> dict[str, Any]:
        known = self.model.model_validate(given)
        return {name: getattr(known, name) for name in type(known).model_fields}


Function = Callable[..., Any]


@overload
def tool(function: Function) -> Tool: ...
@overload
def tool(
    *,
    name: str = "",
    risk: Risk = "write",
    exclusive: bool = False,
    idempotent: bool = False,
    timeout_s: float = TIMEOUT_S,
    version: str = "1",
    authorizers: tuple[Authorizer, ...] = (),
) -> Callable[[Function], Tool]: ...
def tool(function: Function | None = None, *, name: str = "", **facts: Any) -> Any:
    """Its annotations are the schema, its docstring the description; a parameter of type ToolContext is filled in."""
    if function is not None:
        return _made(function, name, facts)
    return lambda found: _made(found, name, facts)


def _made(function: Function, name: str, facts: dict[str, Any]) -> Tool:
    called = name or function.__name__
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    context_name = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"tool {called!r}: {parameter} has no schema; name every parameter")
        if parameter.name not in hints:
            raise ConfigError(f"tool {called!r}: parameter {parameter.name!r} has no type; annotate it")
        if hints[parameter.name] is ToolContext:
            context_name = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    model: type[BaseModel] = create_model(called, __config__=ConfigDict(extra="forbid"), **fields)
    arguments = ModelArguments(model)
    run = _runner(function, arguments, context_name)
    return Tool(called, inspect.getdoc(function) or called, arguments, run, **facts)


def _runner(function: Function, arguments: ModelArguments, context_name: str | None) -> Runner:
    async def run(given: Mapping[str, Any], context: ToolContext) -> Any:
        values = arguments.values(given)
        if context_name is not None:
            values[context_name] = context
        if inspect.iscoroutinefunction(function):
            return await function(**values)
        told = partial(contextvars.copy_context().run, function, **values)
        return await asyncio.get_running_loop().run_in_executor(_THREADS, told)

    return run


def schema_tool(name: str, description: str, schema: Mapping[str, Any], run: Runner, **facts: Any) -> Tool:
    """A tool whose arguments a JSON schema describes, such as another server's."""
    return Tool(name, description, SchemaArguments(schema), run, **facts)
