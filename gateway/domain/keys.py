"""The form of a caller's or an operator's key: `gw_<env>_<public id>_<secret>_<checksum>`."""

import re
import zlib

from gateway.domain.value import value

ID_CHARS = 12
SECRET_CHARS = 43
"""256 bits in URL-safe base64 without padding."""

PATTERN = re.compile(r"gw_([a-z0-9]{1,16})_([A-Za-z0-9]{12})_([A-Za-z0-9_-]{43})_([0-9a-f]{8})")
"""Also for scanners that look for leaked secrets."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@value
class KeyText:
    """The parts of a well-formed key; `secret` is what must never be stored."""

    env: str
    id: str
    secret: str


def key_text(env: str, key_id: str, secret: str) -> str:
    """What is shown once. The checksum lets a mistyped key be told from an unknown one without asking anybody."""
    body = f"gw_{env}_{key_id}_{secret}"
    return f"{body}_{zlib.crc32(body.encode()):08x}"


def parse_key(text: str) -> KeyText | None:
    """None for anything else, also with a wrong checksum."""
    match = PATTERN.fullmatch(text)
    if match is None or f"{zlib.crc32(text[:-9].encode()):08x}" != match[4]:
        return None
    return KeyText(match[1], match[2], match[3])
