"""The head of a request, and what is wrong with it."""

from gateway.domain.errors import GatewayError, HeadersTooLarge, InvalidRequest
from gateway.http.limits import DoorLimits

_FRAMING = frozenset({b"host", b"transfer-encoding", b"upgrade", b"expect"})
_SUSPECT = (b"//", b"\\", b"/.", b"%00", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b"%5C", b"#")


class RequestHead:
    """Filled by the parser; header names are in small letters. `path` and `query` are there once it is inspected."""

    __slots__ = ("expects_continue", "headers", "method", "path", "query", "upgrades", "url", "version")

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.method = b""
        self.version = "1.1"
        self.path = b""
        self.query = b""
        self.expects_continue = False
        self.upgrades = False

    def inspect(self, limits: DoorLimits, plain_paths: frozenset[bytes]) -> GatewayError | None:
        """What the request is refused for: sizes, the one host, the one framing, the path."""
        url, headers = self.url, self.headers
        header_bytes = limits.header_bytes
        total = len(url)
        framing: list[tuple[bytes, bytes]] = []
        if total > header_bytes:
            return HeadersTooLarge(f"the request target is longer than {header_bytes} bytes")
        if len(headers) > limits.headers_max:
            return HeadersTooLarge(f"there are more than {limits.headers_max} headers")
        for header in headers:
            size = len(header[0]) + len(header[1])
            total += size + 4
            if size > header_bytes:
                return HeadersTooLarge(f"a header is larger than {header_bytes} bytes")
            if header[0] in _FRAMING:
                framing.append(header)
        if total > limits.headers_bytes:
            return HeadersTooLarge(f"the head is larger than {limits.headers_bytes} bytes")
        fault = self._fault_in_framing(framing)
        self.path = url
        if fault is None and url not in plain_paths:
            self.path, _, self.query = url.partition(b"?")
            if self.path not in plain_paths and not _plain(self.path):
                fault = InvalidRequest("the request target is not a plain absolute path")
        return fault

    def _fault_in_framing(self, framing: list[tuple[bytes, bytes]]) -> GatewayError | None:
        hosts = 0
        encodings: list[bytes] = []
        for name, value in framing:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                encodings.append(value.lower())
            elif name == b"upgrade":
                self.upgrades = True
            elif value.lower() == b"100-continue":
                self.expects_continue = True
        old = self.version == "1.0"
        if encodings and encodings != [b"chunked"]:
            return InvalidRequest("the only transfer-encoding served is 'chunked', once")
        if (not old and self.version != "1.1") or (old and encodings):
            return InvalidRequest("only HTTP/1.1 is served, and HTTP/1.0 without transfer-encoding")
        if hosts != 1 and not (hosts == 0 and old):
            return InvalidRequest(f"a request has exactly one Host header, this one has {hosts}")
        return None


def _plain(path: bytes) -> bool:
    return path.startswith(b"/") and path.isascii() and not any(mark in path for mark in _SUSPECT)
