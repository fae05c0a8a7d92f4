"""The session gives the same messages as the library alone, however the bytes are cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from actors.media.frames import MaskPool
from actors.media.session import MAX_FRAGMENTS, Message, Session

MAX_BYTES = 65_536
LENGTHS = (0, 1, 2, 124, 125, 126, 127, 300, 65_535, 65_536)


def protocol_of(*, server: bool) -> Protocol:
    if server:
        return ServerProtocol(state=OPEN, max_size=MAX_BYTES)
    return ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=MAX_BYTES)


def session_of(*, server: bool, in_place: bool = True) -> Session:
    return Session(protocol_of(server=server), MaskPool(), max_message_bytes=MAX_BYTES, in_place=in_place)


@dataclass
class Heard:
    messages: list[Message]
    code: int | None
    sent: bytes | None
    """None: what the library wrote, it wrote without knowing that a text was wrong."""
    controls: int


def hear(session: Session, pieces: list[bytes], turn: int = 128) -> Heard:
    messages: list[Message] = []
    sent = b""
    for piece in pieces:
        whole = session.one(piece)
        if whole is not None:  # as the wire does it: most reads find just one frame
            messages.append((piece[0] & 0x0F, whole))
            continue
        messages += session.receive(piece, turn)
        while session.backlog:
            messages += session.receive(b"", turn)
        sent += session.to_send()[0]
    return Heard(messages, session.ending.code if session.ending else None, sent, session.pings)


def wire_bytes(*frames: Frame) -> bytes:
    return b"".join(frame.serialize(mask=True) for frame in frames)


def is_utf8(data: bytes, *, so_far: bool) -> bool:
    """`so_far`: more will come, so a character may be incomplete at the end."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        rest = data[error.start :]  # of half a surrogate, CPython's decoder wants the third byte before it is sure
        half_a_surrogate = len(rest) == 2 and rest[0] == 0xED and 0x80 <= rest[1] < 0xC0
        return so_far and (half_a_surrogate or error.reason == "unexpected end of data")
    return True


def library_hears(data: bytes, *, server: bool) -> Heard:
    """The reference: one feed of everything, and messages put together from the library's frames."""
    protocol = protocol_of(server=server)
    library_judges = protocol.recv_frame

    def judge(frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            protocol.current_size = None  # where we differ: a close within a message is a close, and no broken rule
        library_judges(frame)

    protocol.recv_frame = judge  # type: ignore[method-assign]
    protocol.receive_data(data)
    messages: list[Message] = []
    message = b""
    opcode, controls, code = 0, 0, None
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        controls += event.opcode in (Opcode.PING, Opcode.PONG)
        if event.opcode in (Opcode.TEXT, Opcode.BINARY):
            opcode, message = int(event.opcode), b""
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            message += bytes(event.data)
            if opcode == Opcode.TEXT and not is_utf8(message, so_far=not event.fin):
                return Heard(messages, 1007, None, controls)  # the one verdict that the library leaves to us
            if event.fin:
                messages.append((opcode, message))
    if protocol.parser_exc is not None:
        code = protocol.close_sent.code if protocol.close_sent else 1006
    elif protocol.close_rcvd is not None:
        code = protocol.close_rcvd.code
    return Heard(messages, code, b"".join(protocol.data_to_send()), controls)


payloads = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(LENGTHS).map(lambda size: bytes(index * 7 % 256 for index in range(size))),
)
texts = st.one_of(
    st.text(max_size=80).map(str.encode),
    st.sampled_from(LENGTHS).map(lambda size: bytes(index * 7 % 128 for index in range(size))),
)
good_messages = st.one_of(
    st.tuples(st.just(Opcode.TEXT), texts),
    st.tuples(st.just(Opcode.BINARY), payloads),
)
controls = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)).map(
    lambda drawn: [Frame(drawn[0], drawn[1])]
)
wrong_texts = st.tuples(st.just(Opcode.TEXT), st.binary(max_size=9))
whole = st.one_of(good_messages, good_messages, good_messages, wrong_texts).map(
    lambda drawn: [Frame(drawn[0], drawn[1])]
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(edges)] or [b""]


