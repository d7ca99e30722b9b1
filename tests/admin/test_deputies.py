"""What a tenant-admin may do: narrow what its tenant has, never widen it; and keys that end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.test_api import FIRST_KEY, PREFIX, House, standing

MINE = f"{PREFIX}/tenants/first"


@asynccontextmanager
async def deputy_of_first(house: House) -> AsyncIterator[httpx.AsyncClient]:
    key = (await house.made("/admin-keys", role="tenant-admin", tenant="first"))["key"]
    async with house.as_key(key) as deputy:
        yield deputy


@pytest.mark.parametrize(
    ("kind", "set_by_admin", "wider"),
    [
        ("budgets", {"usd": "1", "per": "day", "for": "user"}, {"usd": "500", "per": "day", "for": "user"}),
        ("limits", {"concurrent": 1, "for": "user"}, {"concurrent": 500, "for": "user"}),
    ],
)
async def test_a_tenant_admin_cannot_loosen_what_an_operator_has_set(
    kind: str, set_by_admin: dict[str, Any], wider: dict[str, Any], tmp_path: Path
) -> None:
    async with standing(tmp_path) as house, deputy_of_first(house) as deputy:
        theirs = await house.made(f"/tenants/first/{kind}", **set_by_admin)
        url, tag = f"{MINE}/{kind}/{theirs['id']}", {"if-match": '"1"'}
        assert (await deputy.put(url, json=wider, headers=tag)).status_code == 403
        assert (await deputy.delete(url, headers=tag)).status_code == 403
        own = (await deputy.post(f"{MINE}/{kind}", json=wider)).json()
        assert (await deputy.put(f"{MINE}/{kind}/{own['id']}", json=wider, headers=tag)).status_code == 200
        changed = await house.root.put(f"{MINE}/{kind}/{own['id']}", json=set_by_admin, headers={"if-match": '"2"'})
        assert changed.status_code == 200
        refused = await deputy.put(f"{MINE}/{kind}/{own['id']}", json=wider, headers={"if-match": '"3"'})
        assert refused.status_code == 403, "an operator has set it since"


async def test_a_tenant_admin_grants_no_more_than_its_tenant_has(tmp_path: Path) -> None:
    async with standing(tmp_path) as house, deputy_of_first(house) as deputy:
        tag = (await house.root.get(MINE)).headers["etag"]
        await house.root.patch(MINE, json={"models": ["another"]}, headers={"if-match": tag})
        key = (await deputy.post(f"{MINE}/keys", json={"models": ["m"]})).json()["key"]
        assert (await house.ask(key)).status_code in (403, 404)
        for method, path, body in (
            ("POST", "/admin-keys", {"role": "admin"}),
            ("POST", "/tenants", {"id": "mine"}),
            ("PATCH", "/tenants/first", {"models": []}),
            ("DELETE", "/tenants/first", None),
            ("POST", "/ledger/adjust", {"tenant": "first", "usd": "-5", "cause": "for me"}),
            ("POST", "/config/reload", None),
        ):
            answer = await deputy.request(method, PREFIX + path, json=body, headers={"if-match": '"2"'})
            assert answer.status_code == 403, (path, answer.text)


async def test_an_object_of_another_tenant_is_not_there_by_any_way(tmp_path: Path) -> None:
    """Ids of others in a path of one's own are as unknown as paths of others."""
    async with standing(tmp_path) as house, deputy_of_first(house) as deputy:
        await house.made("/tenants", id="second")
        ids = {
            "keys": (await house.made("/tenants/second/keys"))["id"],
            "budgets": (await house.made("/tenants/second/budgets", usd="1", per="day", **{"for": "user"}))["id"],
            "limits": (await house.made("/tenants/second/limits", concurrent=1, **{"for": "user"}))["id"],
        }
        bodies: dict[str, Any] = {
            "keys": {},
            "budgets": {"usd": "1", "per": "day", "for": "user"},
            "limits": {"concurrent": 9, "for": "user"},
        }
        for kind, name in ids.items():
            for tenant in ("first", "second", "%73econd"):
                url = f"{PREFIX}/tenants/{tenant}/{kind}/{name}"
                tries = [("GET", url), ("PUT", url), ("DELETE", url), ("POST", f"{url}/rotate")]
                for method, path in tries:
                    answer = await deputy.request(method, path, json=bodies[kind], headers={"if-match": '"1"'})
                    assert answer.status_code in (404, 405), (method, path, answer.text)
        untouched = (await house.root.get(f"{PREFIX}/tenants/second/keys")).json()["items"]
        assert [(key["revision"], key["revoked_at"]) for key in untouched] == [(1, None)]


async def test_a_key_that_has_ended_is_not_rotated_and_ends_only_once(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        key = await house.made("/tenants/first/keys")
        url = f"{MINE}/keys/{key['id']}"
        first = await house.root.post(f"{url}/rotate", json={"overlap_s": 60})
        ends = (await house.root.get(url)).json()["revoked_at"]
        second = await house.root.post(f"{url}/rotate", json={"overlap_s": 3600})
        assert (first.status_code, second.status_code) == (201, 201)
        assert (await house.root.get(url)).json()["revoked_at"] == ends, "a later rotation does not prolong the first"
        assert (await house.root.delete(url)).status_code == 204
        ended = (await house.root.get(url)).json()
        assert (await house.root.delete(url)).status_code == 204
        assert (await house.root.get(url)).json() == ended
        assert (await house.root.post(f"{url}/rotate", json={})).status_code == 409
        assert (await house.ask(FIRST_KEY)).status_code == 200
