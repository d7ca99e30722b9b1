"""Every kind of problem: where it is said to be, what is said, what to do."""

# ruff: noqa: E501 - a table reads best with one case in one line

from pathlib import Path

import pytest

from gateway.config.load import ConfigInvalid, load, load_text
from tests.config.samples import ENVIRON, EXAMPLE, SMALL, SMALL_ENVIRON

FILE = Path("/etc/meterway/gateway.yaml")


def problems_of(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        load_text(text, FILE, SMALL_ENVIRON if environ is None else environ)
    return [f"{problem} | {problem.remedy}" for problem in caught.value.problems]


P = '  p: {kind: openai, keys: ["env:KEY"]}\n'
M = "  m: {targets: [{provider: p, model: x}]}\n"
T = '  - {id: t, keys: ["env:TENANT"]}\n'

# what is replaced, by what, then: place, a part of the message, a part of the remedy
CASES: list[tuple[str, str, str, str, str, str]] = [
    ("unknown key", P, P.replace("keys", "kyes: 1, keys"), "providers.p.kyes", "is not a setting", "'keys'"),
    ("unknown key at the top", "tenants:", "redsi: null\ntenants:", "redsi", "not a setting of the file", "'redis'"),
    ("unknown key in a target", "model: x", "model: x, weigth: 2", "models.m.targets[0].weigth", "not a set", "'weight'"),
    ("unknown key, nothing near", "model: x", "model: x, zzz: 2", "models.m.targets[0].zzz", "not a setting", "use one of:"),
    ("missing", "model: x", "weight: 1", "models.m.targets[0].model", "is missing", "add model"),
    ("missing section", M, "", "models", "null is not a mapping", "write a mapping"),
    ("wrong type", "model: x", "model: x, weight: heavy", "models.m.targets[0].weight", "'heavy' is not a number", "write"),
    ("number for a text", "model: x", "model: 4.1", "models.m.targets[0].model", "4.1 is not a text", "quotes"),
    ("text for a bool", "model: x", "model: x, tools: no", "models.m.targets[0].tools", "'no' is not true", "write true"),
    ("float for an int", "model: x", "model: x, priority: 1.5", "models.m.targets[0].priority", "1.5 is not a whole", "w"),
    ("non-positive weight", "model: x", "model: x, weight: 0", "models.m.targets[0].weight", "0 is out of range", "more than 0"),
    ("infinite weight", "model: x", "model: x, weight: 1e999", "models.m.targets[0].weight", "finite", "plain number"),
    ("no targets", M, "  m: {targets: []}\n", "models.m.targets", "is empty", "at least one"),
    ("strategy", M, M.replace("{t", "{strategy: best, t"), "models.m.strategy", "'best' is not a choice", "least_latency"),
    ("unknown provider", "provider: p", "provider: pp", "models.m.targets[0].provider", "no provider 'pp'", "'p'"),
    ("same target twice", "[{provider: p, model: x}]", "[{provider: p, model: x}, {provider: p, model: x}]", "models.m.targets[1]", "p/x is already targets[0]", "keep one"),
    ("unknown fallback", M, M.replace("{t", "{fallback_models: [mm], t"), "models.m.fallback_models[0]", "no model 'mm'", "'m'"),
    ("fallback to itself", M, M.replace("{t", "{fallback_models: [m], t"), "models.m.fallback_models[0]", "m -> m", "remove"),
    ("fallback twice", M, M.replace("{t", "{fallback_models: [n, n], t") + M.replace("m:", "n:"), "models.m.fallback_models[1]", "twice", "remove"),
    ("fallback circle", M, M.replace("{t", "{fallback_models: [n], t") + M.replace("m: {t", "n: {fallback_models: [m], t"), "models.m.fallback_models[0]", "m -> n -> m", "remove"),
    ("kind", "kind: openai", "kind: opnai", "providers.p.kind", "'opnai' is not known", "'openai'"),
    ("keys left out", P, "  p: {kind: openai}\n", "providers.p", "keys is missing", '["none"]'),
    ("literal secret", "env:KEY", "sk-canary-literal", "providers.p.keys[0]", "a secret stands in the file", "env:NAME"),
    ("bad variable name", "env:KEY", "env:sk-canary", "providers.p.keys[0]", "not followed by the name", "env:NAME"),
    ("missing variable", "env:KEY", "env:NOPE", "providers.p.keys[0]", "no 'NOPE'", "export it"),
    ("missing file", "env:KEY", "file:/nope/key", "providers.p.keys[0]", "cannot read /nope/key: No such file", "check the path"),
    ("folder as secret", "env:KEY", "file:/", "providers.p.keys[0]", "is not a file", "name the file"),
    ("nul in a path", '"env:KEY"', '"file:a\\0b"', "providers.p.keys[0]", "cannot read", "check the path"),
    ("same key twice", '"env:KEY"', '"env:KEY", "env:KEY"', "providers.p.keys[1]", "the same key as keys[0]", "remove one"),
    ("sim with keys", "kind: openai", "kind: sim", "providers.p", "the simulator takes no keys", "remove"),
    ("script without sim", "kind: openai", "kind: openai, script: a", "providers.p", "takes no script", "remove"),
    ("ca_file", "kind: openai", "kind: openai, ca_file: nope.pem", "providers.p.ca_file", "no file 'nope.pem'", "/etc/meterway"),
    ("script", P, P + "  s: {kind: sim, script: nope.yaml}\n", "providers.s.script", "no file 'nope.yaml'", "relative"),
    ("plain http", "kind: openai", "kind: openai, base_url: 'http://10.0.0.1/v1'", "providers.p.base_url", "not encrypted", "allow_http"),
    ("provider name", P, P + P.replace("p:", '"a b":'), "providers.a b", "'a b' is not a usable name", "letters"),
    ("duplicate key", P, P + P, "providers.p", "stands here a second time; the first is in line 2", "keep one"),
    ("number as key", M, M + M.replace("m:", "4.1:"), "models.?", "a key must be a text, this is '4.1'", "quotes"),
    ("duplicate tenant", T, T + '  - {id: t, keys: ["env:KEY"]}\n', "tenants[1].id", "'t' is already tenants[0]", "merge"),
    ("key of two tenants", T, T + '  - {id: u, keys: ["env:TENANT"]}\n', "tenants[1].keys[0]", "the same key as the one of 't#0'", "own"),
    ("none for a tenant", "env:TENANT", "none", "tenants[0].keys[0]", "a secret stands", "env:NAME"),
    ("tenant's model", T, T.replace("{id", "{models: [n], id"), "tenants[0].models[0]", "no model 'n'", "use one of: m"),
    ("budget, two units", T, T.replace("}", ", budgets: [{usd: 1, tokens: 1, per: day}]}"), "tenants[0].budgets[0]", "either usd or tokens", "two"),
    ("budget, no unit", T, T.replace("}", ", budgets: [{per: day}]}"), "tenants[0].budgets[0]", "either usd or tokens", ""),
    ("budget, period", T, T.replace("}", ", budgets: [{usd: 1, per: year}]}"), "tenants[0].budgets[0].per", "'year' is not", "month"),
    ("budget, too large", T, T.replace("}", ", budgets: [{usd: 9000000, per: day}]}"), "tenants[0].budgets[0].usd", "out of range", "at most"),
    ("budget, zero", T, T.replace("}", ", budgets: [{usd: 0, per: day}]}"), "tenants[0].budgets[0].usd", "0 is out of range", "more than 0"),
    ("budget, text", T, T.replace("}", ", budgets: [{usd: lots, per: day}]}"), "tenants[0].budgets[0].usd", "not a number of dollars", "0.15"),
    ("limits", T, T.replace("}", ", limits: {concurrent: 0}}"), "tenants[0].limits.concurrent", "0 is out of range", "at least 1"),
    ("price decimals", T, T + "prices: {overrides: [{provider: p, model: x, input_usd_per_million: 0.1234567891, output_usd_per_million: 1}]}\n", "prices.overrides[0].input_usd_per_million", "more than nine decimals", "round"),
    ("price provider", T, T + "prices: {overrides: [{provider: pq, model: x, input_usd_per_million: 1, output_usd_per_million: 1}]}\n", "prices.overrides[0].provider", "no provider 'pq'", "'p'"),
    ("price twice", T, T + "prices: {overrides: [" + 2 * "{provider: p, model: x, input_usd_per_million: 1, output_usd_per_million: 1}," + "]}\n", "prices.overrides[1]", "a second price of p/x", "from:"),
    ("price negative", T, T + "prices: {unknown: {input_usd_per_million: -1, output_usd_per_million: 1}}\n", "prices.unknown.input_usd_per_million", "-1 is out of range", "at least 0"),
    ("prices.unknown", T, T + "prices: {unknown: refse}\n", "prices.unknown", "'refse' is not a choice", "'refuse' or 'unpriced'"),
    ("date", T, T + "prices: {overrides: [{provider: p, model: x, input_usd_per_million: 1, output_usd_per_million: 1, from: 2026-02-30}]}\n", "prices.overrides[0].from", "'2026-02-30' is not a valid timestamp", "2026-01-31"),
    ("database password", T, T + 'database: "postgresql://user:canary@host/db"\n', "database", "holds a password", "env:NAME"),
    ("redis password", T, T + 'redis: "redis://:canary@host/0"\n', "redis", "holds a password", "env:NAME"),
    ("admin literal", T, T + "admin: {key: canary}\n", "admin.key", "a secret stands in the file", "env:NAME"),
    ("same port", T, T + 'admin: {key: "env:ADMIN", port: 8080}\n', "admin.port", "also the one of listen", "of its own"),
    ("port range", T, T + "listen: {port: 70000}\n", "listen.port", "70000 is out of range", "at most 65535"),
    ("tag", "model: x", "model: !!python/name:os.system x", "models.m.targets[0].model", "tags", "plain value"),
    ("list for a mapping", P, "  p: []\n", "providers.p", "a list is not a mapping", "write a mapping"),
    ("null section", "tenants:\n" + T, "tenants: null\n", "tenants", "null is not a list", "write a list"),
    ("semconv", T, T + "telemetry: {genai_semconv: 1.42}\n", "telemetry.genai_semconv", "1.42 is not a choice", "'latest'"),
    ("otlp", T, T + "telemetry: {otlp_endpoint: 'http://u:canary@h'}\n", "telemetry.otlp_endpoint", "otlp_endpoint holds a user", "remove"),
    ("server", T, T + "server: {body_bytes: 10}\n", "server.body_bytes", "10 is out of range", "at least 1024"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "remedy"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_each_problem_names_line_place_value_and_remedy(
    old: str, new: str, place: str, message: str, remedy: str
) -> None:
    text = SMALL.replace(old, new)
    assert text != SMALL
    said = problems_of(text)
    assert len(said) == 1, said
    spot, _, rest = said[0].partition(": ")
    file, line, column = spot.rsplit(":", 2)
    assert file == str(FILE)
    assert int(line) >= 1
    assert int(column) >= 1
    assert rest.startswith(place + ": "), rest
    assert message in rest
    assert remedy in rest.partition(" | ")[2]
    assert "canary" not in said[0]


SYNTAX = {
    "open bracket": ("models: [\n", "not valid YAML", 8),
    "tab": ("x:\n\ty: 1\n", "not valid YAML", 8),
    "alias": ("x: *canary\n", "alias, anchor or tag", 7),
    "control character": ("x: \x07\n", "YAML does not allow", 7),
    "second document": ("---\na: 1\n", "not valid YAML", 7),
}


@pytest.mark.parametrize("name", SYNTAX)
def test_syntax_errors_name_the_line(name: str) -> None:
    tail, message, line = SYNTAX[name]
    said = problems_of(SMALL + tail)
    assert len(said) == 1
    assert message in said[0]
    assert f":{line}:" in said[0]
    assert "canary" not in said[0]


def test_nesting_and_alias_bombs_are_refused() -> None:
    assert "nested too deeply" in problems_of("a: " + "[" * 5000)[0]
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert any("too many values" in said for said in problems_of("\n".join(rows)))
    assert any("too deep" in said for said in problems_of("a: &a [*a]"))


@pytest.mark.parametrize("text", ["", "# nothing", "- a\n", "text"])
def test_a_file_that_is_no_mapping_points_to_the_example(text: str) -> None:
    assert "deploy/gateway.yaml" in problems_of(text)[0]


def test_all_problems_are_said_at_once_in_the_order_of_the_file() -> None:
    text = (
        SMALL.replace("kind: openai", "kind: opnai")
        .replace("provider: p, model: x", "provider: q, model: x, weight: 0")
        .replace("[{provider", "[{provider: p, model: 5}, {provider")
        .replace("env:TENANT", "env:NOPE")
    )
    said = problems_of(text)
    assert [line.split(": ")[1] for line in said] == [
        "providers.p.kind",
        "models.m.targets[0].model",
        "models.m.targets[1].provider",
        "models.m.targets[1].weight",
        "tenants[0].keys[0]",
    ]


ADMIN_KEYS = [
    "too-small",
    "changeme-changeme-1",
    "secretsecretsecret",
    "admin-admin-admin-1",
    "test-test-test-test",
    "sk-1234567890abcdef",
]
ADMIN_KEYS += ["x" * 20, "your-admin-key-here", "placeholder-key-123"]


@pytest.mark.parametrize("key", ADMIN_KEYS)
def test_short_and_placeholder_admin_keys_are_refused(key: str) -> None:
    said = problems_of(SMALL + 'admin: {key: "env:ADMIN"}\n', {**SMALL_ENVIRON, "ADMIN": key})
    assert len(said) == 1
    assert "admin.key: the admin key in env:ADMIN is" in said[0]
    assert key not in said[0]


@pytest.mark.parametrize("value", ["", "  ", "two words", "line\nbreak", "ümlaut", "nul\0"])
def test_empty_and_unusable_secrets_are_refused_without_telling_them(value: str) -> None:
    said = problems_of(SMALL, {**SMALL_ENVIRON, "KEY": value})
    assert len(said) == 1
    assert "env:KEY" in said[0]
    assert not value.strip() or value not in said[0]


def test_secret_files_must_be_private_small_text(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    text = SMALL.replace("env:KEY", "file:key")
    for content, mode, said in [
        (b"sk-good\n", 0o600, ""),
        (b"sk-good\n", 0o640, ""),
        (b"sk-good\n", 0o644, "everybody on this machine can read key"),
        (b"", 0o600, "file:key is empty"),
        (b"\xff\xfe", 0o600, "not text"),
        (b"x" * 70_000, 0o600, "too large"),
    ]:
        secret.write_bytes(content)
        secret.chmod(mode)
        if said:
            with pytest.raises(ConfigInvalid, match=said):
                load_text(text, tmp_path / "gateway.yaml", SMALL_ENVIRON)
        else:
            loaded = load_text(text, tmp_path / "gateway.yaml", SMALL_ENVIRON)
            assert loaded.catalog.providers["p"].credentials[0].secret.reveal() == "sk-good"


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read: No such file"):
        load(tmp_path / "nope.yaml", {})
    with pytest.raises(ConfigInvalid, match="cannot be read: Is a directory"):
        load(tmp_path, {})
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigInvalid, match="not UTF-8 at byte 3"):
        load(latin, {})
    latin.write_bytes(b"#" * (1024**2 + 1))
    with pytest.raises(ConfigInvalid, match="larger than"):
        load(latin, {})


def test_no_secret_of_the_example_is_in_any_message() -> None:
    broken = EXAMPLE.replace("kind: anthropic", "kind: antropic").replace("gpt-4.1", "4.1") + "extra: 1\n"
    aws = "AKIACANARYCANARYCANARY"
    for old in ("provider: openai", "kind: anthropic", "[assistant-small]", "env:OPENAI_API_KEY"):
        leaked = EXAMPLE.replace(old, old.replace(old.rpartition(" ")[2].strip("[]").rpartition(":")[2], aws))
        assert leaked != EXAMPLE
        assert not [said for said in problems_of(leaked, ENVIRON) if aws in said], old
    for text, environ in [(broken, ENVIRON), (EXAMPLE, {**ENVIRON, "OPENAI_API_KEY": "canary with spaces"})]:
        for said in problems_of(text, environ):
            assert "canary" not in said
