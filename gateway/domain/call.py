"""What goes out to a provider: one upstream HTTP call as a value."""

from gateway.domain.catalog import Credential, Timeouts
from gateway.domain.value import value


@value
class UpstreamCall:
    """`path` is absolute and includes the provider's base path; the key is added by the egress function alone.

    `dropped` are the fields of the request that are not in it.
    `deadline_s` is on the monotonic clock and covers everything up to the end of the body.
    """

    credential: Credential
    path: str
    body: bytes
    timeouts: Timeouts
    deadline_s: float
    headers: tuple[tuple[bytes, bytes], ...] = ()
    method: str = "POST"
    dropped: tuple[str, ...] = ()
