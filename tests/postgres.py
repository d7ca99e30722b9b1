"""A PostgreSQL server of the tests' own, on loopback, in a temporary folder, as a user without rights."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

MISSING = "PostgreSQL is not installed; run: sudo bash deploy/system-needs.sh (or apt-get install postgresql)"


def binaries() -> Path | None:
    """Of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).parent if there else None


@contextmanager
def postgres() -> Iterator[str]:
    """Its URL."""
    programs = binaries()
    assert programs is not None, MISSING
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="meterway-pg-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    port = free_port()
    owner = {"user": user.pw_uid, "group": user.pw_gid} if user else {}
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
    data = folder / "data"

    def run(*arguments: str) -> None:
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, env=environ, cwd=folder, **owner)  # type: ignore[call-overload]

    try:
        run(str(programs / "initdb"), "-D", str(data), "-U", "gateway", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder} -c fsync=off"
        run(str(programs / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://gateway@127.0.0.1:{port}/postgres"
        finally:
            run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
