"""A full disk, a torn log, a file that is none: refused in plain words, and what was committed stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.ports import StoreFailed
from gateway.stores.sql.opening import Kept
from tests.stores.sql.test_contract import entry, total

FULL = """
import resource, sys
from pathlib import Path
from gateway.ports import StoreFailed
from gateway.stores.sql.opening import Kept
from tests.stores.sql.test_contract import entry

kept = Kept(sys.argv[1])
kept.ledger.append([entry("r0.1")])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
told = 1
try:
    for number in range(1, 100):
        kept.ledger.append([entry(f"r{number}.{at}") for at in range(100)])
        told += 100
except StoreFailed as error:
    print(told, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept.ledger.append([entry("later.1")])
"""


def test_r13_a_full_disk_refuses_in_plain_words_and_takes_entries_again_when_there_is_room(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, url], check=True, timeout=60, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    told, _, words = done.stdout.partition(" ")
    assert words.startswith("the database refused: "), done.stdout
    assert "disk" in words
    kept = Kept(url)
    assert total(kept) == {"acme": (int(told) + 1) * 500}
    assert list(kept.ledger.verify()) == []
    kept.close()


KILLED = """
import os, sys
from gateway.stores.sql.opening import Kept
from tests.stores.sql.test_contract import entry

kept = Kept(sys.argv[1])
kept.ledger.append([entry("r1.1")])
kept.ledger.append([entry("r2.1")])
os._exit(137)
"""


@pytest.mark.parametrize("torn_bytes", [0, 1, 100, 4_000, 5_000])
def test_r13_a_log_whose_tail_is_torn_is_read_up_to_there(tmp_path: Path, torn_bytes: int) -> None:
    path = tmp_path / "books.db"
    subprocess.run([sys.executable, "-c", KILLED, f"sqlite:///{path}"], check=False, timeout=60, cwd=Path.cwd())
    log = path.with_name("books.db-wal")
    size = log.stat().st_size
    with log.open("r+b") as file:
        file.truncate(size - torn_bytes)
    kept = Kept(f"sqlite:///{path}")
    assert total(kept) == {"acme": 1_000 if torn_bytes == 0 else 500}
    kept.ledger.append([entry("r1.1"), entry("r2.1")])
    assert total(kept) == {"acme": 1_000}
    kept.close()


@pytest.mark.parametrize("made", ["a file of something else", "a folder"])
def test_r13_what_is_no_database_is_said_to_be_none(tmp_path: Path, made: str) -> None:
    path = tmp_path / "books.db"
    if made == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"a letter to a friend " * 500)
    with pytest.raises(StoreFailed, match=r"check the folder|some other file"):
        Kept(f"sqlite:///{path}")
