"""The commands over the admin API, as an operator types them."""

import asyncio
import inspect
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import office
from tests.admin.test_api import FIRST_KEY, ROOT_KEY, House, standing
from tests.e2e.processes import METERWAY, clean_environ


async def typed(house: House, *words: str, key: str = ROOT_KEY) -> tuple[int, str, str]:
    """The exit code and what it said on both outputs."""
    environ = {**clean_environ(), "METERWAY_ADMIN_KEY": key, "METERWAY_ADMIN_URL": str(house.root.base_url)}
    done = await asyncio.to_thread(
        subprocess.run, [str(METERWAY), *words], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout, done.stderr


async def test_a_tenant_with_a_key_and_a_budget_in_three_commands(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        assert (await typed(house, "tenants", "create", "acme", "--name", "Acme"))[0] == 0
        _, said, _ = await typed(house, "keys", "create", "acme", "--tag", "team=a")
        key = json.loads(said)[0]["key"]
        _, said, _ = await typed(house, "budgets", "set", "acme", "--usd", "5", "--per", "day")
        budget = json.loads(said)[0]["id"]
        assert (await house.ask(key)).status_code == 200
        _, said, _ = await typed(house, "usage", "--group-by", "tenant,tag:team", "--json")
        assert [(row["tenant"], row["tag:team"], row["requests"]) for row in json.loads(said)] == [("acme", "a", 1)]
        _, said, _ = await typed(house, "budgets", "set", "acme", "--usd", "7", "--per", "day", "--id", budget)
        assert json.loads(said)[0]["usd"] == "7"
        _, said, _ = await typed(house, "ledger", "export", "--format", "csv")
        assert len(said.splitlines()) == 2
        assert (await typed(house, "ledger", "verify"))[0] == 0


async def test_refusals_say_what_and_end_with_1(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        code, _, said = await typed(house, "tenants", "create", "no spaces")
        assert (code, "id:" in said) == (1, True)
        code, _, said = await typed(house, "tenants", "show", "nobody")
        assert (code, said.strip()) == (1, "meterway: there is no tenant 'nobody'")
        code, _, said = await typed(house, "tenants", "list", key="wrong")
        assert (code, "the admin key is missing or wrong" in said) == (1, True)


async def test_a_providers_export_is_compared_with_the_ledger(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.ask(FIRST_KEY)
        line = next(iter(house.sim.bill))
        export = tmp_path / "export.csv"
        words = ("ledger", "reconcile", str(export), "--provider", "a")
        export.write_text(f"model,input_tokens,output_tokens\ngpt,{line.input_tokens},{line.output_tokens}\n")
        assert (await typed(house, *words))[0] == 0
        export.write_text(f"model,input_tokens,output_tokens\ngpt,{line.input_tokens},{line.output_tokens + 1}\n")
        code, said, _ = await typed(house, *words)
        told = json.loads(said)[0]
        assert (code, told["agree"]) == (1, False)
        assert told["output_tokens"] == f"{line.output_tokens + 1} / {line.output_tokens}"


async def test_a_price_is_put_right_and_a_budget_adjusted(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        await house.ask(FIRST_KEY)
        house.document["prices"]["overrides"][0]["input_usd_per_million"] = 9
        await house.root.post("/admin/v1/config/reload")
        words = ("ledger", "rerate", "--provider", "a", "--model", "gpt", "--from", "2020-01-01T00:00:00Z")
        assert (await typed(house, *words, "--cause", "the list was wrong"))[:2] == (0, "1\n")
        assert (await typed(house, *words, "--cause", "the list was wrong"))[:2] == (0, "0\n")
        code, said, _ = await typed(house, "ledger", "adjust", "first", "--usd", "-0.5", "--cause", "a gift")
        assert (code, said.startswith("adjust:")) == (0, True)
        code, _, said = await typed(house, "ledger", "adjust", "first", "--usd", "0", "--cause", "a gift")
        assert (code, "usd:" in said) == (1, True)


async def test_a_target_is_taken_out_and_brought_back(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        name = json.loads((await typed(house, "targets", "list"))[1])[0]["deployment"]
        for word in ("open", "drain"):
            assert (await typed(house, "targets", word, name))[0] == 0
            assert (await house.ask(FIRST_KEY)).status_code == 503
            assert (await typed(house, "targets", "close", name))[0] == 0
            assert (await house.ask(FIRST_KEY)).status_code == 200
        code, _, said = await typed(house, "targets", "open", "nothing")
        assert (code, "there is no target 'nothing'" in said) == (1, True)


async def test_keys_limits_and_tenants_are_changed_and_taken_away(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        key = json.loads((await typed(house, "keys", "create", "first"))[1])[0]
        new = json.loads((await typed(house, "keys", "rotate", "first", key["id"], "--overlap-s", "0"))[1])[0]
        assert [(await house.ask(one["key"])).status_code for one in (key, new)] == [401, 200]
        assert (await typed(house, "keys", "revoke", "first", new["id"]))[0] == 0
        assert (await house.ask(new["key"])).status_code == 401
        limit = json.loads((await typed(house, "limits", "create", "first", "--concurrent", "3"))[1])[0]
        assert json.loads((await typed(house, "limits", "list", "first"))[1]) == [limit]
        assert (await typed(house, "limits", "delete", "first", limit["id"]))[0] == 0
        assert json.loads((await typed(house, "limits", "list", "first"))[1]) == []
        assert (await typed(house, "tenants", "block", "first"))[0] == 0
        assert (await house.ask(FIRST_KEY)).status_code == 401
        assert (await typed(house, "tenants", "delete", "first"))[0] == 0
        assert json.loads((await typed(house, "tenants", "list"))[1]) == []


GROUPS = {
    "tenants": office.tenants,
    "keys": office.keys,
    "budgets": office.budgets,
    "limits": office.limits,
    "ledger": office.ledger,
    "targets": office.targets,
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_command_takes_json(group: str) -> None:
    for command in GROUPS[group].registered_commands:
        assert command.callback is not None
        assert "as_json" in inspect.signature(command.callback).parameters, f"{group} {command.name}"


async def test_every_change_answers_in_json_where_it_is_asked_to(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:

        async def told(*words: str) -> Any:
            code, said, error = await typed(house, *words, "--json")
            assert code == 0, error
            return json.loads(said)

        (limit,) = await told(
            "limits", "create", "first", "--concurrent", "9", "--mode", "shadow", "--store-away", "deny"
        )
        assert (limit["mode"], limit["store_away"]) == ("shadow", "deny")
        assert await told("limits", "delete", "first", limit["id"]) == {"deleted": limit["id"]}
        words = ("--per", "day", "--usd", "1", "--when-short", "refuse", "--threshold", "70", "--store-away", "allow")
        (budget,) = await told("budgets", "set", "first", *words)
        assert (budget["when_short"], budget["thresholds"], budget["store_away"]) == ("refuse", [70], "allow")
        assert await told("budgets", "delete", "first", budget["id"]) == {"deleted": budget["id"]}
        (key,) = await told("keys", "create", "first", "--expires", "2999-01-01T00:00:00Z")
        assert key["expires_at"].startswith("2999-01-01")
        assert await told("keys", "revoke", "first", key["id"]) == {"revoked": key["id"]}
        assert await told("ledger", "verify") == {"agree": True, "differences": []}
        assert list(await told("ledger", "adjust", "first", "--usd", "0.5", "--cause", "a test")) == ["attempt_id"]
        wrong = ("--provider", "a", "--model", "gpt", "--from", "2020-01-01T00:00:00Z", "--cause", "a test")
        assert await told("ledger", "rerate", *wrong) == {"entries": 0}
        assert (await told("ledger", "export", "--format", "csv"))["kind"] == "adjust"
        name = (await told("targets", "list"))[0]["deployment"]
        assert await told("targets", "drain", name) == {"deployment": name, "state": "drain"}
        assert await told("tenants", "delete", "first") == {"deleted": "first"}


async def test_a_gateway_that_is_not_there_is_said_with_its_address(tmp_path: Path) -> None:
    async with standing(tmp_path) as house:
        code, _, said = await typed(house, "tenants", "list", "--url", "http://127.0.0.1:9")
        assert (code, "http://127.0.0.1:9" in said, "--url" in said) == (1, True, True)
        code, _, said = await typed(house, "tenants", "list", key="")
        assert (code, "METERWAY_ADMIN_KEY" in said) == (1, True)
