"""What a compiler is given means the same as the source."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.house.sources import ROOT

SOURCE = '''
"""A module."""

from dataclasses import replace
from typing import ClassVar

from gateway.domain.value import value

WEIGHTS: dict[str, int] = {
    "a": 1,
    "b": 2,
}
_LIMIT = 3
shared = []


@value
class Place:
    """Where."""

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
    for name, source in (("plain", SOURCE), ("native", tool.native(SOURCE))):
        module = meaning(source, name, monkeypatch)
        place = module.Place("hall", tags=("a",))
        assert place == module.Place("hall", 3, ("a",)) != module.above(place)
        assert hash(place) == hash(module.Place("hall", 3, ("a",)))
        assert module.Nowhere() == module.Nowhere()
        assert {module.Nowhere(): 1}[module.Nowhere()] == 1
        names = [field.name for field in dataclasses.fields(place)]
        texts.append((place.text, module.above(place).text, names, repr(place), module.Place.__doc__))
    assert texts[0] == texts[1]


def test_names_in_capitals_are_final_and_no_others(tool: ModuleType) -> None:
    text = tool.native(SOURCE)
    assert "WEIGHTS: Final[dict[str, int]] = {'a': 1, 'b': 2}\n_LIMIT: Final = 3\nshared = []\n" in text


def test_every_source_can_be_written_for_the_compiler(tool: ModuleType) -> None:
    paths = [path for path in (ROOT / "gateway").rglob("*.py") if "import " in path.read_text()]
    assert len(paths) > 200
    for path in paths:
        compile(tool.native(path.read_text()), Path(path).as_posix(), "exec")
