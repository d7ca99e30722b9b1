"""The commands over the admin API, as an operator types them."""

import asyncio
import json
import subprocess
from pathlib import Path

from tests.admin.test_api import ROOT_KEY, House, standing
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
        await house.ask("gw_caller_one_0123456789")
        line = next(iter(house.sim.bill))
        export = tmp_path / "export.csv"
        export.write_text(f"model,input_tokens,output_tokens\ngpt,{line.input_tokens},{line.output_tokens}\n")
        assert (await typed(house, "ledger", "reconcile", str(export), "--provider", "a"))[0] == 0
        export.write_text(f"model,input_tokens,output_tokens\ngpt,{line.input_tokens},{line.output_tokens + 1}\n")
        code, said, _ = await typed(house, "ledger", "reconcile", str(export), "--provider", "a")
        assert (code, json.loads(said)[0]["agree"]) == (1, False)
