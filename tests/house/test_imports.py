"""Loading code does nothing but load code: no call, no thread, no file; the domain needs no library at all."""

import ast
import json
import subprocess
import sys
import textwrap
from typing import Any

from tests.house.sources import ROOT, modules, shown, tree

MEMORY_MAX_MB = 60
MACHINE = {
    "asyncio",
    "http",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "ssl",
}
MACHINE |= {"subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid"}

WITNESS = """
import json, sys
writing, events = ("w", "a", "x", "+"), []
WATCHED = ("socket.", "subprocess.", "os.system", "os.fork", "os.exec", "os.posix_spawn", "os.mkdir", "os.remove",
           "os.rename", "os.rmdir", "os.truncate", "_thread.start_new_thread", "shutil.", "tempfile.", "signal.")
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if (isinstance(mode, str) and any(c in mode for c in writing)) or (mode is None and (flags or 0) & 3):
            events.append([event, repr(path)])
    elif event.startswith(WATCHED) and event != "socket.__new__":
        events.append([event, repr(arguments)])
sys.addaudithook(hook)
before = set(sys.modules)
"""

TELL = """
loaded = sorted(set(sys.modules) - before)
import threading
from pathlib import Path
print(json.dumps({
    "events": events,
    "threads": threading.active_count(),
    "modules": loaded,
    "memory_mb": int(next(l for l in Path("/proc/self/status").open() if l.startswith("VmHWM")).split()[1]) / 1024,
}))
"""


def loading(*names: str) -> dict[str, Any]:
    """What a fresh interpreter does while it imports these modules."""
    code = textwrap.dedent(WITNESS) + "\n".join(f"import {name}" for name in names) + TELL
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_loading_the_gateway_calls_nobody_and_leaves_nothing() -> None:
    told = loading("gateway.app", "gateway.cli")
    assert told["events"] == []
    assert told["threads"] == 1


def test_loading_the_gateway_stays_small() -> None:
    assert loading("gateway.app")["memory_mb"] < MEMORY_MAX_MB


def test_loading_the_gateway_does_not_load_what_tests_need() -> None:
    loaded = set(loading("gateway.app", "gateway.cli")["modules"])
    assert loaded.isdisjoint({"pytest", "hypothesis", "tests", "mypy", "trustme"})


VALUES = {"msgspec", "typing_extensions"}
"""What `domain/value.py` makes values of (ADR 0008); import-linter lets no other module of the domain have it."""


def test_the_domain_is_pure() -> None:
    names = [shown(path).removesuffix(".py").replace("/", ".") for path in modules("gateway/domain")]
    told = loading(*(name.removesuffix(".__init__") for name in names))
    assert told["events"] == []
    tops = {name.partition(".")[0] for name in told["modules"]}
    assert tops - set(sys.stdlib_module_names) <= {"gateway", *VALUES}
    assert {name for name in told["modules"] if name.startswith("gateway.")} <= {"gateway.domain", *names}


def test_the_domain_imports_nothing_that_knows_the_machine() -> None:
    """What the standard library loads for itself (email.utils a socket, to parse a date) is not ours to judge."""
    imported: set[str] = set()
    for path in modules("gateway/domain"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert imported & MACHINE == set()


def test_the_domain_never_waits() -> None:
    waits = [
        f"{shown(path)}:{node.lineno}"
        for path in modules("gateway/domain")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith | ast.AsyncFunctionDef)
    ]
    assert waits == []


def test_only_one_module_asks_the_machine_for_the_time() -> None:
    """Everything else gets a Clock; the watchdog's thread measures the machine itself."""
    asking = {
        shown(path)
        for path in modules("gateway")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import) and any(name.name in ("time", "random") for name in node.names)
    }
    assert {name for name in asking if not name.startswith("gateway/sim/")} <= {
        "gateway/clock.py",
        "gateway/telemetry/watchdog.py",
    }
