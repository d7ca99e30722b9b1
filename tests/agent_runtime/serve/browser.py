"""A tab of a headless Chromium, told what to do over its pipe in the DevTools protocol."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "google-chrome")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
WAIT_S = 30.0


class Tab:
    """`thrown`: what went wrong in the page's own code."""

    def __init__(self, folder: Path) -> None:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        assert found is not None, "there is no Chromium; 'bash deploy/system-needs.sh' installs it or says how"
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        pipes = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["bash", "-c", pipes, "bash", found, *FLAGS, f"--user-data-dir={folder}"]
        with (folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stdout=log, stderr=log)
        os.close(theirs_in)
        os.close(theirs_out)
        self._heard = b""
        self._count = 0
        self._session: dict[str, str] = {}
        self.thrown: list[str] = []
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self.tell("Runtime.enable")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._next()
            if heard.get("method") == "Runtime.exceptionThrown":
                self.thrown.append(json.dumps(heard["params"]["exceptionDetails"]))
            if heard.get("id") == self._count:
                assert "error" not in heard, heard
                result: dict[str, Any] = heard["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            ready, _, _ = select.select([self._read], [], [], WAIT_S)
            part = os.read(self._read, 1 << 16) if ready else b""
            assert part, "Chromium says nothing any more"
            self._heard += part
        message, _, self._heard = self._heard.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told

    def value(self, script: str) -> Any:
        return self.tell("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> Any:
        """What the script comes to, once that is neither nothing nor an error."""
        until_s = time.monotonic() + WAIT_S
        while not (found := self.value(script)):
            assert time.monotonic() < until_s, f"{script} did not come true: {self.value('document.body.innerText')}"
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)


@contextmanager
def tab(folder: Path) -> Iterator[Tab]:
    made = Tab(folder)
    try:
        yield made
    finally:
        made.close()