@st.composite
def fragmented(draw: st.DrawFn) -> list[Frame]:
    """A message in pieces, control frames between them."""
    opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
    text = draw(st.text(max_size=80)).encode() + draw(st.sampled_from([b"", b"", b"", b"\xed\xa0\x80", b"\xe2\x82"]))
    pieces = cut(text, draw(st.lists(st.integers(0, 400), min_size=1, max_size=6)))
    pieces += [b""] * (len(pieces) == 1)
    frames: list[Frame] = []
    for number, piece in enumerate(pieces):
        frames.append(Frame(Opcode.CONT if number else opcode, piece, fin=number == len(pieces) - 1))
        if number < len(pieces) - 1:
            frames += draw(st.one_of(st.just([]), controls))
    return frames


closings = st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0going"]).map(
    lambda data: [Frame(Opcode.CLOSE, data)]
)


@st.composite
def conversations(draw: st.DrawFn, *, legal: bool = True) -> tuple[bool, bytes]:
    """Which side hears, and the bytes of a few messages."""
    server = draw(st.booleans())
    runs = draw(st.lists(st.one_of(whole, whole, fragmented(), controls), max_size=8))
    frames = [frame for run in runs for frame in run]
    frames += draw(st.sampled_from([[], [], [Frame(Opcode.TEXT, b"unfinished", fin=False)]]))
    frames += draw(st.one_of(st.just([]), closings))
    return server, b"".join(frame.serialize(mask=server) for frame in frames)


@settings(max_examples=300, deadline=None)
@given(
    conversation=conversations(),
    places=st.lists(st.integers(0, 200_000), max_size=12),
    turn=st.sampled_from([1, 2, 128]),
    in_place=st.booleans(),
)
def test_any_split_gives_what_the_library_gives(
    conversation: tuple[bool, bytes], places: list[int], turn: int, in_place: bool
) -> None:
    """Bytes may come in any portions: the messages, the pongs and the ending are those of the library."""
    server, data = conversation
    heard = hear(session_of(server=server, in_place=in_place), cut(data, places), turn)
    expected = library_hears(data, server=server)
    assert heard.messages == expected.messages
    assert heard.code == expected.code
    assert heard.controls == expected.controls
    if server and expected.sent is not None:  # a client masks its pongs at random
        assert heard.sent == expected.sent


