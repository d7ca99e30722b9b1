"""The repository's own files, as the tests of this room read them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("gateway", "sdk_client", "agent_runtime")
ALL = (*PRODUCT, "tests", "benchmarks")


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if ".work" not in path.parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def tracked() -> list[Path]:
    """Every file that git keeps, as it is in the working tree now."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in names.splitlines() if (path := ROOT / name).is_file()]


def table_rows(text: str) -> list[list[str]]:
    """The cells of every row of every Markdown table, without heads and rules."""
    rows: list[list[str]] = []
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|") and not line.startswith("|--") and not line.startswith("| --"):
            rows.append([cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")])
        elif line.startswith("|") and before.startswith("|"):
            rows.pop()
    return rows
