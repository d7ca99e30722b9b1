"""JSON bodies of callers, checked and split into their top-level members before anything is understood."""

import json
import math
import re

import msgspec

from gateway.domain.errors import InvalidRequest
from gateway.formats.openai import decode_members, encode

DEPTH_MAX = 64
NODES_MAX = 200_000
DUPLICATE_BYTES_MIN = len(b'"n":1,')
GUARDED = frozenset({"model", "messages", "max_tokens", "max_completion_tokens", "stream", "n", "user", "metadata"})

_ESCAPE = "\\ud800"
_HALF_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def members_of(body: bytes) -> dict[str, bytes]:
    """Top-level members in order, each value as the caller wrote it. Raises InvalidRequest."""
    try:
        if not body.isascii():
            body.decode()
        _check_size(body)
        # A join copies one at a third of what `bytes` takes to find out what it is given.
        members = {name: b"".join([value]) for name, value in decode_members(body).items()}
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"the body is not UTF-8 (byte {error.start} cannot be decoded); send JSON encoded as UTF-8"
        ) from None
    except msgspec.ValidationError:
        raise InvalidRequest('the body is not a JSON object; send one, such as {"model": ..., ...}') from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {_plain(str(error), body)}") from None
    except RecursionError:
        raise InvalidRequest(_too_deep()) from None
    _check_duplicates(body, members)
    _check_finite(body, members)
    return members


def _plain(message: str, body: bytes) -> str:
    message = message.removeprefix("JSON is malformed: ")
    if body.startswith(b"\xef\xbb\xbf"):
        return "it begins with a byte order mark (byte 0); send plain UTF-8"
    if message != "Input data was truncated":
        return message
    if (half := _HALF_PAIR.search(body)) is not None:
        return f"invalid utf-16 surrogate pair (byte {half.end() - len(_ESCAPE)})"
    return f"it ends too early (byte {len(body)})"


def _too_deep() -> str:
    return f"the body is nested deeper than {DEPTH_MAX} levels; flatten it"


def _check_size(body: bytes) -> None:
    deep = body.count(b"[") + body.count(b"{") > DEPTH_MAX and _deep(body.translate(_SQUARE, _NOT_BRACKETS))
    if deep and _deep(_STRINGS.sub(b"", body).translate(_SQUARE, _NOT_BRACKETS)):
        raise InvalidRequest(_too_deep())
    if len(body) > NODES_MAX and body.count(b",") + body.count(b"[") + body.count(b"{") > NODES_MAX:
        bare = _STRINGS.sub(b"0", body)
        if bare.count(b",") + bare.count(b"{") + bare.count(b"[") > NODES_MAX:
            raise InvalidRequest(f"the body has more than {NODES_MAX} JSON values; send less in one request")


def _deep(brackets: bytes) -> bool:
    """Whether brackets remain after removing the innermost pairs once for each allowed level."""
    for _ in range(DEPTH_MAX):
        shorter = brackets.replace(b"[]", b"")
        if not shorter:
            return False
        if len(shorter) == len(brackets):
            return True
        brackets = shorter
    return True


def _check_duplicates(body: bytes, members: dict[str, bytes]) -> None:
    """A body hardly longer than its members has no room for a duplicate; one in Python's default style holds none."""
    spare_bytes = len(body) - 1
    for name, value in members.items():
        spare_bytes -= len(name) + len(value) + len(b'"":,')
    if spare_bytes < DUPLICATE_BYTES_MIN:
        return
    if body == b"{" + b", ".join([encode(name) + b": " + value for name, value in members.items()]) + b"}":
        return
    pairs = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    names = [name for name, _ in pairs]
    for name in GUARDED.intersection(names):
        if names.count(name) > 1:
            raise InvalidRequest(f"the body names {name!r} more than once; send it once", param=name)


def _check_finite(body: bytes, members: dict[str, bytes]) -> None:
    """A number that some parsers read as infinity."""
    for name, value in members.items():
        if 0x30 <= value[-1] <= 0x39 and math.isinf(float(value)):
            at = body.find(value)
            raise InvalidRequest(f"{name!r} is too large a number (byte {at})", param=name)
