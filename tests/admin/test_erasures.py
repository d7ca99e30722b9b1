"""Forgetting a user over the admin API and by command."""

import asyncio
from pathlib import Path

import pytest

from gateway.app import erasures
from gateway.sim.script import parse_script
from tests.admin.test_api import FIRST_KEY, PREFIX, House, standing
from tests.admin.test_commands import typed
from tests.admin.test_deputies import deputy_of_first

PATH = f"{PREFIX}/tenants/first/erasures"


async def test_the_name_is_nowhere_and_every_figure_stays(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        for user in ("ann@example.com", "bob"):
            assert (await house.ask(FIRST_KEY, user=user)).status_code == 200
        usage = (await house.root.get(f"{PREFIX}/usage")).json()
        told = await house.root.post(PATH, json={"user": "ann@example.com"})
        assert told.status_code == 202
        order = told.json()
        assert (order["entries"], order["held_by"], order["held_until"]) == (1, [], None)
        ledger = (await house.root.get(f"{PREFIX}/ledger")).json()["items"]
        assert {entry["user"] for entry in ledger} == {order["id"], "bob"}
        assert (await house.root.get(f"{PREFIX}/usage")).json() == usage
        assert (await house.root.get(f"{PREFIX}/ledger/verify")).json()["agree"] is True
        assert "ann@" not in (await house.root.get(f"{PREFIX}/audit")).text
        assert (await house.root.get(PATH)).json()["items"] == [{**order, "entries": None}]


async def test_a_budget_that_counts_the_user_holds_the_name_and_still_refuses(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        house.sim.script = parse_script({"otherwise": {"answer": {"text_chars": 400}}})
        budget = await house.made("/tenants/first/budgets", usd="0.0003", per="month", **{"for": "user"})
        while (await house.ask(FIRST_KEY, user="ann")).status_code == 200:
            pass
        said = (await house.root.post(PATH, json={"user": "ann"})).json()
        assert (said["entries"], said["held_by"]) == (0, [budget["id"]])
        assert said["held_until"] > said["created_at"]
        assert (await house.ask(FIRST_KEY, user="ann")).status_code == 402
        assert (await house.root.get(f"{PREFIX}/ledger/verify")).json()["agree"] is True


async def test_a_name_that_was_held_goes_by_itself_once_nothing_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "LOOK_S", 0.05)
    async with standing(tmp_path) as house:
        budget = await house.made("/tenants/first/budgets", usd="1", per="month", **{"for": "user"})
        assert (await house.ask(FIRST_KEY, user="ann")).status_code == 200
        order = (await house.root.post(PATH, json={"user": "ann"})).json()
        await asyncio.sleep(0.2)
        assert await users(house) == {"ann"}
        url = f"{PREFIX}/tenants/first/budgets/{budget['id']}"
        assert (await house.root.delete(url, headers={"if-match": '"1"'})).status_code == 204
        async with asyncio.timeout(10):
            while await users(house) != {order["id"]}:
                await asyncio.sleep(0.05)


async def users(house: House) -> set[str]:
    return {entry["user"] for entry in (await house.root.get(f"{PREFIX}/ledger")).json()["items"]}


async def test_who_may_and_for_whom(tmp_path: Path) -> None:
    async with standing(tmp_path) as house, deputy_of_first(house) as deputy:
        assert (await deputy.post(PATH, json={"user": "ann"})).status_code == 202
        assert (await deputy.post(f"{PREFIX}/tenants/second/erasures", json={"user": "ann"})).status_code == 404
        assert (await house.root.post(f"{PREFIX}/tenants/second/erasures", json={"user": "ann"})).status_code == 404
        assert (await house.root.post(PATH, json={"user": ""})).status_code == 422
        viewer = (await house.made("/admin-keys", role="viewer"))["key"]
        async with house.as_key(viewer) as client:
            assert (await client.post(PATH, json={"user": "ann"})).status_code == 403
            assert len((await client.get(PATH)).json()["items"]) == 1


async def test_the_command_says_what_it_did_and_what_follows(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.ask(FIRST_KEY, user="ann")
        code, said, _ = await typed(house, "ledger", "erase", "first", "--user", "ann")
        assert (code, said.startswith("1 entries are of erased-")) == (0, True)
        await house.ask(FIRST_KEY, user="bob")
        await house.made("/tenants/first/budgets", id="each", usd="1", per="lifetime", **{"for": "user"})
        code, said, _ = await typed(house, "ledger", "erase", "first", "--user", "bob")
        assert (code, "until they are deleted: each" in said) == (0, True)
