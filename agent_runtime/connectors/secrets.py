"""Secrets by reference: `env:NAME` or `file:PATH`, read where and when they are used."""

import os
import re
from pathlib import Path

from agent_runtime.contracts.errors import ConfigError
from agent_runtime.spec.agent import KEY_LIKE

REFERENCE = re.compile(r"(env|file):(.+)", re.DOTALL)
SECRET_NAMES = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


def problem(name: str, value: str) -> str | None:
    """Why this may not stand in a configuration; the value itself is never told."""
    if REFERENCE.fullmatch(value):
        return None
    if name.lower() in SECRET_NAMES or KEY_LIKE.search(value):
        return f"{name!r} is a secret in plain text; write env:NAME or file:PATH"
    return None


def resolved(value: str) -> str:
    found = REFERENCE.fullmatch(value)
    if found is None:
        return value
    kind, where = found[1], found[2]
    try:
        return os.environ[where] if kind == "env" else Path(where).read_text().strip()
    except (KeyError, OSError) as error:
        raise ConfigError(
            f"secret {value!r} cannot be read ({type(error).__name__}); set it for this process"
        ) from None
