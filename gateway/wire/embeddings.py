"""The OpenAI embeddings dialect of callers: bytes to a ModelRequest."""

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import Dialect, ModelRequest, Needs, Operation
from gateway.domain.tokens import estimate
from gateway.formats import openai
from gateway.wire.json_body import members_of
from gateway.wire.openai_chat import require


def parse(body: bytes) -> ModelRequest:
    """`input` is a string, strings, token ids or lists of token ids. Raises InvalidRequest that names the field."""
    members = members_of(body)
    model = require(members, "model", openai.decode_text)
    given = members.get("input")
    if given is None or given in (b"null", b'""', b"[]") or given[:1] not in (b'"', b"["):
        raise InvalidRequest("'input' is missing or empty; send a string or a list", param="input")
    return ModelRequest(
        operation=Operation.EMBEDDINGS,
        dialect=Dialect.OPENAI,
        model=model,
        members=members,
        needs=Needs(input_tokens=_tokens(given), native="embeddings"),
    )


def _tokens(given: bytes) -> int:
    """Token ids are counted by their commas, texts estimated."""
    return estimate(given) if b'"' in given else given.count(b",") + 1
