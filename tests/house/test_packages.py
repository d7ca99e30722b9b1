"""What is installed is pinned, and nothing in the repository says from where."""

import json
import re
import subprocess
import sys
import tomllib

from tests.house.sources import ROOT, tracked

CONSTRAINTS = ROOT / "constraints.txt"
ADR = ROOT / "docs" / "adr" / "0001-dependencies.md"
UNPINNED = {"pip", "setuptools", "wheel", "meterway"}
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("test", "pypi", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("conda", "anaconda", "org"),
    )
)
ADDRESSES = re.compile(r"://|--index-url|--extra-index-url|--find-links|\bfile:|^-e ", re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = CONSTRAINTS.read_text().split()
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_constraints_are_exact_and_name_no_place() -> None:
    for line in CONSTRAINTS.read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!]+", line), line


def test_the_project_file_names_no_place_to_install_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [need for needs in project.get("optional-dependencies", {}).values() for need in needs]
    for need in (*project["dependencies"], *extras):
        assert not ADDRESSES.search(need), need
        assert " @ " not in need, need


def test_everything_installed_is_pinned_to_what_is_installed() -> None:
    code = (
        "import json, importlib.metadata as m;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    installed = {canonical(name): version for name, version in json.loads(told).items()}
    known = pins()
    wrong = {
        name: version for name, version in installed.items() if name not in UNPINNED and known.get(name) != version
    }
    assert wrong == {}, "installed, but constraints.txt says otherwise"


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *(n for all_of in project["optional-dependencies"].values() for n in all_of)]
    names = {canonical(match[0]) for need in needs if (match := re.match(r"[A-Za-z0-9_.-]+", need))}
    assert names - {"meterway"} - set(pins()) == set()


def test_every_dependency_has_its_line_in_the_decision_records() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *(n for all_of in project["optional-dependencies"].values() for n in all_of)]
    names = {canonical(match[0]) for need in needs if (match := re.match(r"[A-Za-z0-9_.-]+", need))} - {"meterway"}
    told = {canonical(name) for name in re.findall(r"`([a-z0-9-]+)`", ADR.read_text())}
    assert names - told == set()


def test_no_file_names_a_registry() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes()
        found += [f"{path.relative_to(ROOT)} names {host}" for host in HOSTS if host.encode() in text]
    assert found == []


def test_no_lock_file_with_addresses_is_kept() -> None:
    names = {path.name for path in tracked()}
    assert names.isdisjoint(
        {"package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "Pipfile.lock"}
    )
