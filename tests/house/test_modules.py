"""The rules about modules and functions that a reader can count on."""

import ast
from pathlib import Path

import pytest

from tests.house.sources import ALL, PRODUCT, functions, modules, shown, tree

LINES_SOFT, LINES_HARD = 400, 500
FUNCTION_LINES_HARD = 60
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "misc", "shared", "stuff"}
PURE_ROOMS = ("gateway/domain", "gateway/providers", "gateway/wire")


def test_no_module_is_longer_than_the_hard_limit(capsys: pytest.CaptureFixture[str]) -> None:
    lengths = {shown(path): len(path.read_text().splitlines()) for path in modules(*ALL)}
    soft = [f"{name} ({lines})" for name, lines in lengths.items() if LINES_SOFT < lines <= LINES_HARD]
    if soft:
        with capsys.disabled():
            print(f" [over {LINES_SOFT} lines: {', '.join(soft)}]", end="")
    assert {name: lines for name, lines in lengths.items() if lines > LINES_HARD} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{shown(path)}:{function.lineno} {function.name}": lines
        for path in modules(*ALL)
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_HARD
    }
    assert long == {}


def test_modules_are_named_by_their_job_not_by_a_drawer() -> None:
    names = {shown(path) for path in modules(*ALL) if DRAWERS.intersection((path.stem, path.parent.name))}
    assert names == set()


def test_every_module_opens_with_what_it_is_for() -> None:
    assert [shown(path) for path in modules(*PRODUCT) if not ast.get_docstring(tree(path))] == []


def test_the_first_line_of_a_module_is_one_sentence() -> None:
    """If it needs a second one, there are two modules, or the rest belongs to the lines below."""
    bad = [
        shown(path)
        for path in modules(*PRODUCT)
        if (first := (ast.get_docstring(tree(path)) or "").partition("\n\n")[0]) and not first.rstrip().endswith(".")
    ]
    assert bad == []


def test_nothing_is_imported_inside_a_function() -> None:
    inside = [
        f"{shown(path)}:{node.lineno}"
        for path in modules(*PRODUCT)
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_rooms_that_decide_catch_nothing_broad() -> None:
    rooms = modules(*PURE_ROOMS)
    assert rooms
    assert [place for path in rooms for place in broad_handlers(path)] == []


def broad_handlers(path: Path) -> list[str]:
    return [
        f"{shown(path)}:{node.lineno}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and broad(node.type)
    ]


def broad(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in ("Exception", "BaseException") for node in ast.walk(kind))
