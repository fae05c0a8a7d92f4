"""One websocket after its handshake, without a socket: bytes in, whole messages out, and the other way.

`websockets`' sans-I/O object holds the protocol state. It is given *whole frames only*, one at a time, so that between
two calls it always stands at a frame boundary. That makes the shortcut safe: a whole, unfragmented text or binary frame
that arrives while no message is half received may be taken out here without the library ever knowing of it. All
else (control frames, fragments, wrong bits, too long) goes to the library, whose judgement is final.

Every text message is checked to be UTF-8 (the library leaves that to us). In fragments it is checked as they come, so
that the first wrong byte ends the wire, not the last fragment.

A turn of `receive` ends before a frame that may have a reply (a ping, a broken rule), and after it: so the listener has
answered what came before it, our replies leave in the order of what they reply to, and nothing is said after a close.
"""

from __future__ import annotations

import codecs
import logging
from dataclasses import dataclass

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, SEND_EOF, Protocol

from actors.media.frames import BINARY, FIN, MASKED, TEXT, MaskPool, apply_mask, frame_head

__all__ = ["FRAMES_A_TURN", "MAX_FRAGMENTS", "Ending", "Message", "Session", "drain", "library_log", "release"]


Message = tuple[int, bytes]

FRAMES_A_TURN = 128
"""One wire gets at most so many frames read before the others have theirs."""

MAX_FRAGMENTS = 1_024
"""A message in more fragments than this is an attack on our time, not speech."""

_PLAIN = (FIN | TEXT, FIN | BINARY)
_WHOLE_TEXT = FIN | TEXT
_MOST_EXPRESS_BYTES = 65_535  # what a frame with a length of two bytes can hold
_LONG, _MASKED_LONG = 126, MASKED | 126
_CONTROL = 0x08
_NOT_UTF8 = "text is not UTF-8"
_new_decoder = codecs.getincrementaldecoder("utf-8")