@settings(max_examples=300, deadline=None)
@given(
    conversation=conversations(),
    places=st.lists(st.integers(0, 200_000), max_size=6),
    damage=st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damaged_bytes_end_as_in_the_library(
    conversation: tuple[bool, bytes], places: list[int], damage: list[tuple[int, int]]
) -> None:
    """Whatever comes, nothing raises, and the library's verdict is ours."""
    server, data = conversation
    broken = bytearray(data + b"\xff" * 70_000)  # so that every frame begun is finished, and the end is always an error
    for place, flip in damage:
        broken[place % max(1, len(data))] ^= flip
    heard = hear(session_of(server=server), cut(bytes(broken), places))
    expected = library_hears(bytes(broken), server=server)
    assert (heard.messages, heard.code) == (expected.messages, expected.code)


@settings(max_examples=100, deadline=None)
@given(server=st.booleans(), message=good_messages, in_place=st.booleans())
def test_what_we_write_the_library_reads(server: bool, message: tuple[Opcode, bytes], in_place: bool) -> None:
    """Our own frames are what the other side's library takes for one whole message."""
    opcode, payload = message
    written = session_of(server=server, in_place=in_place).encode(opcode, payload)
    heard = library_hears(written, server=not server)
    assert (heard.messages, heard.code) == ([(opcode, payload)], None)


@pytest.mark.parametrize("in_place", [True, False])
def test_one_byte_at_a_time(in_place: bool) -> None:
    """The slowest sender loses nothing."""
    frames = [Frame(Opcode.TEXT, b"x" * size) for size in (0, 1, 125, 126, 300)]
    data = b"".join(frame.serialize(mask=True) for frame in frames)
    heard = hear(session_of(server=True, in_place=in_place), [data[at : at + 1] for at in range(len(data))])
    assert [len(payload) for _, payload in heard.messages] == [0, 1, 125, 126, 300]


def test_sixty_four_bit_length_is_refused_before_its_bytes_come() -> None:
    """A frame that claims 2^63 bytes is refused at its head: 1009."""
    session = session_of(server=True)
    heard = hear(session, [b"\x82\xff" + (1 << 63).to_bytes(8, "big")])
    assert heard.code == 1009
    assert session.receive(b"x" * 1000) == []


BAD_TEXTS = (b"\xff", b"ab\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x28\xa1")


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_text_must_be_utf8(text: bytes, in_place: bool) -> None:
    """A wrong text ends the wire with 1007: what came before it is heard, what comes after it is not."""
    session = session_of(server=True, in_place=in_place)
    frames = (Frame(Opcode.TEXT, b"ok"), Frame(Opcode.TEXT, text), Frame(Opcode.TEXT, b"after"))
    heard = hear(session, [wire_bytes(*frames)])
    assert (heard.messages, heard.code) == ([(1, b"ok")], 1007)
    assert session.touched
    assert heard.sent == Frame(Opcode.CLOSE, b"\x03\xeftext is not UTF-8").serialize(mask=False)
    assert hear(session_of(server=True, in_place=in_place), [wire_bytes(Frame(Opcode.BINARY, text))]).code is None


@pytest.mark.parametrize("in_place", [True, False])
def test_text_in_fragments_must_be_utf8(in_place: bool) -> None:
    """The first wrong byte ends the wire, though the message is not over; a character may lie across fragments."""
    split = (
        Frame(Opcode.TEXT, b"\xe2", fin=False),
        Frame(Opcode.CONT, b"\x82", fin=False),
        Frame(Opcode.CONT, b"\xac"),
    )
    assert hear(session_of(server=True, in_place=in_place), [wire_bytes(*split)]).messages == [(1, "€".encode())]
    for wrong in (
        (Frame(Opcode.TEXT, b"\xc3", fin=False), Frame(Opcode.CONT, b"(", fin=False)),
        (Frame(Opcode.TEXT, b"\xff", fin=False),),
        (Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.CONT, b"\xc3")),
        (*split[:2], Frame(Opcode.PING, b""), Frame(Opcode.CONT, b"")),
    ):
        heard = hear(session_of(server=True, in_place=in_place), [wire_bytes(*wrong)])
        assert (heard.messages, heard.code) == ([], 1007)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_close_may_come_within_a_message(in_place: bool) -> None:
    """The peer's own code is the ending, and what it reads back; the message has no end."""
    session = session_of(server=True, in_place=in_place)
    frames = (Frame(Opcode.TEXT, b"half", fin=False), Frame(Opcode.CLOSE, b"\x03\xe8bye"))
    heard = hear(session, [wire_bytes(*frames, Frame(Opcode.CONT, b"late"))])
    assert (heard.messages, heard.code, heard.sent) == ([], 1000, b"\x88\x05\x03\xe8bye")
    assert session.ending is not None
    assert not session.ending.ours


def test_binary_in_fragments_is_no_text() -> None:
    """Its bytes may be anything, and leave nothing behind for the text after it."""
    frames = [Frame(Opcode.BINARY, b"\xe2", fin=False), Frame(Opcode.CONT, b"\x82")]
    frames += [Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.CONT, b"b")]
    heard = hear(session_of(server=True), [wire_bytes(*frames)])
    assert (heard.messages, heard.code) == ([(2, b"\xe2\x82"), (1, b"ab")], None)


@pytest.mark.parametrize(("limit", "code"), [(MAX_FRAGMENTS, 1008), (2 * MAX_FRAGMENTS, None)])
def test_endless_fragments_are_refused(limit: int, code: int | None) -> None:
    """A message in thousands of pieces costs us time, so it is not heard to its end, unless somebody asks for it."""
    session = Session(
        protocol_of(server=True), MaskPool(), max_message_bytes=MAX_BYTES, max_fragments=limit, in_place=True
    )
    data = wire_bytes(Frame(Opcode.BINARY, b"a", fin=False))
    data += wire_bytes(Frame(Opcode.CONT, b"a", fin=False)) * MAX_FRAGMENTS
    assert hear(session, [data]).code == code


