"""llm: the command of that name, with a tool, over the chat door, answered by providers of other dialects."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.e2e.clients.lab import GATEWAY, KEY, tell

MODELS = """
- model_id: {name}
  model_name: {name}
  api_base: {base}
  api_key_name: meterway
  supports_tools: true
"""


def works(name: str) -> None:
    """The command calls its tool for two cities and prints the answer."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "extra-openai-models.yaml").write_text(MODELS.format(name=name, base=GATEWAY))
        tool = 'def weather(city: str) -> str:\n    "The weather of a city."\n    return "sunny in " + city'
        command = [
            sys.executable,
            "-m",
            "llm",
            "-m",
            name,
            "--functions",
            tool,
            "--td",
            "--key",
            KEY,
            "How is it there?",
        ]
        done = subprocess.run(
            command,
            env={**os.environ, "LLM_USER_PATH": folder},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Hello from the simulator" in done.stdout, done.stdout + done.stderr
        assert "sunny in Paris" in done.stderr, done.stderr
        assert "sunny in Rome" in done.stderr, done.stderr


def check_chat_answered_by_anthropic() -> None:
    works("claude-tools")


def check_chat_answered_by_gemini() -> None:
    works("google-tools")


if __name__ == "__main__":
    tell(dict(globals()))
