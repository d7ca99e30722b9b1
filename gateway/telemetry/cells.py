"""Plain dictionaries of numbers by label values, bounded in number: what the hot path counts in."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from gateway.telemetry.names import Instrument

Labels = tuple[str, ...]
Number = int | float
Cell = list[Number]

OTHER = "other"
SERIES_MAX = 2000


class NumberCells:
    """The cells of a counter or gauge, one number each. Only the loop's thread writes; any thread may look."""

    __slots__ = ("_cells", "_other", "_series_max", "instrument")

    def __init__(self, instrument: Instrument, series_max: int = SERIES_MAX) -> None:
        self.instrument = instrument
        self._cells: dict[Labels, Cell] = {}
        self._other = (OTHER,) * len(instrument.labels)
        self._series_max = series_max

    def cell(self, labels: Labels) -> Cell:
        """The cell itself, to be kept and counted in without another look-up."""
        cells = self._cells
        if labels in cells:
            return cells[labels]
        if len(cells) >= self._series_max:
            labels = self._other
        return cells.setdefault(labels, [0])

    def add(self, labels: Labels, amount: Number) -> None:
        self.cell(labels)[0] += amount

    def replace(self, values: Mapping[Labels, Number]) -> None:
        """All values at once; series that are not among them end."""
        items = list(values.items())
        cells: dict[Labels, Cell] = {labels: [value] for labels, value in items[: self._series_max]}
        if len(items) > self._series_max:
            cells[self._other] = [sum(value for _, value in items[self._series_max :])]
        self._cells = cells

    def snapshot(self) -> list[tuple[Labels, Number]]:
        """Invariant: list(dict.items()) is one step for the interpreter, so no writer gets between."""
        return [(labels, cell[0]) for labels, cell in list(self._cells.items())]


class HistogramCells:
    """Bucket counts with the sum behind them, by labels. Only the loop's thread writes; any thread may look."""

    __slots__ = ("_bounds", "_cells", "_other", "_series_max", "instrument")

    def __init__(self, instrument: Instrument, series_max: int = SERIES_MAX) -> None:
        self.instrument = instrument
        self._bounds = instrument.bounds
        self._cells: dict[Labels, Cell] = {}
        self._other = (OTHER,) * len(instrument.labels)
        self._series_max = series_max

    def cell(self, labels: Labels) -> Cell:
        """The counts of all buckets, the one beyond the last bound included, then the sum."""
        cells = self._cells
        if labels in cells:
            return cells[labels]
        if len(cells) >= self._series_max:
            labels = self._other
        return cells.setdefault(labels, [0] * (len(self._bounds) + 2))

    def add(self, labels: Labels, value: Number) -> None:
        put(self.cell(labels), self._bounds, value)

    def snapshot(self) -> list[tuple[Labels, Cell]]:
        return [(labels, cell.copy()) for labels, cell in list(self._cells.items())]


def put(cell: Cell, bounds: tuple[float, ...], value: Number) -> None:
    """One value into one histogram cell. An upper bound belongs to its bucket."""
    cell[bisect_left(bounds, value)] += 1
    cell[-1] += value


def put_all(cells: tuple[Cell, ...], bounds: tuple[float, ...], values: Sequence[Number]) -> None:
    """Ascending values into histogram cells that have the same bounds: each bound is looked for once."""
    total, below = sum(values), 0
    for index, bound in enumerate(bounds):
        within = bisect_right(values, bound, below)
        if within > below:
            for cell in cells:
                cell[index] += within - below
            below = within
            if below == len(values):
                break
    for cell in cells:
        cell[len(bounds)] += len(values) - below
        cell[-1] += total
