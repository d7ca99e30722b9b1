"""The OpenAPI document of the admin API, made from the same endpoints that serve it."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.admin.endpoint import Endpoint

PREFIX = "/admin/v1"
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


def document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    takes = {one.body for one in endpoints if one.body is not None}
    gives = {one.says for one in endpoints if one.says is not None}
    wanted = [(shape, "validation") for shape in sorted(takes, key=_name)]
    shapes, definitions = models_json_schema(
        [*wanted, *((shape, "serialization") for shape in sorted(gives, key=_name))],  # type: ignore[list-item]
        ref_template="#/components/schemas/{model}",
    )
    refs: dict[object, Any] = {shape[0]: ref for shape, ref in shapes.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        path = PREFIX + _PARAMETER.sub(r"{\1}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Meterway admin API", "version": version},
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _operation(one: Endpoint, refs: dict[object, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(one.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in one.query]
    good: dict[str, Any] = {"description": one.summary}
    if one.says is not None:
        good["content"] = {"application/json": {"schema": _page_of(refs[one.says]) if one.many else refs[one.says]}}
    told: dict[str, Any] = {
        "summary": one.summary,
        "operationId": re.sub(r"\W+", "_", f"{one.method.lower()}{one.path}").strip("_"),
        "parameters": parameters,
        "responses": {str(one.status): good, "default": {"description": "a problem (application/problem+json)"}},
    }
    if one.body is not None:
        told["requestBody"] = {"content": {"application/json": {"schema": refs[one.body]}}}
    return told


def _page_of(item: object) -> dict[str, Any]:
    cursor = {"type": ["string", "null"], "description": "send it as `cursor` for the page behind this one"}
    items = {"type": "array", "items": item}
    return {"type": "object", "properties": {"items": items, "next": cursor}, "required": ["items", "next"]}


def _name(shape: type[BaseModel]) -> str:
    return shape.__name__
