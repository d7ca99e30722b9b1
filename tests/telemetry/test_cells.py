"""Cells count exactly, and never without bound."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.cells import HistogramCells, NumberCells
from gateway.telemetry.names import Instrument, Kind

COUNTER = Instrument("c", Kind.COUNTER, "", "", ("a", "b"))
HISTOGRAM = Instrument("h", Kind.HISTOGRAM, "", "", ("a",), (1.0, 2.0, 5.0))


def test_a_counter_adds_by_labels() -> None:
    cells = NumberCells(COUNTER)
    cells.add(("x", "y"), 1)
    cells.add(("x", "y"), 2)
    cells.add(("x", "z"), 5)
    assert dict(cells.snapshot()) == {("x", "y"): 3, ("x", "z"): 5}


def test_beyond_the_bound_everything_is_other() -> None:
    cells = NumberCells(COUNTER, series_max=3)
    for number in range(10):
        cells.add((str(number), ""), 1)
    cells.add(("0", ""), 1)
    assert dict(cells.snapshot()) == {("0", ""): 2, ("1", ""): 1, ("2", ""): 1, ("other", "other"): 7}


def test_replaced_values_are_whole_and_bounded() -> None:
    cells = NumberCells(COUNTER, series_max=2)
    cells.replace({("a", ""): 1, ("b", ""): 2, ("c", ""): 3, ("d", ""): 4})
    assert dict(cells.snapshot()) == {("a", ""): 1, ("b", ""): 2, ("other", "other"): 7}
    cells.replace({("d", ""): 4})
    assert dict(cells.snapshot()) == {("d", ""): 4}


def test_a_bound_belongs_to_its_bucket() -> None:
    cells = HistogramCells(HISTOGRAM)
    for value in (0, 1, 1.1, 2, 5, 5.1, 100):
        cells.add(("x",), value)
    ((labels, cell),) = cells.snapshot()
    assert labels == ("x",)
    assert cell[:-1] == [2, 2, 1, 2]
    assert abs(cell[-1] - 114.2) < 1e-9


def test_histograms_overflow_to_other_too() -> None:
    cells = HistogramCells(HISTOGRAM, series_max=1)
    for number in range(4):
        cells.add((str(number),), 1)
    assert {labels: sum(cell[:-1]) for labels, cell in cells.snapshot()} == {("0",): 1, ("other",): 3}


@given(st.lists(st.floats(0, 10), max_size=50))
def test_no_value_is_lost(values: list[float]) -> None:
    cells = HistogramCells(HISTOGRAM)
    for value in values:
        cells.add(("x",), value)
    cell = dict(cells.snapshot()).get(("x",), [0])
    assert sum(cell[:-1]) == len(values)
    below = sum(value <= 2.0 for value in values)
    assert sum(cell[:2]) == below if values else True
