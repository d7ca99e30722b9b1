"""What a good file compiles to."""

import hashlib
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.app.dialects import DIALECTS
from gateway.app.members import rows_of_file, tenants_of
from gateway.config.effective import effective
from gateway.config.hosts import AZURE, HOSTS, KINDS
from gateway.config.load import ConfigInvalid, Loaded, load_text
from gateway.config.report import check
from gateway.config.schema import ConfigFile
from gateway.config.sims import bind_sims
from gateway.domain.budget import StoreAway, Unit
from gateway.domain.catalog import AuthStyle, Origin, Price, Secret, Strategy
from gateway.domain.period import Period
from gateway.stores.keys import Peppers
from tests.config.samples import ENVIRON, EXAMPLE, SMALL, SMALL_ENVIRON

FILE = Path("/etc/meterway/gateway.yaml")
DATABASE = "postgresql://u:canary@h/db?x=canary"
ROOT = Path(__file__).parents[2]


def small(text: str = SMALL, **environ: str) -> Loaded:
    return load_text(text, FILE, {**SMALL_ENVIRON, **environ})


def test_the_example_of_the_design_compiles() -> None:
    loaded = load_text(EXAMPLE, FILE, ENVIRON, version=7)
    catalog = loaded.catalog
    assert catalog.version == 7
    route = catalog.routes["assistant"]
    assert [item.id for item in route.deployments] == [
        "openai/gpt-4.1#0",
        "local/qwen3#0",
        "anthropic/claude-sonnet-4-5#0",
    ]
    assert [item.weight for item in route.deployments] == [3.0, 1.0, 1.0]
    assert [item.priority for item in route.deployments] == [1, 1, 2]
    assert route.strategy is Strategy.WEIGHTED
    assert route.fallback_models == ("assistant-small",)
    first, local, anthropic = route.deployments
    assert first.credential.secret == Secret(ENVIRON["OPENAI_API_KEY"])
    assert first.provider.limits.concurrent == 200
    assert anthropic.credential.auth is AuthStyle.X_API_KEY
    assert (local.credential.auth, local.provider.origin) == (AuthStyle.NONE, Origin("http", "127.0.0.1", 9000))
    assert local.price == Price(100_000_000, 400_000_000, 20_000_000, id="override/local/qwen3@2026-01-01")
    assert first.price is not None
    assert first.price.id.startswith("genai-prices/openai/gpt-4.1@")
    key = catalog.keys[hashlib.sha256(ENVIRON["METERWAY_DEMO_KEY"].encode()).digest()]
    assert (key.id, key.tenant.id, key.tenant.limits.tokens_per_minute) == ("demo#0", "demo", 200_000)
    tenant = next(iter(loaded.catalog.keys.values())).tenant
    assert [(item.amount, item.unit, item.period) for item in tenant.budgets] == [
        (5_000_000_000, Unit.NANO_USD, Period.DAY)
    ]
    assert loaded.warnings == ()


def test_the_shipped_example_is_good() -> None:
    environ = {**ENVIRON, "GROQ_API_KEY": "gsk_x"}
    code, text = check(ROOT / "deploy" / "gateway.yaml", environ)
    assert (code, "is good: 3 providers, 2 models, 3 deployments, 1 caller key" in text) == (0, True), text


def test_keys_of_a_provider_share_its_weight() -> None:
    text = SMALL.replace('"env:KEY"', '"env:KEY", "env:KEY2"').replace("model: x", "model: x, weight: 3")
    deployments = small(text, KEY2="sk-2").catalog.routes["m"].deployments
    assert [(item.id, item.weight) for item in deployments] == [("p/x#0", 1.5), ("p/x#1", 1.5)]
    assert {item.credential.origin for item in deployments} == {Origin("https", "api.openai.com", 443)}


def test_limits_of_a_file_say_how_they_are_meant_and_the_directory_begins_with_that() -> None:
    soft = "limits: {concurrent: 3, mode: shadow, store_away: deny}"
    loaded = small(
        SMALL.replace('["env:KEY"]', f'["env:KEY"], {soft}').replace('["env:TENANT"]', f'["env:TENANT"], {soft}')
    )
    keys = loaded.catalog.keys.values()
    rows = rows_of_file(keys, Peppers({"p": Secret("pepper")}), 0.0)
    (again,) = tenants_of(rows).values()
    (key,) = keys
    for gates in (loaded.catalog.routes["m"].deployments[0].gates, key.tenant.gates, again.gates):
        (slot,) = gates.slots
        assert (slot.limit, slot.shadow, slot.away) == (3, True, StoreAway.DENY)


