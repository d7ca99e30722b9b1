"""What a figure was measured on: machine, versions, commit."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("uvicorn", "uvloop", "httptools", "starlette", "msgspec")


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not installed"
    return (done.stdout or done.stderr).strip().split("\n")[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _build() -> str:
    """Distributions build the interpreter with profiles, which is worth a third; others do when they are told to."""
    return "the distribution's" if sys.base_prefix == "/usr" else "built from source"


def conditions() -> dict[str, str]:
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _first_line("git", "rev-parse", "--short", "HEAD"),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "python": f"{platform.python_version()}, {_build()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "nginx": _first_line("nginx", "-v"),
        "wrk": _first_line("wrk", "-v"),
        "load average before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
