"""The journal on disk: what was written is read again, by the living and after a death; a full disk loses nothing."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.fact import Booking, Closed, Fact, Opened
from gateway.domain.ledger import Entry, EntryKind
from gateway.domain.record import Provenance
from gateway.domain.reply import Usage
from gateway.formats.journal import checked, write_line
from gateway.ports import JournalFailed, Ledger, StoreFailed
from gateway.stores import journal as room
from gateway.stores.bookkeeper import READ_BYTES, UNREAD, Bookkeeper
from gateway.stores.journal import CLOSING_BYTES, SPARE_MAX, FileJournal, drop, orphans, segments, whole_lines
from gateway.stores.sql.opening import Kept

SMALL = 2 * CLOSING_BYTES
RUNNING = 500
"""Attempts whose ends find room behind a segment's last beginning."""


def opened(name: str) -> Opened:
    return Opened(f"{name}.1", 1.0, 20, 3_000, 120)


def booking(model: str = "m") -> Booking:
    return Booking("acme", "key", model, "a", "gpt", "p")


def closed(name: str) -> Closed:
    return Closed(f"{name}.1", EntryKind.POST, 2.0, Usage(20, 5), 700, 25, Provenance.EXACT, "p")


def line_of(fact: Fact) -> bytes:
    line = bytearray()
    write_line(line, fact)
    return bytes(line)


def facts(folder: Path, boot: str) -> list[Fact | None]:
    """Without the bookings. Each attempt's is told before it, in its own segment."""
    found: list[Fact | None] = []
    for path in segments(folder, boot):
        told: dict[int, Booking] = {}
        for line in whole_lines(path).splitlines(keepends=True):
            number, fact = checked(line) or (0, None)
            if isinstance(fact, Booking):
                told[number] = fact
                continue
            assert not isinstance(fact, Opened) or told[number] == booking()
            found.append(fact)
    return found


def full(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)


def fill(journal: FileJournal) -> int:
    """Until no attempt is taken any more; how many were."""
    count = 0
    try:
        while journal.segment == 0:
            journal.open(opened(f"r{count}"), booking())
            count += 1
    except JournalFailed:
        return count
    return count


def test_what_is_written_is_read_over_all_segments(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, "boot", segment_bytes=SMALL)
    written: list[Fact] = []
    for number in range(2_000):
        written += [opened(f"r{number}"), closed(f"r{number}")]
        journal.open(opened(f"r{number}"), booking())
        journal.write(closed(f"r{number}"))
    assert journal.segment > 2
    assert facts(tmp_path, "boot") == written
    journal.close()


