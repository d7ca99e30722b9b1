"""A small value that fits a JSON schema."""

from typing import Any, Final

DEPTH_MAX: Final = 16

_SIMPLE: Final = {"integer": 1, "number": 1.5, "boolean": True, "null": None}


def example(schema: object, text: str = "text", depth: int = 0) -> Any:
    """Strings become `text`; all properties are filled in, down to `DEPTH_MAX`. What is no schema gives None."""
    if depth > DEPTH_MAX:
        return None
    match schema:
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]} | {"allOf": [first, *_]}:
            return example(first, text, depth + 1)
        case {"type": [str(kind), *_], **rest}:
            return example({**rest, "type": kind}, text, depth + 1)
        case {"properties": dict(properties)}:
            return {name: example(part, text, depth + 1) for name, part in properties.items()}
        case {"type": "array", **rest}:
            return [example(rest.get("items"), text, depth + 1)]
        case {"type": "string"}:
            return text
        case {"type": str(kind)}:
            return _simple(kind)
        case _:
            return None


def _simple(kind: str) -> Any:
    return {} if kind == "object" else _SIMPLE.get(kind)
