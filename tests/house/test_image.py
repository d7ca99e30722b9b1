"""The container image, as far as its file tells: sources exist, nobody is root, no shell stands in between."""

import json
import re

from tests.house.sources import ROOT

FILE = ROOT / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_everything_that_is_copied_exists() -> None:
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from="):
            assert [name for name in rest.split()[:-1] if not (ROOT / name).exists()] == []


def test_what_the_package_needs_to_be_built_is_copied() -> None:
    copied = {name for word, rest in instructions() if word == "COPY" for name in rest.split()[:-1]}
    wheel = re.search(
        r"\[tool\.hatch\.build\.targets\.wheel\]\npackages = (\[.*\])", (ROOT / "pyproject.toml").read_text()
    )
    assert wheel is not None
    assert {*json.loads(wheel[1]), "pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= copied


def test_the_gateway_does_not_run_as_root() -> None:
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["10001"]


def test_no_shell_stands_in_between() -> None:
    for word, rest in instructions():
        if word in ("RUN", "CMD", "ENTRYPOINT"):
            assert isinstance(json.loads(rest), list)
        elif word == "HEALTHCHECK":
            command = json.loads(rest.partition("CMD ")[2])
            assert command[:2] == ["python", "-c"]
            compile(command[2], str(FILE), "exec")


def test_the_image_says_when_it_is_healthy_and_how_it_stops() -> None:
    words = dict(instructions())
    assert "/health/ready" in words["ENV"]
    assert words["STOPSIGNAL"] == "SIGTERM"
    assert words["CMD"] == '["serve", "--config", "/etc/meterway/gateway.yaml"]'
