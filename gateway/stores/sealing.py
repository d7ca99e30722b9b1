"""What is written down of an answer can be read only by whoever sends its idempotency key again."""

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class Sealing:
    """AES-256-GCM under HMAC-SHA-256(secret, seal). `secret` is the same in all processes and not in the store."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sealed(self, seal: bytes, request_id: str, frame: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher(seal).encrypt(nonce, frame, request_id.encode())

    def opened(self, seal: bytes, request_id: str, frame: bytes) -> bytes | None:
        """None where another secret sealed it."""
        try:
            return self._cipher(seal).decrypt(frame[:NONCE_BYTES], frame[NONCE_BYTES:], request_id.encode())
        except InvalidTag:
            return None

    def _cipher(self, seal: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._secret, seal, hashlib.sha256))
