"""What a request would meet and whether a text could be loaded is told first; what is forced is on record first."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.admin.test_api import FIRST_KEY, PREFIX, House, standing


async def simulated(house: House, **asked: Any) -> dict[str, Any]:
    answer = await house.root.post(f"{PREFIX}/simulate", json={"tenant": "first", "model": "m", **asked})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def asked(house: House, key: str, **headers: str) -> httpx.Response:
    """Its input is estimated at 12 tokens, which are held as 14."""
    body = {"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
    return await house.data.post(
        "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}", **headers}
    )


@pytest.mark.parametrize(
    ("per", "said", "headers"),
    [
        ("tenant", {}, {}),
        ("key", {}, {}),
        ("user", {}, {}),
        ("model", {}, {}),
        ("run", {"run": "r1"}, {"x-run-id": "r1"}),
        ("tag:team", {"tags": {"team": "a"}}, {"x-tags": "team=a"}),
    ],
)
@pytest.mark.parametrize("unit", ["usd", "tokens"])
async def test_a_request_is_foreseen_as_the_path_decides_whatever_the_budget_is_for(
    tmp_path: Path, per: str, unit: str, said: dict[str, Any], headers: dict[str, str]
) -> None:
    """What fits is admitted, and what no longer fits is refused, by the question and by the call alike."""
    async with standing(tmp_path) as house:
        key = await house.made("/tenants/first/keys", user="ann")
        amount = {"usd": "0.00102"} if unit == "usd" else {"tokens": 520}
        budget = await house.made("/tenants/first/budgets", **amount, per="day", **{"for": per}, when_short="refuse")
        question = {"key": key["id"], "input_tokens": 12, "output_tokens": 500, **said}
        before = await simulated(house, **question)
        (told,) = [one for one in before["budgets"] if one["budget"] == budget["id"]]
        assert (before["admitted"], told["for"], told["fits"], told["unit"]) == (True, per, True, unit)
        assert (told["needs"], told["left"]) == (("0.001014", "0.00102") if unit == "usd" else (514, 520))
        assert [(await asked(house, key["key"], **headers)).status_code for _ in range(2)] == [200, 402]
        after = await simulated(house, **question)
        assert (after["admitted"], after["refused"]["code"]) == (False, "budget_exceeded")
        assert [one["budget"] for one in after["budgets"] if not one["fits"]] == [budget["id"]]
        if per not in ("tenant", "model"):
            other = {"run": "r2", "tags": {"team": "b"}, "key": None, "user": "bob"}
            assert (await simulated(house, **{**question, **other}))["admitted"] is True
        assert len(house.sim.bill) == 1, "a question is no request"


async def test_a_question_tells_the_output_that_is_affordable_and_takes_nothing(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.made("/tenants", id="acme")
        await house.made("/tenants/acme/budgets", usd="0.0005", per="day")
        for _ in range(3):
            told = await simulated(house, tenant="acme", input_tokens=10, output_tokens=1_000)
            assert (told["admitted"], told["output_limit"]) == (True, 244)
            assert [one["fits"] for one in told["budgets"]] == [False]


async def test_who_may_not_call_is_foreseen_to_be_refused(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        narrow = await house.made("/tenants/first/keys", models=["other"])
        assert (await simulated(house, key=narrow["id"]))["refused"]["code"] == "model_not_allowed"
        asked = {"tenant": "first", "model": "m", "key": "nobody"}
        assert (await house.root.post(f"{PREFIX}/simulate", json=asked)).status_code == 404
        await house.root.patch(f"{PREFIX}/tenants/first", json={"blocked": True}, headers={"if-match": '"1"'})
        assert (await simulated(house))["refused"]["code"] == "invalid_api_key"


async def test_a_configuration_is_checked_before_it_is_loaded_and_nothing_changes(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        before = (await house.root.get(f"{PREFIX}/config")).json()
        good = await house.root.post(f"{PREFIX}/config/validate", json={"text": json.dumps(house.document)})
        assert (good.status_code, good.json()) == (200, {"valid": True, "warnings": []})
        text = json.dumps(
            {**house.document, "models": {"m": {"targets": [{"provider": "b", "model": "gpt"}]}}}, indent=1
        )
        line = 1 + text[: text.index('"b"')].count("\n")
        bad = await house.root.post(f"{PREFIX}/config/validate", json={"text": text})
        assert (bad.status_code, bad.headers["content-type"]) == (422, "application/problem+json")
        (error,) = [one for one in bad.json()["errors"] if one["field"] == "models.m.targets[0].provider"]
        assert error["message"].startswith(f"{tmp_path}/gateway.yaml:{line}:")
        assert (await house.root.get(f"{PREFIX}/config")).json() == before
        assert (await house.ask(FIRST_KEY)).status_code == 200


async def pauses(house: House) -> list[str | None]:
    return [item["pause"] for item in (await house.root.get(f"{PREFIX}/targets")).json()["items"]]


@pytest.mark.parametrize("state", ["open", "drain", "closed", "serve"])
async def test_a_target_is_forced_only_once_it_is_on_the_audit_trail(tmp_path: Path, state: str) -> None:
    async with standing(tmp_path) as house:
        target = (await house.root.get(f"{PREFIX}/targets")).json()["items"][0]["deployment"]
        url = f"{PREFIX}/targets/{quote(target)}"
        if state in ("closed", "serve"):
            await house.root.post(url, json={"state": "drain"})
        before = await pauses(house)
        with closing(sqlite3.connect(tmp_path / "books.db")) as books:
            books.execute("ALTER TABLE audit RENAME TO away")
            assert (await house.root.post(url, json={"state": state})).status_code == 503
            assert await pauses(house) == before
            books.execute("ALTER TABLE away RENAME TO audit")
        assert (await house.root.post(url, json={"state": state})).status_code == 200
        line = (await house.root.get(f"{PREFIX}/audit")).json()["items"][0]
        assert (line["action"], line["kind"], line["object_id"]) == (state, "target", target)
