"""The quick start as the README tells it: one command serves, the printed call works, signals do what they say."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.processes import METERWAY, ROOT, Process, clean_environ

FIRST_ANSWER_MAX_S = 10
SERVING = re.compile(r"serving .* on http://127\.0\.0\.1:(\d+)/v1; metrics on http://127\.0\.0\.1:(\d+)/metrics")
KEYS = {"METERWAY_DEMO_KEY": "gw_demo_of_the_test_0123", "METERWAY_ADMIN_KEY": "gw_admin_of_the_test_0123"}


@dataclass(frozen=True, slots=True)
class Served:
    process: Process
    config: Path
    port: int
    admin_port: int


@contextmanager
def quick_start(folder: Path) -> Iterator[Served]:
    """deploy/quickstart.sh with its own configuration, but on ports that are free."""
    config = folder / "quickstart.yaml"
    text = (ROOT / "deploy" / "quickstart.yaml").read_text()
    own = f'\ndatabase: "sqlite:///{folder}/books.db"\njournal: "{folder}/journal"\n'
    config.write_text(text.replace("port: 8080", "port: 0").replace("port: 8081", "port: 0") + own)
    environ = {**KEYS, "CONFIG": str(config), "METERWAY": str(METERWAY)}
    process = Process(folder, "bash", str(ROOT / "deploy" / "quickstart.sh"), environ=environ)
    try:
        serving = process.wait_for(SERVING)
        yield Served(process, config, int(serving[1]), int(serving[2]))
    finally:
        process.stop()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with quick_start(tmp_path) as found:
        yield found


def printed_commands(served: Served) -> str:
    """What the script prints to be typed in, with the port that the test was given."""
    lines = served.process.said.replace("127.0.0.1:8080", f"127.0.0.1:{served.port}").splitlines()
    first = next(at for at, line in enumerate(lines) if "export OPENAI_BASE_URL" in line)
    last = next(at for at, line in enumerate(lines) if '"messages"' in line)
    return "\n".join(line.strip() for line in lines[first : last + 1])


def typed(commands: str) -> str:
    done = subprocess.run(
        ["bash", "-c", commands], env=clean_environ(), capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout


def eventually(pattern: str, served: Served, timeout_s: float = 10) -> None:
    served.process.wait_for(re.compile(pattern), timeout_s)


def test_the_printed_call_works_soon_after_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started_s = time.monotonic()
    with quick_start(tmp_path) as served:
        answer = json.loads(typed(printed_commands(served)))
        took_s = time.monotonic() - started_s
        with capsys.disabled():
            print(f" [from the start to the first answer: {took_s:.2f} s]", end="")
        assert answer["choices"][0]["message"]["content"] == "Hello from the simulator. You said: Hello!"
        assert took_s < FIRST_ANSWER_MAX_S


def test_the_printed_metrics_call_shows_the_tokens(served: Served) -> None:
    typed(printed_commands(served))
    line = next(line for line in served.process.said.splitlines() if "metrics: curl" in line)
    text = typed(line.partition("metrics: ")[2].replace("127.0.0.1:8081", f"127.0.0.1:{served.admin_port}"))
    sums = [line for line in text.splitlines() if line.startswith("agent_llm_tokens_input_sum{")]
    assert len(sums) == 1, text[:2000]
    assert 'tenant="demo"' in sums[0]
    assert float(sums[0].rpartition(" ")[2]) > 0


def test_metrics_are_for_the_admin_key_only(served: Served) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{served.admin_port}/metrics", timeout=5)
    refused.value.close()
    assert refused.value.code == 401


def test_each_request_leaves_one_line_of_json(served: Served) -> None:
    typed(printed_commands(served))
    assert served.process.stop() == 0
    (line,) = [json.loads(line) for line in served.process.out.read_text().splitlines()]
    assert (line["tenant"], line["model"], line["status"], line["provenance"]) == ("demo", "assistant", 200, "exact")
    assert line["cost_nano_usd"] > 0
    assert "Hello!" not in json.dumps(line)
    assert KEYS["METERWAY_DEMO_KEY"] not in served.process.out.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_told_end_is_a_good_end(served: Served, number: signal.Signals) -> None:
    served.process.signal(number)
    assert served.process.ended() == 0
    assert "Traceback" not in served.process.said


def test_health_says_ready(served: Served) -> None:
    for path in ("/health/live", "/health/ready"):
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}{path}", timeout=5) as reply:
            assert reply.status == 200


def test_a_bad_file_leaves_the_configuration_as_it_was(served: Served) -> None:
    """Whichever comes first, the signal or the watcher: both read the same file."""
    good = served.config.read_text()
    served.config.write_text(good.replace("models:", "modles:"))
    served.process.signal(signal.SIGHUP)
    eventually("the configuration stays as it was", served)
    assert "modles" in served.process.said
    assert json.loads(typed(printed_commands(served)))["object"] == "chat.completion"

    served.config.write_text(good.replace("  assistant:", "  assistant-2:"))
    served.process.signal(signal.SIGHUP)
    eventually(r"configuration \d+ is in force", served)
    assert json.loads(typed(printed_commands(served)))["error"]["code"] == "model_not_found"


def test_the_check_names_file_and_line(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text((ROOT / "deploy" / "quickstart.yaml").read_text().replace("strategy", "x") + "\nlisten_: 1\n")
    line = len(config.read_text().splitlines())
    done = meterway("check", str(config), **KEYS)
    assert done.returncode == 2
    assert f"{config}:{line}:1: " in done.stderr, done.stderr
    assert "listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["check"], ["serve", "--config"]])
def test_a_missing_key_is_told_in_one_sentence(command: list[str]) -> None:
    done = meterway(*command, str(ROOT / "deploy" / "quickstart.yaml"), METERWAY_ADMIN_KEY=KEYS["METERWAY_ADMIN_KEY"])
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if "METERWAY_DEMO_KEY" in line and ": tenants" in line]
    assert len(said) == 1, done.stderr
    assert "quickstart.yaml:" in said[0]
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_told_in_one_sentence(served: Served, tmp_path: Path) -> None:
    config = tmp_path / "same-port.yaml"
    config.write_text(served.config.read_text().replace("port: 0", f"port: {served.port}", 1))
    done = meterway("serve", "--config", str(config), **KEYS)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert str(served.port) in done.stderr


def test_the_readme_tells_these_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    script = (ROOT / "deploy" / "quickstart.sh").read_text()
    assert "make run" in readme
    for words in ("/chat/completions", '"model": "assistant"'):
        assert words in readme
        assert words in script
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / link).exists(), f"README.md links to {link}, which does not exist"


def meterway(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [str(METERWAY), *words]
    try:
        return subprocess.run(
            command, env={**clean_environ(), **environ}, capture_output=True, text=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"{shlex.join(command)} did not end by itself", pytrace=False)


def test_the_example_configurations_are_good() -> None:
    names = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY", *KEYS}
    environ = {name: f"{os.getpid()}-a-key-of-the-test" + name for name in names}
    for config in sorted((ROOT / "deploy").glob("*.yaml")):
        done = meterway("check", str(config), **environ)
        assert done.returncode == 0, done.stderr
