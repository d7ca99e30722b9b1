"""The Gemini dialect of providers: a conversation to an upstream call, and its answers back."""

from urllib.parse import quote

import msgspec

from gateway.domain.abilities import GEMINI
from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import Capabilities, Deployment
from gateway.domain.conversation import Conversation
from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.request import ModelRequest
from gateway.domain.turn import TurnEvent
from gateway.formats import gemini, openai
from gateway.providers import gemini_errors
from gateway.providers.gemini_body import members_of
from gateway.providers.gemini_turns import GeminiReader
from gateway.providers.turns import Turns

CAPABILITIES = Capabilities(native=frozenset())
ABILITIES = GEMINI

_JSON = (b"accept", b"application/json")
_EVENTS = (b"accept", b"text/event-stream")

decode_error = gemini_errors.decode_error


def encode_conversation(
    conversation: Conversation, request: ModelRequest, deployment: Deployment, deadline_s: float, request_id: str
) -> UpstreamCall:
    method = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    limit = request.output_limit or conversation.output_tokens
    body = members_of(conversation, limit, deployment.model)
    return UpstreamCall(
        credential=deployment.credential,
        path=f"{deployment.provider.base_path}/models/{quote(deployment.model)}:{method}",
        body=openai.encode(body),
        timeouts=deployment.timeouts,
        deadline_s=deadline_s,
        headers=(_EVENTS if request.stream else _JSON, (b"x-request-id", request_id.encode())),
    )


def decode_answer(body: bytes) -> list[TurnEvent]:
    """A whole 200 answer. Raises AttemptFailed."""
    try:
        reply = gemini.decode_reply(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _malformed("the provider's answer is not JSON of the expected shape") from None
    if (raw := bytes(reply.error)) and raw != b"null":
        raise AttemptFailed(gemini_errors.inner_failure(raw))
    if reply.candidates is None and reply.prompt_feedback is None:
        raise _malformed("the provider's answer has no 'candidates'")
    return GeminiReader().whole(reply)


def _malformed(message: str) -> AttemptFailed:
    return AttemptFailed(Failure(FailureKind.MALFORMED_BODY, message, status=200, sent=Sent.YES))


def decode_turns() -> Turns:
    return Turns(GeminiReader())
