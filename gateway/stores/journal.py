"""The journal on this machine's disk: one writer to a boot, numbered segments, a lock that dies with its process."""

import errno
import fcntl
import logging
import mmap
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from gateway.domain.fact import Booking, Fact, Opened, Word
from gateway.domain.value import value
from gateway.formats.journal import write_line
from gateway.ports import Journal, JournalFailed

_log = logging.getLogger("meterway")

SEGMENT_BYTES = 1024 * 1024
CLOSING_BYTES = 64 * 1024
"""Of each segment, for the ends of attempts that run when the disk is full."""

SPARE_MAX = 4
"""Segments that are kept for the journal to go on in: their pages are there, a new file's are faults one by one."""

RECENT_MAX = 8192
"""Lines that are kept in memory as well: what comes between two turns of the ledger's writer at full load."""

_LOCK = ".lock"
_UNSEEN = ".unseen"
_SEGMENT = ".journal"
_SPARE = ".spare"
_NO_RESERVING = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


@value
class Told:
    """A line of the journal: where it begins and ends in its segment, and the fact with its number."""

    segment: int
    start: int
    end: int
    number: int
    fact: Fact


class FileJournal(Journal):
    """A fact is a line that is copied into a file mapped into memory.

    A killed process loses none: its pages are the system's. Each segment's room is reserved when it begins, so no
    copy fails, and a full disk is noticed at a segment's beginning. Behind the last line a segment is zeros, so only
    the last line can be torn. Each segment tells the bookings that it names, so that it can be read alone.

    The newest facts are in memory too, until the one reader takes them.
    """

    def __init__(
        self, folder: Path, boot: str, *, segment_bytes: int = SEGMENT_BYTES, recent_max: int = RECENT_MAX
    ) -> None:
        self.boot = boot
        self.keeps = True
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._backlog: deque[Word] = deque()
        self._recent_max = recent_max
        self._recent: list[Told] = []
        self._line = bytearray()
        self._numbers: dict[tuple[object, ...], int] = {}
        self._number = 0
        self._full: dict[int, tuple[mmap.mmap, int]] = {}
        self._spare: deque[tuple[Path, mmap.mmap]] = deque()
        self.segment = 0
        self.size_bytes = 0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_fd = _new_lock(folder / (boot + _LOCK))
            self._map = self._open(0)
        except OSError as error:
            raise JournalFailed(_why(folder, error)) from error

    def open(self, opened: Opened, booking: Booking) -> None:
        """Refused while the disk takes nothing. Raises JournalFailed."""
        if self._backlog:
            self.catch_up()
        number = self._numbers.get(booking.fields) or self._tell(booking)
        write_line(self._line, opened, number)
        if self._lacks(CLOSING_BYTES):
            self._next_segment(CLOSING_BYTES)
            number = self._tell(booking)
            write_line(self._line, opened, number)
        self._put(opened, number)

    def write(self, word: Word) -> None:
        """While the disk takes nothing, it waits in the backlog."""
        try:
            if self._backlog:
                self.catch_up()
            self._append(word, 0, 0)
        except JournalFailed as error:
            self._backlog.append(word)
            _log.error("%s", error)

    def catch_up(self) -> None:
        """Writes what could not be written before. Raises JournalFailed."""
        while self._backlog:
            self._append(self._backlog[0], 0, 0)
            self._backlog.popleft()

    def recent(self) -> list[Told]:
        """Takes what is in memory: lines in their order, those since then or fewer. The disk has them all."""
        recent, self._recent = self._recent, []
        return recent

    def _tell(self, booking: Booking) -> int:
        """Its number."""
        number = self._number + 1
        self._append(booking, number, CLOSING_BYTES)
        self._number = self._numbers[booking.fields] = number
        return number

    def _append(self, fact: Fact, number: int, spare_bytes: int) -> None:
        write_line(self._line, fact, number)
        if self._lacks(spare_bytes):
            self._next_segment(spare_bytes)
        self._put(fact, number)

    def _lacks(self, spare_bytes: int) -> bool:
        """Whether the line would leave less than that of the segment."""
        return self.size_bytes + len(self._line) + spare_bytes > self._segment_bytes

    def _put(self, fact: Fact, number: int) -> None:
        start, end = self.size_bytes, self.size_bytes + len(self._line)
        self._map.write(self._line)
        self.size_bytes = end
        if len(self._recent) < self._recent_max:
            told = Told(self.segment, start, end, number, fact)
            self._recent.append(told)

    def done_with(self, segment: int) -> None:
        """All of a full segment is in the ledger: it is emptied for another turn, or goes. Called by the one reader."""
        path = segment_path(self.folder, self.boot, segment)
        if segment not in self._full or len(self._spare) >= SPARE_MAX or not path.exists():
            path.unlink(missing_ok=True)
            self._full.pop(segment, None)
            return
        spare = path.with_suffix(_SPARE)
        path.rename(spare)
        mapped, size_bytes = self._full.pop(segment)
        mapped[:size_bytes] = bytes(size_bytes)
        mapped.seek(0)
        self._spare.append((spare, mapped))

    def close(self) -> None:
        for mapped in (self._map, *(full for full, _ in self._full.values()), *(spare for _, spare in self._spare)):
            mapped.close()
        os.close(self._lock_fd)

    def _next_segment(self, spare_bytes: int) -> None:
        needed_bytes = len(self._line) + spare_bytes
        if needed_bytes > self._segment_bytes:
            raise JournalFailed(f"{needed_bytes} bytes are more than a segment of the journal in {self.folder} holds")
        try:
            following = self._open(self.segment + 1)
        except OSError as error:
            raise JournalFailed(_why(self.folder, error)) from error
        if len(self._full) < SPARE_MAX:  # while the ledger is away, others wait on the disk alone
            self._full[self.segment] = (self._map, self.size_bytes)
        self._map, self.size_bytes = following, 0
        self._numbers.clear()
        self.segment += 1

    def _open(self, segment: int) -> mmap.mmap:
        path = segment_path(self.folder, self.boot, segment)
        if self._spare:
            spare, mapped = self._spare.popleft()
            spare.rename(path)
            return mapped
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _reserve(fd, self._segment_bytes)
            return mmap.mmap(fd, self._segment_bytes)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)


