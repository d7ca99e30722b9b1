"""The tour is true: one real request visits its stations in its order, and few files in all."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from gateway.app import Gateway
from gateway.config.load import load
from gateway.config.settings import Loaded
from tests.house.sources import ROOT

FILES_MAX = 25
KEY = "gw_demo_of_the_tour_0123"
ENVIRON = {"METERWAY_DEMO_KEY": KEY, "METERWAY_ADMIN_KEY": "gw_admin_of_the_tour_0123"}
LOOPS = tuple(f"gateway/app/{name}.py" for name in ("books", "doorkeeper", "erasures", "gateway"))
BESIDE = ("gateway/sim/", "gateway/telemetry/watchdog.py", "gateway/telemetry/export.py", *LOOPS)
"""The provider's side, and what runs now and then whether there are requests or not."""

STATION = re.compile(r"^## (\d+)\. (.+)\n\n`(\S+)` · enters at `(\S+)`$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Station:
    number: int
    name: str
    path: str
    function: str


Call = tuple[str, str]


def stations() -> list[Station]:
    text = (ROOT / "docs" / "tour.md").read_text()
    return [Station(int(number), name, path, function) for number, name, path, function in STATION.findall(text)]


@contextmanager
def noted() -> Iterator[list[Call]]:
    """Every call of a function of the gateway, in order: its file and its qualified name."""
    calls: list[Call] = []
    prefix = f"{ROOT}/"

    def note(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(prefix + "gateway/"):
            place = name.removeprefix(prefix)
            if not place.startswith(BESIDE):
                calls.append((place, frame.f_code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Gateway]:
    config = folder / "quickstart.yaml"
    text = (ROOT / "deploy" / "quickstart.yaml").read_text()
    config.write_text(text.replace("port: 8080", "port: 0").replace("port: 8081", "port: 0"))

    def read(version: int) -> Loaded:
        return load(config, ENVIRON, version=version)

    served = Gateway(read(1), read)
    await served.start()
    waiting = asyncio.create_task(served.wait())
    try:
        yield served
    finally:
        served.stop()
        await waiting


async def ask(port: int, *, stream: bool) -> bytes:
    """One chat completion on a connection of its own; the connection's end is the answer's end."""
    asked = {"model": "assistant", "messages": [{"role": "user", "content": "Hello!"}], "stream": stream}
    body = json.dumps(asked).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: tour\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + body)
        async with asyncio.timeout(5):
            return await reader.read(-1)
    finally:
        writer.close()
        await writer.wait_closed()


async def walk(folder: Path, *, stream: bool) -> list[Call]:
    """The calls of the second of two requests: the first one opens the connection to the provider."""
    async with gateway(folder) as served:
        await ask(served.server.port, stream=stream)
        with noted() as calls:
            answer = await ask(served.server.port, stream=stream)
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:500]
        assert b'"finish_reason":"stop"' in answer
    return calls


def files(calls: list[Call]) -> list[str]:
    return list(dict.fromkeys(place for place, _ in calls))


def test_the_tour_has_ten_stations_and_their_functions_exist() -> None:
    found = stations()
    assert [station.number for station in found] == list(range(1, 11))
    for station in found:
        name = station.function.rpartition(".")[2]
        assert re.search(rf"def {name}\(", (ROOT / station.path).read_text()), station


def test_files_that_the_tour_names_exist() -> None:
    text = (ROOT / "docs" / "tour.md").read_text()
    assert [name for name in re.findall(r"`((?:gateway|tests)/\S+?)`", text) if not (ROOT / name).exists()] == []


async def test_a_streamed_request_visits_the_stations_in_the_order_of_the_tour(tmp_path: Path) -> None:
    calls = await walk(tmp_path, stream=True)
    firsts = [calls.index((station.path, station.function)) for station in stations()]
    assert firsts == sorted(firsts), list(zip([station.name for station in stations()], firsts, strict=True))


async def test_a_whole_answer_visits_all_stations_but_the_relay(tmp_path: Path) -> None:
    calls = await walk(tmp_path, stream=False)
    found = [station for station in stations() if station.name != "Relay"]
    firsts = [calls.index((station.path, station.function)) for station in found]
    assert firsts == sorted(firsts)
    assert not [call for call in calls if call[0] == "gateway/pipeline/relay.py"]


async def test_settlement_and_record_happen_once(tmp_path: Path) -> None:
    """Settling again is allowed and does nothing: the record is made once."""
    calls = await walk(tmp_path, stream=True)
    assert calls.count(("gateway/telemetry/recorder.py", "Recorder.record")) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_every_file_on_the_path_is_on_the_tour_or_below_a_station(stream: bool, tmp_path: Path) -> None:
    """No room that the tour does not know may slip into the path."""
    rooms = {Path(station.path).parent.as_posix() for station in stations()} | {
        "gateway/domain",
        "gateway/formats",
        "gateway/stores",
    }
    calls = await walk(tmp_path, stream=stream)
    strangers = [name for name in files(calls) if Path(name).parent.as_posix() not in rooms | {"gateway"}]
    assert strangers == []


@pytest.mark.xfail(strict=True, reason="the path visits more files than the design allows; the test says which")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_request_visits_at_most_25_files(stream: bool, tmp_path: Path) -> None:
    visited = files(await walk(tmp_path, stream=stream))
    assert len(visited) <= FILES_MAX, f"{len(visited)} files: {', '.join(visited)}"
