"""Every route of the admin API for every role, and for its own tenant and another one: who may, and who may not."""

import re
from pathlib import Path
from typing import Any

import httpx

from gateway.admin.routes import endpoints_of
from tests.admin.test_api import FIRST_KEY, PREFIX, ROOT_KEY, House, standing

MAY = """
GET    /tenants                             admin operator viewer own other
POST   /tenants                             admin
GET    /tenants/{tenant}                    admin operator viewer own
PATCH  /tenants/{tenant}                    admin
DELETE /tenants/{tenant}                    admin
GET    /tenants/{tenant}/keys               admin operator viewer own
POST   /tenants/{tenant}/keys               admin operator own
GET    /tenants/{tenant}/keys/{id}          admin operator viewer own
POST   /tenants/{tenant}/keys/{id}/rotate   admin operator own
DELETE /tenants/{tenant}/keys/{id}          admin operator own
GET    /tenants/{tenant}/budgets            admin operator viewer own
POST   /tenants/{tenant}/budgets            admin own
GET    /tenants/{tenant}/budgets/{id}       admin operator viewer own
PUT    /tenants/{tenant}/budgets/{id}       admin own
DELETE /tenants/{tenant}/budgets/{id}       admin own
GET    /tenants/{tenant}/limits             admin operator viewer own
POST   /tenants/{tenant}/limits             admin own
GET    /tenants/{tenant}/limits/{id}        admin operator viewer own
PUT    /tenants/{tenant}/limits/{id}        admin own
DELETE /tenants/{tenant}/limits/{id}        admin own
GET    /tenants/{tenant}/usage              admin operator viewer own
GET    /tenants/{tenant}/erasures           admin operator viewer own
POST   /tenants/{tenant}/erasures           admin own
GET    /usage                               admin operator viewer own other
GET    /runs/{run_id}                       admin operator viewer own other
GET    /ledger                              admin operator viewer own other
GET    /requests/{request_id}               admin operator viewer own
GET    /audit                               admin operator viewer own other
GET    /ledger/verify                       admin operator
POST   /ledger/adjust                       admin
POST   /ledger/rerate                       admin
POST   /ledger/reconcile                    admin operator viewer
GET    /targets                             admin operator viewer
POST   /targets/{id:path}                   admin operator
GET    /prices                              admin operator viewer
GET    /config                              admin operator viewer
POST   /config/validate                     admin
POST   /config/reload                       admin
POST   /simulate                            admin operator viewer
GET    /admin-keys                          admin
POST   /admin-keys                          admin
DELETE /admin-keys/{id}                     admin
"""
"""`own` and `other` are tenant-admins, of the tenant in the path and of another one."""

ROLES = ("none", "data", "viewer", "operator", "admin", "own", "other")
PART = {"for": "user"}
BUDGET: dict[str, Any] = {"usd": "1", "per": "day", **PART}
WRONG = {"from": "2020-01-01T00:00:00Z", "cause": "the list was wrong"}
SUMS = {"input_tokens": 1, "output_tokens": 1}
BODIES: dict[str, dict[str, Any]] = {
    "POST /tenants": {"id": "made"},
    "PATCH /tenants/{tenant}": {"name": "another"},
    "POST /tenants/{tenant}/keys": {},
    "POST /tenants/{tenant}/keys/{id}/rotate": {},
    "POST /tenants/{tenant}/budgets": BUDGET,
    "PUT /tenants/{tenant}/budgets/{id}": BUDGET,
    "POST /tenants/{tenant}/limits": {"concurrent": 9, **PART},
    "PUT /tenants/{tenant}/limits/{id}": {"concurrent": 9, **PART},
    "POST /tenants/{tenant}/erasures": {"user": "ann"},
    "POST /ledger/adjust": {"tenant": "first", "usd": "0.01", "cause": "for the test"},
    "POST /ledger/rerate": {"provider": "a", "model": "gpt", **WRONG},
    "POST /ledger/reconcile": {"provider": "a", "rows": [{"model": "gpt", **SUMS}]},
    "POST /targets/{id:path}": {"state": "serve"},
    "POST /config/validate": {
        "text": "{providers: {s: {kind: sim}}, models: {m: {targets: [{provider: s, model: x}]}}}"
    },
    "POST /simulate": {"tenant": "first", "model": "m"},
    "POST /admin-keys": {"role": "viewer"},
}


