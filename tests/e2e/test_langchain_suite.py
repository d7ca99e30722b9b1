"""LangChain's standard tests for chat models, over the OpenAI and the Anthropic door, each answered by the other."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.environments import CLIENTS, ROOT, CannotInstall, python_client
from tests.e2e.processes import clean_environ, lab

SUITE = CLIENTS / "langchain_suite" / "suite.py"
PASSED_MIN = 45
"""Of 50: audio, any JSON, media in results of tools and messages of the other door are not everybody's."""

OPTIONS = ("asyncio_mode=auto", "asyncio_default_test_loop_scope=session", "asyncio_default_fixture_loop_scope=session")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("door", ["TestOpenAIAnsweredByAnthropic", "TestAnthropicAnsweredByOpenAI"])
def test_langchains_standard_tests_pass_in_another_dialect(door: str, tmp_path: Path) -> None:
    try:
        python = python_client("langchain_suite")
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)
    settings = [word for option in OPTIONS for word in ("-o", option)]
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
    ]
    with lab(tmp_path) as environ:
        done = subprocess.run(
            [*command, *settings, f"{SUITE}::{door}"],
            cwd=ROOT,
            env={**clean_environ(), "PYTHONDONTWRITEBYTECODE": "1", **environ},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "failed" not in done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= PASSED_MIN
