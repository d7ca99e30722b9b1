"""Real processes: a simulated provider, and a gateway served by its own command."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.e2e.witnesses import reconciled

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
METERWAY = Path(os.environ.get("METERWAY_COMMAND", Path(sys.executable).parent / "meterway")).absolute()
"""METERWAY_COMMAND=.venv-fast/bin/meterway tries the compiled gateway."""
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 15

_SERVING = re.compile(r"serving .* on (http://\S+?/v1); metrics on (http://\S+/metrics)")
_SIMULATING = re.compile(r"simulator on (http://\S+)/v1")


class Process:
    """One process whose standard output and error go to files."""

    def __init__(self, folder: Path, *command: str, environ: Mapping[str, str], cwd: Path = ROOT) -> None:
        self.out, self.err = folder / "out.log", folder / "err.log"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._started = _start(command, out, err, environ, cwd)

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def said(self) -> str:
        return self.err.read_text()

    def wait_for(self, pattern: re.Pattern[str], timeout_s: float = START_TIMEOUT_S) -> re.Match[str]:
        """What it says on standard error. Fails with all of it."""
        until_s = time.monotonic() + timeout_s
        while (found := pattern.search(self.said)) is None:
            ended = self._started.poll()
            assert ended is None, f"it ended with {ended}: {self.said}"
            assert time.monotonic() < until_s, f"it did not say {pattern.pattern!r} in {timeout_s} s: {self.said}"
            time.sleep(0.01)
        return found

    def signal(self, number: signal.Signals) -> None:
        self._started.send_signal(number)

    def ended(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The exit code."""
        return self._started.wait(timeout_s)

    def kill(self) -> None:
        """If it still runs."""
        if self._started.poll() is None:
            self._started.kill()
            self._started.wait()

    def stop(self) -> int:
        if self._started.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.ended()
        except subprocess.TimeoutExpired:
            self._started.kill()
            raise


def _start(
    command: tuple[str, ...], out: IO[bytes], err: IO[bytes], environ: Mapping[str, str], cwd: Path
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=cwd, env={**clean_environ(), **environ}, stdin=subprocess.DEVNULL, stdout=out, stderr=err
    )


def clean_environ() -> dict[str, str]:
    """Without keys or addresses of providers that a developer may have set."""
    foreign = ("OPENAI_", "ANTHROPIC_", "METERWAY_", "LANGCHAIN_", "LANGSMITH_")
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    return {n: v for n, v in os.environ.items() if not n.startswith(foreign) and n.lower() not in proxies}


@contextmanager
def lab(folder: Path, settings: Path = HERE / "gateway.yaml") -> Iterator[dict[str, str]]:
    """A simulator and a gateway in front of it; the environment tells a client where they are. At the end all agree on
    what was used."""
    keys = {
        name: secrets.token_hex(16) for name in ("ADMIN_KEY", "DEMO_KEY", "NARROW_KEY", "SMALL_KEY", "ONE_MODEL_KEY")
    }
    environ = {f"METERWAY_{name}": key for name, key in keys.items()}
    sim_folder, gateway_folder = folder / "simulator", folder / "gateway"
    sim_folder.mkdir(parents=True)
    gateway_folder.mkdir()
    sim = Process(sim_folder, str(METERWAY), "sim", "--port", "0", "--script", str(HERE / "simulator.yaml"), environ={})
    try:
        base = sim.wait_for(_SIMULATING)[1]
        config = gateway_folder / "gateway.yaml"
        config.write_text(settings.read_text().replace("SIMULATOR", f"{base}/v1"))
        gateway = Process(
            gateway_folder, str(METERWAY), "serve", "--config", str(config), environ=environ, cwd=gateway_folder
        )
        try:
            serving = gateway.wait_for(_SERVING)
            told = {
                **environ,
                "CHECK_GATEWAY": serving[1],
                "CHECK_METRICS": serving[2],
                "CHECK_SIMULATOR": base,
                "CHECK_ACCESS_LOG": str(gateway.out),
            }
            yield told
            reconciled(told, gateway_folder / "meterway.db")
        finally:
            code = gateway.stop()
            assert code == 0, f"the gateway ended with {code}: {gateway.said}"
    finally:
        sim.stop()
