"""Where a session belongs: a stable choice that needs no memory, moves little and is isolated by tenant."""

import hashlib
import math
import zlib
from collections.abc import Iterable

from gateway.domain.catalog import Deployment

_MASK = (1 << 30) - 1
"""Python multiplies numbers of thirty bits without long arithmetic."""

_SCALE = 1.0 / (1 << 30)


def session_key(tenant_id: str, session: str | bytes) -> bytes:
    """A digest that says nothing about the session and differs between tenants."""
    text = session.encode("utf-8", "surrogatepass") if isinstance(session, str) else session
    return hashlib.blake2b(text, digest_size=16, key=tenant_id.encode()[:64]).digest()


def opening_key(tenant_id: str, opening: bytes) -> bytes:
    """For a session without a name: nothing is kept under it, so a checksum will do, at a tenth of a digest's cost."""
    return zlib.crc32(opening, zlib.crc32(tenant_id.encode())).to_bytes(4, "big")


def rendezvous(key: bytes, deployments: Iterable[Deployment]) -> list[Deployment]:
    """Weighted rendezvous order (highest random weight, Thaler and Ravishankar 1998): best first.

    Removing a deployment moves only the sessions that were on it.
    """
    session = int.from_bytes(key[:4], "big") >> 2
    return sorted(deployments, key=lambda deployment: _cost(session, deployment))


def _cost(session: int, deployment: Deployment) -> float:
    """Two rounds of multiply and fold, as MurmurHash3's finalizer does, make the two numbers a uniform one."""
    mixed = session ^ deployment.salt
    mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D & _MASK
    mixed = (mixed ^ mixed >> 12) * 0x297A2D39 & _MASK
    return -math.log(((mixed ^ mixed >> 15) + 1) * _SCALE) / deployment.weight
