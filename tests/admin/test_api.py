"""The admin API over its real listener and a real database, and what it changes for callers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.admin.routes import endpoints_of
from gateway.app.gateway import Gateway
from gateway.config.load import load_text
from gateway.sim.script import parse_script
from gateway.sim.server import Simulator

ROOT_KEY = "gw_admin_of_the_test_0123"
FIRST_KEY = "gw_caller_one_0123456789"
PREFIX = "/admin/v1"


@dataclass
class House:
    gateway: Gateway
    sim: Simulator
    root: httpx.AsyncClient
    data: httpx.AsyncClient
    document: dict[str, Any]
    """The configuration, to change it and reload."""

    async def ask(self, key: str, **more: Any) -> httpx.Response:
        body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], **more}
        return await self.data.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})

    async def made(self, path: str, **body: Any) -> dict[str, Any]:
        response = await self.root.post(PREFIX + path, json=body)
        assert response.status_code == 201, response.text
        told: dict[str, Any] = response.json()
        return told

    def as_key(self, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.root.base_url, headers={"authorization": f"Bearer {key}"} if key else {})


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[House]:
    async with Simulator(parse_script({})) as sim:
        document: dict[str, Any] = {
            "listen": {"port": 0},
            "admin": {"port": 0, "key": "env:ADMIN"},
            "database": f"sqlite:///{folder}/books.db",
            "journal": str(folder / "journal"),
            "providers": {"a": {"kind": "openai", "base_url": f"{sim.base}/v1", "keys": ["none"]}},
            "models": {"m": {"targets": [{"provider": "a", "model": "gpt"}]}},
            "tenants": [{"id": "first", "keys": ["env:FIRST"], "budgets": [{"usd": 1, "per": "day"}]}],
            "prices": {
                "overrides": [
                    {"provider": "a", "model": "gpt", "input_usd_per_million": 1, "output_usd_per_million": 2}
                ]
            },
            "telemetry": {"access_log": "off"},
        }
        environ = {"ADMIN": ROOT_KEY, "FIRST": FIRST_KEY}

        def read(version: int) -> Any:
            return load_text(json.dumps(document), folder / "gateway.yaml", environ, version=version)

        gateway = Gateway(read(1), read)
        await gateway.start()
        serving = asyncio.create_task(gateway.wait())
        assert gateway.admin is not None
        try:
            async with (
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{gateway.admin.port}", headers={"authorization": f"Bearer {ROOT_KEY}"}
                ) as root,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.server.port}") as data,
            ):
                yield House(gateway, sim, root, data, document)
        finally:
            gateway.stop()
            gateway.stop()
            await serving


async def test_an_owner_gives_a_tenant_a_key_and_five_dollars_a_day(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.made("/tenants", id="acme", name="Acme")
        key = await house.made("/tenants/acme/keys", name="ci", user="bot", tags={"team": "a"})
        assert re.fullmatch(r"gw_live_[A-Za-z0-9]{12}_[\w-]{43}_[0-9a-f]{8}", key["key"])
        budget = await house.made("/tenants/acme/budgets", usd="5", per="day")
        assert (budget["usd"], budget["spent"]) == ("5", {})
        assert (await house.ask(key["key"])).status_code == 200
        shown = (await house.root.get(f"{PREFIX}/tenants/acme/budgets/{budget['id']}")).json()
        assert float(shown["spent"]["acme"]) > 0
        await house.ask("gw_caller_one_0123456789")
        first = (await house.root.get(f"{PREFIX}/usage?limit=1")).json()
        rest = (await house.root.get(f"{PREFIX}/usage?limit=1&cursor={first['next']}")).json()
        assert [row["group"]["tenant"] for page in (first, rest) for row in page["items"]] == ["acme", "first"]
        assert rest["next"] is None
        usage = (await house.root.get(f"{PREFIX}/usage?tenant=acme&group_by=tenant,user,tag:team")).json()["items"]
        assert [row["group"] for row in usage] == [{"tenant": "acme", "user": "bot", "tag:team": "a"}]
        assert usage[0]["usd"] == shown["spent"]["acme"]
        ledger = (await house.root.get(f"{PREFIX}/ledger?tenant=acme")).json()["items"]
        assert [entry["usd"] for entry in ledger] == [shown["spent"]["acme"]]
        assert (await house.root.get(f"{PREFIX}/ledger/verify")).json() == {"agree": True, "differences": []}
        listed = (await house.root.get(f"{PREFIX}/tenants/acme/keys")).json()["items"]
        assert (listed[0]["key"], key["key"] in json.dumps(listed)) == (None, False)


async def test_a_replay_is_on_record_at_no_cost_and_is_no_request(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "user": "ann"}
        spoken = {"authorization": f"Bearer {FIRST_KEY}", "idempotency-key": "turn-1", "x-run-id": "r1"}
        answers = [await house.data.post("/v1/chat/completions", json=body, headers=spoken) for _ in range(3)]
        assert {answer.content for answer in answers} == {answers[0].content}
        (row,) = (await house.root.get(f"{PREFIX}/usage?group_by=tenant,user,run,model")).json()["items"]
        assert (row["requests"], row["replays"], row["group"]["run"]) == (1, 2, "r1")
        paid, *replays = (await house.root.get(f"{PREFIX}/ledger")).json()["items"]
        assert (row["usd"], row["input_tokens"]) == (paid["usd"], paid["input_tokens"])
        assert [one["request_id"] for one in replays] == [answer.headers["x-request-id"] for answer in answers[1:]]
        assert {(one["kind"], one["replay_of"], one["usd"], one["provenance"]) for one in replays} == {
            ("void", paid["request_id"], "0", "none")
        }
        told = (await house.root.get(f"{PREFIX}/requests/{replays[0]['request_id']}")).json()
        assert [entry["replay_of"] for entry in told["entries"]] == [paid["request_id"]]
        assert (await house.root.get(f"{PREFIX}/ledger/verify")).json() == {"agree": True, "differences": []}


async def test_reg12_a_budget_that_is_used_up_refuses_at_once_and_an_adjustment_gives_room(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.ask(FIRST_KEY)
        mine = (await house.root.get(f"{PREFIX}/tenants/first/budgets")).json()["items"][0]
        change = {"usd": "0.00002", "per": "day", "when_short": "refuse"}
        url = f"{PREFIX}/tenants/first/budgets/{mine['id']}"
        assert (await house.root.put(url, json=change)).status_code == 428
        stale = await house.root.put(url, json=change, headers={"if-match": '"7"'})
        assert (stale.status_code, stale.headers["etag"]) == (412, '"1"')
        done = await house.root.put(url, json=change, headers={"if-match": '"1"'})
        assert (done.status_code, done.headers["etag"]) == (200, '"2"')
        refused = await house.ask(FIRST_KEY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exceeded")
        again = {"tenant": "first", "usd": "-0.0002", "cause": "the price was a typo", "budget": mine["id"]}
        assert (await house.root.post(f"{PREFIX}/ledger/adjust", json=again)).status_code == 201
        assert (await house.ask(FIRST_KEY)).status_code == 200
        back = {**again, "usd": "0.0002"}
        assert (await house.root.post(f"{PREFIX}/ledger/adjust", json=back)).status_code == 201
        assert (await house.ask(FIRST_KEY)).status_code == 402
        assert (await house.root.get(f"{PREFIX}/ledger/verify")).json() == {"agree": True, "differences": []}


async def test_a_revoked_key_is_refused_within_a_second_and_a_rotated_one_overlaps(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        key = await house.made("/tenants/first/keys")
        new = await house.made(f"/tenants/first/keys/{key['id']}/rotate", overlap_s=3600)
        assert (new["rotated_from"], new["key"] != key["key"]) == (key["id"], True)
        for text in (key["key"], new["key"]):
            assert (await house.ask(text)).status_code == 200
        gone = await house.root.delete(f"{PREFIX}/tenants/first/keys/{new['id']}")
        assert gone.status_code == 204
        assert (await house.ask(new["key"])).status_code == 401
        assert (await house.ask(key["key"])).status_code == 200
        await house.root.patch(f"{PREFIX}/tenants/first", json={"blocked": True}, headers={"if-match": '"1"'})
        assert (await house.ask(key["key"])).status_code == 401


async def test_every_change_leaves_an_audit_line_without_secrets(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        key = await house.made("/tenants/first/keys", name="ci")
        lines = (await house.root.get(f"{PREFIX}/audit?tenant=first&limit=1")).json()
        assert [(line["actor"], line["action"], line["kind"]) for line in lines["items"]] == [("root", "create", "key")]
        assert (key["key"] in json.dumps(lines), lines["next"] is not None) == (False, True)
        older = (await house.root.get(f"{PREFIX}/audit?tenant=first&cursor={lines['next']}")).json()["items"]
        assert {line["actor"] for line in older} == {"configuration"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/tenants", {"id": "no spaces"}, "id"),
        ("/tenants", {"id": "x", "colour": 1}, "colour"),
        ("/tenants/first/budgets", {"usd": "-5", "per": "day"}, "usd"),
        ("/tenants/first/budgets", {"usd": "0.0000000001", "per": "day"}, "usd"),
        ("/tenants/first/budgets", {"usd": "5", "per": "year"}, "per"),
        ("/tenants/first/budgets", {"usd": "5", "tokens": 5, "per": "day"}, "body"),
        ("/tenants/first/budgets", {"usd": "5", "per": "day", "zone": "Mars/Base"}, "zone"),
        ("/tenants/first/budgets", {"eur": "5", "per": "day"}, "eur"),
        ("/tenants/first/limits", {"requests_per_minute": 0}, "requests_per_minute"),
        ("/tenants/first/limits", {}, "requests_per_minute"),
        ("/admin-keys", {"role": "god"}, "role"),
        ("/admin-keys", {"role": "tenant-admin"}, "tenant"),
        ("/tenants/first/keys", {"tags": {"a b": "c"}}, "tags.a b"),
    ],
)
async def test_what_cannot_be_used_is_422_with_the_field_and_nothing_is_applied(
    path: str, body: dict[str, Any], field: str, tmp_path: Path
) -> None:
    async with standing(tmp_path) as house:
        before = house.gateway.kept.directory.snapshot()
        response = await house.root.post(PREFIX + path, json=body)
        assert response.status_code == 422, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert any(error["field"].startswith(field) for error in response.json()["errors"]), response.text
        assert house.gateway.kept.directory.snapshot() == before


async def test_pages_follow_each_other(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        for number in range(5):
            await house.made("/tenants", id=f"t{number}")
        seen: list[str] = []
        url: str | None = f"{PREFIX}/tenants?limit=2"
        while url:
            answer = await house.root.get(url)
            seen += [item["id"] for item in answer.json()["items"]]
            url = answer.links["next"]["url"] if "next" in answer.links else None
        assert seen == ["first", "t0", "t1", "t2", "t3", "t4"]


async def test_targets_are_drained_and_served_again_and_the_rest_of_the_views_answer(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        name = (await house.root.get(f"{PREFIX}/targets")).json()["items"][0]["deployment"]
        name = quote(name)
        assert (await house.root.post(f"{PREFIX}/targets/{name}", json={"state": "drain"})).status_code == 200
        assert (await house.ask(FIRST_KEY)).status_code == 503
        await house.root.post(f"{PREFIX}/targets/{name}", json={"state": "serve"})
        answer = await house.ask(FIRST_KEY)
        assert answer.status_code == 200
        told = (await house.root.get(f"{PREFIX}/requests/{answer.headers['x-request-id']}")).json()
        assert (told["status"], len(told["entries"]), told["attempts"][0]["status"]) == (200, 1, 200)
        simulated = (await house.root.post(f"{PREFIX}/simulate", json={"tenant": "first", "model": "m"})).json()
        assert (simulated["admitted"], simulated["targets"][0]["at_most_usd"]) == (True, "0.00315")
        config = (await house.root.get(f"{PREFIX}/config")).text
        assert (ROOT_KEY in config, FIRST_KEY in config) == (False, False)
        assert "override" in (await house.root.get(f"{PREFIX}/prices")).text
        assert (await house.root.post(f"{PREFIX}/config/reload")).json()["in_force"] is True
        export = await house.root.get(f"{PREFIX}/ledger?format=csv")
        assert len(export.text.splitlines()) == 1 + 1
        document = (await house.root.get("/admin/openapi.json")).json()
        served = {(e.method.lower(), PREFIX + e.path.replace(":path", "")) for e in endpoints_of(None)}  # type: ignore[arg-type]
        assert {(method, path) for path, item in document["paths"].items() for method in item} == served


async def test_a_tenant_admin_sees_its_own_alone_and_sets_only_parts(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.made("/tenants", id="second")
        await house.ask(FIRST_KEY)
        key = (await house.made("/admin-keys", role="tenant-admin", tenant="second"))["key"]
        async with house.as_key(key) as deputy:
            assert [item["id"] for item in (await deputy.get(f"{PREFIX}/tenants")).json()["items"]] == ["second"]
            assert (await deputy.get(f"{PREFIX}/usage?tenant=first")).json()["items"] == []
            assert (await deputy.get(f"{PREFIX}/ledger?tenant=first")).json()["items"] == []
            url = f"{PREFIX}/tenants/second/budgets"
            assert (await deputy.post(url, json={"usd": "1", "per": "day"})).status_code == 403
            assert (await deputy.post(url, json={"usd": "1", "per": "day", "for": "user"})).status_code == 201
            assert (await deputy.post(f"{PREFIX}/tenants/second/keys", json={})).status_code == 201
            assert (await deputy.get("/metrics")).status_code == 403
