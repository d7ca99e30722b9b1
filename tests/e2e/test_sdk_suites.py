"""The official SDKs' own test suites, out of their source distributions, against a served gateway."""

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import CACHE, CLIENTS, CannotInstall, made_once, python_client, run
from tests.e2e.processes import clean_environ, lab

HERE = CLIENTS / "sdk_suites"
SUITES = {
    "anthropic": ("test_messages.py", "test_models.py"),
    "openai": ("chat/test_completions.py", "test_embeddings.py", "test_models.py", "test_responses.py"),
}
"""The files of the endpoints that are served."""

KEYS = {"anthropic": '"my-anthropic-api-key"', "openai": '"My API Key"'}
"""As they stand in the suites; a key with spaces cannot be one of the gateway's."""

EXCLUDED = {
    "anthropic": (),
    "openai": (
        "TestCompletions and all_params and create",  # asks for max_tokens: 0
        "TestAsyncCompletions and all_params and create",
        "Completions and (retrieve or update or list or delete)",  # stored completions are not served
        "Embeddings and (strict or aiohttp)",  # it asks for base64 and then refuses a text
        "Models and delete",  # models are the operator's
        "TestResponses and overload",  # no model, or a previous response that does not exist
        "TestAsyncResponses and overload",
        "Responses and (retrieve or delete or cancel or compact)",  # stored responses are not served
    ),
}
"""By pytest's -k, with the reason."""


def sources(name: str) -> Path:
    """The unpacked source distribution that the pins name."""
    pins = (HERE / "requirements.txt").read_text().splitlines()
    pin = next(line for line in pins if line.startswith(f"{name}=="))
    python = python_client("sdk_suites")
    with made_once(f"source-{name}", HERE / "requirements.txt") as folder:
        if folder is not None:
            folder.mkdir(parents=True)
            quiet = ("--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation")
            run(name, str(python), "-m", "pip", "download", *quiet, "--dest", str(folder), pin)
            with tarfile.open(next(folder.glob("*.tar.gz"))) as packed:
                packed.extractall(folder, filter="data")
    return next(path for path in (CACHE / f"source-{name}").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with lab(tmp_path_factory.mktemp("suites"), HERE / "gateway.yaml") as told:
        yield told


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", SUITES)
def test_the_suite_of_an_official_sdk_passes(name: str, environ: dict[str, str]) -> None:
    try:
        folder = sources(name)
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)
    conftest = folder / "tests" / "conftest.py"
    conftest.write_text(conftest.read_text().replace(KEYS[name], 'os.environ["SUITE_KEY"]'))
    base = environ["CHECK_GATEWAY"]
    told = {
        "TEST_API_BASE_URL": base if name == "openai" else base.removesuffix("/v1"),
        "SUITE_KEY": environ["METERWAY_DEMO_KEY"],
    }
    files = [f"tests/api_resources/{file}" for file in SUITES[name]]
    plugin = " -p tests._alias_httpx" if name == "anthropic" else ""
    chosen = " and ".join(f"not ({words})" for words in EXCLUDED[name])
    options = ("-q", "-o", f"addopts=--tb=short{plugin}", *(("-k", chosen) if chosen else ()))
    done = subprocess.run(
        [str(python_client("sdk_suites")), "-m", "pytest", *options, *files],
        cwd=folder,
        env={**clean_environ(), **told},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
