"""The simulator as a process of its own."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from gateway.sim.main import run
from gateway.sim.script import ScriptError


def test_it_serves_a_script_until_it_is_told_to_stop(tmp_path: Path) -> None:
    script, bill = tmp_path / "script.yaml", tmp_path / "bill.jsonl"
    script.write_text("rules: [{answer: {text: from the file}}]")
    start = f"from gateway.sim.main import run; run('127.0.0.1', 0, {str(script)!r}, {str(bill)!r}, 7)"
    with subprocess.Popen([sys.executable, "-c", start], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        base = told.split()[-1]
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
        with urllib.request.urlopen(f"{base}/chat/completions", body, timeout=5) as reply:
            text = json.load(reply)["choices"][0]["message"]["content"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert text == "from the file"
    assert json.loads(bill.read_text())["outcome"] == "completed"


def test_a_bad_script_is_named(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("rules: [{fault: {kind: nothing}}]")
    with pytest.raises(ScriptError, match=r"\$\.rules\[0\]\.fault\.kind"):
        run("127.0.0.1", 0, str(script), None, None)
