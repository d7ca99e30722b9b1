"""Keys as they are presented, checked against what is stored of them: an HMAC under a pepper kept elsewhere."""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, TypeVar

from gateway.domain.catalog import Secret
from gateway.domain.keys import ID_CHARS, LETTERS, key_text, parse_key
from gateway.ports import Clock

_T = TypeVar("_T")

KNOWN_MAX = 100_000
UNKNOWN_MAX = 100_000
FAILURES_MAX = 100
FAILURES_WINDOW_S = 60.0
ADDRESSES_MAX = 10_000
_NOBODY = b"\x00" * 32


class Peppers:
    """HMAC-SHA-256 under the newest pepper; an older one still verifies until the operator takes it away."""

    def __init__(self, peppers: Mapping[str, Secret]) -> None:
        """By id, the newest first."""
        self._peppers = {name: secret.reveal().encode() for name, secret in peppers.items()}
        self.newest = next(iter(self._peppers))

    def digest(self, text: str, pepper_id: str | None = None) -> bytes:
        """Of an unknown pepper id too, in the same time."""
        pepper = self._peppers.get(pepper_id or self.newest, _NOBODY)
        return hmac.digest(pepper, text.encode(), "sha256")

    def secret_for(self, purpose: bytes) -> bytes:
        """From the newest pepper, the same in every process that has it."""
        return hmac.digest(self._peppers[self.newest], b"for:" + purpose, "sha256")

    def id_of(self, text: str) -> str:
        """The public id of a key that is not of our form; it says nothing about the key."""
        parsed = parse_key(text)
        if parsed is not None:
            return parsed.id
        return "x" + hmac.digest(self._peppers[self.newest], b"id:" + text.encode(), "sha256").hex()[: ID_CHARS - 1]

    def ids_of(self, text: str) -> list[str]:
        """Every id under which the key may be stored, one for each active pepper."""
        parsed = parse_key(text)
        if parsed is not None:
            return [parsed.id]
        digests = (hmac.digest(pepper, b"id:" + text.encode(), "sha256").hex() for pepper in self._peppers.values())
        return ["x" + digest[: ID_CHARS - 1] for digest in digests]


def new_key(env: str) -> tuple[str, str]:
    """A fresh public id, and the whole text to show once."""
    key_id = "".join(secrets.choice(LETTERS) for _ in range(ID_CHARS))
    return key_id, key_text(env, key_id, secrets.token_urlsafe(32))


class KeyRing(Generic[_T]):
    """Finds whose key a text is. What was found once is found again by a digest of the whole text.

    `adopt` swaps everything that is known, and with it every remembered answer: a key that was revoked there is refused
    from then on. `holders` map a public id to its stored digest, its pepper and whose it is.
    """

    def __init__(self, clock: Clock, peppers: Peppers, *, unknown_max: int = UNKNOWN_MAX) -> None:
        self._clock = clock
        self._peppers = peppers
        self._holders: Mapping[str, tuple[bytes, str, _T]] = {}
        self._known: dict[bytes, _T] = {}
        self._unknown: OrderedDict[bytes, None] = OrderedDict()
        self._unknown_max = unknown_max
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def adopt(self, holders: Mapping[str, tuple[bytes, str, _T]]) -> None:
        self._holders = holders
        self._known = {}
        self._unknown.clear()

    def find(self, text: bytes, address: str = "") -> _T | None:
        """None for a key that is not known, and for everybody at an address that has failed too often."""
        digest = hashlib.blake2b(text).digest()  # half the cost of SHA-256, which OpenSSL makes
        known = self._known.get(digest)
        if known is not None:
            return known
        if digest in self._unknown or self._locked_out(address):
            return None
        found = self._verify(text)
        if found is None:
            self._remember_failure(digest, address)
            return None
        if len(self._known) < KNOWN_MAX:
            self._known[digest] = found
        return found

    def _verify(self, text: bytes) -> _T | None:
        """The same work for an unknown id as for a wrong secret."""
        try:
            spoken = text.decode("ascii")
        except UnicodeDecodeError:
            return None
        found: _T | None = None
        for key_id in self._peppers.ids_of(spoken):
            stored, pepper_id, holder = self._holders.get(key_id, (_NOBODY, "", None))
            same = hmac.compare_digest(self._peppers.digest(spoken, pepper_id), stored)
            if same and holder is not None:
                found = holder
        return found

    def _locked_out(self, address: str) -> bool:
        since_s, failures = self._failures.get(address, (0.0, 0))
        return failures >= FAILURES_MAX and self._clock.monotonic_s() - since_s < FAILURES_WINDOW_S

    def _remember_failure(self, digest: bytes, address: str) -> None:
        self._unknown[digest] = None
        if len(self._unknown) > self._unknown_max:
            self._unknown.popitem(last=False)
        if not address:
            return
        now_s = self._clock.monotonic_s()
        since_s, failures = self._failures.get(address, (now_s, 0))
        if now_s - since_s >= FAILURES_WINDOW_S:
            since_s, failures = now_s, 0
        self._failures[address] = (since_s, failures + 1)
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)
