"""Counts one ExchangeRecord in the cells of every metric that it touches."""

from collections.abc import Callable, Mapping

from gateway.domain.record import Attempt, ExchangeRecord, Provenance
from gateway.telemetry import names
from gateway.telemetry.cells import SERIES_MAX, HistogramCells, Labels, Number, NumberCells
from gateway.telemetry.names import Instrument, Kind
from gateway.telemetry.security import SecurityEvents
from gateway.telemetry.series import Series, SeriesFinder, fault_of, model_of, outcome_of

Source = Callable[[], Mapping[Labels, Number]]

_KNOWN_MAX = 4096


class Metrics:
    """All cells of one gateway. `genai_semconv` is "1.41", "latest" or "both"."""

    def __init__(self, genai_semconv: str = "1.41", series_max: int = SERIES_MAX) -> None:
        self._series_max = series_max
        self._sources: dict[Instrument, Source] = {}
        self._numbers: dict[Instrument, NumberCells] = {}
        self._histograms: dict[Instrument, HistogramCells] = {}
        for instrument in (*names.AGENT, *names.SEMCONV[genai_semconv], *names.GATEWAY):
            if instrument.kind is Kind.HISTOGRAM:
                self._histograms[instrument] = HistogramCells(instrument, series_max)
            else:
                self._numbers[instrument] = NumberCells(instrument, series_max)
        self._finder = SeriesFinder(self._numbers, self._histograms)
        self._security = SecurityEvents(self._numbers[names.SECURITY])
        self._known: dict[tuple[object, ...], Series] = {}

    @property
    def series_max(self) -> int:
        return self._series_max

    @property
    def numbers(self) -> Mapping[Instrument, NumberCells]:
        return self._numbers

    @property
    def histograms(self) -> Mapping[Instrument, HistogramCells]:
        return self._histograms

    def count(self, instrument: Instrument, labels: Labels, amount: Number = 1) -> None:
        self._numbers[instrument].add(labels, amount)

    def source(self, instrument: Instrument, source: Source) -> None:
        """Whom to ask for the values of a pulled instrument. Asked in the loop's thread, by `sample`."""
        if not instrument.pulled:
            raise ValueError(f"{instrument.name} is counted, not pulled")
        self._sources[instrument] = source

    def sample(self) -> None:
        """Counts what waits and asks every source. To be called in the loop before a collection."""
        self._fold()
        for instrument, source in self._sources.items():
            self._numbers[instrument].replace(source())

    def _fold(self) -> None:
        for series in self._known.values():
            series.fold()

    def observe(self, record: ExchangeRecord) -> None:
        attempts = record.attempts
        if attempts:
            series = self._series(record, attempts[-1])
            series.add(record)
            model = series.model
            if len(attempts) > 1:
                self._count_earlier(record, model)
            if len(attempts) > 1 or attempts[-1].failure is not None:
                self._count_in_vain(record, model)
            usage = record.usage
            if usage.cached_input or usage.reasoning:
                self._count_parts(record, model, attempts[-1])
        else:
            model = self._count_refused(record)
        if record.error_code is not None:
            self._count_failed(record, record.error_code, model)
        if record.sticky != "none":
            self.count(names.STICKY, (model, record.sticky))
        if record.drops or record.retries_denied or record.panic or record.client_gone or record.overrun:
            self._count_rare(record, model)

    def _series(self, record: ExchangeRecord, last: Attempt) -> Series:
        """Enum members are known by their identity here: their hash is a Python call."""
        kind = (
            record.tenant,
            record.model,
            record.operation,
            record.error_code,
            record.client_gone,
            record.committed,
            record.stream,
            record.first_token_s is None,
            record.cost_nano_usd is None,
            id(record.fault),
            id(record.provenance),
            last.deployment,
            last.failure,
        )
        series = self._known.get(kind)
        if series is None:
            if len(self._known) >= _KNOWN_MAX:
                self._fold()
                self._known.clear()
            series = self._known[kind] = self._finder.find(record, last)
        return series

    def _count_refused(self, record: ExchangeRecord) -> str:
        """A request that no provider was asked about."""
        model, outcome = model_of(record), outcome_of(record)
        labels = (record.tenant, model, record.operation, outcome, fault_of(record), record.error_code or "")
        self.count(names.REQUESTS, labels)
        self._histograms[names.DURATION].add((model, outcome), record.duration_s)
        self._histograms[names.OVERHEAD].add((record.operation,), record.overhead_s)
        return model

    def _count_earlier(self, record: ExchangeRecord, model: str) -> None:
        before: Attempt | None = None
        for attempt in record.attempts:
            if before is not None:
                self._security.observe(before, record.started_at_s + record.duration_s)
                self.count(names.ATTEMPTS, (before.provider, before.deployment, before.failure or ""))
                if attempt.deployment != before.deployment:
                    self.count(names.FAILOVERS, (model, before.deployment, attempt.deployment))
            before = attempt

    def _count_in_vain(self, record: ExchangeRecord, model: str) -> None:
        """What attempts without an answer came to counts where it was spent, and no longer at the last provider."""
        last = record.attempts[-1].provider
        for attempt in record.attempts:
            spent = attempt.in_vain
            if spent is None:
                continue
            for kind, tokens in (("input", spent.usage.input), ("output", spent.usage.output)):
                if tokens:
                    labels = (record.tenant, model, attempt.provider, kind, spent.provenance.value)
                    self.count(names.TOKENS_USED, labels, tokens)
            self.count(names.COST, (record.tenant, model, attempt.provider), spent.cost_nano_usd)
            if record.cost_nano_usd is not None:
                self.count(names.COST, (record.tenant, model, last), -spent.cost_nano_usd)

    def _count_parts(self, record: ExchangeRecord, model: str, last: Attempt) -> None:
        if record.provenance is Provenance.NONE:
            return
        latest = names.LATEST_CACHED in self._numbers
        for kind, tokens, instrument in (
            ("cached_input", record.usage.cached_input, names.LATEST_CACHED),
            ("reasoning", record.usage.reasoning, names.LATEST_REASONING),
        ):
            if tokens:
                labels = (record.tenant, model, last.provider, kind, record.provenance.value)
                self.count(names.TOKENS_USED, labels, tokens)
                if latest:
                    self.count(instrument, (record.operation, last.provider, last.model, "unknown"), tokens)

    def _count_failed(self, record: ExchangeRecord, code: str, model: str) -> None:
        if record.committed:
            self.count(names.ABORTS, (model, code))
        self._watch_last(record)

    def _watch_last(self, record: ExchangeRecord) -> None:
        """The last attempt of a request that was not answered; those before it are told with the retries."""
        if record.attempts:
            self._security.observe(record.attempts[-1], record.started_at_s + record.duration_s)

    def _count_rare(self, record: ExchangeRecord, model: str) -> None:
        for drop in record.drops:
            self.count(names.DROPPED, (drop.deployment, drop.reason))
        if record.retries_denied:
            self.count(names.RETRIES_DENIED, (model,), record.retries_denied)
        if record.panic:
            self.count(names.PANICS, (model,))
        if record.client_gone:
            self.count(names.GONE, (model, "streaming" if record.committed else "waiting"))
            if record.error_code is None:
                self._watch_last(record)
        if record.overrun:
            provider = record.attempts[-1].provider if record.attempts else ""
            self.count(names.OVERRUNS, (record.tenant, model, provider))
