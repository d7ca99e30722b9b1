"""Decides whether a base URL may be called, splitting it into the origin and the path beneath it."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from gateway.domain.catalog import Origin

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class BadUrl:
    """Why not, with what to do."""

    message: str
    remedy: str


def split_base_url(text: str, *, allow_http: bool, name: str = "base_url") -> tuple[Origin, str] | BadUrl:
    """The origin and base path (no trailing slash). Never tells the part before an @. `name` is the setting's."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return BadUrl(f"{name} cannot be read as a URL", "write it like https://host/v1")
    refusal = _refusal(text, parts, name, allow_http=allow_http)
    if refusal is not None:
        return refusal
    if port == 0:
        return BadUrl(f"{name} has port 0", "name the port of the server")
    host = _canonical(parts.hostname or "")
    if host is None:
        return BadUrl(f"the host of {text!r} is not a valid name", "use a DNS name or an IP address")
    return Origin(parts.scheme, host, port or _PORTS[parts.scheme]), parts.path.rstrip("/")


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(text: str, parts: SplitResult, name: str, *, allow_http: bool) -> BadUrl | None:
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return BadUrl(f"{name} holds a user name or password", "remove the part before the @; use keys")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text or "%" in parts.netloc:
        return BadUrl(f"{name} has characters that a URL must not have", "write it in plain ASCII; encode the rest")
    if parts.scheme not in _PORTS or not parts.hostname:
        return BadUrl(f"{name} {text!r} is not an http(s) URL with a host", "write it like https://host/v1")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        return BadUrl(f"{name} has a query or fragment", "remove everything from the ? or # on")
    if any(segment in {".", ".."} for segment in parts.path.split("/")) or "//" in parts.path:
        return BadUrl(f"the path of {text!r} has empty or dot segments", "write the plain path")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        return BadUrl(f"{text!r} is not encrypted", "use https, or set allow_http: true for a network that you trust")
    return None


def _canonical(host: str) -> str | None:
    lowered = host.lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(lowered))
    except ValueError:
        pass
    labels = lowered.split(".")
    good = all(0 < len(label) <= 63 and label.replace("-", "a").replace("_", "a").isalnum() for label in labels)
    numeric = labels[-1].isdigit() or labels[-1].startswith("0x")
    return lowered if good and not numeric and len(lowered) <= 253 else None
