"""Gemini's other side, which the gateway does not serve: requests read, answers written."""

import json
from typing import Any

from gateway.domain.conversation import (
    Conversation,
    Effort,
    Media,
    Message,
    OutputFormat,
    Part,
    Refusal,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from gateway.domain.reply import Usage
from gateway.domain.seals import opened, sealed
from gateway.domain.turn import (
    Answer,
    CallFragment,
    CallStarted,
    Choice,
    Cited,
    Counted,
    Ended,
    Finish,
    Finished,
    RefusalDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    TurnEvent,
)

Json = dict[str, Any]
FINISHES = {
    Finish.STOP: "STOP",
    Finish.STOP_SEQUENCE: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.TOOL_CALLS: "STOP",
    Finish.FILTER: "SAFETY",
}
_MODES = {"AUTO": ToolMode.AUTO, "NONE": ToolMode.NONE, "ANY": ToolMode.REQUIRED}


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def conversation_of(body: bytes) -> Conversation:
    given = json.loads(body)
    config = given.get("generationConfig", {})
    declared = [f for tool in given.get("tools", []) for f in tool["functionDeclarations"]]
    choice = given.get("toolConfig", {}).get("functionCallingConfig")
    thinking = config.get("thinkingConfig")
    return Conversation(
        messages=tuple(_message(content) for content in given["contents"]),
        system=tuple(Text(part["text"]) for part in given.get("systemInstruction", {}).get("parts", [])),
        tools=tuple(
            Tool(f["name"], f.get("description", ""), compact(f["parametersJsonSchema"]).encode()) for f in declared
        ),
        tool_choice=None if choice is None else _tool_choice(choice),
        format=_format(config),
        output_tokens=config.get("maxOutputTokens"),
        sampling=Sampling(
            config.get("temperature"),
            config.get("topP"),
            config.get("topK"),
            config.get("seed"),
            config.get("presencePenalty"),
            config.get("frequencyPenalty"),
        ),
        stop=tuple(config.get("stopSequences", ())),
        effort=None
        if thinking is None
        else Effort(off=True)
        if not thinking["thinkingBudget"]
        else Effort("", thinking["thinkingBudget"]),
        choices=config.get("candidateCount", 1),
    )


def _tool_choice(given: Json) -> ToolChoice:
    names = given.get("allowedFunctionNames")
    return ToolChoice(ToolMode.NAMED, names[0]) if names else ToolChoice(_MODES[given["mode"]])


def _format(config: Json) -> OutputFormat | None:
    if config.get("responseMimeType") != "application/json":
        return None
    schema = config.get("responseJsonSchema")
    return OutputFormat(b"" if schema is None else compact(schema).encode())


def _message(content: Json) -> Message:
    parts: list[Part] = []
    thought = ""
    for part in content["parts"]:
        if part.get("thought"):
            thought += part["text"]
            continue
        if signature := part.get("thoughtSignature"):
            parts.append(Thinking(thought, *opened(signature, "gemini")))
            thought = ""
        if (read := _part(part)) is not None:
            parts.append(read)
    return Message(Role.ASSISTANT if content["role"] == "model" else Role.USER, tuple(parts))


def _part(part: Json) -> Part | None:
    if part.get("text"):
        return Text(part["text"])
    if call := part.get("functionCall"):
        return ToolCall(call["id"], call["name"], compact(call["args"]))
    if answer := part.get("functionResponse"):
        failed = "error" in answer["response"]
        said = answer["response"]["error" if failed else "output"]
        return ToolResult(answer["id"], answer["name"], (Text(said),) if said else (), failed)
    if data := part.get("inlineData"):
        return Media(_kind(data["mimeType"]), data["mimeType"], data["data"])
    if data := part.get("fileData"):
        return Media("image" if "image" in data["fileUri"] else "file", data.get("mimeType", ""), "", data["fileUri"])
    return None


def _kind(media_type: str) -> str:
    kind = media_type.partition("/")[0]
    return kind if kind in ("image", "audio") else "file"


def usage_of(usage: Usage) -> Json:
    return {
        "promptTokenCount": usage.input,
        "cachedContentTokenCount": usage.cached_input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.total,
    }


class GeminiEncoder:
    """Of one stream. A call goes out whole, as it does there."""

    def __init__(self) -> None:
        self._id = ""
        self._model = ""
        self._usage: Json | None = None
        self._calls: dict[int, tuple[str, str]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._seals: dict[int, str] = {}
        self._said: dict[int, str] = {}

    def write(self, event: TurnEvent) -> bytes:
        match event:
            case Started():
                self._id, self._model = event.id, event.model
                return b""
            case TextDelta() | RefusalDelta():
                before = self._call(event.choice)
                self._said[event.choice] = self._said.get(event.choice, "") + event.text
                return before + self._event(event.choice, self._sealed(event.choice, {"text": event.text}))
            case ThinkingDelta():
                before = self._call(event.choice) + self._seal(event.choice)
                return before + self._event(event.choice, {"text": event.text, "thought": True})
            case ThinkingSealed():
                before = self._call(event.choice) + self._seal(event.choice)
                seal = sealed(event.signature, event.origin, "gemini", hidden=event.hidden)
                self._seals[event.choice] = seal
                return before
            case CallStarted():
                before = self._call(event.choice)
                self._calls[event.choice] = (event.id, event.name)
                self._pieces[event.choice] = []
                return before
            case CallFragment():
                self._pieces[event.choice].append(event.text)
                return b""
            case Cited():
                return self._cite(event)
            case Finished():
                before = self._call(event.choice) + self._seal(event.choice)
                return before + self._event(event.choice, None, finishReason=FINISHES[event.finish])
            case Counted():
                self._usage = usage_of(event.usage)
                return self._frame([])
            case Ended():
                return b""
        return b": ping\r\n\r\n"

    def _sealed(self, choice: int, part: Json) -> Json:
        seal = self._seals.pop(choice, "")
        return part | ({"thoughtSignature": seal} if seal else {})

    def _seal(self, choice: int) -> bytes:
        return self._event(choice, self._sealed(choice, {"text": ""})) if choice in self._seals else b""

    def _call(self, choice: int) -> bytes:
        if choice not in self._calls:
            return b""
        call_id, name = self._calls.pop(choice)
        call = {"id": call_id, "name": name, "args": json.loads("".join(self._pieces[choice]))}
        return self._event(choice, self._sealed(choice, {"functionCall": call}))

    def _cite(self, event: Cited) -> bytes:
        said, cited = self._said.get(event.choice, ""), event.citation
        segment = {
            "startIndex": len(said[: cited.start].encode()),
            "endIndex": len(said[: cited.end].encode()),
        }
        grounding = {
            "groundingChunks": [{"web": {"uri": cited.url, "title": cited.title}}],
            "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
        }
        return self._event(event.choice, None, groundingMetadata=grounding)

    def _event(self, choice: int, part: Json | None, **more: object) -> bytes:
        content = {"role": "model", "parts": [part] if part is not None else []}
        return self._frame([{"index": choice, "content": content, **more}])

    def _frame(self, candidates: list[Json]) -> bytes:
        body: Json = {"candidates": candidates, "responseId": self._id, "modelVersion": self._model}
        if self._usage is not None:
            body["usageMetadata"] = self._usage
        return b"data: " + compact(body).encode() + b"\r\n\r\n"


def body_of(answer: Answer) -> bytes:
    body: Json = {
        "candidates": [_candidate(at, choice) for at, choice in enumerate(answer.choices)],
        "responseId": answer.id,
        "modelVersion": answer.model,
    }
    if answer.usage is not None:
        body["usageMetadata"] = usage_of(answer.usage)
    return compact(body).encode()


def _candidate(at: int, choice: Choice) -> Json:
    parts: list[Json] = []
    seal, said = "", b""
    chunks: list[Json] = []
    supports: list[Json] = []
    for part in choice.parts:
        if isinstance(part, Thinking):
            if seal:
                parts.append({"text": "", "thoughtSignature": seal})
            if part.text:
                parts.append({"text": part.text, "thought": True})
            seal = sealed(part.signature, part.origin, "gemini", hidden=part.hidden)
            continue
        if isinstance(part, ToolCall):
            shown: Json = {"functionCall": {"id": part.id, "name": part.name, "args": json.loads(part.arguments)}}
        else:
            shown = {"text": part.text}
        if seal:
            shown["thoughtSignature"], seal = seal, ""
        parts.append(shown)
        if isinstance(part, Text | Refusal):
            for cited in part.citations if isinstance(part, Text) else ():
                segment = {
                    "startIndex": len(said) + len(part.text[: cited.start].encode()),
                    "endIndex": len(said) + len(part.text[: cited.end].encode()),
                }
                supports.append({"segment": segment, "groundingChunkIndices": [len(chunks)]})
                chunks.append({"web": {"uri": cited.url, "title": cited.title}})
            said += part.text.encode()
    if seal:
        parts.append({"text": "", "thoughtSignature": seal})
    candidate: Json = {
        "index": at,
        "content": {"role": "model", "parts": parts},
        "finishReason": FINISHES[choice.finish],
    }
    if chunks:
        candidate["groundingMetadata"] = {"groundingChunks": chunks, "groundingSupports": supports}
    return candidate
