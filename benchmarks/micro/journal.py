"""What a line of the journal costs on segments that go round, and on new ones each time."""

import tempfile
import time
from pathlib import Path

from gateway.domain.fact import Booking, Opened
from gateway.stores import journal as room
from gateway.stores.journal import FileJournal

LINES = 40_000


def line_us(spares: int) -> float:
    """With so many segments kept for another turn; each is done with as soon as it is full."""
    fact = Opened("req_1.1", 1.5, 19, 500, 219)
    booking = Booking("demo", "k", "assistant", "a", "gpt-4.1", "config:a/gpt-4.1")
    kept, room.SPARE_MAX = room.SPARE_MAX, spares
    try:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            journal = FileJournal(Path(folder), "boot")
            started_s, done = time.perf_counter(), 0
            for _ in range(LINES):
                journal.open(fact, booking)
                while done < journal.segment:
                    journal.done_with(done)
                    done += 1
            taken_s = time.perf_counter() - started_s
            journal.close()
            return taken_s / LINES * 1e6
    finally:
        room.SPARE_MAX = kept


def main() -> None:
    for name, spares in (("segments that go round", room.SPARE_MAX), ("a new one each time", 0)):
        print(f"{name:42} {min(line_us(spares) for _ in range(5)):8.2f} us")


if __name__ == "__main__":
    main()
