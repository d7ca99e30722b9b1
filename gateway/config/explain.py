"""Says in our own words what the schema refused."""

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.problems import Findings, Path, choose, dotted, shown
from gateway.config.schema import ConfigFile

_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "date_type": "a date like 2026-01-31",
}
_BOUNDS: dict[str, tuple[str, str]] = {
    "greater_than": ("must be more than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("must be at most", "le"),
}


def explain(error: ErrorDetails, data: object, findings: Findings) -> None:
    """Adds the problem that one schema error stands for."""
    path, missing = place_of(error, data)
    value = value_at(data, path)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        findings.problem((*path, *missing), "is missing", f"add {missing[-1] if missing else 'it'}: …")
    elif kind == "extra_forbidden":
        _unknown_key(path, findings)
    elif kind == "house":
        findings.problem(path, str(context["message"]), str(context["remedy"]))
    elif kind in _KINDS:
        hint = "; put it in quotes" if kind == "string_type" and isinstance(value, int | float) else ""
        findings.problem(path, f"{shown(value, path)} is not {_KINDS[kind]}", f"write {_KINDS[kind]}{hint}")
    elif kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        findings.problem(path, f"{shown(value, path)} is out of range", f"{words} {context[name]}")
    elif kind in _OTHERS:
        _OTHERS[kind](path, value, context, findings)
    else:
        findings.problem(path, f"{shown(value, path)} is refused ({kind})", "see docs/configuration.md")


def place_of(error: ErrorDetails, data: object) -> tuple[Path, Path]:
    """The steps that the file has, then those that it lacks; union tags and `[key]` marks are left out."""
    here: object = data
    path: list[str | int] = []
    missing: list[str | int] = []
    for step in error["loc"]:
        if has_step(here, step):
            here = step_into(here, step)
            path.append(step)
        elif error["type"] == "missing" and step == error["loc"][-1]:
            missing.append(step)
    return tuple(path), tuple(missing)


def value_at(data: object, path: Path) -> object:
    for step in path:
        data = step_into(data, step)
    return data


def has_step(data: object, step: str | int) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)


def step_into(data: object, step: str | int) -> object:
    if isinstance(data, dict):
        return data[step]
    return data[step] if isinstance(data, list) and isinstance(step, int) else None


def _unknown_key(path: Path, findings: Findings) -> None:
    name = str(path[-1])
    known = _fields_at(path[:-1])
    where = dotted(path[:-1]) or "the file"
    remedy = choose(name, known, "setting")
    findings.problem(path, f"{shown(name)} is not a setting of {where}", remedy, at_key=True)


def _fields_at(path: Path) -> list[str]:
    """The settings that a section has, found by walking the schema along the path."""
    arms = _arms(ConfigFile)
    for step in path:
        arms = [deeper for arm in arms for deeper in _step(arm, step)]
    return [
        field.alias or name
        for arm in arms
        if isinstance(arm, type) and issubclass(arm, BaseModel)
        for name, field in arm.model_fields.items()
    ]


def _step(arm: object, step: str | int) -> list[object]:
    if isinstance(arm, type) and issubclass(arm, BaseModel):
        return [
            deeper
            for name, field in arm.model_fields.items()
            if step == (field.alias or name)
            for deeper in _arms(field.annotation)
        ]
    if get_origin(arm) in {list, dict}:
        return _arms(get_args(arm)[-1])
    return []


def _arms(annotation: object) -> list[object]:
    """The types that a value may have, without unions and annotations around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _arms(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return [arm for part in get_args(annotation) for arm in _arms(part)]
    return [annotation]


def _pattern(path: Path, value: object, _context: Mapping[str, object], findings: Findings) -> None:
    name = path[-1] if path and isinstance(path[-1], str) and not isinstance(value, str) else value
    message = f"{shown(name, path)} is not a usable name"
    findings.problem(path, message, "use letters, digits, dot, dash and underscore, without spaces, at most 64")


def _choice(path: Path, value: object, context: Mapping[str, object], findings: Findings) -> None:
    findings.problem(path, f"{shown(value, path)} is not a choice", f"use one of: {context.get('expected', '')}")


def _too_few(path: Path, _value: object, _context: Mapping[str, object], findings: Findings) -> None:
    findings.problem(path, "is empty", "give it at least one entry")


def _too_many(path: Path, _value: object, context: Mapping[str, object], findings: Findings) -> None:
    findings.problem(path, "is too long", f"at most {context.get('max_length', '')}")


def _infinite(path: Path, _value: object, _context: Mapping[str, object], findings: Findings) -> None:
    findings.problem(path, "is not a finite number", "write a plain number")


_OTHERS: dict[str, Callable[[Path, object, Mapping[str, object], Findings], None]] = {
    "string_pattern_mismatch": _pattern,
    "literal_error": _choice,
    "too_short": _too_few,
    "string_too_short": _too_few,
    "too_long": _too_many,
    "string_too_long": _too_many,
    "finite_number": _infinite,
}
