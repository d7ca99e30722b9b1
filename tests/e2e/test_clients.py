"""Official clients, which nobody here wrote, talk to a served gateway; each has an environment of its own."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.environments import CLIENTS, ROOT, CannotInstall, node_client, python_client
from tests.e2e.processes import clean_environ, lab

CHECK_TIMEOUT_S = 100

Results = dict[str, str | None]


def python_checks(name: str) -> list[str]:
    tree = ast.parse((CLIENTS / name / "check.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if function.name.startswith("check_")]


def node_checks(name: str) -> list[str]:
    return re.findall(r'^check\("(\w+)"', (CLIENTS / name / "check.mjs").read_text(), re.MULTILINE)


def run_python(name: str, environ: dict[str, str]) -> Results:
    python = python_client(name)
    return run([str(python), str(CLIENTS / name / "check.py")], {**environ, "PYTHONPATH": str(ROOT)})


def run_node(name: str, environ: dict[str, str]) -> Results:
    folder = node_client(name)
    shutil.copy(CLIENTS / name / "check.mjs", folder)
    return run(["node", str(folder / "check.mjs")], environ)


def run(command: list[str], environ: dict[str, str]) -> Results:
    done = subprocess.run(
        command,
        env={**clean_environ(), "PYTHONDONTWRITEBYTECODE": "1", **environ},
        capture_output=True,
        text=True,
        timeout=CHECK_TIMEOUT_S,
        check=False,
    )
    try:
        results: Results = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        pytest.fail(f"{command} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-3000:]}", pytrace=False)
    return results


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Results]:
    """Each client runs once against a gateway of its own; its tests read what came of every check."""
    known: dict[str, Results | CannotInstall] = {}

    def of(name: str) -> Results:
        if name not in known:
            folder: Path = tmp_path_factory.mktemp(name)
            try:
                with lab(folder) as environ:
                    known[name] = (run_node if name.endswith("_node") else run_python)(name, environ)
            except CannotInstall as error:
                known[name] = error
        found = known[name]
        if isinstance(found, CannotInstall):
            pytest.fail(str(found), pytrace=False)
        return found

    return of


CASES = [
    *(
        (name, check)
        for name in ("openai_python", "anthropic_python", "langchain_openai")
        for check in python_checks(name)
    ),
    *(("openai_node", check) for check in node_checks("openai_node")),
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("name", "check"), CASES, ids=[f"{name}-{check}" for name, check in CASES])
def test_a_client_that_others_wrote(name: str, check: str, outcome: Callable[[str], Results]) -> None:
    results = outcome(name)
    assert check in results, f"{check} did not run; these did: {sorted(results)}"
    told = results[check]
    if told is not None:
        pytest.fail(told, pytrace=False)


def test_each_client_pins_its_versions_without_addresses() -> None:
    for pins in (*CLIENTS.glob("*/requirements.txt"), *CLIENTS.glob("*/package.json")):
        text = pins.read_text()
        assert "//" not in text, pins
        if pins.suffix == ".txt":
            assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line) for line in text.splitlines()), pins
    assert not list(CLIENTS.rglob("package-lock.json"))
