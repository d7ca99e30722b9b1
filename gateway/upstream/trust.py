"""TLS settings: verification is always on, there is no switch."""

import ssl


class Trust:
    """Client contexts, one for each CA file; None is the machine's own store."""

    def __init__(self) -> None:
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def context(self, ca_file: str | None) -> ssl.SSLContext:
        """Raises OSError or ssl.SSLError if the file is not there or holds no certificates."""
        kept = self._contexts.get(ca_file)
        if kept is None:
            kept = ssl.create_default_context(cafile=ca_file)
            kept.minimum_version = ssl.TLSVersion.TLSv1_2
            kept.set_alpn_protocols(["http/1.1"])
            self._contexts[ca_file] = kept
        return kept

    def forget(self) -> None:
        """The files are read again at the next connection: certificates are rotated under the same name."""
        self._contexts.clear()
