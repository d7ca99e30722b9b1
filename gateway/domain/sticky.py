"""Where a session belongs: a stable choice that needs no memory, moves little and is isolated by tenant."""

import hashlib
import math
from collections.abc import Iterable

from gateway.domain.catalog import Deployment

_SCALE = 1.0 / (1 << 64)


def session_key(tenant_id: str, session: str | bytes) -> bytes:
    """A digest that says nothing about the session and differs between tenants."""
    text = session.encode("utf-8", "surrogatepass") if isinstance(session, str) else session
    return hashlib.blake2b(text, digest_size=16, key=tenant_id.encode()[:64]).digest()


def rendezvous(key: bytes, deployments: Iterable[Deployment]) -> list[Deployment]:
    """Weighted rendezvous order (highest random weight, Thaler and Ravishankar 1998): best first.

    Removing a deployment moves only the sessions that were on it.
    """
    return sorted(deployments, key=lambda deployment: _cost(key, deployment))


def _cost(key: bytes, deployment: Deployment) -> float:
    digest = hashlib.blake2b(deployment.id.encode(), digest_size=8, key=key).digest()
    uniform = (int.from_bytes(digest, "big") + 1) * _SCALE
    return -math.log(min(uniform, 1.0)) / deployment.weight
