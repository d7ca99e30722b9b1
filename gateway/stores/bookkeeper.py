"""Carries the journal into the ledger: follows the running one, finishes those of processes that died."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.domain.fact import NO_LINEAGE, Beat, Booking, Closed, Fact, Opened, Replayed, Settled
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.formats.journal import checked
from gateway.ports import Ledger
from gateway.stores.journal import FileJournal, Told, drop, forget, orphans, segment_path, segments, whole_lines

BATCH = 500
"""Entries, at least: those of one transaction."""
READ_BYTES = 64 * 1024
"""At once of the running journal, where it is read from the disk."""

UNREAD = ".unread"

_log = logging.getLogger("meterway")


class _Running:
    """An attempt that nobody has closed yet."""

    __slots__ = ("beat", "booking", "opened", "segment")

    def __init__(self, opened: Opened, booking: Booking, segment: int) -> None:
        self.opened = opened
        self.booking = booking
        self.segment = segment
        self.beat: Beat | None = None


@dataclass(slots=True)
class Reader:
    """Facts in, entries out; remembers the attempts that are open, and the bookings of the segment."""

    boot: str
    running: dict[str, _Running] = field(default_factory=dict)
    bookings: dict[int, Booking] = field(default_factory=dict)
    damaged: int = 0

    def read(self, lines: bytes, segment: int) -> Iterator[Entry]:
        for line in lines.splitlines(keepends=True):
            if (told := checked(line)) is None:
                self.damaged += 1
            elif (entry := self.take(told[0], told[1], segment)) is not None:
                yield entry

    def take(self, number: int, fact: Fact, segment: int) -> Entry | None:
        if isinstance(fact, Opened):
            if (booking := self.bookings.get(number)) is None:
                self.damaged += 1
            else:
                self.running[fact.attempt_id] = _Running(fact, booking, segment)
            return None
        if isinstance(fact, Settled):
            run = self.running.pop(fact.attempt_id, None)
            return None if run is None else settled_entry(run, fact, self.boot)
        return self._take_rare(fact, number)

    def _take_rare(self, fact: Fact, number: int) -> Entry | None:
        match fact:
            case Beat():
                if (run := self.running.get(fact.attempt_id)) is not None:
                    run.beat = fact
            case Booking():
                self.bookings[number] = fact
            case Closed():
                if (run := self.running.pop(fact.attempt_id, None)) is not None:
                    return closed_entry(run, fact, self.boot)
            case Replayed():
                return replayed_entry(fact, self.boot)
        return None

    def expired(self, posted_at_s: float) -> Iterator[Entry]:
        """What is charged for attempts that will never be closed."""
        for run in self.running.values():
            yield expired_entry(run, posted_at_s, self.boot)
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
        self._recent: list[Told] = []
        self._unsaved: list[Entry] = []

    @property
    def behind(self) -> bool:
        """Whether the journal holds more than the ledger."""
        return self._segment < self._journal.segment or self._offset < self._journal.size_bytes

    def follow(self) -> int:
        """Everything that is on record by now, and how many entries that were; a failed batch is appended again."""
        told = 0
        while self._unsaved or self.behind:
            while len(self._unsaved) < BATCH and self._read_on():
                pass
            if self._unsaved:
                self._ledger.append(self._unsaved)
                told += len(self._unsaved)
                self._unsaved = []
            elif not self._next_segment():
                break
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

    def _read_on(self) -> bool:
        """The next lines of the segment, from memory or else from the disk; whether there was any."""
        before = self._offset
        self._take_recent()
        if self._offset == before:
            self._read_disk()
        return self._offset > before

    def _take_recent(self) -> None:
        """Lines that follow the place reached. Behind a gap none does, the disk has them; a later segment's wait."""
        recent = self._recent or self._journal.recent()
        self._recent = []
        for at, told in enumerate(recent):
            if told.segment > self._segment:
                self._recent = recent[at:]
                break
            if told.start == self._offset and told.segment == self._segment:
                self._offset = told.end
                if (entry := self._reader.take(told.number, told.fact, told.segment)) is not None:
                    self._unsaved.append(entry)

    def _read_disk(self) -> None:
        path = segment_path(self._journal.folder, self._journal.boot, self._segment)
        found = whole_lines(path, self._offset, READ_BYTES)
        self._offset += len(found)
        damaged = self._reader.damaged
        self._unsaved.extend(self._reader.read(found, self._segment))
        if self._reader.damaged > damaged:
            _log.error(
                "%d lines of the journal were changed by others and are not charged: %s",
                self._reader.damaged - damaged,
                path,
            )

    def _next_segment(self) -> bool:
        """Whether there is more. All that was read is in the ledger; nothing comes to a segment before the newest."""
        if self._segment >= self._journal.segment:
            return False
        if self._read_on():  # it came before the segment was full
            return True
        self._segment, self._offset = self._segment + 1, 0
        self._reader.bookings.clear()
        self._drop_finished()
        return True

    def _drop_finished(self) -> None:
        oldest = min((run.segment for run in self._reader.running.values()), default=self._segment)
        while self._removed < oldest:
            self._journal.done_with(self._removed)
            self._removed += 1

    def _settle_boot(self, folder: Path, boot: str) -> None:
        """A segment with lines that cannot be read is kept beside the journal, under a name that nobody reads."""
        reader = Reader(boot)
        batch: list[Entry] = []
        unread: dict[Path, int] = {}
        for number, path in enumerate(segments(folder, boot)):
            damaged = reader.damaged
            for entry in reader.read(whole_lines(path), number):
                batch.append(entry)
                if len(batch) >= BATCH:
                    self._ledger.append(batch)
                    batch = []
            if reader.damaged > damaged:
                unread[path] = reader.damaged - damaged
        batch.extend(reader.expired(self._wall_s()))
        self._ledger.append(batch)
        for path, count in unread.items():
            kept = path.rename(path.with_suffix(UNREAD))
            _log.error(
                "%d lines of a dead process's journal cannot be read; what they charge is not known: %s", count, kept
            )


