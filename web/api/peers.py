"""Whose address a request is from, when proxies of ours may stand between: for counting, never for letting anybody in.

What a request says of itself (`X-Forwarded-For`, `Forwarded` of RFC 7239) counts only as far as proxies wrote it that
the operator trusts: it is read from its end, over the addresses of trusted proxies, to the first that is none. A proxy
writes one of the two headers and may let the other through as it came, so they must agree, where both are there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from werkzeug.datastructures import Headers

__all__ = ["Networks", "client_of"]

Networks = Sequence[IPv4Network | IPv6Network]
Address = IPv4Address | IPv6Address

MOST_HOPS = 20  # nobody has so many proxies; what is further away was made up
# RFC 7239: pairs with `;` between, values may be quoted. `for` is a node: an address, with a port perhaps.
_FOR = re.compile(r"(?:^|;)\s*for\s*=\s*(\"[^\"]*\"|[^;\s]*)", re.IGNORECASE)
_NODE = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+|(?P<bare>\S+)")


def client_of(peer: str, headers: Headers, trusted: Networks) -> str:
    """The address to hold a request against; the peer's own, unless that is a trusted proxy that names another."""
    if not _is_trusted(_address(peer), trusted):
        return peer
    named = {
        found
        for hops in (_hops(headers, "X-Forwarded-For"), [_for(one) for one in _hops(headers, "Forwarded")])
        if hops and (found := _first_stranger(hops, trusted)) is not None
    }
    return str(named.pop()) if len(named) == 1 else peer


def _first_stranger(hops: Sequence[str], trusted: Networks) -> Address | None:
    """None: there is none, or somebody in between does not say who asked them."""
    for hop in reversed(hops[-MOST_HOPS:]):
        address = _address(hop)
        if address is None or not _is_trusted(address, trusted):
            return address
    return None


def _hops(headers: Headers, name: str) -> list[str]:
    return [hop.strip() for line in headers.getlist(name) for hop in line.split(",") if hop.strip()]


def _for(element: str) -> str:
    found = _FOR.search(element)
    return found[1].strip('"') if found else ""


def _address(node: str) -> Address | None:
    """`203.0.113.7`, `203.0.113.7:4711`, `[2001:db8::1]:4711`, `2001:db8::1`; a v4 address in v6 clothes is v4."""
    found = _NODE.fullmatch(node)
    if found is not None:
        with suppress(ValueError):
            address = ip_address((found["v6"] or found["v4"] or found["bare"]).partition("%")[0])
            return getattr(address, "ipv4_mapped", None) or address
    return None


def _is_trusted(address: Address | None, trusted: Networks) -> bool:
    return address is not None and any(address in network for network in trusted)
