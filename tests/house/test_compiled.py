"""What `make fast` compiles passes its compiler, up to the C: no C compiler has to be there for that."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.sources import ROOT

TRANSLATE = """
import sys
from mypyc.build import mypyc_build
from mypyc.options import CompilerOptions
mypyc_build(sys.argv[1:], CompilerOptions(target_dir="c"), always_use_shared_lib=True)
"""


def hot(hook: dict[str, list[str]], source: Path) -> list[str]:
    """Paths below `source`, as the hook of the build finds them."""
    left_out = tuple(each.strip("/") for each in hook["exclude"])
    found = [source / each.strip("/") for each in hook["include"]]
    files = [file for path in found for file in ([path] if path.suffix else sorted(path.rglob("*.py")))]
    shown = [file.relative_to(source).as_posix() for file in files]
    return [name for name in shown if not name.endswith("__init__.py") and not name.startswith(left_out)]


@pytest.mark.timeout(600)
def test_the_compiler_takes_the_hot_rooms(tmp_path: Path) -> None:
    """Each of them is there, and what a checker may work out later it may not."""
    for folder in ("gateway", "sdk_client", "agent_runtime"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, ROOT / "deploy/native.py", tmp_path / "gateway"], check=True)
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    files = hot(hook["mypyc"], tmp_path)
    command = [sys.executable, "-c", TRANSLATE, *hook["mypyc"]["mypy-args"], "--cache-dir=cache", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(files) > 100
