"""Resolves env:NAME, file:PATH or none to the secret meant, without ever telling it."""

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from gateway.config.problems import Findings, shown
from gateway.config.problems import Path as Place
from gateway.domain.catalog import Secret

_SECRET_BYTES_MAX = 64 * 1024
_ADMIN_CHARS_MIN = 16
_PLACEHOLDER = re.compile(
    r"change.?(?:me|this)|replace.?(?:me|this)|place.?holder|example|your.?(?:admin|key|secret|token|api)"
    r"|^(?:admin|secret|password|test|default|meterway|letmein|demo)|^(?:sk-)?(?:1234|abcd|xxxx|0000)|^(?P<same>.)(?P=same)+$",
    re.IGNORECASE,
)


class SecretRefs:
    """Reads secrets for one load; relative files are sought beside the configuration file."""

    def __init__(self, environ: Mapping[str, str], folder: Path, findings: Findings) -> None:
        self._environ = environ
        self._folder = folder
        self._findings = findings

    def resolve(self, ref: str, place: Place) -> Secret | None:
        """The secret, or None when a problem was found."""
        kind, _, name = ref.partition(":")
        text = self._from_env(name, place) if kind == "env" else self._from_file(name, place)
        if text is None:
            return None
        if not text:
            self._findings.problem(place, f"{ref} is empty", "give it the secret, or remove this entry")
            return None
        if not (text.isascii() and text.isprintable()) or " " in text:
            message = f"{ref} holds spaces, line breaks or characters that cannot stand in an HTTP header"
            self._findings.problem(
                place, message, "check that exactly the key was put there, without quotes or newlines"
            )
            return None
        return Secret(text)

    def resolve_admin(self, ref: str, place: Place) -> Secret | None:
        secret = self.resolve(ref, place)
        if secret is None:
            return None
        text = secret.reveal()
        if len(text) < _ADMIN_CHARS_MIN or _PLACEHOLDER.search(text):
            reason = f"shorter than {_ADMIN_CHARS_MIN} characters" if len(text) < _ADMIN_CHARS_MIN else "a placeholder"
            remedy = "make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            self._findings.problem(place, f"the admin key in {ref} is {reason}", remedy)
            return None
        return secret

    def resolve_url(self, text: str, place: Place) -> Secret | None:
        """A URL that stands in the file, or is referred to because it holds a password."""
        return self.resolve(text, place) if text.startswith(("env:", "file:")) else Secret(text)

    def _from_env(self, name: str, place: Place) -> str | None:
        text = self._environ.get(name)
        if text is None:
            self._findings.problem(place, f"the environment has no {shown(name)}", "export it, or use file:PATH")
            return None
        return text.strip()

    def _from_file(self, name: str, place: Place) -> str | None:
        path = self._folder / name
        try:
            info = path.stat()
            if not stat.S_ISREG(info.st_mode):
                self._findings.problem(place, f"{name} is not a file", "name the file that holds the secret")
                return None
            if info.st_mode & stat.S_IROTH:
                self._findings.problem(place, f"everybody on this machine can read {name}", f"chmod 600 {path}")
                return None
            if info.st_size > _SECRET_BYTES_MAX:
                self._findings.problem(place, f"{name} is too large for a secret", "put only the secret there")
                return None
            return path.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            self._findings.problem(place, f"{name} is not text", "put only the secret there, as plain text")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
            self._findings.problem(place, f"cannot read {name}: {reason}", "check the path and its permissions")
        return None
