"""Whether a model's arguments fit a tool, said so that the model can mend them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jsonschema
from pydantic import ValidationError

ARGUMENTS_CHARS_MAX = 100_000


class Arguments(Protocol):
    @property
    def schema(self) -> Mapping[str, Any]: ...
    def problem(self, given: Any) -> str | None: ...


@dataclass(frozen=True, slots=True)
class SchemaArguments:
    schema: Mapping[str, Any]

    def problem(self, given: Any) -> str | None:
        return schema_problem(self.schema, given)


def decoded(text: str) -> tuple[dict[str, Any], str | None]:
    """The arguments as an object, and why they are none."""
    if len(text) > ARGUMENTS_CHARS_MAX:
        return {}, f"They are longer than {ARGUMENTS_CHARS_MAX} characters."
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        return {}, f"They are no JSON: {error}."
    if not isinstance(given, dict):
        return {}, "They are no JSON object."
    return given, None


def schema_problem(schema: Mapping[str, Any], given: Any) -> str | None:
    validator = jsonschema.Draft202012Validator(schema)
    found = min(validator.iter_errors(given), key=lambda error: list(map(str, error.path)), default=None)
    if found is None:
        return None
    place = ".".join(map(str, found.path)) or "the whole"
    return f"{place}: {found.message[:500]}."


def first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "the whole"
    return f"{place}: {first['msg']}."
