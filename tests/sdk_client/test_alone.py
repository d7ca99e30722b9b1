"""The client in an environment without anything of the server."""

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.environments import ROOT, run

NAME = "meterway_client"
NEEDED = {"meterway-client", "httpx", "httpcore", "h11", "anyio", "certifi", "idna", "tenacity", "typing_extensions"}
CALL = """
import asyncio, importlib.metadata, json, sys
from sdk_client import LLMClient, Message

async def main():
    async with LLMClient(sys.argv[1], sys.argv[2]) as client:
        return (await client.generate([Message.user("hello")], model="assistant")).text

names = [one.metadata["Name"] for one in importlib.metadata.distributions()]
print(json.dumps({"said": asyncio.run(main()), "installed": names}))
"""


def test_the_client_installs_and_works_without_the_servers_dependencies(
    gateway: dict[str, str], tmp_path: Path
) -> None:
    python = str(tmp_path / "bin" / "python")
    run(NAME, sys.executable, "-m", "venv", str(tmp_path))
    pins = ("--constraint", str(ROOT / "constraints.txt"))
    run(NAME, python, "-m", "pip", "install", "--quiet", *pins, str(ROOT / "sdk_client"))
    command = [python, "-I", "-c", CALL, gateway["CHECK_GATEWAY"], gateway["METERWAY_DEMO_KEY"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["said"]
    assert set(told["installed"]) - {"pip", "setuptools", "wheel"} == NEEDED
