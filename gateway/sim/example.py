"""A small value that fits a JSON schema."""

from typing import Any, Final

DEPTH_MAX: Final = 16

_SIMPLE: Final = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def example(schema: dict[str, Any], text: str = "text", depth: int = 0) -> Any:
    """Strings become `text`; all properties are filled in, down to `DEPTH_MAX`."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return example(schema[union][0], text, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if depth > DEPTH_MAX:
        return None
    if kind == "array":
        return [example(schema.get("items") or {}, text, depth + 1)]
    if kind == "object" or "properties" in schema:
        return {name: example(part, text, depth + 1) for name, part in (schema.get("properties") or {}).items()}
    if kind == "string":
        return text
    return _SIMPLE.get(str(kind))