def test_timeouts_are_inherited_piece_by_piece() -> None:
    target = "{provider: p, model: x, timeouts: {idle_s: 5}}"
    text = SMALL.replace("{provider: p, model: x}", target).replace("{targets", "{timeouts: {total_s: 90}, targets")
    timeouts = small(text).catalog.routes["m"].deployments[0].timeouts
    assert (timeouts.connect_s, timeouts.first_token_s, timeouts.idle_s, timeouts.total_s) == (3.0, 60.0, 5.0, 90.0)


@pytest.mark.parametrize("kind", sorted(set(HOSTS) - {AZURE}))
def test_every_known_host_compiles_without_a_base_url(kind: str) -> None:
    provider = small(SMALL.replace("kind: openai", f"kind: {kind}")).catalog.providers["p"]
    assert provider.kind in DIALECTS.targets
    assert not provider.base_path.endswith("/")
    assert f"{provider.origin}{provider.base_path}".replace(":443", "") == HOSTS[kind].base_url


@pytest.mark.parametrize(
    ("url", "more", "version", "native"),
    [
        ("https://x.openai.azure.com", "", "2024-10-21", {"embeddings"}),
        ("https://x.openai.azure.com", ", api_version: 2025-04-01-preview", "2025-04-01-preview", {"embeddings"}),
        ("https://x.openai.azure.com/openai/v1", "", "", {"embeddings", "responses"}),
    ],
)
def test_azure_is_called_by_deployment_or_by_its_newer_path(
    url: str, more: str, version: str, native: set[str]
) -> None:
    provider = small(SMALL.replace("kind: openai", f"kind: azure, base_url: '{url}'{more}")).catalog.providers["p"]
    assert (provider.quirks.api_version, set(provider.quirks.native)) == (version, native)
    assert provider.credentials[0].auth is AuthStyle.API_KEY


def test_what_only_azure_has_is_refused_elsewhere() -> None:
    told = {"kind: azure": "base_url is missing", "kind: openai, api_version: x": "takes no api_version"}
    for text, word in told.items():
        with pytest.raises(ConfigInvalid, match=word):
            small(SMALL.replace("kind: openai", text))


def test_local_kinds_need_no_key() -> None:
    provider = small(SMALL.replace('kind: openai, keys: ["env:KEY"]', "kind: ollama")).catalog.providers["p"]
    assert [(item.auth, item.secret.reveal()) for item in provider.credentials] == [(AuthStyle.NONE, "")]


def test_simulated_providers_are_bound_to_the_origin_of_their_simulator() -> None:
    loaded = small(SMALL.replace('kind: openai, keys: ["env:KEY"]', "kind: sim, seed: 7"))
    assert [(sim.provider, sim.seed, sim.script) for sim in loaded.settings.sims] == [("p", 7, None)]
    assert loaded.catalog.providers["p"].origin == Origin("sim", "p", 0)
    here = Origin("http", "127.0.0.1", 4711)
    bound = bind_sims(loaded.catalog, {"p": here})
    item = bound.routes["m"].deployments[0]
    assert {item.provider.origin, item.credential.origin, bound.providers["p"].origin} == {here}


def test_dated_prices_take_the_last_begun() -> None:
    row = "{{provider: p, model: x, input_usd_per_million: {}, output_usd_per_million: 1, from: {}}}"
    rows = ", ".join([row.format(1, "null"), row.format(2, "2026-01-01"), row.format(3, "2027-01-01")])
    text = f"{SMALL}prices: {{overrides: [{rows}]}}\n"
    for today, usd in [(date(2025, 1, 1), 1), (date(2026, 6, 1), 2), (date(2027, 1, 1), 3), (None, 3)]:
        price = load_text(text, FILE, SMALL_ENVIRON, today=today).catalog.routes["m"].deployments[0].price
        assert price is not None
        assert price.input == usd * 10**9


def test_a_price_for_the_unknown_is_everybodys() -> None:
    text = SMALL + "prices: {unknown: {input_usd_per_million: 0.000000001, output_usd_per_million: 1}}\n"
    assert small(text).catalog.routes["m"].deployments[0].price == Price(1, 10**9, id="fallback")


def test_scalars_mean_what_they_look_like() -> None:
    text = SMALL.replace("model: x", "model: 12:30").replace("id: t", "id: no")
    loaded = small(text + "telemetry: {genai_semconv: 1.41}\n")
    assert loaded.catalog.routes["m"].deployments[0].model == "12:30"
    assert [key.tenant.id for key in loaded.catalog.keys.values()] == ["no"]


