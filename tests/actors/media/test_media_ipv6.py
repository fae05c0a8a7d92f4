"""The plane over IPv6: adopted, dialled, and through TLS."""

from __future__ import annotations

import socket
import ssl
from functools import partial

import pytest
import trio
import trustme
from websockets.frames import Opcode

from actors.media import DialFailed, MediaPlane
from tests.actors.media.harness import Recorder, bare_client, echo, open_door, until


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1: IPv6 IS NOT TESTED")


async def test_adopted_over_ipv6(plane: MediaPlane) -> None:
    """A caller from ::1 is heard and answered; the socket got its options."""
    tuned: list[socket.socket] = []
    async with (
        open_door(plane, then=echo, host="::1", tune=tuned.append) as door,
        bare_client(door) as client,
    ):
        await client.send(Opcode.TEXT, b"hello")
        assert await client.read_until(b"hello") == b"\x81\x05hello"
        assert tuned[0].family == socket.AF_INET6
        assert tuned[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_dialled_over_ipv6(plane: MediaPlane) -> None:
    """The address is written in brackets, and so is the Host header."""
    async with open_door(plane, then=echo, host="::1") as door:
        assert door.url == f"ws://[::1]:{door.port}/media"
        heard = Recorder()
        wire = await plane.dial(door.url, heard)
        wire.send_binary(b"\xff\x7f")
        await until(lambda: heard.binaries)
        assert heard.binaries == [b"\xff\x7f"]
        assert door.upgrades[0].headers["host"] == f"[::1]:{door.port}"
        wire.close(1000)
        await until(lambda: heard.closings and door.last.closings)
        assert (heard.code, door.last.code) == (1000, 1000)


async def test_nobody_listens_on_ipv6(plane: MediaPlane) -> None:
    """A refused connection says that it was refused, as over IPv4."""
    with socket.socket(socket.AF_INET6) as reserved:
        reserved.bind(("::1", 0))
        with pytest.raises(DialFailed, match="ConnectionRefusedError"):
            await plane.dial(f"ws://[::1]:{reserved.getsockname()[1]}/", Recorder())


@pytest.mark.parametrize("name", ["::1", "127.0.0.1"])
async def test_a_certificate_for_an_ipv6_address(plane: MediaPlane, name: str) -> None:
    """wss://[::1]/ asks for a certificate of ::1, and takes no other."""
    authority, server_tls, client_tls = (
        trustme.CA(),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(),
    )
    authority.issue_cert(name).configure_cert(server_tls)
    authority.configure_trust(client_tls)
    answer = b"HTTP/1.1 418 Short And Stout\r\n\r\n"

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(answer)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)  # our name was not what it wanted

    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_ssl_over_tcp, handle, 0, server_tls, host="::1")
        (listener,) = await nursery.start(listen)
        port = listener.transport_listener.socket.getsockname()[1]
        with pytest.raises(DialFailed, match="answered 418" if name == "::1" else "CertVerif") as failed:
            await plane.dial(f"wss://[::1]:{port}/", Recorder(), ssl_context=client_tls)
        assert failed.value.status == (418 if name == "::1" else None)
        nursery.cancel_scope.cancel()
