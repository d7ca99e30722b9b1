"""The composition root: the only place where collaborators are named and introduced to each other."""

from gateway.app.gateway import Gateway
from gateway.app.run import serve, serve_with

__all__ = ["Gateway", "serve", "serve_with"]
