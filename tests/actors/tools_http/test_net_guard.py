"""The guard: where a tool's host may lead, over real resolvers, sockets and TLS."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator

import httpcore
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from actors.net_guard import ForbiddenAddress, GuardedBackend, SystemResolver, why_not
from actors.tools.outbound import Outbound
from actors.tools.port import ToolProblem
from tests.actors.tools_http.backends import CONTEXT, PUBLIC, Backend, Exchange, Internet, Names, make, open_backend

PRIVATE = ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.255.0.1", "100.64.0.1",
           "198.18.0.1", "::1", "fc00::1", "fdff::1"]  # fmt: skip
NEVER = ["0.0.0.0",  # noqa: S104
    "0.1.2.3", "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1",
         "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
         "::", "fe80::1", "fe80::1%1", "2001:4860::1%2", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
         "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::1", "2002:808:808::1", "64:ff9b::a9fe:a9fe",
         "64:ff9b:1::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "not an address", "",
         "2130706433", "0177.0.0.1", "127.1", "0x7f000001"]  # fmt: skip


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_asked(address: str) -> None:
    """Metadata services, link-local, multicast and addresses with another one inside are closed to every tool."""
    assert why_not(address)
    assert why_not(address, allow_private=True)


@pytest.mark.parametrize("address", [*PRIVATE, "64:ff9b::7f00:1"])
def test_private_addresses_are_only_asked_when_they_are_meant(address: str) -> None:
    """A backend of one's own needs `allow_private: true`."""
    assert why_not(address)
    assert not why_not(address, allow_private=True)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", PUBLIC, "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808"]
)
def test_public_addresses_are_asked(address: str) -> None:
    """The guard is no wall."""
    assert not why_not(address)


@given(st.ip_addresses())
def test_what_passes_is_public_by_pythons_own_book(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """No address passes that the standard library knows to be of another kind, nor its hidden forms."""
    if not why_not(str(address)):
        is_public = address.is_global and not address.is_multicast and not address.is_reserved
        assert is_public or address in NAT64
    if isinstance(address, ipaddress.IPv4Address):
        for hidden in (
            f"::ffff:{address}",
            f"::{address}",
            str(ipaddress.IPv6Address(0x2002 << 112 | int(address) << 80)),
        ):
            assert why_not(hidden, allow_private=True)


NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@given(st.ip_addresses(v=4))
def test_a_way_through_nat64_is_judged_by_its_end(address: ipaddress.IPv4Address) -> None:
    """In an IPv6-only network every public name leads through 64:ff9b::/96; private ones hide there too."""
    through = str(ipaddress.IPv6Address(int(NAT64.network_address) | int(address)))
    assert bool(why_not(through)) == bool(why_not(str(address)))


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1", "0", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1",
     "localhost", "localhost.", "fe80::1%1"],
)  # fmt: skip
async def test_every_way_to_write_loopback_is_seen(host: str) -> None:
    """Decimal, octal, short and mapped forms are judged by what the machine's own resolver makes of them."""
    backend = GuardedBackend(SystemResolver())
    with pytest.raises((ForbiddenAddress, httpcore.ConnectError)) as refused:
        await backend.connect_tcp(host, 9, timeout=5)
    assert isinstance(refused.value, ForbiddenAddress) or host in ("localhost", "localhost.", "fe80::1%1")
    assert host not in str(refused.value)


# With TLS, over real sockets


async def answer_all(exchange: Exchange) -> None:
    await exchange.answer(b'{"state": "on its way"}')


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def shop(nursery: trio.Nursery, authority: trustme.CA) -> Backend:
    """The backend that is meant."""
    return await open_backend(
        nursery,
        answer_all,
        host="127.0.0.2",
        certificate=authority.issue_cert("shop.example.com", "xn--caf-dma.example"),
    )


