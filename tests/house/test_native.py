"""What a compiler is given means the same as the source."""

import dataclasses
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.house.sources import ROOT

SOURCE = '''
"""A module."""

from dataclasses import replace
from typing import ClassVar, Final

from gateway.domain.value import value

WEIGHTS: dict[str, int] = {
    "a": 1,
    "b": 2,
}
_LIMIT = 3
LAST: Final[int] = 9
shared = []


@value
class Place:
    """Where."""

    HOUSES: ClassVar[int] = 1

    room: str
    floor: int = _LIMIT
    tags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.room} on {self.floor}"


@value
class Nowhere:
    """Without a field."""


def above(place: Place) -> Place:
    match place:
        case Place(floor=floor):
            return replace(place, floor=floor + WEIGHTS["a"])
'''


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("native", ROOT / "deploy" / "native.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def meaning(source: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(source, module.__dict__)
    return module


def test_a_value_and_its_written_out_form_are_used_alike(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for name, source in (("plain", SOURCE), ("native", tool.native(SOURCE, set()))):
        module = meaning(source, name, monkeypatch)
        place = module.Place("hall", tags=("a",))
        assert place == module.Place("hall", 3, ("a",)) != module.above(place)
        assert hash(place) == hash(module.Place("hall", 3, ("a",)))
        assert module.Nowhere() == module.Nowhere()
        assert {module.Nowhere(): 1}[module.Nowhere()] == 1
        names = [field.name for field in dataclasses.fields(place)]
        texts.append((place.text, module.above(place).text, names, repr(place), module.Place.__doc__))
    assert texts[0] == texts[1]


def test_a_constant_of_floats_alone_is_a_tuple_as_python_has_it(tool: ModuleType) -> None:
    text = tool.native(
        SOURCE.replace("_LIMIT = 3", "_LIMIT = 3\nWAITS_S = (0.5, -1.0)\nPAIR = (0.5, 1)\nNONE = ()"), set()
    )
    assert "WAITS_S: Final[tuple[float, ...]] = (0.5, -1.0)\nPAIR: Final = (0.5, 1)\nNONE: Final = ()\n" in text


def test_names_in_capitals_are_final_and_no_others(tool: ModuleType) -> None:
    text = tool.native(SOURCE, set())
    assert (
        "WEIGHTS: Final[dict[str, int]] = {'a': 1, 'b': 2}\n_LIMIT: Final = 3\nLAST: Final[int] = 9\nshared = []\n"
        in text
    )


ASKING = """
from tests.colours import Colour
from tests.shapes import Shape


def told(colour):
    match colour:
        case Colour.RED:
            return f"{Colour.RED.value}, {Shape.ROUND}", colour is Colour.BLUE, Colour.parse
"""

COLOURS = '''
from enum import Enum


class Colour(Enum):
    """Two."""

    RED = "red"
    BLUE = "blue"

    @classmethod
    def parse(cls): ...
'''


def test_a_function_names_a_constant_for_each_member_of_an_enum_outside_of_patterns(tool: ModuleType) -> None:
    members = tool.members_of(COLOURS)
    assert members == {("Colour", "RED"), ("Colour", "BLUE")}
    text = tool.native(ASKING, members)
    assert "_COLOUR_BLUE: Final = Colour.BLUE\n" in text
    assert "case Colour.RED:\n" in text
    assert "Shape.ROUND}" in text
    assert "colour is _COLOUR_BLUE, Colour.parse" in text
    assert tool.native(COLOURS, members).count("_COLOUR") == 0


def test_all_of_the_gateway_works_as_written_for_the_compiler(tmp_path: Path) -> None:
    """Every module is imported from a copy that went through the tool; only migrations run under their own tool."""
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    tool = [sys.executable, str(ROOT / "deploy" / "native.py"), str(tmp_path / "gateway")]
    subprocess.run(tool, check=True, timeout=60)
    sources = [path.relative_to(tmp_path) for path in (tmp_path / "gateway").rglob("*.py")]
    names = [".".join(path.with_suffix("").parts) for path in sources if "migrations" not in path.parts]
    wanted = [name for name in names if not name.endswith(("__init__", "__main__"))]
    assert len(wanted) > 200
    code = f"import importlib, gateway; [importlib.import_module(name) for name in {wanted}]; print(gateway.__file__)"
    ran = [sys.executable, "-c", code]
    done = subprocess.run(ran, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path)), "it is the copy"
