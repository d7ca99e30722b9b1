"""Real programs do a task with a tool, each on a target of another dialect than its own (`make test-clients`)."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import CannotInstall, node_client
from tests.e2e.processes import clean_environ, lab
from tests.e2e.test_clients import python_checks, run_python

pytestmark = [pytest.mark.programs, pytest.mark.timeout(400)]

PYTHON = ("pydantic_ai", "openai_agents", "llm")
CODEX = """
model = "{model}"
model_provider = "gateway"
[model_providers.gateway]
name = "gateway"
base_url = "{base}"
env_key = "METERWAY_DEMO_KEY"
wire_api = "responses"
"""
CLAUDE = "@anthropic-ai/claude-code/cli-wrapper.cjs"
"""Its command is put in place by an install script, which is not run."""

SAID = "Hello from the simulator"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with lab(tmp_path_factory.mktemp("programs")) as told:
        yield told


@pytest.mark.parametrize("name", PYTHON)
def test_a_program_in_python_does_its_task(name: str, environ: dict[str, str]) -> None:
    try:
        results = run_python(name, environ)
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)
    assert set(results) == set(python_checks(name))
    assert not any(results.values()), results


def program(name: str, home: Path, environ: dict[str, str], *command: str) -> str:
    """What it prints."""
    try:
        binary = node_client(name) / "node_modules" / command[0]
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)
    done = subprocess.run(
        [*(("node",) if binary.suffix == ".cjs" else ()), str(binary), *command[1:]],
        cwd=home,
        env={**clean_environ(), **environ, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_claude_code_does_its_task_with_a_model_of_openai(environ: dict[str, str], tmp_path: Path) -> None:
    told = {
        **environ,
        "ANTHROPIC_BASE_URL": environ["CHECK_GATEWAY"].removesuffix("/v1"),
        "ANTHROPIC_AUTH_TOKEN": environ["METERWAY_DEMO_KEY"],
        "ANTHROPIC_MODEL": "gpt-codes",
        "ANTHROPIC_SMALL_FAST_MODEL": "gpt-codes",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    said = program("claude_code", tmp_path, told, CLAUDE, "-p", "How is it there?", "--allowedTools", "Bash")
    assert (tmp_path / "weather.txt").read_text() == "sunny\n", said
    assert SAID in said


@pytest.mark.parametrize("model", ["claude-codes", "google-codes"])
def test_codex_does_its_task_with_a_model_of_another_provider(
    model: str, environ: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / ".codex"
    home.mkdir()
    (home / "config.toml").write_text(CODEX.format(model=model, base=environ["CHECK_GATEWAY"]))
    options = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    told = {**environ, "CODEX_HOME": str(home)}
    said = program("codex", tmp_path, told, ".bin/codex", "exec", *options, "How is it there?")
    assert (tmp_path / "weather.txt").read_text() == "sunny\n", said
    assert SAID in said
