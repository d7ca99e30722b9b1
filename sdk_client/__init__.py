"""The client of the gateway: typed messages in, replies with their usage and cost out."""

from sdk_client import errors
from sdk_client.client import LLMClient
from sdk_client.errors import LLMError
from sdk_client.sync import LLMClientSync
from sdk_client.values import (
    CallContext,
    Delta,
    Image,
    Message,
    Reasoning,
    Reply,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

__all__ = [
    "CallContext",
    "Delta",
    "Image",
    "LLMClient",
    "LLMClientSync",
    "LLMError",
    "Message",
    "Reasoning",
    "Reply",
    "Text",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Usage",
    "errors",
]
