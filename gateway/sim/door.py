"""The control door `/_sim/…` for tests in other processes."""

from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec

from gateway.sim.bill import Bill
from gateway.sim.event import encode
from gateway.sim.recorded import Recorded
from gateway.sim.script import Script, ScriptError, read_script
from gateway.sim.stage import head

PREFIX: Final = "/_sim/"


class Controlled(Protocol):
    """What the door can reach."""

    script: Script

    @property
    def bill(self) -> Bill: ...
    @property
    def requests(self) -> Iterable[Recorded]: ...
    def reset(self) -> None: ...
    def open(self, gate: str) -> None: ...


def answer(house: Controlled, request: Recorded, body: bytes) -> bytes:
    """PUT script; GET script, bill, requests; POST reset, open/GATE."""
    place = request.path.removeprefix(PREFIX)
    match request.method, place:
        case "PUT", "script":
            try:
                house.script = read_script(body)
            except ScriptError as error:
                return _reply(400, {"error": str(error)})
            return _reply(200, {"rules": len(house.script.rules)})
        case "GET", "script":
            return _reply(200, msgspec.to_builtins(house.script))
        case "GET", "bill":
            return _reply(200, list(house.bill))
        case "GET", "requests":
            return _reply(200, [_shown(one) for one in house.requests])
        case "POST", "reset":
            house.reset()
            return _reply(200, {})
        case "POST", gate if gate.startswith("open/"):
            house.open(gate.removeprefix("open/"))
            return _reply(200, {})
        case _:
            return _reply(404, {"error": f"no {request.method} {request.path}; see gateway/sim/door.py"})


def _shown(request: Recorded) -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": request.headers,
        "body": request.body.decode("utf-8", "backslashreplace"),
        "body_bytes": request.body_bytes,
        "connection": request.connection,
    }


def _reply(status: int, value: object) -> bytes:
    body = encode(value)
    return head(status, (("content-type", "application/json"), ("content-length", str(len(body))))) + body
