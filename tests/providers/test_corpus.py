"""What every provider's own errors mean here, whichever shape they come in."""

import json
from typing import Any

import pytest

from gateway.config.hosts import HOSTS
from gateway.domain.failure import FailureKind
from gateway.providers import gemini_errors, messages_errors, openai_errors
from gateway.sim.corpus import CORPUS
from gateway.sim.script import ScriptError, parse_script
from tests.sim.talk import one, simulator

DECODERS: dict[str, Any] = {"anthropic": messages_errors.decode_error, "gemini": gemini_errors.decode_error}
KINDS = {
    "context": FailureKind.CONTEXT_LENGTH,
    "context_flat": FailureKind.CONTEXT_LENGTH,
    "window": FailureKind.CONTEXT_LENGTH,
    "filter": FailureKind.CONTENT_FILTER,
    "key": FailureKind.AUTH,
    "model": FailureKind.MODEL_NOT_FOUND,
    "deployment": FailureKind.MODEL_NOT_FOUND,
    "quota": FailureKind.QUOTA_GONE,
    "credit": FailureKind.QUOTA_GONE,
    "balance": FailureKind.QUOTA_GONE,
    "limit": FailureKind.QUOTA_GONE,
    "day": FailureKind.QUOTA_GONE,
    "rate": FailureKind.THROTTLED,
    "ramp": FailureKind.THROTTLED,
    "busy": FailureKind.THROTTLED,
    "minute": FailureKind.THROTTLED,
    "overloaded": FailureKind.OVERLOADED,
    "extra": FailureKind.INVALID_REQUEST,
}


def test_every_known_host_has_errors_here() -> None:
    assert {name.partition("/")[0] for name in CORPUS} == set(HOSTS)


@pytest.mark.parametrize("name", sorted(CORPUS))
async def test_an_error_is_known_for_what_it_is(name: str) -> None:
    """As the simulator sends it."""
    async with simulator({"fault": {"kind": "status", "like": name}}) as sim:
        answer = await one(sim)
    told, (host, _, what) = CORPUS[name], name.partition("/")
    assert (answer.status, answer.body) == (
        told.status,
        told.body.encode() if isinstance(told.body, str) else json.dumps(told.body, separators=(",", ":")).encode(),
    )
    headers = [(key.encode(), value.encode()) for key, value in answer.headers.items()]
    failure = DECODERS.get(host, openai_errors.decode_error)(answer.status, headers, answer.body, 0.0)
    assert failure.kind is KINDS[what]
    assert failure.message
    assert not (failure.code or "").isdecimal()
    assert " " not in (failure.code or "")


def test_an_error_that_nobody_sends_is_refused() -> None:
    with pytest.raises(ScriptError, match="no error is called 'vllm/nonsense'"):
        parse_script({"otherwise": {"fault": {"kind": "status", "like": "vllm/nonsense"}}})