def settled_entry(run: _Running, settled: Settled, boot: str) -> Entry:
    usage = settled.usage
    return _entry(run, boot, EntryKind.POST, settled.posted_at_s, usage, settled.cost_nano_usd, usage.total)


def closed_entry(run: _Running, closed: Closed, boot: str) -> Entry:
    return replace(
        _entry(run, boot, closed.kind, closed.posted_at_s, closed.usage, closed.cost_nano_usd, closed.tokens),
        price_id=closed.price_id,
        provenance=closed.provenance,
        unpriced=closed.unpriced,
        cause=closed.cause,
        service_tier=closed.service_tier,
    )


def expired_entry(run: _Running, posted_at_s: float, boot: str) -> Entry:
    opened = run.opened
    cost, output = opened.cost_nano_usd, max(0, opened.tokens - opened.input_tokens)
    if run.beat is not None:
        cost, output = run.beat.cost_nano_usd, run.beat.output_tokens
    usage = Usage(opened.input_tokens, output)
    entry = _entry(run, boot, EntryKind.EXPIRE, posted_at_s, usage, cost, usage.total)
    return replace(entry, provenance=Provenance.ESTIMATED, cause="worker_died")


def _entry(
    run: _Running, boot: str, kind: EntryKind, posted_at_s: float, usage: Usage, cost_nano_usd: int, tokens: int
) -> Entry:
    opened, booking = run.opened, run.booking
    lineage = NO_LINEAGE if opened.lineage is None else opened.lineage
    return Entry(
        opened.attempt_id,
        kind,
        opened.attempt_id.rpartition(".")[0],
        booking.tenant,
        booking.key_id,
        opened.reserved_at_s,
        posted_at_s,
        boot,
        booking.model,
        booking.provider,
        booking.provider_model,
        booking.user,
        lineage.run_id,
        lineage.root_run_id,
        booking.tags,
        usage,
        cost_nano_usd,
        tokens,
        booking.price_id,
        parent_run_id=lineage.parent_run_id,
        session_id=lineage.session_id,
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
