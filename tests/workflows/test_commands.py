"""The command `meterway-agent`, as people and process supervisors use it."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from agent_runtime.api import sqlite_services
from agent_runtime.api.config import RuntimeConfig
from agent_runtime.cli.running import checks_of
from agent_runtime.connectors.scripted import ScriptedLLM
from agent_runtime.serve.health import asked
from agent_runtime.temporal.devserver import temporary
from agent_runtime.temporal.runtime import TemporalRuntime, connect
from tests.agent_runtime.lab import Lab
from tests.e2e.processes import ROOT, Process, clean_environ
from tests.ports import free_port

COMMAND = str(Path(sys.executable).parent / "meterway-agent")
HISTORIES = Path(__file__).parent / "histories"
HOST = "127.0.0.2"
"""Not the one that is listened on by itself."""
TROUPE = "tests.workflows.troupe:agent"


def environ_of(lab: Lab, folder: Path, **more: str) -> dict[str, str]:
    return {
        "METERWAY_GATEWAY_URL": lab.url,
        "METERWAY_AGENT_KEY": lab.key,
        "METERWAY_AGENT_STORE": str(folder / "agents.db"),
        **more,
    }


def command(*words: str, environ: dict[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    known = {**clean_environ(), "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(
        [COMMAND, *words], env=known, cwd=cwd, capture_output=True, text=True, timeout=90, check=False
    )


@contextmanager
def process(folder: Path, *words: str, environ: dict[str, str]) -> Iterator[Process]:
    made = Process(folder, COMMAND, *words, environ=environ)
    try:
        yield made
    finally:
        made.stop()


def until_status(url: str, status: int) -> httpx.Response:
    until_s = time.monotonic() + 20
    while True:
        try:
            answer = httpx.get(url, trust_env=False, timeout=10)
        except httpx.HTTPError:
            answer = httpx.Response(0)
        if answer.status_code == status:
            return answer
        assert time.monotonic() < until_s, f"{url} answers {answer.status_code} {answer.text}"
        time.sleep(0.05)


def test_an_agent_runs_once_in_this_process(lab: Lab, tmp_path: Path) -> None:
    told = command("run", TROUPE, "go", "--json", environ=environ_of(lab, tmp_path))
    outcome = json.loads(told.stdout)
    assert told.returncode == 0, told.stderr
    assert (outcome["finish_reason"], outcome["total"]["llm_calls"]) == ("max_iterations", 20)


def test_the_same_agent_runs_on_temporal_with_nothing_to_prepare(lab: Lab, tmp_path: Path) -> None:
    told = command("run", TROUPE, "go", "--dev", "--json", environ=environ_of(lab, tmp_path), cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["total"]["llm_calls"] == 20


def test_the_example_runs_in_one_process_and_unchanged_on_temporal(gateway: dict[str, str], tmp_path: Path) -> None:
    environ = {
        "METERWAY_GATEWAY_URL": gateway["CHECK_GATEWAY"],
        "METERWAY_AGENT_KEY": gateway["METERWAY_DEMO_KEY"],
        "METERWAY_AGENT_STORE": str(tmp_path / "agents.db"),
    }
    for more in ((), ("--dev",)):
        told = command("run", "examples.research:agent", "What is a gateway?", *more, environ=environ, cwd=tmp_path)
        assert told.returncode == 0, told.stderr
        assert "What is a gateway?" in told.stdout


def test_row_31_57_replay_tells_by_its_exit_code(lab: Lab, tmp_path: Path) -> None:
    environ = environ_of(lab, tmp_path)
    good = command("replay", str(HISTORIES), environ=environ)
    assert good.returncode == 0, good.stdout + good.stderr
    assert good.stdout.count("as recorded") == 9
    changed = (HISTORIES / "tools.json").read_text().replace('"agent.think"', '"agent.other"')
    (tmp_path / "changed.json").write_text(changed)
    bad = command("replay", str(tmp_path), environ=environ)
    assert bad.returncode == 1
    assert "changed.json" in bad.stdout
    (tmp_path / "empty").mkdir()
    assert command("replay", str(tmp_path / "empty"), environ=environ).returncode == 1


def test_row_24_47_52_56_58_a_worker_says_how_it_is_and_stops_when_told(
    lab: Lab, temporal: str, tmp_path: Path
) -> None:
    port = free_port()
    words = ("worker", "--agents", TROUPE, "--health-host", HOST, "--health-port", str(port), "--grace-s", "2")
    environ = environ_of(lab, tmp_path, METERWAY_TEMPORAL=temporal, METERWAY_AGENT_QUEUE=f"health-{port}")
    with process(tmp_path, *words, environ=environ) as worker:
        ready = until_status(f"http://{HOST}:{port}/readyz", 200).json()
        assert ready == {"status": "ready", "checks": ["gateway", "polling", "store", "temporal"], "missing": {}}
        assert until_status(f"http://{HOST}:{port}/healthz", 200).json() == {"status": "live"}
        lab.gateway.signal(signal.SIGSTOP)
        try:
            missing = until_status(f"http://{HOST}:{port}/readyz", 503).json()["missing"]
            assert list(missing) == ["gateway"]
        finally:
            lab.gateway.signal(signal.SIGCONT)
        worker.signal(signal.SIGTERM)
        assert worker.ended(20) == 0
        assert lab.key not in worker.said


def test_agents_are_served_and_the_page_is_there(lab: Lab, tmp_path: Path) -> None:
    port = free_port()
    with process(tmp_path, "serve", "--agents", TROUPE, "--port", str(port), environ=environ_of(lab, tmp_path)) as door:
        assert until_status(f"http://127.0.0.1:{port}/readyz", 200).json()["checks"] == ["gateway", "store"]
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"x-tenant": "demo", "x-user": "you"}, trust_env=False
        ) as http:
            run = http.post("/agents/looper/runs", json={"input": "go", "conversation_id": "c"}).json()
            shown = http.get(run["events"], timeout=30).text
            assert "RUN_FINISHED" in shown
            assert "<title>Agents</title>" in http.get("/").text
        door.signal(signal.SIGTERM)
        assert door.ended(20) == 0


async def test_row_60_a_process_says_which_of_its_dependencies_is_away(tmp_path: Path) -> None:
    services = sqlite_services(ScriptedLLM({}), tmp_path / "agents.db")
    folder = tmp_path / "temporal"
    folder.mkdir()
    async with temporary(folder) as address:
        runtime = TemporalRuntime(await connect(address), services)
        checks = checks_of(RuntimeConfig(gateway_url=f"http://127.0.0.1:{free_port()}/v1"), services, runtime)
        assert sorted(checks) == ["gateway", "store", "temporal"]
        assert await asked(checks) == {"gateway": "ConnectError"}
    assert await asked(checks) == {"gateway": "ConnectError", "temporal": "RPCError"}
    await services.close()
    assert sorted(await asked(checks)) == ["gateway", "store", "temporal"]


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (("run", "nowhere:agent", "x"), {}, "agents names 'nowhere:agent', which cannot be loaded"),
        (("run", "json:dumps", "x"), {}, "JSON|agents names"),
        (("run", TROUPE, "x"), {"METERWAY_AGENT_KEY": ""}, "METERWAY_DEMO_KEY' cannot be read"),
        (("run", TROUPE, "x"), {"METERWAY_ENVIRONMENT": "prod"}, r"METERWAY_ENVIRONMENT is 'prod'; give one of"),
        (("worker", "--agents", ""), {}, "agents is empty"),
        (("run", TROUPE, "x", "--temporal", "127.0.0.1:1"), {}, "Temporal does not answer at '127.0.0.1:1'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    lab: Lab, tmp_path: Path, words: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    told = command(*words, environ={**environ_of(lab, tmp_path), **environ})
    assert told.returncode != 0
    assert re.search(said, told.stderr), told.stderr


def test_row_29_fingerprints_can_be_compared_by_hand(lab: Lab, tmp_path: Path) -> None:
    told = [command("fingerprint", "--agents", TROUPE, environ=environ_of(lab, tmp_path)).stdout for _ in range(2)]
    assert told[0] == told[1]
    assert re.fullmatch(r"[0-9a-f]{64}", json.loads(told[0])["looper"])