BROKEN_RULES = (
    b"\x81\x02hi",
    b"\xc1\x80\0\0\0\0",
    b"\x83\x80\0\0\0\0",
    wire_bytes(Frame(Opcode.CONT, b"x")),
    wire_bytes(Frame(Opcode.TEXT, b"\xff")),
    wire_bytes(Frame(Opcode.TEXT, b"\xff", fin=False)),
    b"\x82\xff" + (1 << 40).to_bytes(8, "big"),
)


@pytest.mark.parametrize("broken", BROKEN_RULES, ids=range(len(BROKEN_RULES)))
def test_a_message_before_a_broken_rule_can_still_be_answered(broken: bytes) -> None:
    """They came in one packet, but the ending is not known before the message was given out."""
    session = session_of(server=True)
    assert session.receive(wire_bytes(Frame(Opcode.TEXT, b"hello")) + broken) == [(1, b"hello")]
    assert (session.ending, session.to_send(), session.backlog) == (None, (b"", False), True)
    assert session.receive(b"") == []
    assert session.ending is not None
    assert not session.backlog


@pytest.mark.parametrize("in_place", [True, False])
def test_pongs_leave_in_their_order(in_place: bool) -> None:
    """Message, ping, ping, message: two turns without a message between them, each with its pong."""
    session = session_of(server=True, in_place=in_place)
    frames = [Frame(Opcode.TEXT, b"a"), Frame(Opcode.PING, b"1"), Frame(Opcode.PING, b"2"), Frame(Opcode.BINARY, b"b")]
    seen = [(session.receive(wire_bytes(*frames)), session.to_send()[0])]
    while session.backlog:
        seen.append((session.receive(b""), session.to_send()[0]))
    assert seen == [([(1, b"a")], b""), ([], b"\x8a\x011"), ([], b"\x8a\x012"), ([(2, b"b")], b"")]


def test_one_turn_is_bounded() -> None:
    """However much came at once, the others get their turn after so many frames."""
    session = session_of(server=True)
    data = Frame(Opcode.TEXT, b"{}").serialize(mask=True) * 10
    assert len(session.receive(data, 4)) == 4
    assert session.backlog
    assert len(session.receive(b"", 4)) == 4
    assert len(session.receive(b"", 4)) == 2
    assert not session.backlog


@pytest.mark.parametrize("server", [True, False])
def test_one_whole_frame_is_taken_at_a_glance(server: bool) -> None:
    """Only what is just one plain frame of audio's size; a byte more or less, a fragment or control is not."""

    def one(frame: Frame, *, cut: int = 0, more: bytes = b"") -> bytes | None:
        data = frame.serialize(mask=server)
        return session_of(server=server).one(data[: len(data) - cut] + more)

    audio = bytes(range(160))
    assert one(Frame(Opcode.BINARY, audio)) == audio
    assert one(Frame(Opcode.TEXT, b"x" * 300)) == b"x" * 300
    assert one(Frame(Opcode.BINARY, audio), cut=1) is None
    assert one(Frame(Opcode.BINARY, audio), more=b"\x82") is None
    assert one(Frame(Opcode.BINARY, audio, fin=False)) is None
    assert one(Frame(Opcode.TEXT, "\N{SNOWMAN}".encode() * 60)) is None, "who is not ASCII is judged with care"
    assert one(Frame(Opcode.PING, b"")) is None
    assert one(Frame(Opcode.BINARY, b"short")) is None
    busy = session_of(server=server)
    busy.receive(Frame(Opcode.BINARY, audio).serialize(mask=server)[:50])
    assert busy.one(Frame(Opcode.BINARY, audio).serialize(mask=server)) is None, "it is the middle of another"
    wrong_side = session_of(server=not server)
    assert wrong_side.one(Frame(Opcode.BINARY, audio).serialize(mask=server)) is None
