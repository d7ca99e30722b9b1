"""The OpenAPI document is valid, and describes what is served."""

from pathlib import Path
from typing import Any

from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.admin.openapi import PREFIX, document
from gateway.admin.routes import endpoints_of
from tests.admin.test_api import FIRST_KEY, House, standing

ENDPOINTS = endpoints_of(None)  # type: ignore[arg-type]
DOCUMENT = document(ENDPOINTS, "1")


def test_the_document_is_valid() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does() -> None:
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ENDPOINTS)
    assert all(operation["summary"] and operation["responses"] for operation in operations)


def test_every_body_that_is_taken_and_given_is_described() -> None:
    for endpoint in ENDPOINTS:
        path = DOCUMENT["paths"][PREFIX + endpoint.path.replace(":path", "")]
        operation = path[endpoint.method.lower()]
        assert ("requestBody" in operation) is (endpoint.body is not None)
        good = operation["responses"][str(endpoint.status)]
        assert ("content" in good) is (endpoint.says is not None)
        assert {one["name"] for one in operation["parameters"] if one["in"] == "query"} == set(endpoint.query)


def test_no_shape_that_comes_back_can_hold_a_digest() -> None:
    names = {name for shape in DOCUMENT["components"]["schemas"].values() for name in shape.get("properties", {})}
    assert names.isdisjoint({"digest", "pepper_id", "pepper", "secret"})


async def test_what_is_served_is_what_is_described(tmp_path: Path) -> None:
    """Each answer that has a shape, after something has happened for it to tell of."""
    async with standing(tmp_path) as house:
        names = await lived(house)
        checked = 0
        for endpoint in ENDPOINTS:
            if endpoint.method != "GET" or endpoint.says is None:
                continue
            group = next((name for name in ("budgets", "limits") if name in endpoint.path), "keys")
            path = endpoint.path.format(tenant="first", id=names[group], run_id="run1")
            answer = await house.root.get(PREFIX + path)
            assert answer.status_code == 200, (path, answer.text)
            told = answer.json()
            assert not endpoint.many or told["items"], f"{path} has nothing to show"
            validator(endpoint.path).validate(told)
            checked += 1
        assert checked == sum(1 for endpoint in ENDPOINTS if endpoint.method == "GET" and endpoint.says is not None)


def validator(path: str) -> OAS31Validator:
    content = DOCUMENT["paths"][PREFIX + path]["get"]["responses"]["200"]["content"]
    return OAS31Validator({**content["application/json"]["schema"], "components": DOCUMENT["components"]})


async def lived(house: House) -> dict[str, Any]:
    """Something of everything; the ids by kind."""
    await house.made("/admin-keys", role="viewer")
    limit = await house.made("/tenants/first/limits", concurrent=5)
    key = await house.made("/tenants/first/keys", tags={"team": "a"}, expires_at="2099-01-01T00:00:00Z")
    budget = await house.made("/tenants/first/budgets", tokens=10_000, per="lifetime")
    assert (await house.root.post(f"{PREFIX}/tenants/first/erasures", json={"user": "ann"})).status_code == 202
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {FIRST_KEY}", "x-run-id": "run1"}
    assert (await house.data.post("/v1/chat/completions", json=body, headers=headers)).status_code == 200
    return {"keys": key["id"], "budgets": budget["id"], "limits": limit["id"]}
