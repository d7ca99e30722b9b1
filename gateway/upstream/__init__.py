"""The only outbound sockets of the data plane."""

from gateway.upstream.client import HttpUpstream
from gateway.upstream.names import Resolver
from gateway.upstream.policy import AddressPolicy, never_metadata
from gateway.upstream.pool import PoolStats

__all__ = ["AddressPolicy", "HttpUpstream", "PoolStats", "Resolver", "never_metadata"]