def test_p3_a_killed_process_loses_no_fact(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.stores.test_journal import *\n"
        "journal = FileJournal(Path(sys.argv[1]), 'boot')\n"
        "for n in range(100): journal.open(opened(f'r{n}'), booking())\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert list(orphans(tmp_path)) == ["boot"]
    assert facts(tmp_path, "boot") == [opened(f"r{n}") for n in range(100)]


def test_a_process_that_begins_is_taken_for_dead_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock would be held for a moment by those who look for the dead, its spending refused and its journal lost."""
    taken: list[str] = []
    lock = fcntl.flock

    def others_look_first(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        taken.extend(orphans(tmp_path))
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", others_look_first)
    journal = FileJournal(tmp_path, "boot")
    assert taken == []
    assert list(orphans(tmp_path)) == []
    journal.close()
    assert list(orphans(tmp_path)) == ["boot"]


@given(st.binary(max_size=40), st.integers(0, 400))
def test_r13_only_the_last_line_can_be_torn(hole: bytes, at: int) -> None:
    whole, torn = line_of(opened("r1")), bytearray(line_of(opened("r2")))
    torn[at % len(torn) : at % len(torn) + len(hole)] = b"\0" * len(hole)
    path = Path(f"/dev/shm/meterway-torn-{os.getpid()}")
    path.write_bytes(whole + bytes(torn) + bytes(500))
    try:
        expected = [opened("r1"), opened("r2")] if bytes(torn) == line_of(opened("r2")) else [opened("r1")]
        found = [checked(line) for line in whole_lines(path).splitlines(keepends=True)]
        assert [line and line[1] for line in found] == expected
    finally:
        path.unlink()


def test_r13_a_full_disk_refuses_new_attempts_and_still_takes_the_ends_of_those_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path, "boot", segment_bytes=SMALL)
    with monkeypatch.context() as patched:
        full(patched)
        count = fill(journal)
        assert (journal.segment, count > RUNNING) == (0, True)
        with pytest.raises(JournalFailed, match="No space left on device"):
            journal.open(opened("one more"), booking())
        for number in range(RUNNING):
            journal.write(closed(f"r{number}"))
        assert len(facts(tmp_path, "boot")) == count + RUNNING, "also the ends are on disk while it is full"
    journal.open(opened("later"), booking())
    assert facts(tmp_path, "boot")[-1] == opened("later")
    journal.close()


def test_r13_what_found_no_room_at_all_is_written_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path, "boot", segment_bytes=SMALL)
    with monkeypatch.context() as patched:
        full(patched)
        fill(journal)
        ends = [closed(f"r{number}") for number in range(2_000)]
        for fact in ends:
            journal.write(fact)
        assert facts(tmp_path, "boot")[-1] != ends[-1]
    journal.catch_up()
    assert [fact for fact in facts(tmp_path, "boot") if isinstance(fact, Closed)] == ends
    journal.close()


def test_a_file_system_that_reserves_nothing_gets_its_blocks_by_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    journal = FileJournal(tmp_path, "boot")
    journal.open(opened("r1"), booking())
    (path,) = segments(tmp_path, "boot")
    assert path.stat().st_blocks * 512 >= room.SEGMENT_BYTES
    assert facts(tmp_path, "boot") == [opened("r1")]
    journal.close()


def test_a_fact_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, "boot", segment_bytes=SMALL)
    with pytest.raises(JournalFailed, match="more than a segment"):
        journal.open(opened("r1"), booking("m" * SMALL))
    journal.open(opened("r2"), booking())
    assert facts(tmp_path, "boot") == [opened("r2")]
    journal.close()


def test_the_ledger_follows_over_segments_and_only_what_runs_is_kept(tmp_path: Path) -> None:
    kept = Kept(f"sqlite:///{tmp_path}/books.db")
    journal = FileJournal(tmp_path / "journal", "boot", segment_bytes=SMALL)
    keeper = Bookkeeper(journal, kept.ledger, lambda: 3.0)
    journal.open(opened("runs long"), booking())
    told = 0
    for number in range(1_500):
        journal.open(opened(f"r{number}"), booking())
        journal.write(closed(f"r{number}"))
        if number % 100 == 0:
            told += keeper.follow()
    assert told + keeper.follow() == 1_500
    assert not keeper.behind
    assert len(segments(tmp_path / "journal", "boot")) == journal.segment + 1, "its first line is still needed"
    journal.write(closed("runs long"))
    for number in range(400):
        journal.open(opened(f"s{number}"), booking())
        journal.write(closed(f"s{number}"))
    keeper.finish()
    assert segments(tmp_path / "journal", "boot") == []
    assert kept.ledger.entries_of_request("runs long")[0].cost_nano_usd == 700
    kept.close()


def test_the_journal_goes_on_in_segments_that_the_ledger_is_done_with(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, "boot", segment_bytes=SMALL)
    ledger = Told(0)
    keeper = Bookkeeper(journal, cast("Ledger", ledger), lambda: 3.0)
    files: set[int] = set()
    while journal.segment < 12:
        for name in ("a long name" * 20, "r"):
            journal.open(opened(name), booking())
            journal.write(closed(name))
        keeper.follow()
        files |= {path.stat().st_ino for path in tmp_path.iterdir()}
    assert len(files) <= 4, "the lock, and segments in turn"
    journal.open(opened("last"), booking())
    assert facts(tmp_path, "boot")[-1] == opened("last"), "nothing is left of what was there before"
    for boot in orphans_of_the_dead(journal):
        assert [type(fact) for fact in facts(tmp_path, boot)].count(type(None)) == 0
        drop(tmp_path, boot)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_ledger_that_is_away_for_long_holds_no_memory_of_the_journal(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, "boot", segment_bytes=SMALL)
    ledger = Told(1)
    keeper = Bookkeeper(journal, cast("Ledger", ledger), lambda: 3.0)
    names = count()
    while journal.segment < 4 * SPARE_MAX:
        name = f"r{next(names)}"
        journal.open(opened(name), booking())
        journal.write(closed(name))
    with pytest.raises(StoreFailed):
        keeper.follow()
    assert Path("/proc/self/maps").read_text().count(f"{tmp_path}/") <= SPARE_MAX + 1
    keeper.follow()
    assert ledger.attempts == [f"r{number}.1" for number in range(next(names))]
    assert len(list(tmp_path.glob("*.spare"))) <= SPARE_MAX
    keeper.finish()
    assert list(tmp_path.iterdir()) == []


def orphans_of_the_dead(journal: FileJournal) -> list[str]:
    """As another process sees them once this one is gone."""
    journal.close()
    return list(orphans(journal.folder))


class Told:
    """A ledger that is away at first."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.attempts: list[str] = []

    def append(self, added: Sequence[Entry]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreFailed("away")
        self.attempts += [entry.attempt_id for entry in added]


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(0, 8), st.integers(0, 3), st.sampled_from([0, 5, 4096]))
def test_each_fact_is_read_once_and_in_order(
    bursts: list[int], names_at_once: int, refusals: int, recent_max: int
) -> None:
    """From memory, from the disk, and from both in turn."""
    ledger = Told(refusals)
    with tempfile.TemporaryDirectory() as folder:
        journal = FileJournal(Path(folder), "boot", segment_bytes=CLOSING_BYTES + 2_000, recent_max=recent_max)
        keeper = Bookkeeper(journal, cast("Ledger", ledger), lambda: 3.0)
        names = (f"r{number}" for number in count())
        written: list[str] = []
        for burst in bursts:
            for name in islice(names, burst):
                journal.open(opened(name), booking(f"m{len(written) % (names_at_once + 1)}"))
                journal.write(closed(name))
                written.append(f"{name}.1")
            with contextlib.suppress(StoreFailed):
                keeper.follow()
        for _ in range(refusals):
            with contextlib.suppress(StoreFailed):
                keeper.follow()
        keeper.follow()
        assert ledger.attempts == written
        keeper.finish()


def test_a_line_longer_than_what_is_read_at_once_is_carried_on_too(tmp_path: Path) -> None:
    ledger = Told(0)
    journal = FileJournal(tmp_path, "boot", recent_max=0)
    keeper = Bookkeeper(journal, cast("Ledger", ledger), lambda: 3.0)
    for name, model in (("r1", "m"), ("r2", "m" * 3 * READ_BYTES), ("r3", "m")):
        journal.open(opened(name), booking(model))
        journal.write(closed(name))
    keeper.finish()
    assert ledger.attempts == ["r1.1", "r2.1", "r3.1"]
    assert segments(tmp_path, "boot") == []


def test_an_orderly_end_keeps_a_journal_that_could_not_be_read_to_its_end(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, "boot", recent_max=0)
    keeper = Bookkeeper(journal, cast("Ledger", Told(0)), lambda: 3.0)
    journal.open(opened("r1"), booking())
    journal.write(closed("r1"))
    (path,) = segments(tmp_path, "boot")
    with path.open("r+b") as file:
        file.write(b"\0" * 600)
    keeper.finish()
    assert segments(tmp_path, "boot") == [path]


def test_a_dead_process_s_segment_that_cannot_be_read_whole_is_kept_and_the_rest_is_charged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = FileJournal(tmp_path, "dead")
    for name in ("r1", "r2", "r3"):
        dead.open(opened(name), booking())
        dead.write(closed(name))
    dead.close()
    (path,) = segments(tmp_path, "dead")
    path.write_bytes(path.read_bytes().replace(b"r2.1", b"rx.1"))
    ledger = Told(0)
    keeper = Bookkeeper(FileJournal(tmp_path, "boot"), cast("Ledger", ledger), lambda: 3.0)
    assert keeper.recover() == ["dead"]
    assert ledger.attempts == ["r1.1", "r3.1"]
    (kept,) = tmp_path.glob(f"*{UNREAD}")
    assert f"2 lines of a dead process's journal cannot be read; what they charge is not known: {kept}" in caplog.text
    assert segments(tmp_path, "dead") == []
    keeper.forget("dead")
    assert keeper.recover() == []
    keeper.finish()


@pytest.mark.parametrize("recent_max", [0, 4096])
def test_lines_of_the_running_journal_that_others_changed_are_told_where_the_disk_alone_has_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recent_max: int
) -> None:
    journal, ledger = FileJournal(tmp_path, "boot", recent_max=recent_max), Told(0)
    keeper = Bookkeeper(journal, cast("Ledger", ledger), lambda: 3.0)
    for name in ("r1", "r2"):
        journal.open(opened(name), booking())
        journal.write(closed(name))
    (path,) = segments(tmp_path, "boot")
    with path.open("r+b") as file:
        at = file.read().index(b'["close","r2.1"')
        file.seek(at)
        file.write(b"!")
    keeper.follow()
    if recent_max:
        assert (ledger.attempts, caplog.text) == (["r1.1", "r2.1"], "")
        return
    assert ledger.attempts == ["r1.1"]
    assert f"1 lines of the journal were changed by others and are not charged: {path}" in caplog.text
