"""What the door serves: each model operation in each dialect."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.domain.request import Dialect, ModelRequest, Needs, Operation
from gateway.wire import anthropic_messages, embeddings, openai_chat, openai_responses


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model operation in one dialect, and the request headers that belong to it."""

    operation: Operation
    parse: Callable[[bytes], ModelRequest]
    dialect: Dialect = Dialect.OPENAI
    headers: tuple[bytes, ...] = ()

    def unread(self) -> ModelRequest:
        """Stands for a request that was refused before it was understood."""
        return ModelRequest(self.operation, self.dialect, "", {}, Needs())


BY_PATH: dict[bytes, Endpoint] = {
    b"/v1/chat/completions": Endpoint(Operation.CHAT, openai_chat.parse),
    b"/v1/embeddings": Endpoint(Operation.EMBEDDINGS, embeddings.parse),
    b"/v1/responses": Endpoint(Operation.CHAT, openai_responses.parse, Dialect.RESPONSES),
    b"/v1/messages": Endpoint(Operation.CHAT, anthropic_messages.parse, Dialect.ANTHROPIC, anthropic_messages.HEADERS),
    b"/v1/messages/count_tokens": Endpoint(Operation.COUNT_TOKENS, anthropic_messages.parse_count, Dialect.ANTHROPIC),
}
