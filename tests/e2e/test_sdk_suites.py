"""The official SDKs' own test suites, out of their source distributions, against a served gateway."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import CACHE, CLIENTS, CannotInstall, made_once, python_client, run
from tests.e2e.processes import clean_environ, lab

HERE = CLIENTS / "sdk_suites"
SUITES = {
    "anthropic": ("test_messages.py", "test_models.py", "beta/test_messages.py", "beta/test_models.py"),
    "openai": ("chat/test_completions.py", "test_embeddings.py", "test_models.py", "test_responses.py"),
}
"""The files of the endpoints that are served."""

PASSED_MIN = {"anthropic": 215, "openai": 126}

_MODEL = 'model="gpt-6-astra", input="hi"'
WRITTEN_ANEW = {
    # A key with spaces cannot be one of the gateway's.
    "anthropic": {'"my-anthropic-api-key"': 'os.environ["SUITE_KEY"]'},
    "openai": {
        '"My API Key"': 'os.environ["SUITE_KEY"]',
        # No provider answers with nothing.
        "max_completion_tokens=0": "max_completion_tokens=16",
        "max_tokens=0": "max_tokens=16",
        # Who asks has to say whom, and what.
        "responses.create()": f"responses.create({_MODEL})",
        "responses.with_raw_response.create()": f"responses.with_raw_response.create({_MODEL})",
        "responses.with_streaming_response.create()": f"responses.with_streaming_response.create({_MODEL})",
        "create(\n            stream=True,\n        )": f"create(stream=True, {_MODEL})",
        # No account has made it.
        'previous_response_id="previous_response_id",': "",
    },
}
"""What stands in the suites for a server that answers whatever it is asked; the rest of each test is as it was."""

EXCLUDED = {
    "anthropic": (),
    "openai": (
        "Completions and (retrieve or update or list or delete)",  # stored completions are not served
        "Embeddings and (strict or aiohttp) and not all_params",  # it asks for base64 and then refuses a text
        "Models and delete",  # models are the operator's
        "Responses and (retrieve or delete or cancel or compact)",  # stored responses are not served
    ),
}
"""By pytest's -k, with the reason."""


def sources(name: str) -> Path:
    """The unpacked source distribution that the pins name."""
    pins = (HERE / "requirements.txt").read_text().splitlines()
    pin = next(line for line in pins if line.startswith(f"{name}=="))
    python = python_client("sdk_suites")
    with made_once(f"sdist-{name}", HERE / "requirements.txt") as folder:
        if folder is not None:
            folder.mkdir(parents=True)
            quiet = ("--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation")
            run(name, str(python), "-m", "pip", "download", *quiet, "--dest", str(folder), pin)
            with tarfile.open(next(folder.glob("*.tar.gz"))) as packed:
                packed.extractall(folder, filter="data")
    return next(path for path in (CACHE / f"sdist-{name}").iterdir() if path.is_dir())


def write_anew(name: str, files: list[Path]) -> None:
    unseen = set(WRITTEN_ANEW[name])
    for file in files:
        text = file.read_text()
        for theirs, ours in WRITTEN_ANEW[name].items():
            if theirs in text:
                unseen.discard(theirs)
                text = text.replace(theirs, ours)
        file.write_text(text)
    assert not unseen, "the suite no longer has it"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with lab(tmp_path_factory.mktemp("suites"), HERE / "gateway.yaml") as told:
        yield told


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", SUITES)
def test_the_suite_of_an_official_sdk_passes(name: str, environ: dict[str, str], tmp_path: Path) -> None:
    try:
        folder = sources(name)
    except CannotInstall as error:
        pytest.fail(str(error), pytrace=False)
    shutil.copy(folder / "pyproject.toml", tmp_path)
    shutil.copytree(folder / "tests", tmp_path / "tests")
    files = [f"tests/api_resources/{file}" for file in SUITES[name]]
    write_anew(name, [tmp_path / file for file in ("tests/conftest.py", *files)])
    base = environ["CHECK_GATEWAY"]
    told = {
        "TEST_API_BASE_URL": base if name == "openai" else base.removesuffix("/v1"),
        "SUITE_KEY": environ["METERWAY_DEMO_KEY"],
    }
    plugin = " -p tests._alias_httpx" if name == "anthropic" else ""
    chosen = " and ".join(f"not ({words})" for words in EXCLUDED[name])
    options = ("-q", "-o", f"addopts=--tb=short{plugin}", *(("-k", chosen) if chosen else ()))
    done = subprocess.run(
        [str(python_client("sdk_suites")), "-m", "pytest", *options, *files],
        cwd=tmp_path,
        env={**clean_environ(), **told},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= PASSED_MIN[name]