class NoJournal(Journal):
    """Where nothing is kept: `database: memory`."""

    def __init__(self) -> None:
        self.keeps = False

    def open(self, opened: Opened, booking: Booking) -> None:
        """Forgets it."""

    def write(self, word: Word) -> None:
        """Forgets it."""


def segment_path(folder: Path, boot: str, segment: int) -> Path:
    return folder / f"{boot}.{segment:06d}{_SEGMENT}"


def segments(folder: Path, boot: str) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob(f"{boot}.*{_SEGMENT}"))


def whole_lines(path: Path, offset: int = 0, bytes_max: int = -1) -> bytes:
    """Those from that place on; at least one where there is any, however long it is."""
    with path.open("rb") as file:
        file.seek(offset)
        read = file.read(bytes_max)
        while read.find(b"\n") < 0 and read.find(b"\0") < 0 and (more := file.read(bytes_max)):
            read += more
    written = read.partition(b"\0")[0]
    return written[: written.rfind(b"\n") + 1]


def drop(folder: Path, boot: str) -> None:
    """All facts of a boot are in the ledger. It stays among the orphans until it is forgotten."""
    for path in (*segments(folder, boot), *folder.glob(f"{boot}.*{_SPARE}")):
        path.unlink(missing_ok=True)


def forget(folder: Path, boot: str) -> None:
    """Nothing is left to do for a boot."""
    (folder / (boot + _LOCK)).unlink(missing_ok=True)


def orphans(folder: Path) -> Iterator[str]:
    """Boots whose process is gone. Each is locked while the caller works on it, so that nobody else does."""
    for path in sorted(folder.glob("*" + _LOCK)):
        try:
            fd = _locked(path)
        except OSError:
            continue
        try:
            if path.exists():
                yield path.name.removesuffix(_LOCK)
        finally:
            os.close(fd)


def _new_lock(path: Path) -> int:
    """Held before others can see it: whoever finds one that nobody holds takes its process for dead."""
    unseen = path.with_suffix(_UNSEEN)
    fd = _locked(unseen, os.O_CREAT)
    unseen.rename(path)
    return fd


def _locked(path: Path, flags: int = 0) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _reserve(fd: int, size_bytes: int) -> None:
    """Blocks of the disk, not only a length: a write to a page without one would end the process."""
    try:
        os.posix_fallocate(fd, 0, size_bytes)
    except OSError as error:
        if error.errno not in _NO_RESERVING:
            raise
        os.pwrite(fd, bytes(size_bytes), 0)


def _why(folder: Path, error: OSError) -> str:
    return f"the journal in {folder} cannot be written ({error.strerror}); make room there or choose another folder"
