"""A conversation as the body of a Gemini generateContent request."""

from base64 import b64encode
from typing import Any

from msgspec import Raw

from gateway.domain.conversation import (
    Conversation,
    Effort,
    Media,
    Message,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from gateway.domain.fitting import level_of
from gateway.formats.json_object import object_of
from gateway.providers import generations

Json = dict[str, Any]
_MODES = {ToolMode.AUTO: "AUTO", ToolMode.NONE: "NONE", ToolMode.REQUIRED: "ANY", ToolMode.NAMED: "ANY"}
SIGNS_CALLS = (3, 0)
"""From this generation on a model refuses calls of tools that bear no signature, and thinks by a level."""

UNSIGNED = b64encode(b"skip_thought_signature_validator").decode()
"""What Gemini documents for a call that another provider's model has made."""

BUDGETS_LEAST = {"gemini-2.5-pro": 128}
"""Of models that cannot do without thinking."""


def members_of(given: Conversation, output_tokens: int | None, model: str) -> Json:
    """The whole body; the model stands in the path."""
    body: Json = {"contents": [_content(message) for message in given.messages]}
    newer = generations.gemini(model) >= SIGNS_CALLS
    if newer:
        for content in body["contents"]:
            _sign(content["parts"])
    if given.system:
        body["systemInstruction"] = {"parts": [{"text": text.text} for text in given.system]}
    if given.tools:
        body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in given.tools]}]
    if given.tool_choice is not None and given.tools:
        body["toolConfig"] = {"functionCallingConfig": _tool_choice(given.tool_choice)}
    thinking = _level(given.effort) if newer else _budget(given.effort, model)
    if config := _config(given, output_tokens, thinking):
        body["generationConfig"] = config
    return body


def _config(given: Conversation, output_tokens: int | None, thinking: Json | None) -> Json:
    sampling = given.sampling
    config: Json = {
        "maxOutputTokens": output_tokens,
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "seed": sampling.seed,
        "presencePenalty": sampling.presence_penalty,
        "frequencyPenalty": sampling.frequency_penalty,
        "stopSequences": list(given.stop) or None,
        "candidateCount": given.choices if given.choices != 1 else None,
        "thinkingConfig": thinking,
    }
    if given.format is not None:
        config["responseMimeType"] = "application/json"
        config["responseJsonSchema"] = Raw(given.format.schema) if given.format.schema else None
    return {name: value for name, value in config.items() if value is not None}


def _content(message: Message) -> Json:
    """A signature sits on the part that follows what was thought."""
    parts: list[Json] = []
    signature = ""
    for part in message.parts:
        if isinstance(part, Thinking):
            if part.text:
                parts.append({"text": part.text, "thought": True})
            signature = part.signature
            continue
        shown = _part(part)
        if signature:
            shown["thoughtSignature"] = signature
            signature = ""
        parts.append(shown)
    if signature:
        parts.append({"text": "", "thoughtSignature": signature})
    return {"role": "model" if message.role is Role.ASSISTANT else "user", "parts": parts}


def _sign(parts: list[Json]) -> None:
    """The first call bears the signature: its own, or the one that a dialect without a place for it put before it."""
    call = next((place for place, part in enumerate(parts) if "functionCall" in part), None)
    if call is None or "thoughtSignature" in parts[call]:
        return
    before = [part for part in parts[:call] if "thoughtSignature" in part]
    parts[call]["thoughtSignature"] = before[-1].pop("thoughtSignature") if before else UNSIGNED


def _part(part: Part) -> Json:
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, ToolCall):
        return {"functionCall": {"id": part.id, "name": part.name, "args": Raw(object_of(part.arguments))}}
    if isinstance(part, ToolResult):
        said = "".join(one.text for one in part.parts if isinstance(one, Text))
        response = {"error" if part.failed else "output": said}
        return {"functionResponse": {"id": part.call_id, "name": part.name, "response": response}}
    if isinstance(part, Media):
        return _media(part)
    raise TypeError(f"a fitted message holds no {type(part).__name__} here")


def _media(media: Media) -> Json:
    if media.data:
        fallback = {"image": "image/png", "file": "application/pdf", "audio": "audio/wav"}[media.kind]
        return {"inlineData": {"mimeType": media.media_type or fallback, "data": media.data}}
    shown: Json = {"fileUri": media.url}
    if media.media_type:
        shown["mimeType"] = media.media_type
    return {"fileData": shown}


def _tool(tool: Tool) -> Json:
    shown: Json = {"name": tool.name, "parametersJsonSchema": Raw(tool.schema)}
    if tool.description:
        shown["description"] = tool.description
    return shown


def _tool_choice(choice: ToolChoice) -> Json:
    shown: Json = {"mode": _MODES[choice.mode]}
    if choice.mode is ToolMode.NAMED:
        shown["allowedFunctionNames"] = [choice.name]
    return shown


def _budget(effort: Effort | None, model: str) -> Json | None:
    if effort is None:
        return None
    if effort.off:
        return {"thinkingBudget": next((least for name, least in BUDGETS_LEAST.items() if name in model), 0)}
    return {"thinkingBudget": effort.tokens, "includeThoughts": True}


def _level(effort: Effort | None) -> Json | None:
    """It cannot be told not to think at all."""
    if effort is None:
        return None
    if effort.off:
        return {"thinkingLevel": "LOW"}
    return {"thinkingLevel": level_of(effort.tokens).upper(), "includeThoughts": True}
