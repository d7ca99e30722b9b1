"""The gateways that a user might pick instead, each in an environment of its own."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import CHAT_1K, CHAT_8K, KEY, PROXY_CORE, STREAM, WORK, free_port, start, stop, wait_for

PEERS = Path(".cache/peers")
LITELLM = "litellm[proxy]"
PORTKEY = "@portkey-ai/gateway"
READY_S = 120.0


@dataclass(frozen=True, slots=True)
class Peer:
    """`host_header` names a header in which the peer wants to be told the upstream's base URL."""

    name: str
    port: int
    host_header: str | None = None


def started(stack: contextlib.ExitStack, upstream_port: int) -> list[Peer]:
    """Installs them when they are not there yet (minutes), starts them, and says where they are."""
    return [
        Peer("litellm", stack.enter_context(_litellm(upstream_port))),
        Peer("portkey", stack.enter_context(_portkey()), "x-portkey-custom-host"),
    ]


@contextlib.contextmanager
def _litellm(upstream_port: int) -> Iterator[int]:
    home = PEERS / "litellm"
    if not (home / "bin/litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin/pip"), "install", "-q", LITELLM], check=True)
    models = "\n".join(
        f"  - model_name: {name}\n    litellm_params:\n      model: openai/gpt-4.1\n"
        f"      api_base: http://127.0.0.1:{upstream_port}/{name}\n      api_key: sk-bench"
        for name in (CHAT_1K, CHAT_8K, STREAM)
    )
    config = WORK / "litellm.yaml"
    config.write_text(f"model_list:\n{models}\ngeneral_settings:\n  master_key: {KEY}\n")
    port = free_port()
    command = [str(home / "bin/litellm"), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    process = start(command, PROXY_CORE, "litellm.log", {**os.environ, "LITELLM_LOG": "ERROR"})
    try:
        wait_for(port, process, READY_S)
        yield port
    finally:
        stop(process)


@contextlib.contextmanager
def _portkey() -> Iterator[int]:
    home = PEERS / "portkey"
    server = home / "node_modules/@portkey-ai/gateway/build/start-server.js"
    if not server.exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--no-package-lock", "--prefix", str(home), PORTKEY], check=True)
    port = free_port()
    env = {**os.environ, "TRUSTED_CUSTOM_HOSTS": "127.0.0.1", "NODE_ENV": "production"}
    process = start(["node", str(server), f"--port={port}", "--headless"], PROXY_CORE, "portkey.log", env)
    try:
        wait_for(port, process, READY_S)
        yield port
    finally:
        stop(process)
