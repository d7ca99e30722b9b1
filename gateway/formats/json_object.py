"""JSON objects that models write, which may be none."""

import msgspec

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def object_of(text: str) -> bytes:
    """What a model wrote as arguments, as an object also where it is none."""
    written = text.encode()
    try:
        _decode(written)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode({"invalid_json": text})
    return written
