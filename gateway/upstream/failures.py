"""The one table by which foreign exceptions leave the harbour as failures of ours."""

import errno
import socket
import ssl
import zlib

import httptools

from gateway.domain.failure import AttemptFailed, Failure, FailureKind, Sent
from gateway.domain.symbol import Symbol


class Stage(Symbol):
    """How far the making of a connection has come; it names what a time-out or a reset means there."""

    WAIT = FailureKind.POOL_FULL
    NAME = FailureKind.DNS
    CONNECT = FailureKind.CONNECT_TIMEOUT
    TLS = FailureKind.TLS


# Our own saturation, never the provider's fault: no descriptors, no ports, no memory.
_OURS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EAGAIN}
)
_OURS_NAMES = frozenset({socket.EAI_SYSTEM, socket.EAI_MEMORY})

# First match wins; the most telling class stands first.
_TABLE: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (ssl.SSLError, FailureKind.TLS),
    (socket.gaierror, FailureKind.DNS),
    (UnicodeError, FailureKind.DNS),
    (ConnectionRefusedError, FailureKind.REFUSED),
    (TimeoutError, FailureKind.CONNECT_TIMEOUT),
    (OSError, FailureKind.REFUSED),
    (httptools.HttpParserError, FailureKind.MALFORMED_BODY),
    (httptools.HttpParserUpgrade, FailureKind.MALFORMED_BODY),
    (zlib.error, FailureKind.MALFORMED_BODY),
)


def connect_failure(error: OSError | UnicodeError, stage: Stage) -> Failure:
    """What it means that no connection could be made; nothing was sent."""
    kind = _own_saturation(error) or _staged(error, stage) or _kind_of(error)
    return Failure(kind, f"no connection ({stage.name.lower()}): {describe(error)}", sent=Sent.NO)


def timed_out(stage: Stage) -> Failure:
    return Failure(stage.value, f"no connection in time ({stage.name.lower()})", sent=Sent.NO)


def malformed(error: Exception) -> Failure:
    """What it means that the answer is not HTTP, or not what its content-encoding says."""
    return Failure(_kind_of(error), f"malformed response: {describe(error)}", sent=Sent.YES)


def describe(error: BaseException) -> str:
    """The class and, where there is one, the errno by name: never the text, which holds addresses."""
    code = getattr(error, "errno", None)
    if isinstance(error, ssl.SSLError):
        return f"{type(error).__name__} {error.reason or ''}".rstrip()
    if isinstance(error, OSError) and code is not None:
        return f"{type(error).__name__} {errno.errorcode.get(code, code)}"
    if isinstance(error, httptools.HttpParserError):
        return str(error)
    return type(error).__name__


def failed(kind: FailureKind, message: str, sent: Sent) -> AttemptFailed:
    return AttemptFailed(Failure(kind, message, sent=sent))


def _own_saturation(error: OSError | UnicodeError) -> FailureKind | None:
    code = getattr(error, "errno", None)
    if isinstance(error, ssl.SSLError):
        return None
    ours = code in _OURS_NAMES if isinstance(error, socket.gaierror) else code in _OURS
    return FailureKind.POOL_FULL if ours else None


def _staged(error: OSError | UnicodeError, stage: Stage) -> FailureKind | None:
    """After the TCP handshake whatever breaks is TLS; while a name is looked up it is DNS."""
    if stage is Stage.TLS:
        return FailureKind.TLS
    if stage is Stage.NAME:
        return FailureKind.DNS
    return None


def _kind_of(error: BaseException) -> FailureKind:
    for type_, kind in _TABLE:
        if isinstance(error, type_):
            return kind
    raise error  # not foreign to the table: a fault of ours, to be seen as it is
