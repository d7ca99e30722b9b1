"""Egress: the only code that reveals a provider key, and only towards the origin that the key is bound to."""

import re

from gateway.domain.call import UpstreamCall
from gateway.domain.catalog import AuthStyle, Credential, Origin
from gateway.domain.failure import FailureKind, Sent
from gateway.upstream.failures import failed

_PREFIXES_MAX = 1024
_NAMES_MAX = 256
_PATH = re.compile(r"/[!-~]*")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_METHODS = frozenset({"POST", "GET", "PUT", "PATCH", "DELETE"})  # not HEAD: its answers are framed differently
_RESERVED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te", b"trailer", b"expect"}
    | {b"keep-alive", b"proxy-connection", b"proxy-authorization", b"cookie"}
    | {b"accept-encoding", b"content-type", b"user-agent"}
    | {style.value.encode() for style in AuthStyle if style.value}
)
_PORTS = {"http": 80, "https": 443}


class Egress:
    """Builds request heads; what does not change between calls is kept ready, by credential, path and method."""

    __slots__ = ("_names", "_prefixes")

    def __init__(self) -> None:
        self._prefixes: dict[tuple[str, str, str], tuple[Credential, bytes]] = {}
        self._names: set[bytes] = set()

    def head(self, call: UpstreamCall, origin: Origin) -> bytes:
        """The request head for a connection to `origin`.

        Invariant: no key leaves towards an origin other than the one it is bound to.
        """
        credential = call.credential
        if origin is not credential.origin and origin != credential.origin:
            raise failed(FailureKind.AUTH, f"credential {credential.id!r} is bound to another origin", Sent.NO)
        key = (credential.id, call.path, call.method)
        kept = self._prefixes.get(key)
        # A rotated secret under the same id is another credential: the kept head is then stale.
        if kept is None or (kept[0] is not credential and kept[0] != credential):
            kept = self._keep(key, credential)
        head = kept[1]
        for name, value in call.headers:
            if name not in self._names:
                self._admit(name)
            # Text that can be printed has no control character, and is known at a third of what the search costs.
            if not value.decode("latin-1").isprintable() and _CONTROL.search(value) is not None:
                raise failed(FailureKind.INVALID_REQUEST, f"header {name!r} has a control character", Sent.NO)
            head += b"%b: %b\r\n" % (name, value)
        if not call.body and call.method == "GET":
            return head + b"\r\n"
        return b"%bcontent-length: %d\r\n\r\n" % (head, len(call.body))

    def _keep(self, key: tuple[str, str, str], credential: Credential) -> tuple[Credential, bytes]:
        _, path, method = key
        if method not in _METHODS:
            raise failed(FailureKind.INVALID_REQUEST, f"method {method!r} is none of {sorted(_METHODS)}", Sent.NO)
        if _PATH.fullmatch(path) is None:
            raise failed(FailureKind.INVALID_REQUEST, f"path {path!r} is not absolute visible ASCII", Sent.NO)
        lines = [
            f"{method} {path} HTTP/1.1".encode(),
            b"host: " + _host(credential.origin),
            b"accept-encoding: identity",
            b"content-type: application/json",
            b"user-agent: meterway",
        ]
        if credential.auth is not AuthStyle.NONE:
            lines.append(_auth_line(credential))
        kept = (credential, b"\r\n".join(lines) + b"\r\n")
        self._prefixes.pop(key, None)
        if len(self._prefixes) >= _PREFIXES_MAX:
            del self._prefixes[next(iter(self._prefixes))]
        self._prefixes[key] = kept
        return kept

    def _admit(self, name: bytes) -> None:
        if _TOKEN.fullmatch(name) is None:
            raise failed(FailureKind.INVALID_REQUEST, f"header name {name!r} is not a token", Sent.NO)
        if name.lower() in _RESERVED:
            raise failed(FailureKind.INVALID_REQUEST, f"header {name!r} is written by egress alone", Sent.NO)
        if len(self._names) < _NAMES_MAX:
            self._names.add(name)


def _auth_line(credential: Credential) -> bytes:
    text = credential.secret.reveal()
    scheme = "Bearer " if credential.auth is AuthStyle.BEARER else ""
    try:
        line = f"{credential.auth.value}: {scheme}{text}".encode("ascii")
    except UnicodeEncodeError:
        line = b"\0"
    if not text or _CONTROL.search(line) is not None:
        raise failed(FailureKind.AUTH, f"credential {credential.id!r} is not one line of ASCII", Sent.NO) from None
    return line


def _host(origin: Origin) -> bytes:
    host = origin.host.strip("[]")
    host = f"[{host}]" if ":" in host else host
    try:
        name = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError:
        name = b"\0"
    if not name or re.fullmatch(rb"[0-9A-Za-z._:\[\]-]+", name) is None:
        raise failed(FailureKind.INVALID_REQUEST, f"host {origin.host!r} is no host name", Sent.NO)
    return name if _PORTS.get(origin.scheme) == origin.port else b"%b:%d" % (name, origin.port)
