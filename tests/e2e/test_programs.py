"""Real programs do a task with a tool, each on a target of another dialect than its own (`make test-clients`)."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import CLIENTS, CannotInstall, node_client, python_client
from tests.e2e.processes import clean_environ, lab
from tests.e2e.test_clients import python_checks, run_python

pytestmark = [pytest.mark.programs, pytest.mark.timeout(400)]

PYTHON = ("pydantic_ai", "openai_agents", "llm")
CODEX = """
model = "{model}"
model_provider = "gateway"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
plugins = false
[model_providers.gateway]
name = "gateway"
base_url = "{base}"
env_key = "METERWAY_DEMO_KEY"
wire_api = "responses"
"""
OPENCODE_STAYS_IN = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "npm_config_offline": "true",
}
AIDER_STAYS_IN = ("--analytics-disable", "--no-check-update", "--no-show-release-notes", "--no-detect-urls")

BY_FUNCTION = CLIENTS / "aider" / "by_function.py"

SAID = "Hello from the simulator"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with lab(tmp_path_factory.mktemp("programs")) as told:
        yield told


@pytest.fixture
def sealed(environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """The way out leads to a socket of the test, which fails when a program has asked for anything but loopback."""
    with socket.create_server(("127.0.0.1", 0)) as way_out:
        proxy = f"http://127.0.0.1:{way_out.getsockname()[1]}"
        proxies = {
            name: proxy for plain in ("http_proxy", "https_proxy", "all_proxy") for name in (plain, plain.upper())
        }
        inside = {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
        yield {**environ, **proxies, **inside}
        way_out.setblocking(False)
        with pytest.raises(BlockingIOError):
            asked(way_out)


def asked(way_out: socket.socket) -> None:
    connection, _ = way_out.accept()
    with connection:
        connection.settimeout(1)
        pytest.fail(f"a program asked for {connection.recv(300)!r}")


@pytest.mark.parametrize("name", PYTHON)
def test_a_program_in_python_does_its_task(name: str, environ: dict[str, str]) -> None:
    try:
        results = run_python(name, environ)
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)
    assert set(results) == set(python_checks(name))
    assert not any(results.values()), results


def packages(name: str) -> Path:
    try:
        return node_client(name) / "node_modules"
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)


def said(home: Path, environ: dict[str, str], *command: str | Path) -> str:
    """What the program prints."""
    done = subprocess.run(
        command,
        cwd=home,
        env={**clean_environ(), **environ, "HOME": str(home), "PWD": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_claude_code_does_its_task_with_a_model_of_openai(sealed: dict[str, str], tmp_path: Path) -> None:
    told = {
        **sealed,
        "ANTHROPIC_BASE_URL": sealed["CHECK_GATEWAY"].removesuffix("/v1"),
        "ANTHROPIC_AUTH_TOKEN": sealed["METERWAY_DEMO_KEY"],
        "ANTHROPIC_MODEL": "gpt-codes",
        "ANTHROPIC_SMALL_FAST_MODEL": "gpt-codes",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    # Its command is put in place by an install script, which is not run.
    claude = packages("claude_code") / "@anthropic-ai/claude-code/cli-wrapper.cjs"
    told_us = said(tmp_path, told, "node", claude, "-p", "How is it there?", "--allowedTools", "Bash")
    assert (tmp_path / "weather.txt").read_text() == "sunny\n", told_us
    assert SAID in told_us


@pytest.mark.parametrize("model", ["claude-codes", "google-codes"])
def test_codex_does_its_task_with_a_model_of_another_provider(
    model: str, sealed: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / ".codex"
    home.mkdir()
    (home / "config.toml").write_text(CODEX.format(model=model, base=sealed["CHECK_GATEWAY"]))
    options = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    told = {**sealed, "CODEX_HOME": str(home)}
    told_us = said(tmp_path, told, packages("codex") / ".bin/codex", "exec", *options, "How is it there?")
    assert (tmp_path / "weather.txt").read_text() == "sunny\n", told_us
    assert SAID in told_us


@pytest.mark.parametrize(
    ("speaks", "model"),
    [
        ("@ai-sdk/openai-compatible", "claude-codes"),
        ("@ai-sdk/openai-compatible", "google-codes"),
        ("@ai-sdk/anthropic", "gpt-codes"),
        ("@ai-sdk/anthropic", "google-codes"),
    ],
)
def test_opencode_does_its_task_with_a_model_of_another_provider(
    speaks: str, model: str, sealed: dict[str, str], tmp_path: Path
) -> None:
    options = {"baseURL": sealed["CHECK_GATEWAY"], "apiKey": "{env:METERWAY_DEMO_KEY}"}
    gateway = {"npm": speaks, "options": options, "models": {model: {}, "seen": {}}}
    settings = {
        "model": f"gateway/{model}",
        "small_model": "gateway/seen",
        "autoupdate": False,
        "share": "disabled",
        "provider": {"gateway": gateway},
    }
    (tmp_path / "opencode.json").write_text(json.dumps(settings))
    # The command that npm links is put in place by an install script, which is not run.
    opencode = max(packages("opencode").glob("opencode-*-*/bin/opencode"))
    told_us = said(tmp_path, {**sealed, **OPENCODE_STAYS_IN}, opencode, "run", "How is it outside?")
    assert (tmp_path / "weather.txt").read_text() == "sunny\n", told_us
    assert SAID in told_us


@pytest.mark.parametrize(
    ("edits", "task"),
    [
        pytest.param(("--edit-format", "func", "--no-stream"), "Write how it is there.", id="by-tool"),
        pytest.param(("--edit-format", "diff"), "Say how it is there.", id="by-text"),
    ],
)
@pytest.mark.parametrize("model", ["claude-codes", "google-codes"])
def test_aider_edits_a_file_with_a_model_of_another_provider(
    model: str, edits: tuple[str, ...], task: str, sealed: dict[str, str], tmp_path: Path
) -> None:
    try:
        python = python_client("aider")
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)
    known = {f"openai/{model}": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 100_000}}
    (tmp_path / ".aider.model.metadata.json").write_text(json.dumps(known))
    (tmp_path / "weather.txt").write_text("rainy\n")
    told = {
        **sealed,
        "OPENAI_API_BASE": sealed["CHECK_GATEWAY"],
        "OPENAI_API_KEY": sealed["METERWAY_DEMO_KEY"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    options = ("--no-git", "--yes-always", "--no-pretty", "--no-show-model-warnings", *AIDER_STAYS_IN)
    asked_for = (*edits, "--message", task, "weather.txt")
    told_us = said(tmp_path, told, python, BY_FUNCTION, "--model", f"openai/{model}", *options, *asked_for)
    assert (tmp_path / "weather.txt").read_text() == "sunny\n", told_us
