"""What lies in Temporal's history."""

import asyncio
import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from agent_runtime.api import Agent, erase
from agent_runtime.api.config import RuntimeConfig, blobs_of
from agent_runtime.connectors.scripted import Line, ScriptedLLM
from agent_runtime.contracts.errors import ConfigError
from agent_runtime.domain.values import Principal
from agent_runtime.stores.blobs import FileBlobs, RedisBlobs
from agent_runtime.stores.redis import connect
from agent_runtime.temporal.codec import Codec
from agent_runtime.temporal.runtime import connect as connect_temporal
from agent_runtime.tools.access import AutoApprove
from tests.agent_runtime.cast import ANN, Moving, Props, calls
from tests.agent_runtime.conftest import redis_url
from tests.workflows.conftest import QUICK, Stage

__all__ = ["redis_url"]

KEY = base64.b64encode(os.urandom(32)).decode()


def payload(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


async def test_row_43_with_a_key_nothing_can_be_read_in_the_history() -> None:
    codec = Codec(key=KEY)
    (kept,) = await codec.encode([payload(b"secret words")])
    assert b"secret words" not in kept.SerializeToString()
    assert await codec.decode([kept]) == [payload(b"secret words")]
    with pytest.raises(ConfigError, match="no key"):
        await Codec().decode([kept])


async def test_large_payloads_lie_elsewhere_and_small_ones_stay(tmp_path: Path) -> None:
    codec = Codec(blobs=FileBlobs(tmp_path / "blobs"), key=KEY, large_bytes=1_000)
    kept = await codec.encode([payload(b"x" * 5_000), payload(b"y")])
    assert kept[0].ByteSize() < 200
    assert len(list((tmp_path / "blobs").glob("*/*"))) == 1
    assert await codec.decode(kept) == [payload(b"x" * 5_000), payload(b"y")]
    with pytest.raises(ConfigError, match="same blobs"):
        await Codec(key=KEY).decode(kept)


async def test_one_payload_that_many_keep_at_once_is_kept(tmp_path: Path) -> None:
    """As parents do whose children begin with the same conversation."""
    codec = Codec(blobs=FileBlobs(tmp_path / "blobs"), large_bytes=1_000)
    large = payload(b"x" * 5_000_000)
    kept = await asyncio.gather(*(codec.encode([large]) for _ in range(16)))
    assert await codec.decode(kept[0]) == [large]
    assert len(list((tmp_path / "blobs").glob("*/*"))) == 1


async def test_redis_can_hold_them_too(redis_url: str) -> None:
    redis = connect(redis_url)
    codec = Codec(blobs=RedisBlobs(redis), large_bytes=10)
    kept = await codec.encode([payload(b"x" * 5_000)])
    assert await codec.decode(kept) == [payload(b"x" * 5_000)]
    await redis.flushall()
    with pytest.raises(ConfigError, match="not there any more"):
        await codec.decode(kept)
    await redis.aclose()


@pytest.mark.parametrize("kind", ["folder", "redis"])
async def test_row_46_payloads_of_a_run_and_of_those_below_it_are_erased_with_it(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    where = str(tmp_path / "blobs") if kind == "folder" else request.getfixturevalue("redis_url")
    blobs = blobs_of(RuntimeConfig(blobs=where))
    assert blobs is not None
    names = ["run-1/a", "run-1-2-0/b", "run-12/c", "nobodys/d"]
    for name in names:
        await blobs.put(name, name.encode())
    await blobs.erase(["run-1", "run-7"])
    for name in names[:2]:
        with pytest.raises(ConfigError, match="not there any more"):
            await blobs.get(name)
    assert [await blobs.get(name) for name in names[2:]] == [b"run-12/c", b"nobodys/d"]
    await blobs.close()


async def test_row_46_a_folder_keeps_what_is_used_and_sweeps_out_what_is_old(tmp_path: Path) -> None:
    clock = Moving()
    blobs = FileBlobs(tmp_path, clock=clock)
    await blobs.put("run-1/old", b"1")
    await blobs.put("run-2/used", b"2")
    clock.passed_s = 20 * 86_400
    await blobs.put("run-2/used", b"2")
    assert await blobs.get("run-1/old") == b"1"
    clock.passed_s = 41 * 86_400
    await blobs.put("run-3/new", b"3")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        "run-2",
        "run-2/used",
        "run-3",
        "run-3/new",
    }


async def test_row_46_erasing_a_user_erases_the_payloads_of_their_runs(temporal: str, tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    client = await connect_temporal(temporal, codec=Codec(blobs=blobs, large_bytes=1_000))
    stage = Stage(client, tmp_path, replace(QUICK, queue=f"erased-{tmp_path.name}"))
    script = {"main": [calls("subagent_kid", query="q" * 5_000), Line("ok")], "kid": [Line("k" * 5_000)]}
    services = replace(stage.services(ScriptedLLM(script)), blobs=blobs)
    one = Agent("main", services=services, sub_agents=[Agent("kid")], policy=AutoApprove())
    async with stage.playing(one):
        runs = [(await one.run("x" * 5_000, principal=who)).run_id for who in (ANN, Principal("acme", "bob"))]
    before = {path.name for path in (tmp_path / "blobs").iterdir()}
    assert before == {*runs, *(f"{run}-1-0" for run in runs)}
    await erase(services, ANN)
    assert {path.name for path in (tmp_path / "blobs").iterdir()} == {runs[1], f"{runs[1]}-1-0"}


async def test_row_43_a_run_leaves_nothing_readable_in_temporal_and_nothing_large(
    temporal: str, tmp_path: Path
) -> None:
    codec = Codec(key=KEY, blobs=FileBlobs(tmp_path / "blobs"), large_bytes=2_000)
    client = await connect_temporal(temporal, codec=codec)
    stage = Stage(client, tmp_path, replace(QUICK, queue=f"sealed-{tmp_path.name}"))
    llm = ScriptedLLM({"main": [calls("look", city="x" * 10_000), Line("secret answer")]})
    facts: dict[str, Any] = {"tools": Props().tools(), "policy": AutoApprove(), "principal": ANN}
    one = Agent("main", None, "Go.", services=stage.services(llm), **facts)
    async with stage.playing(one):
        result = await one.run("secret question")
    assert result.text == "secret answer"
    plain = await connect_temporal(temporal)
    history = (await plain.get_workflow_handle(result.run_id).fetch_history()).to_json()
    assert len(list((tmp_path / "blobs").iterdir())) > 0
    assert len(history) < 60_000
    for secret in ("secret question", "secret answer", "xxxx"):
        assert secret not in history
        assert base64.b64encode(secret.encode()).decode()[:12] not in history


@given(st.binary(max_size=3_000), st.booleans())
async def test_whatever_goes_in_comes_out(data: bytes, keyed: bool) -> None:
    codec = Codec(key=KEY if keyed else None)
    assert await codec.decode(await codec.encode([payload(data)])) == [payload(data)]


def test_a_wrong_key_is_refused_without_being_told() -> None:
    for wrong in ("short", base64.b64encode(b"12345").decode()):
        with pytest.raises(ConfigError) as caught:
            Codec(key=wrong)
        assert wrong not in str(caught.value)