def test_aliases_work() -> None:
    text = SMALL.replace("{targets", "{timeouts: &slow {total_s: 900}, targets") + "x: 1\n"
    text = text.replace("x: 1\n", "").replace(
        "tenants:", "  n: {timeouts: *slow, targets: [{provider: p, model: y}]}\ntenants:"
    )
    assert small(text).catalog.routes["n"].timeouts.total_s == 900


def test_missing_tenants_and_short_keys_are_warnings() -> None:
    assert "no key" in small(SMALL.partition("tenants:")[0]).warnings[0].message
    assert "shorter than 16" in small(TENANT="tiny").warnings[0].message


def test_urls_with_passwords_come_from_the_environment_and_stay_masked() -> None:
    loaded = small(SMALL + 'database: "env:DB"\nredis: "env:RD"\n', DB=DATABASE, RD="canary")
    assert loaded.settings.database.reveal() == DATABASE
    plain = effective(loaded)
    assert (plain["database"], plain["redis"]) == ("postgresql://***@h/db?***", "***")
    assert "canary" not in repr(loaded) + json.dumps(plain)


def test_no_secret_is_in_a_repr_or_in_the_effective_configuration() -> None:
    loaded = load_text(EXAMPLE, FILE, ENVIRON)
    told = repr(loaded) + str(loaded) + json.dumps(effective(loaded))
    for secret in ENVIRON.values():
        assert secret not in told
    assert '"input_usd_per_million": "0.1"' in told


def test_check_gives_a_code_and_a_text(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(SMALL)
    code, text = check(file, SMALL_ENVIRON)
    assert (code, text) == (0, f"{file} is good: 1 provider, 1 model, 1 deployment, 1 caller key\n")
    file.write_text(SMALL + "prizes: {}\n")
    code, text = check(file, SMALL_ENVIRON)
    assert code == 2
    where = f"{file}:7:1: prizes: 'prizes' is not a setting of the file"
    remedy = "did you mean 'prices'?"
    assert text == f"{where}\n    {remedy}\n1 problem in {file}\n"


MUTATION = st.tuples(
    st.integers(0, len(EXAMPLE)),
    st.integers(0, 12),
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(["{", "}", "[", "]", ":", ",", "\n", "- ", "&a ", "*a", "!!int ", "null", "-1", "1e400", '"']),
    ),
)


@given(st.lists(MUTATION, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_is_changed_it_loads_or_is_config_invalid(mutations: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for start, length, replacement in mutations:
        text = text[:start] + replacement + text[start + length :]
    try:
        loaded = load_text(text, FILE, ENVIRON)
    except ConfigInvalid as error:
        problems, told = error.problems, str(error)
    else:
        problems, told = loaded.warnings, repr(loaded) + json.dumps(effective(loaded))
    assert all(problem.message and problem.remedy for problem in problems)
    assert not any(secret in told for secret in ENVIRON.values())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(st.text(max_size=5), deeper, max_size=3),
        max_leaves=8,
    ),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_setting_is_it_loads_or_is_config_invalid(value: object, data: st.DataObject) -> None:
    lines = EXAMPLE.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    name, colon, _ = lines[number].partition(": ")
    if colon:
        lines[number] = f"{name}: {json.dumps(value)}"
    try:
        problems = load_text("\n".join(lines), FILE, ENVIRON).warnings
    except ConfigInvalid as error:
        problems = error.problems
    assert all(str(FILE) in str(problem) for problem in problems)


def fields_of(annotation: object) -> set[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        names = {field.alias or name for name, field in annotation.model_fields.items()}
        return names.union(*(fields_of(field.annotation) for field in annotation.model_fields.values()))
    return set().union(*(fields_of(part) for part in get_args(annotation))) if get_origin(annotation) else set()


def test_every_setting_and_kind_is_in_the_manual() -> None:
    manual = (ROOT / "docs" / "configuration.md").read_text()
    names = fields_of(ConfigFile)
    assert len(names) > 60
    missing = {
        name for name in names if f"`{name}`" not in manual and f".{name}`" not in manual and f"`{name}." not in manual
    }
    assert missing == set()
    assert {kind for kind in KINDS if f"| `{kind}` |" not in manual} == set()


def test_loading_imports_no_client() -> None:
    heavy = "{'opentelemetry', 'httpx', 'redis', 'starlette'}"
    code = f"import sys, gateway.config.load, gateway.config.report; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
