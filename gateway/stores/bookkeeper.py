"""Carries the journal into the ledger: follows the running one, finishes those of processes that died."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.formats.facts import Beat, Closed, Fact, Opened, Replayed
from gateway.formats.journal import fact_of
from gateway.ports import Ledger
from gateway.stores.journal import FileJournal, drop, forget, lines, orphans, segment_path, segments

BATCH = 500
READ_BYTES = 256 * 1024
"""At once of the running journal: some 500 attempts."""

_KINDS = {kind.value: kind for kind in EntryKind}
_PROVENANCES = {provenance.value: provenance for provenance in Provenance}


class _Running:
    """An attempt that nobody has closed yet."""

    __slots__ = ("beat", "opened", "segment")

    def __init__(self, opened: Opened, segment: int) -> None:
        self.opened = opened
        self.segment = segment
        self.beat: Beat | None = None


@dataclass(slots=True)
class Reader:
    """Facts in, entries out; remembers the attempts that are open."""

    boot: str
    running: dict[str, _Running] = field(default_factory=dict)
    damaged: int = 0

    def read(self, line: bytes, segment: int) -> Entry | None:
        fact = fact_of(line)
        if fact is None:
            self.damaged += 1
            return None
        return self.take(fact, segment)

    def take(self, fact: Fact, segment: int) -> Entry | None:
        match fact:
            case Opened():
                self.running[fact.attempt_id] = _Running(fact, segment)
            case Beat():
                if (run := self.running.get(fact.attempt_id)) is not None:
                    run.beat = fact
            case Closed():
                if (run := self.running.pop(fact.attempt_id, None)) is not None:
                    return closed_entry(run.opened, fact, self.boot)
            case Replayed():
                return replayed_entry(fact, self.boot)
        return None

    def expired(self, posted_at_s: float) -> Iterator[Entry]:
        """What is charged for attempts that will never be closed."""
        for run in self.running.values():
            yield expired_entry(run.opened, run.beat, posted_at_s, self.boot)
        self.running.clear()


class Bookkeeper:
    """Everything blocks, and is called in one thread alone: what a second one returned from would be forgotten."""

    def __init__(self, journal: FileJournal, ledger: Ledger, wall_s: Callable[[], float]) -> None:
        self._journal = journal
        self._ledger = ledger
        self._wall_s = wall_s
        self._reader = Reader(journal.boot)
        self._segment = 0
        self._offset = 0
        self._removed = 0
        self._unsaved: list[Entry] = []

    @property
    def behind(self) -> bool:
        """Whether the journal holds more than the ledger."""
        return self._segment < self._journal.segment or self._offset < self._journal.size_bytes

    def follow(self) -> int:
        """Everything that is on record by now, and how many entries that were; a failed batch is appended again."""
        told = 0
        while self._unsaved or self.behind:
            if not self._unsaved and not self._take_recent() and not self._read_on():
                break
            if self._unsaved:
                self._ledger.append(self._unsaved)
            told += len(self._unsaved)
            self._unsaved = []
        return told

    def finish(self) -> None:
        """At an orderly end: all is in the ledger, nothing needs to be kept."""
        self.follow()
        self._journal.close()
        if not self._reader.running and not self.behind:
            drop(self._journal.folder, self._journal.boot)
            forget(self._journal.folder, self._journal.boot)

    def recover(self) -> list[str]:
        """Finishes the journals of dead processes; their boots, also those that others have read and not forgotten."""
        boots: list[str] = []
        for boot in orphans(self._journal.folder):
            self._settle_boot(self._journal.folder, boot)
            drop(self._journal.folder, boot)
            boots.append(boot)
        return boots

    def forget(self, boot: str) -> None:
        """A dead process, once all that is shared knows what it spent: whoever reads journals may die before that."""
        forget(self._journal.folder, boot)

    def _take_recent(self) -> bool:
        """What follows the place reached and is still in memory; the rest is on the disk. Whether there was any."""
        recent = self._journal.recent
        reached = self._offset
        while recent and len(self._unsaved) < BATCH:
            segment, start, end, fact = recent.popleft()
            if start == self._offset and segment == self._segment:
                self._offset = end
                self._keep(self._reader.take(fact, segment))
        return self._offset > reached

    def _read_on(self) -> bool:
        """The next lines of the journal, or its next segment; whether there was any."""
        newest = self._journal.segment
        path = segment_path(self._journal.folder, self._journal.boot, self._segment)
        if found := lines(path, self._offset, READ_BYTES):
            for line in found:
                self._offset += len(line)
                self._keep(self._reader.read(line, self._segment))
            return True
        if self._segment >= newest:
            return False
        self._segment, self._offset = self._segment + 1, 0
        self._drop_finished()
        return True

    def _keep(self, entry: Entry | None) -> None:
        if entry is not None:
            self._unsaved.append(entry)

    def _drop_finished(self) -> None:
        oldest = min((run.segment for run in self._reader.running.values()), default=self._segment)
        while self._removed < oldest:
            self._journal.done_with(self._removed)
            self._removed += 1

    def _settle_boot(self, folder: Path, boot: str) -> None:
        reader = Reader(boot)
        batch: list[Entry] = []
        for number, path in enumerate(segments(folder, boot)):
            for line in lines(path):
                if (entry := reader.read(line, number)) is not None:
                    batch.append(entry)
                if len(batch) >= BATCH:
                    self._ledger.append(batch)
                    batch = []
        batch.extend(reader.expired(self._wall_s()))
        self._ledger.append(batch)


def closed_entry(opened: Opened, closed: Closed, boot: str) -> Entry:
    return Entry(
        opened.attempt_id,
        _KINDS[closed.kind],
        opened.request_id,
        opened.tenant,
        opened.key_id,
        opened.reserved_at_s,
        closed.posted_at_s,
        boot,
        opened.model,
        opened.provider,
        opened.provider_model,
        opened.user,
        opened.run_id,
        opened.root_run_id,
        opened.tags,
        Usage(*closed.usage),
        closed.cost_nano_usd,
        closed.tokens,
        closed.price_id,
        _PROVENANCES[closed.provenance],
        closed.unpriced,
        cause=closed.cause,
        service_tier=closed.service_tier,
        parent_run_id=opened.parent_run_id,
        session_id=opened.session_id,
    )


def replayed_entry(fact: Replayed, boot: str) -> Entry:
    """As of an attempt that was never sent, as none was."""
    return Entry(
        f"{fact.request_id}.0",
        EntryKind.VOID,
        fact.request_id,
        fact.tenant,
        fact.key_id,
        fact.at_s,
        fact.at_s,
        boot,
        fact.model,
        user=fact.user,
        run_id=fact.run_id,
        root_run_id=fact.root_run_id,
        tags=fact.tags,
        provenance=Provenance.NONE,
        replay_of=fact.replay_of,
        parent_run_id=fact.parent_run_id,
        session_id=fact.session_id,
    )


def expired_entry(opened: Opened, beat: Beat | None, posted_at_s: float, boot: str) -> Entry:
    cost, tokens = opened.cost_nano_usd, opened.tokens
    output = max(0, tokens - opened.input_tokens)
    if beat is not None:
        cost, output = beat.cost_nano_usd, beat.output_tokens
    closed = Closed(
        opened.attempt_id,
        EntryKind.EXPIRE.value,
        posted_at_s,
        (opened.input_tokens, output),
        cost,
        opened.input_tokens + output,
        Provenance.ESTIMATED.value,
        opened.price_id,
        cause="worker_died",
    )
    return closed_entry(opened, closed, boot)
