"""Connections to nowhere but the public internet: an httpcore network backend that checks where a name leads.

A name is resolved once, every address is judged, and the connection is made to a judged address itself: a name server
that answers otherwise the second time is never asked a second time. TLS still checks the name, since httpcore takes
the name of the certificate from the URL, not from the connection. What a URL looks like (decimal, octal, IDN, a
trailing dot) does not matter here: only what it resolves to (reference/reliability.md S5).
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from math import inf
from typing import Final

import httpcore
import trio

from engine.errors import CallscopeError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A host's addresses, as text. Raises OSError."""

HEAD_START_S = 0.25  # before the next address of a host is tried beside the first (RFC 8305)
MOST_ADDRESSES = 8
RESOLVERS = 20  # threads at once: a dead name server must not take those of the journal

# IANA special-purpose registries, 2025-10; Python's own `is_global` changed between 3.11 releases.
_NEVER_V4: Final = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",  # "this host": Linux connects it to itself
        "169.254.0.0/16",  # link-local: metadata of AWS, Google, Azure, DigitalOcean
        "100.100.100.200/32",  # metadata of Alibaba
        "168.63.129.16/32",  # wire server of Azure: a public address that every machine there reaches
        "192.0.0.0/24",  # IETF protocol assignments: metadata of Oracle (192.0.0.192)
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)  # fmt: skip
_OWN_V4: Final = tuple(
    IPv4Network(one)
    for one in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15")
)
_NEVER_V6: Final = tuple(
    IPv6Network(one)
    for one in (
        "fd00:ec2::/32",  # metadata of AWS
        "fd20:ce::/32",  # metadata of Google
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
    )
)  # fmt: skip
_OWN_V6: Final = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
_PUBLIC_V6: Final = IPv6Network("2000::/3")  # all that IANA has given out
_NAT64: Final = IPv6Network("64:ff9b::/96")  # an IPv6-only network's way to an IPv4 address: judged by that address


class ForbiddenAddress(CallscopeError):
    """A host leads to where we do not connect. `why` names no address and no host."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def why_not(address: str, *, allow_private: bool = False) -> str:
    """Why we do not connect to an address; empty when we do.

    Args:
        allow_private: our own networks and loopback are meant. Metadata services, link-local, multicast and
            addresses that hide another one never are.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return "no address"
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return "an address with a zone"
        if found not in _NAT64:
            return _why_not_v6(found, allow_private)
        found = IPv4Address(int(found) & 0xFFFF_FFFF)
    if any(found in network for network in _NEVER_V4):
        return "a link-local, multicast, metadata or reserved address"
    if not allow_private and any(found in network for network in _OWN_V4):
        return "a private or loopback address"
    return ""


def _why_not_v6(address: IPv6Address, allow_private: bool) -> str:
    if any(address in network for network in _NEVER_V6):
        return "a metadata or reserved address, or one with another inside"
    if any(address in network for network in _OWN_V6):
        return "" if allow_private else "a private or loopback address"
    return "" if address in _PUBLIC_V6 else "a link-local, multicast or reserved address, or one with another inside"


class SystemResolver:
    """The machine's own resolver, in threads of its own."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(RESOLVERS)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        def ask() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [f"{at[0]}%{at[3]}" if len(at) == 4 and at[3] else str(at[0]) for *_, at in found]

        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Trio's network for httpcore, with a guard at the door.

    Args:
        resolve: asked once for each connection.
        allow_private: see `why_not`.
        network: what connects to a judged address; Trio's sockets unless a test says otherwise.
    """

    def __init__(
        self, resolve: Resolve, *, allow_private: bool = False, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._resolve, self._allow_private = resolve, allow_private
        self._network = network or httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to where the host leads, if all of it is allowed.

        Raises:
            ForbiddenAddress: any of its addresses is not.
            httpcore.ConnectError, httpcore.ConnectTimeout: as every backend.
        """
        with trio.move_on_after(inf if timeout is None else timeout):
            return await self._connect_first(await self.addresses_of(host, port), port)
        raise httpcore.ConnectTimeout("no connection in time")

    async def addresses_of(self, host: str, port: int) -> Sequence[str]:
        """A host's addresses, every one judged. One that is not allowed spoils the others: it has no good reason."""
        try:
            found = list(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, UnicodeError) as lost:
            raise httpcore.ConnectError("the host's name leads nowhere") from lost
        for address in found:
            if why := why_not(address, allow_private=self._allow_private):
                raise ForbiddenAddress(f"the host leads to {why}")
        if not found:
            raise httpcore.ConnectError("the host's name leads nowhere")
        return found[:MOST_ADDRESSES]

    async def _connect_first(self, addresses: Sequence[str], port: int) -> httpcore.AsyncNetworkStream:
        """The first connection that stands; each address has a head start before the next."""
        won: list[httpcore.AsyncNetworkStream] = []
        try:
            await self._race(addresses, port, won)
        except BaseException:  # time is over just when one stood
            with trio.move_on_after(1.0, shield=True):
                for stream in won:
                    await stream.aclose()
            raise
        if not won:
            raise httpcore.ConnectError("no address of the host takes connections")
        return won[0]

    async def _race(self, addresses: Sequence[str], port: int, won: list[httpcore.AsyncNetworkStream]) -> None:
        async with trio.open_nursery() as race:

            async def dial(address: str, lost: trio.Event) -> None:
                try:
                    stream = await self._network.connect_tcp(address, port)
                except Exception:  # whatever the network calls it: nobody is there
                    lost.set()
                    return
                if won:
                    await stream.aclose()
                    return
                won.append(stream)
                race.cancel_scope.cancel()

            for address in addresses:
                lost = trio.Event()
                race.start_soon(dial, address, lost)
                with trio.move_on_after(HEAD_START_S):
                    await lost.wait()

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """No tool has one."""
        raise ForbiddenAddress("a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