@pytest.fixture
async def victim(nursery: trio.Nursery) -> Backend:
    """A service of this machine that nobody outside may reach."""
    return await open_backend(nursery, answer_all, host="127.0.0.1")


@pytest.fixture
async def wires(shop: Backend) -> Internet:
    return Internet({PUBLIC: ("127.0.0.2", shop.port)})


class Way:
    """Opens ways out, and closes them."""

    def __init__(self, authority: trustme.CA, wires: Internet) -> None:
        self._authority, self._wires = authority, wires
        self.opened: list[Outbound] = []

    def __call__(self, names: Names) -> Outbound:
        self.opened.append(Outbound(resolve=names, tls=lambda: trusting(self._authority), network=self._wires))
        return self.opened[-1]


@pytest.fixture
async def way_out(authority: trustme.CA, wires: Internet) -> AsyncIterator[Way]:
    way = Way(authority, wires)
    yield way
    for one in way.opened:
        await one.aclose()


async def test_a_name_is_resolved_once_and_tls_checks_the_name(way_out: Way, shop: Backend, wires: Internet) -> None:
    """The connection goes to the judged address; certificate, SNI and Host are the name's."""
    names = Names([PUBLIC])
    tool = make(way_out(names), url="https://Shop.example.com./orders/7", result="{state}")
    assert await tool.attempt({}, CONTEXT) == "on its way"
    assert (names.asked, wires.dialled, shop.names) == (["shop.example.com"], [PUBLIC], ["shop.example.com"])
    assert shop.asked[0].headers["host"] == "shop.example.com"


async def test_a_host_may_be_written_in_any_script(way_out: Way, shop: Backend) -> None:
    """An international name is asked for as DNS and certificates know it."""
    names = Names([PUBLIC])
    assert await make(way_out(names), url="https://Café.example/").attempt({}, CONTEXT)
    assert (names.asked, shop.names) == (["xn--caf-dma.example"], ["xn--caf-dma.example"])


async def test_a_name_server_that_changes_its_mind_leads_nowhere(
    way_out: Way, shop: Backend, victim: Backend, wires: Internet
) -> None:
    """The first answer was judged and is the one that is used; when the second is loopback, nobody is asked."""
    names = Names([PUBLIC], ["127.0.0.1"], [PUBLIC])
    outbound = way_out(names)
    tool = make(outbound, url=f"https://shop.example.com:{victim.port}/", effect="commit")  # a connection for each
    assert await tool.attempt({}, CONTEXT)
    with pytest.raises(ToolProblem, match="nothing was done") as problem:
        await tool.attempt({}, CONTEXT)
    assert not problem.value.again
    assert await tool.attempt({}, CONTEXT)
    assert (len(names.asked), wires.dialled) == (3, [PUBLIC, PUBLIC])
    assert (len(shop.asked), victim.connections) == (2, 0)


async def test_the_second_answer_of_a_name_server_is_never_asked_for(nursery: trio.Nursery) -> None:
    """Real sockets on two addresses: what was resolved is what is connected to, though the name has moved since."""
    here = await open_backend(nursery, answer_all, host="127.0.0.2")
    there = await open_backend(nursery, answer_all, host="127.0.0.3")
    names = Names(["127.0.0.2"], ["127.0.0.3"])
    backend = GuardedBackend(names, allow_private=True)
    stream = await backend.connect_tcp("moving.example.com", here.port)
    assert stream.get_extra_info("server_addr") == ("127.0.0.2", here.port)
    await stream.aclose()
    assert (names.asked, there.connections) == (["moving.example.com"], 0)


@pytest.mark.parametrize("addresses", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "169.254.169.254"]])
async def test_one_bad_address_spoils_the_others(way_out: Way, wires: Internet, addresses: list[str]) -> None:
    """A name with a public and a private address has no good reason for it."""
    with pytest.raises(ToolProblem):
        await make(way_out(Names(addresses)), url="https://shop.example.com/").attempt({}, CONTEXT)
    assert wires.dialled == []


