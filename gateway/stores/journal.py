"""The journal on this machine's disk: one writer to a boot, numbered segments, a lock that dies with its process."""

import fcntl
import logging
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from gateway.formats.journal import Fact, Opened, line_of
from gateway.ports import JournalFailed

_log = logging.getLogger("meterway")

SEGMENT_BYTES = 8 * 1024 * 1024
_LOCK = ".lock"
_SEGMENT = ".journal"


class FileJournal:
    """Implements ports.Journal. Each fact is one write() to the end of a file, which a killed process does not lose.

    Invariant: a write that failed half-way is followed by a line feed, so that it spoils no line but its own.
    """

    def __init__(self, folder: Path, boot: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.boot = boot
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._torn = False
        self._backlog: deque[bytes] = deque()
        self.segment = 0
        self.size_bytes = 0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_fd = _locked(folder / (boot + _LOCK), create=True)
            self._fd = self._open()
        except OSError as error:
            raise JournalFailed(_why(folder, error)) from error

    def write(self, fact: Fact) -> None:
        """A new attempt is refused while the disk takes nothing; what is known of others waits in the backlog."""
        if isinstance(fact, Opened):
            self.catch_up()
            self._append(line_of(fact))
            return
        self._backlog.append(line_of(fact))
        try:
            self.catch_up()
        except JournalFailed as error:
            _log.error("%s", error)

    def catch_up(self) -> None:
        """Writes what could not be written before. Raises JournalFailed."""
        while self._backlog:
            self._append(self._backlog[0])
            self._backlog.popleft()

    def _append(self, line: bytes) -> None:
        try:
            if self._torn:
                line = b"\n" + line
            written = os.write(self._fd, line)
        except OSError as error:
            raise JournalFailed(_why(self.folder, error)) from error
        self.size_bytes += written
        self._torn = written < len(line)
        if self._torn:
            raise JournalFailed(f"the journal in {self.folder} took only a part of a line: is the disk full?")
        if self.size_bytes >= self._segment_bytes:
            self._next_segment()

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._lock_fd)

    def _next_segment(self) -> None:
        """A full disk keeps the old segment going: the next write tells."""
        self.segment += 1
        try:
            fd = self._open()
        except OSError:
            self.segment -= 1
            return
        os.close(self._fd)
        self._fd = fd
        self.size_bytes = 0

    def _open(self) -> int:
        path = segment_path(self.folder, self.boot, self.segment)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class NoJournal:
    """Implements ports.Journal where nothing is kept: `database: memory`."""

    def write(self, fact: Fact) -> None:
        """Forgets it."""


def segment_path(folder: Path, boot: str, segment: int) -> Path:
    return folder / f"{boot}.{segment:06d}{_SEGMENT}"


def segments(folder: Path, boot: str) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob(f"{boot}.*{_SEGMENT}"))


def remove(folder: Path, boot: str) -> None:
    """Everything of a boot whose facts are all in the ledger."""
    for path in segments(folder, boot):
        path.unlink(missing_ok=True)
    (folder / (boot + _LOCK)).unlink(missing_ok=True)


def orphans(folder: Path) -> Iterator[str]:
    """Boots whose process is gone. Each is locked while the caller works on it, so that nobody else does."""
    for path in sorted(folder.glob("*" + _LOCK)):
        try:
            fd = _locked(path, create=False)
        except OSError:
            continue
        try:
            if path.exists():
                yield path.name.removesuffix(_LOCK)
        finally:
            os.close(fd)


def _locked(path: Path, *, create: bool) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _why(folder: Path, error: OSError) -> str:
    return f"the journal in {folder} cannot be written ({error.strerror}); make room there or choose another folder"
