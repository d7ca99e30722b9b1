"""An environment of its own for each client: made once from its pins, then kept under `.cache/clients`."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
CACHE = ROOT / ".cache" / "clients"
INSTALL_TIMEOUT_S = 150


class CannotInstall(Exception):
    """Says which client is missing and what the installer said."""


def python_client(name: str) -> Path:
    """The interpreter of the client's virtual environment."""
    pins = CLIENTS / name / "requirements.txt"
    with made_once(name, pins) as folder:
        if folder is not None:
            run(name, sys.executable, "-m", "venv", str(folder))
            run(name, str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(pins))
    return CACHE / name / "bin" / "python"


def node_client(name: str) -> Path:
    """The folder in which the client's packages are installed. Its script has to stand beside them."""
    pins = CLIENTS / name / "package.json"
    with made_once(name, pins) as folder:
        if folder is not None:
            folder.mkdir(parents=True)
            shutil.copy(pins, folder)
            quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
            run(name, "npm", "install", *quiet, "--prefix", str(folder), cwd=folder)
    return CACHE / name


@contextmanager
def made_once(name: str, pins: Path, cache: Path = CACHE) -> Iterator[Path | None]:
    """Gives the folder to fill, or None when it was made from the same pins already; one process at a time."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    wanted = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / "made-from"
        if mark.is_file() and mark.read_text() == wanted:
            yield None
            return
        shutil.rmtree(folder, ignore_errors=True)
        yield folder
        mark.write_text(wanted)


def run(name: str, *command: str, cwd: Path = ROOT) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"the client {name!r} cannot be installed: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise CannotInstall(f"the client {name!r} cannot be installed; {command[0]} ended with:\n{said}")
