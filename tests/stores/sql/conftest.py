"""Databases of either kind."""

from tests.books import kept, server, url

__all__ = ["kept", "server", "url"]
