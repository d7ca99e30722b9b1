"""Events as SSE lines, well made and badly made."""

from typing import Final

from gateway.sim.event import Event
from gateway.sim.fault import MalformedSse

PING: Final = b": ping\n\n"
LINE_ENDS: Final = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
LASTING: Final = frozenset(("cr_only", "multi_line_data"))
"""Flaws of every event from the first on, not of one."""
LEGAL: Final = frozenset(("cr_only", "multi_line_data", "bom"))
FINAL: Final = frozenset(("html",))
_BOM: Final = b"\xef\xbb\xbf"


def frame(event: Event, end: bytes = b"\n") -> bytes:
    if event.name:
        return b"event: %b%bdata: %b%b%b" % (event.name, end, event.data, end, end)
    return b"data: %b%b%b" % (event.data, end, end)


def flawed(event: Event, fault: MalformedSse, end: bytes) -> bytes:
    """The event with the flaw of the fault."""
    match fault.flaw:
        case "bad_utf8":
            return frame(event._replace(data=event.data[:-1] + b',"x":"\xff\xc3("}'), end)
        case "bad_json":
            return frame(event._replace(data=event.data[: max(1, len(event.data) // 2)]), end)
        case "not_an_object":
            return frame(event._replace(data=b'["not", "an", "object"]'), end)
        case "huge_line":
            pad = b"x" * fault.huge_bytes
            return frame(event._replace(data=b'%b,"pad":"%b"}' % (event.data[:-1], pad)), end)
        case "cr_only":
            return frame(event, b"\r")
        case "bom":
            return _BOM + frame(event, end)
        case "multi_line_data":
            return frame(event._replace(data=event.data.replace(b",", b",%bdata: " % end, 1)), end)
        case "missing_blank_line":
            return frame(event, end)[: -len(end)]
        case "html":
            return b"<html><head><title>502 Bad Gateway</title></head><body>proxy error</body></html>\n"
