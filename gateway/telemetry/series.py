"""Finds all cells that exchanges of one kind count in, so that the next of that kind counts without look-ups."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.domain.errors import Fault
from gateway.domain.record import Attempt, ExchangeRecord, Provenance
from gateway.telemetry import names
from gateway.telemetry.cells import Cell, HistogramCells, NumberCells, put_all
from gateway.telemetry.names import FIRST_TOKEN_SECONDS, MILLISECONDS, OVERHEAD_SECONDS, SECONDS, TOKENS, Instrument

WAITING_MAX = 256
_TEXT_MAX = 200
_UNKNOWN_MODALITY = "unknown"


@dataclass(frozen=True, slots=True)
class Series:
    """`ones` count exchanges, `inputs` and `outputs` count tokens; the others are histogram cells of one measure each.

    `durations`, `first_chunks` have the bounds SECONDS, `input_sizes` and `output_sizes` TOKENS.
    """

    model: str
    ones: tuple[Cell, ...]
    inputs: tuple[Cell, ...]
    outputs: tuple[Cell, ...]
    cost: Cell | None
    overhead: Cell
    latency: Cell
    durations: tuple[Cell, ...]
    first_token: Cell | None
    first_chunks: tuple[Cell, ...]
    input_sizes: tuple[Cell, ...]
    output_sizes: tuple[Cell, ...]
    waiting: list[ExchangeRecord] = field(default_factory=list)

    def add(self, record: ExchangeRecord) -> None:
        """To be counted with the next `fold`, at the latest when so many wait."""
        self.waiting.append(record)
        if len(self.waiting) >= WAITING_MAX:
            self.fold()

    def fold(self) -> None:
        """Counts all that wait, at a third of what it costs one by one (`python -m benchmarks.micro.telemetry`)."""
        records = self.waiting
        if not records:
            return
        for cell in self.ones:
            cell[0] += len(records)
        durations = sorted([record.duration_s for record in records])
        put_all((self.overhead,), OVERHEAD_SECONDS, sorted([record.overhead_s for record in records]))
        put_all((self.latency,), MILLISECONDS, [seconds * 1000 for seconds in durations])
        put_all(self.durations, SECONDS, durations)
        inputs, outputs = sorted([r.usage.input for r in records]), sorted([r.usage.output for r in records])
        for cells, figures in ((self.inputs, inputs), (self.outputs, outputs)):
            for cell in cells:
                cell[0] += sum(figures)
        if self.input_sizes:
            put_all(self.input_sizes, TOKENS, inputs)
            put_all(self.output_sizes, TOKENS, outputs)
        if self.cost is not None:
            self.cost[0] += sum([record.cost_nano_usd or 0 for record in records])
        if self.first_token is not None:
            first = sorted([record.first_token_s or 0.0 for record in records])
            put_all((self.first_token,), FIRST_TOKEN_SECONDS, first)
            put_all(self.first_chunks, SECONDS, first)
        records.clear()


class SeriesFinder:
    """Knows which instruments one configuration has."""

    def __init__(
        self, numbers: Mapping[Instrument, NumberCells], histograms: Mapping[Instrument, HistogramCells]
    ) -> None:
        self._numbers = numbers
        self._histograms = histograms
        self._old = names.GENAI_TOKENS in histograms
        self._new = names.LATEST_DURATION in histograms

    def find(self, record: ExchangeRecord, last: Attempt) -> Series:
        model, outcome, code = model_of(record), outcome_of(record), record.error_code or ""
        pair, operation = (last.model, last.provider), (record.operation, last.provider, last.model)
        answered = names.AGENT_COMPLETED if outcome == "ok" else names.AGENT_FAILED
        told = record.provenance is not Provenance.NONE
        ones = [
            self._number(names.REQUESTS, record.tenant, model, record.operation, outcome, fault_of(record), code),
            self._number(names.AGENT_STARTED, *pair),
            self._number(answered, *pair),
            self._number(names.ATTEMPTS, last.provider, last.deployment, last.failure or ""),
        ]
        if told and record.cost_nano_usd is None:
            ones.append(self._number(names.UNPRICED, model, last.provider))
        streams = record.stream and record.first_token_s is not None
        return Series(
            model=model,
            ones=tuple(ones),
            inputs=self._counts(record, model, last, "input", names.LATEST_INPUT),
            outputs=self._counts(record, model, last, "output", names.LATEST_OUTPUT),
            cost=self._cost(record, model, last),
            overhead=self._histogram(names.OVERHEAD, record.operation),
            latency=self._histogram(names.AGENT_LATENCY, *pair),
            durations=(
                self._histogram(names.DURATION, model, outcome),
                *self._genai(names.GENAI_DURATION, *operation, code),
                *self._genai(names.LATEST_DURATION, *operation, code),
            ),
            first_token=(
                None if record.first_token_s is None else self._histogram(names.FIRST_TOKEN, model, last.provider)
            ),
            first_chunks=(
                (
                    *self._genai(names.GENAI_FIRST_CHUNK, *operation),
                    *self._genai(names.LATEST_FIRST_CHUNK, *operation),
                )
                if streams
                else ()
            ),
            input_sizes=self._sizes(record, last, "input", names.AGENT_INPUT, names.LATEST_INPUT_SIZE),
            output_sizes=self._sizes(record, last, "output", names.AGENT_OUTPUT, names.LATEST_OUTPUT_SIZE),
        )

    def _counts(
        self, record: ExchangeRecord, model: str, last: Attempt, kind: str, latest: Instrument
    ) -> tuple[Cell, ...]:
        found: list[Cell] = []
        if record.provenance is not Provenance.NONE:
            provenance = record.provenance.value
            found.append(self._number(names.TOKENS_USED, record.tenant, model, last.provider, kind, provenance))
        if self._new:
            labels = (record.operation, last.provider, last.model, _UNKNOWN_MODALITY)
            found.append(self._number(latest, *labels))
        return tuple(found)

    def _sizes(
        self, record: ExchangeRecord, last: Attempt, kind: str, agent: Instrument, latest: Instrument
    ) -> tuple[Cell, ...]:
        """The checklist's histogram holds only what a provider itself has said."""
        if record.provenance is Provenance.NONE:
            return ()
        operation = (record.operation, last.provider, last.model)
        found = [
            *self._genai(names.GENAI_TOKENS, *operation, kind),
            *self._genai(latest, *operation, record.error_code or ""),
        ]
        if record.provenance is Provenance.EXACT:
            found.append(self._histogram(agent, last.model, last.provider, record.tenant))
        return tuple(found)

    def _cost(self, record: ExchangeRecord, model: str, last: Attempt) -> Cell | None:
        return None if record.cost_nano_usd is None else self._number(names.COST, record.tenant, model, last.provider)

    def _number(self, instrument: Instrument, *labels: str) -> Cell:
        return self._numbers[instrument].cell(labels)

    def _histogram(self, instrument: Instrument, *labels: str) -> Cell:
        return self._histograms[instrument].cell(labels)

    def _genai(self, instrument: Instrument, *labels: str) -> tuple[Cell, ...]:
        """None or one, as the setting genai_semconv has it."""
        cells = self._histograms.get(instrument)
        return () if cells is None else (cells.cell(labels),)


def outcome_of(record: ExchangeRecord) -> str:
    if record.client_gone:
        return "client_gone"
    if record.error_code is None:
        return "ok"
    return "aborted" if record.committed else "failed"


def fault_of(record: ExchangeRecord) -> str:
    return "" if record.fault is None else record.fault.value


def model_of(record: ExchangeRecord) -> str:
    """The model's label. A name that was only ever said by a caller is no label: it could be anything."""
    if not record.attempts and not record.drops and record.fault is Fault.CALLER:
        return ""
    return record.model[:_TEXT_MAX]
