"""What is asked of every server of somebody else: where it may be, and how its certificate is checked."""

import ssl
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def problems(
    url: str, allow: tuple[str, ...], *, offers: str, verify: bool, production: bool
) -> tuple[str | None, ...]:
    parts = urlsplit(url)
    plain = parts.scheme != "https" and parts.hostname not in LOOPBACK
    return (
        f"url is {url!r}; only https leaves this machine" if plain and not parts.password else None,
        f"allow is empty; name the {offers} that a remote server may offer, or ('*',) for all" if not allow else None,
        "verify is False; in production certificates are checked (use ca_file for your own authority)"
        if production and not verify
        else None,
        "url holds a password; use headers with env: or file:" if parts.password else None,
    )


def trust(ca_file: str | None, client_cert: tuple[str, str] | None, *, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_cert is not None:
        context.load_cert_chain(*client_cert)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
