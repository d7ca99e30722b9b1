"""Decides which resolved addresses may be connected to."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from gateway.domain.catalog import Origin

Address = IPv4Address | IPv6Address
# The reason to refuse an address, or None.
AddressPolicy = Callable[[Origin, Address], str | None]

_NEVER_V4: tuple[tuple[IPv4Network, str], ...] = (
    (IPv4Network("169.254.0.0/16"), "link-local, where clouds keep instance metadata"),
    (IPv4Network("168.63.129.16/32"), "Azure's platform address"),
    (IPv4Network("100.100.100.200/32"), "Alibaba's metadata address"),
    (IPv4Network("192.0.0.192/32"), "Oracle's metadata address"),
    (IPv4Network("0.0.0.0/8"), "this network"),
    (IPv4Network("224.0.0.0/4"), "multicast"),
    (IPv4Network("255.255.255.255/32"), "broadcast"),
)
_NEVER_V6: tuple[tuple[IPv6Network, str], ...] = (
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("fec0::/10"), "site-local"),
    (IPv6Network("fd00:ec2::/32"), "Amazon's metadata address"),
    (IPv6Network("fd20:ce::254/128"), "Google's metadata address"),
    (IPv6Network("ff00::/8"), "multicast"),
    (IPv6Network("::/128"), "unspecified"),
    (IPv6Network("2001::/32"), "Teredo"),
)
_LOOPBACK = IPv6Address("::1")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")


def never_metadata(origin: Origin, address: Address) -> str | None:
    """The default: base URLs come from the operator alone, so all is allowed but what no provider can live at."""
    del origin
    if isinstance(address, IPv6Address):
        inner = _embedded_v4(address)
        if inner is None:
            return next((reason for network, reason in _NEVER_V6 if address in network), None)
        address = inner
    return next((reason for network, reason in _NEVER_V4 if address in network), None)


def _embedded_v4(address: IPv6Address) -> IPv4Address | None:
    """IPv4 in IPv6 clothes is judged as what it reaches (DNS64 networks see all of IPv4 that way)."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    compatible = address in _COMPATIBLE and address != _LOOPBACK and int(address) != 0
    if compatible or any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
