"""Renders what is wrong with a configuration for a terminal."""

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from gateway.config.load import load
from gateway.config.problems import ConfigInvalid, Problem
from gateway.config.settings import Loaded

OK, INVALID = 0, 2


def check(path: Path, environ: Mapping[str, str], today: date | None = None) -> tuple[int, str]:
    """The exit code and the text of `meterway check FILE`: nothing is served, nobody is called."""
    try:
        loaded = load(path, environ, today=today)
    except ConfigInvalid as error:
        count = len(error.problems)
        return INVALID, f"{render(error.problems)}\n{count} problem{'' if count == 1 else 's'} in {path}\n"
    warnings = render(loaded.warnings, prefix="warning: ")
    return OK, f"{warnings}{chr(10) if warnings else ''}{summary(path, loaded)}\n"


def render(problems: Iterable[Problem], prefix: str = "") -> str:
    """`file:line:column: place: message`, with the remedy beneath."""
    return "\n".join(f"{prefix}{problem}\n    {problem.remedy}" for problem in problems)


def summary(path: Path, loaded: Loaded) -> str:
    catalog = loaded.catalog
    deployments = {item.id for route in catalog.routes.values() for item in route.deployments}
    counts = (
        (len(catalog.providers), "provider"),
        (len(catalog.routes), "model"),
        (len(deployments), "deployment"),
        (len(catalog.keys), "caller key"),
    )
    return f"{path} is good: " + ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)
