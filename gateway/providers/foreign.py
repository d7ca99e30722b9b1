"""Leaves out of a native request what other providers' models have thought: this one would refuse their signatures."""

from typing import Any

import msgspec

from gateway.domain.seals import MARK
from gateway.formats.openai import encode

_MARK = b'"' + MARK.encode()
_UNSIGNED = b'"signature":""'
_KINDS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_SEALS = ("signature", "data", "encrypted_content")
_decode = msgspec.json.Decoder(list[Any]).decode


def is_mixed(raw: bytes) -> bool:
    return raw[:1] == b"[" and (raw.find(_MARK) >= 0 or raw.find(_UNSIGNED) >= 0)


def without_foreign(raw: bytes) -> tuple[bytes, bool]:
    """Messages or items without it, and whether the answer that comes last has lost some."""
    lost_last = False
    kept: list[Any] = []
    for item in _decode(raw):
        if not isinstance(item, dict):
            kept.append(item)
            continue
        if _is_foreign(item):
            lost_last = True
            continue
        if item.get("role") != "assistant":
            kept.append(item)
            continue
        stripped = _without(item)
        lost_last = stripped != item
        if stripped.get("content") != []:
            kept.append(stripped)
    return encode(kept), lost_last


def without_members(raw: bytes, names: frozenset[str]) -> tuple[bytes, tuple[str, ...]]:
    """Messages without these members, and which of them were there."""
    if not any(b'"%b"' % name.encode() in raw for name in names):
        return raw, ()
    messages = _decode(raw)
    spoken = [one for one in messages if isinstance(one, dict)]
    there = tuple(name for name in sorted(names) if any(name in one for one in spoken))
    for message in spoken:
        for name in there:
            message.pop(name, None)
    return (encode(messages) if there else raw), there


def _without(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list):
        content = [block for block in content if not _is_foreign(block)]
    details = message.get("reasoning_details")
    left = {**message, "content": content} if "content" in message else dict(message)
    if isinstance(details, list) and any(_marked(detail) for detail in details):
        left.pop("reasoning_details")
        left.pop("reasoning_content", None)
    return left


def _is_foreign(block: object) -> bool:
    if not isinstance(block, dict) or block.get("type") not in _KINDS:
        return False
    return _marked(block) or (block["type"] == "thinking" and not block.get("signature"))


def _marked(block: object) -> bool:
    return isinstance(block, dict) and any(str(block.get(name, "")).startswith(MARK) for name in _SEALS)