library_log = logging.getLogger("actors.media.websockets")
"""The library writes whole requests at DEBUG: addresses that are secrets (vapi.md §4.1). So it never gets there."""
library_log.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why no more messages will come. `ours`: the peer broke a rule or a limit and we closed."""

    code: int
    reason: str
    ours: bool


def drain(protocol: Protocol) -> tuple[bytes, bool]:
    """What the library wants sent (whole control frames, or an HTTP head), and whether the stream ends after it."""
    writes = protocol.data_to_send()
    return b"".join(writes), SEND_EOF in writes


def release(protocol: Protocol) -> None:
    """Nothing more comes or goes: let go of what holds the protocol as it holds that, its parser and what that raised.

    Otherwise every connection that was is work for the garbage collector, which comes seldom (decision 0006).
    """
    protocol.parser.close()
    protocol.parser_exc = None
    protocol.handshake_exc = None


def _is_utf8(payload: bytes) -> bool:
    if payload.isascii():  # nearly always: JSON with base64 in it
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class Session:
    """The protocol state of one open websocket."""

    __slots__ = (
        "_decoder",
        "_fragments",
        "_fragments_opcode",
        "_from_client",
        "_head",
        "_in_place",
        "_is_express",
        "_masks",
        "_max_bytes",
        "_max_fragments",
        "_need",
        "_out_head",
        "_out_opcode",
        "_out_size",
        "_plain",
        "_protocol",
        "_rest",
        "_size",
        "ending",
        "is_text",
        "pings",
        "pong",
        "touched",
    )

    def __init__(
        self,
        protocol: Protocol,
        masks: MaskPool,
        *,
        max_message_bytes: int,
        max_fragments: int = MAX_FRAGMENTS,
        in_place: bool = True,
    ) -> None:
        """`protocol` is OPEN and was fed its handshake only. `in_place=False`: the library on every frame."""
        self._protocol, self._masks, self._max_bytes = protocol, masks, max_message_bytes
        self._max_fragments = max_fragments
        self._from_client = protocol.side is not CLIENT
        self._in_place = in_place
        self._plain = in_place
        self._rest, self._need = bytearray(), 0
        self._head, self._size = b"", -1  # of the last frame that `one` took, if the next may be one like it
        self._out_head, self._out_opcode, self._out_size = b"", -1, -1  # of the last long frame that was written
        self.is_text = False
        """What `one` gave last was a text."""
        self._fragments: list[bytes] = []
        self._fragments_opcode = TEXT
        self._decoder = _new_decoder()
        self.ending: Ending | None = None
        self.pings = 0
        """Pings and pongs received since this was last set to 0."""
        self.pong: bytes | None = None
        """What the latest pong carried."""
        self.touched = False
        """The library was used: there may be something to send, or an ending. Set to False by whoever looks."""
        self._check_express()

    # ---- receiving

    @property
    def backlog(self) -> bool:
        """Whole frames may still wait inside because one turn was over: call `receive(b"")`."""
        return bool(self._rest) and len(self._rest) >= self._need and self.ending is None

    def one(self, data: bytes) -> bytes | None:
        """The payload, when `data` is just one whole frame of audio's size and nothing else is under way; else None.

        What nearly every read of a media socket finds, so it has a way of its own, and nearly always the frame looks
        like the one before, so its head is only compared. No message is begun or ended here; after None give the same
        bytes to `receive`. `is_text` says which kind it was.
        """
        if len(data) != self._size or not data.startswith(self._head):
            return self._one_of_another_shape(data)
        payload = apply_mask(data[8:], data[4:8]) if self._from_client else data[4:]
        return payload if not self.is_text or payload.isascii() else None

    def _one_of_another_shape(self, data: bytes) -> bytes | None:
        size = len(data)
        if size < 8 or not self._is_express:
            return None
        first = data[0]
        head_bytes = 8 if self._from_client else 4
        if data[1] != (_MASKED_LONG if self._from_client else _LONG) or data[2] << 8 | data[3] != size - head_bytes:
            return None
        if first not in _PLAIN:
            return None
        payload = apply_mask(data[8:], data[4:8]) if self._from_client else data[4:]
        self.is_text = first == _WHOLE_TEXT
        if self.is_text and not payload.isascii():
            return None
        self._head, self._size = data[:4], size
        return payload

    def receive(self, data: bytes, turn: int = FRAMES_A_TURN) -> list[Message]:
        """Take bytes from the wire, give whole messages: (opcode, payload)."""
        messages = self._receive(data, turn)
        self._check_express()
        return messages

    def _check_express(self) -> None:
        """Whether the next read may be looked at by `one`: no part of anything is held, and nothing is over."""
        self._is_express = (
            self._plain and not self._rest and self.ending is None and self._max_bytes >= _MOST_EXPRESS_BYTES
        )
        if not self._is_express:
            self._size = -1

    def _receive(self, data: bytes, turn: int) -> list[Message]:  # noqa: PLR0912 — one loop: calls would cost a tenth
        if self.ending is not None:
            return []
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        messages: list[Message] = []
        at, size, from_client = 0, len(data), self._from_client
        self._need = 0
        while turn and at < size:
            if size - at < 2:
                self._need = 2
                break
            first, second = data[at], data[at + 1]
            start, length = at + 2, second & 0x7F
            if length >= 126:
                start = at + (4 if length == 126 else 10)
                if size < start:
                    self._need = start - at
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            if (second >= MASKED) is not from_client or length > self._max_bytes:
                if messages:
                    break
                self._ask_library(data[at:], messages)  # it will refuse, with the right code
                return messages
            if from_client:
                start += 4
            end = start + length
            if end > size:
                self._need = end - at
                break
            if self._plain and first in _PLAIN:
                payload = data[start:end]
                if from_client:
                    payload = apply_mask(payload, data[start - 4 : start])
                if first == _WHOLE_TEXT and not payload.isascii() and not _is_utf8(payload):
                    if messages:
                        break
                    self.touched = True
                    self.fail(CloseCode.INVALID_DATA, _NOT_UTF8)
                    return messages
                messages.append((first & 0x0F, payload))
            elif messages and first not in _PLAIN:
                break
            elif not self._ask_library(data[at:end], messages):
                return messages
            elif first & _CONTROL:
                turn = 1
            at = end
            turn -= 1
        if at < size:
            self._rest += data[at:]
        return messages

    def _ask_library(self, frame: bytes, messages: list[Message]) -> bool:
        """Have the library judge one whole frame. False: the stream of messages ends with it."""
        protocol = self._protocol
        self.touched = True
        if frame[0] & 0x0F == Opcode.CLOSE:
            # It may come within a message, which then has no end. The library alone would take that for a broken rule
            # and answer 1002 instead of the peer's own code (Autobahn 7.1.5).
            protocol.current_size = None
        protocol.receive_data(frame)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._on_frame(event, messages)
        if protocol.parser_exc is not None:
            sent = protocol.close_sent
            self.ending = Ending(sent.code if sent else 1006, sent.reason if sent else "", ours=True)
        elif protocol.close_rcvd is not None and self.ending is None:
            self.ending = Ending(protocol.close_rcvd.code, protocol.close_rcvd.reason, ours=False)
        self._refresh()
        return self.ending is None

    def _on_frame(self, frame: Frame, messages: list[Message]) -> None:
        opcode, payload = frame.opcode, bytes(frame.data)
        if opcode is Opcode.PING or opcode is Opcode.PONG:
            self.pings += 1
            if opcode is Opcode.PONG:
                self.pong = payload
        elif opcode is Opcode.CLOSE:
            return
        elif frame.fin and opcode is not Opcode.CONT:
            if opcode is Opcode.TEXT and not _is_utf8(payload):
                self.fail(CloseCode.INVALID_DATA, _NOT_UTF8)
            else:
                messages.append((int(opcode), payload))
        else:
            self._on_fragment(frame, payload, messages)

    def _on_fragment(self, frame: Frame, payload: bytes, messages: list[Message]) -> None:
        """The library has seen to it that a message is begun before it goes on, and that it is not too long."""
        if frame.opcode is not Opcode.CONT:
            self._fragments, self._fragments_opcode = [], int(frame.opcode)
        self._fragments.append(payload)
        if self._fragments_opcode == TEXT:
            try:
                self._decoder.decode(payload, frame.fin)
            except UnicodeDecodeError:
                self.fail(CloseCode.INVALID_DATA, _NOT_UTF8)
                return
        if frame.fin:
            messages.append((self._fragments_opcode, b"".join(self._fragments)))
            self._fragments = []
        elif len(self._fragments) > self._max_fragments:
            self.fail(CloseCode.POLICY_VIOLATION, "too many fragments")

    def _refresh(self) -> None:
        protocol = self._protocol
        self._plain = self._in_place and protocol.state is OPEN and protocol.current_size is None
        self._check_express()

    # ---- sending

    def encode(self, opcode: int, payload: bytes) -> bytes:
        """One whole message as one frame. Only while the session is open."""
        if self._in_place:
            size = len(payload)
            if size == self._out_size and opcode == self._out_opcode:
                head = self._out_head
            else:
                head = self._new_head(opcode, size)
            if self._from_client:
                return head + payload
            ready = self._masks.ready
            mask = ready.pop() if ready else self._masks.take()
            return head + mask + apply_mask(payload, mask)
        if opcode == TEXT:
            self._protocol.send_text(payload)
        else:
            self._protocol.send_binary(payload)
        return b"".join(self._protocol.data_to_send())

    def _new_head(self, opcode: int, size: int) -> bytes:
        """The head of a frame to write; audio's is kept for the next one, which is as long as a rule."""
        head = frame_head(opcode, size, 0 if self._from_client else MASKED)
        if size >= _LONG:
            self._out_head, self._out_opcode, self._out_size = head, opcode, size
        return head

    def to_send(self) -> tuple[bytes, bool]:
        """As `drain`."""
        return drain(self._protocol)

    def ping(self, payload: bytes) -> None:
        self._protocol.send_ping(payload)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake. Call once, and only while no ending has come."""
        self._protocol.send_close(code, reason)
        self._refresh()

    def fail(self, code: int, reason: str) -> None:
        """Close because a rule was broken; nothing more is read."""
        if self.ending is None:
            self.ending = Ending(int(code), reason, ours=True)
            self._protocol.fail(code, reason)
            self._refresh()
            self._rest.clear()