def table() -> dict[str, set[str]]:
    rows = (line.split() for line in MAY.strip().splitlines())
    return {f"{method} {path}": set(roles) for method, path, *roles in rows}


def test_every_route_has_its_row_and_every_row_its_route() -> None:
    served = {f"{endpoint.method} {endpoint.path}" for endpoint in endpoints_of(None)}  # type: ignore[arg-type]
    assert served == set(table())


async def path_for(house: House, role: str, route: str, setter: httpx.AsyncClient) -> str:
    """To objects that are there, made for this one call."""
    path = route.split(" ")[1]
    mine = f"{PREFIX}/tenants/first"
    if "/keys/" in path:
        path = path.replace("{id}", (await house.made("/tenants/first/keys"))["id"])
    elif "/admin-keys/" in path:
        path = path.replace("{id}", (await house.made("/admin-keys", role="viewer"))["id"])
    elif "/budgets/" in path:
        path = path.replace("{id}", (await setter.post(f"{mine}/budgets", json=BUDGET)).json()["id"])
    elif "/limits/" in path:
        path = path.replace("{id}", (await setter.post(f"{mine}/limits", json={"concurrent": 9, **PART})).json()["id"])
    elif "/targets/" in path:
        path = path.replace("{id:path}", (await house.root.get(f"{PREFIX}/targets")).json()["items"][0]["deployment"])
    elif "/requests/" in path:
        path = path.replace("{request_id}", (await house.ask(FIRST_KEY)).headers["x-request-id"])
    elif route == "DELETE /tenants/{tenant}":
        path = path.replace("{tenant}", (await house.made("/tenants", id=f"gone-{role}"))["id"])
    return PREFIX + path.replace("{tenant}", "first").replace("{run_id}", "r").replace("#", "%23")


async def test_every_route_for_every_role_and_for_own_and_other_tenants(tmp_path: Path) -> None:
    """Who may, is served; who may not, is refused before anything else is looked at, and what it meant is untouched."""
    async with standing(tmp_path) as house:
        await house.made("/tenants", id="second")
        keys = {"none": "", "data": FIRST_KEY, "admin": ROOT_KEY}
        for role in ("viewer", "operator"):
            keys[role] = (await house.made("/admin-keys", role=role))["key"]
        keys["own"] = (await house.made("/admin-keys", role="tenant-admin", tenant="first"))["key"]
        keys["other"] = (await house.made("/admin-keys", role="tenant-admin", tenant="second"))["key"]
        wrong = []
        async with house.as_key(keys["own"]) as setter:
            for route, may in table().items():
                for role in ROLES:
                    path = await path_for(house, role, route, setter)
                    before = house.gateway.kept.directory.snapshot()
                    async with house.as_key(keys[role]) as client:
                        tag = (await house.root.get(path)).headers.get("etag", '"1"')
                        body = BODIES.get(route)
                        answer = await client.request(route.split(" ")[0], path, json=body, headers={"if-match": tag})
                    served = 200 <= answer.status_code < 300
                    refused = answer.status_code == (401 if role in ("none", "data") else 403)
                    refused |= role == "other" and answer.status_code == 404
                    if served is not (role in may) or refused is (role in may):
                        wrong.append((route, role, answer.status_code, answer.text[:200]))
                    if role not in may:
                        assert house.gateway.kept.directory.snapshot() == before, (route, role)
                    if route == "POST /tenants" and served:
                        await house.root.delete(f"{PREFIX}/tenants/made", headers={"if-match": '"1"'})
        assert wrong == []


def test_the_roles_of_the_document_are_those_of_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "admin.md").read_text()
    named = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert {"admin", "operator", "viewer", "tenant-admin"} <= named