async def test_a_kept_connection_is_not_lent_to_a_stricter_tool(nursery: trio.Nursery, victim: Backend) -> None:
    """What one tool may reach on this machine, another that may not cannot reach over the same connection."""
    outbound = Outbound(resolve=Names(["127.0.0.1"]))
    keys = {"url": f"http://shop.example.com:{victim.port}/"}
    assert await make(outbound, **keys, allow_private=True).attempt({}, CONTEXT)
    with pytest.raises(ToolProblem):
        await make(outbound, **keys).attempt({}, CONTEXT)
    assert len(victim.asked) == 1
    await outbound.aclose()


async def test_another_ones_certificate_is_refused(way_out: Way, shop: Backend) -> None:
    """Whoever answers at the address must be who the name says; nothing is asked of a stranger."""
    tool = make(way_out(Names([PUBLIC])), url="https://bank.example.com/")
    with pytest.raises(ToolProblem, match="nothing was done") as problem:
        await tool.attempt({}, CONTEXT)
    assert not problem.value.again
    assert (shop.names, shop.asked) == (["bank.example.com"], [])


async def test_a_redirect_is_not_followed(nursery: trio.Nursery, way_out: Way, shop: Backend, victim: Backend) -> None:
    """A backend cannot send us on to this machine."""

    async def redirect(exchange: Exchange) -> None:
        await exchange.answer(b"", status=302, headers=[f"Location: http://127.0.0.1:{victim.port}/admin"])

    shop.answer = redirect
    with pytest.raises(ToolProblem, match="has moved"):
        await make(way_out(Names([PUBLIC])), url="https://shop.example.com/").attempt({}, CONTEXT)
    assert victim.connections == 0


async def test_proxies_of_the_environment_are_not_asked(
    way_out: Way, victim: Backend, shop: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would resolve names by itself, behind the guard's back."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{victim.port}")
    assert await make(way_out(Names([PUBLIC])), url="https://shop.example.com/").attempt({}, CONTEXT)
    assert (len(shop.asked), victim.connections) == (1, 0)


async def test_the_next_address_is_tried_when_the_first_is_dead(way_out: Way, wires: Internet) -> None:
    """A host with several addresses is reached while one of them lives."""
    tool = make(way_out(Names(["8.8.8.8", "2606:4700::1", PUBLIC])), url="https://shop.example.com/")
    assert await tool.attempt({}, CONTEXT)
    assert wires.dialled == ["8.8.8.8", "2606:4700::1", PUBLIC]


async def test_a_silent_address_does_not_hold_up_the_next(nursery: trio.Nursery, shop: Backend) -> None:
    """An address that swallows packets costs a quarter of a second, and its try is given up."""

    class Swallowing(Internet):
        async def connect_tcp(self, host: str, port: int, *args: object, **keys: object) -> httpcore.AsyncNetworkStream:
            if host == "8.8.8.8":
                await trio.sleep_forever()
            return await super().connect_tcp(host, port)

    backend = GuardedBackend(Names(["8.8.8.8", PUBLIC]), network=Swallowing({PUBLIC: ("127.0.0.2", shop.port)}))
    with trio.fail_after(5):
        stream = await backend.connect_tcp("shop.example.com", 443)
    await stream.aclose()


async def test_a_name_that_leads_nowhere_may_be_tried_again(way_out: Way) -> None:
    """An empty answer, or none in time, is trouble on the line, not the caller's."""

    async def dead(host: str, port: int) -> list[str]:
        await trio.sleep(60)
        return []

    for names in (Names([]), dead):
        outbound = Outbound(resolve=names)
        tool = make(outbound, url="https://shop.example.com/", connect_s=0.05)
        with pytest.raises(ToolProblem, match="nothing was done") as problem:
            await tool.attempt({}, CONTEXT)
        assert problem.value.again
        await outbound.aclose()
