"""The load generator's sockets: Twilio's side of a call (we dial) and Vapi's side (we are dialled). Frames by hand.

Every audio frame carries a stamp in its first 15 bytes (call, number, time of sending), so that the other leg can tell
loss, order and latency by itself. What follows the stamp is quiet enough for no speech detector to hear on the caller's
side, and no silence on the agent's. Masks are zero: they cost the server what any mask costs, and us nothing.
"""

from __future__ import annotations

import socket
import struct
from base64 import b64encode
from binascii import a2b_base64, b2a_base64
from collections import deque
from hashlib import sha1
from time import perf_counter_ns
from typing import Any

import msgspec

STAMP = struct.Struct("<BHIq")  # utterance, call, number, nanoseconds
STAMP_BYTES = STAMP.size
STAMP_B64 = 20
FRAME_BYTES = 160
BASE64_CHARS = 216
QUIET = bytes([0xFF]) * (FRAME_BYTES - STAMP_BYTES)
LOUD = ((b"\x10" * 20 + b"\x90" * 20) * 4)[: FRAME_BYTES - STAMP_BYTES]  # 200 Hz: a voice, not a hiss
SPEECH = bytes([0x2A, 0xAA]) * ((FRAME_BYTES - STAMP_BYTES) // 2) + b"\x2a"
MOST_UNSENT_BYTES = 65_536
FRESH_FRAMES = 6
"""So many frames after a break are not timed: a bridge may hold back the start of an utterance on purpose."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"Y2FsbHNjb3BlIGJlbmNoIQ=="
_PAYLOAD = b'"payload":'
_TO_SAFE = bytes.maketrans(b"0123456789abcdef", bytes(range(0x90, 0xA0)))
_SAFE = range(0x90, 0xA0)
_FROM_SAFE = bytes.maketrans(bytes(range(0x90, 0xA0)), b"0123456789abcdef")
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def client_frame(opcode: int, payload: bytes) -> bytes:
    return server_frame(opcode, payload, 0x80)[: _head_bytes(len(payload))] + b"\0\0\0\0" + payload


def server_frame(opcode: int, payload: bytes, masked: int = 0) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, masked | size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, masked | 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, masked | 127, size) + payload


def _head_bytes(size: int) -> int:
    return 2 if size < 126 else 4 if size < 65_536 else 10


class Tally:
    """What was seen since the last `measure`."""

    def __init__(self) -> None:
        self.sent = self.received = self.lost = self.disordered = self.blocked = self.strange = 0
        self.latencies_us: dict[str, list[int]] = {"to_agent": [], "to_line": []}
        self.clears_us: list[int] = []
        self.interruptions = self.stale = 0


class Leg:
    """One socket: reading whole frames, writing what may be taken only in part."""

    def __init__(self, sock: socket.socket, tally: Tally) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.tally = sock, tally
        self.fd = sock.fileno()
        self.rest = b""
        self.unsent = b""
        self.is_open = self.is_gone = False
        self.expected = -1
        self.utterance = -1
        self.fresh = FRESH_FRAMES

    def write(self, data: bytes) -> None:
        if self.unsent:
            data, self.unsent = self.unsent + data, b""
        try:
            taken = self.sock.send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.is_gone = True
            return
        if taken < len(data):
            self.tally.blocked += 1
            self.unsent = data[taken:]
            if len(self.unsent) > MOST_UNSENT_BYTES:
                self.is_gone = True

    def read(self) -> None:
        try:
            data = self.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.is_gone, self.is_open = True, False
            return
        self.take(self.rest + data if self.rest else data)

    def take(self, data: bytes) -> None:
        if not self.is_open:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self.rest = data
                return
            self.shake(data[: end - 4])
            data = data[end:]
        at, size = 0, len(data)
        now = perf_counter_ns()
        while size - at >= 2:
            second = data[at + 1]
            length, start = second & 0x7F, at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start], "big")
            mask_at = start
            if second & 0x80:
                start += 4
            end = start + length
            if end > size:
                break
            mask = data[mask_at:start]
            self.frame(data[at] & 0x0F, data, start, end, mask, now)
            at = end
        self.rest = data[at:]

    def shake(self, head: bytes) -> None:
        raise NotImplementedError

    def frame(self, opcode: int, data: bytes, start: int, end: int, mask: bytes, now: int) -> None:
        raise NotImplementedError

    def judge(self, stamp: bytes, now: int, direction: str) -> int:
        """Check the order and the age of one frame. Returns which call sent it."""
        utterance, call, number, sent = STAMP.unpack(stamp)
        tally = self.tally
        tally.received += 1
        if utterance != self.utterance:
            self.utterance, self.fresh = utterance, FRESH_FRAMES
        elif number != self.expected:
            if number > self.expected:
                tally.lost += number - self.expected
            else:
                tally.disordered += 1
        self.expected = number + 1
        if self.fresh:
            self.fresh -= 1
        else:
            tally.latencies_us[direction].append((now - sent) // 1000)
        return int(call)


class Line(Leg):
    """Twilio's end of one call."""

    def __init__(self, plan: dict[str, Any], tally: Tally, *, stamped: bool, echo: bool) -> None:
        sock = socket.create_connection((plan["host"], plan["port"]), timeout=10)
        super().__init__(sock, tally)
        self.call, self.stamped, self.echo = int(plan["call"]), stamped, echo
        self.agent: Agent | None = None
        self._start = plan["start"]
        self._sid = self._start["streamSid"].encode()
        self._head, self._tails = self._media_pieces()
        self.number = 0
        self.sent_at: deque[int] = deque(maxlen=2000)
        self.loud_left = 0
        self.caused_at = 0
        self.is_cleared = False
        headers = "".join(f"{name}: {text}\r\n" for name, text in plan.get("headers", {}).items())
        self.write(
            (
                f"GET {plan['path']} HTTP/1.1\r\nHost: {plan['host']}:{plan['port']}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {_KEY.decode()}\r\n{headers}\r\n"
            ).encode()
        )

    def _media_pieces(self) -> tuple[bytes, dict[bytes, bytes]]:
        """All of a media message but its stamp: what stands before, and what follows for each kind of sound."""
        before = (
            b'{"event":"media","sequenceNumber":"4","media":{"track":"inbound","chunk":"2","timestamp":"5",'
            + _PAYLOAD
            + b'"'
        )
        after = b'"},"streamSid":"' + self._sid + b'"}'
        size = len(before) + BASE64_CHARS + len(after)
        head = struct.pack("!BBH", 0x80 | TEXT, 0x80 | 126, size) + b"\0\0\0\0" + before
        cut = STAMP_BYTES if self.echo else 0
        return head, {kind: b64encode(kind[cut:]) + after for kind in (QUIET, LOUD)}

    def shake(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 101"):
            self.is_gone = True
            return
        self.is_open = True
        connected = msgspec.json.encode({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        self.write(client_frame(TEXT, connected) + client_frame(TEXT, msgspec.json.encode(self._start)))

    def speak(self) -> None:
        """One frame of the caller."""
        number = self.number
        self.number = number + 1
        kind = QUIET
        now = perf_counter_ns()
        if self.loud_left:
            kind = LOUD
            self.loud_left -= 1
            if self.caused_at == 0:
                self.caused_at = -1
            elif self.caused_at == -1:
                self.caused_at = now  # the second voiced frame is what 40 ms of voice are
        if not self.stamped:
            self.sent_at.append(now)
        stamp = STAMP.pack(0, self.call, number, now)
        if (
            self.echo
        ):  # an echo decodes and encodes the sound: bytes that µ-law has twice (a negative zero) would change
            stamp = stamp.hex().encode().translate(_TO_SAFE)
        stamp = b2a_base64(stamp, newline=False)
        self.tally.sent += 1
        self.write(self._head + stamp + self._tails[kind])

    def hang_up(self) -> None:
        stop = {"event": "stop", "streamSid": self._sid.decode(), "stop": {"callSid": self._start["start"]["callSid"]}}
        self.write(client_frame(TEXT, msgspec.json.encode(stop)) + client_frame(CLOSE, b"\x03\xe8"))

    def frame(self, opcode: int, data: bytes, start: int, end: int, mask: bytes, now: int) -> None:
        if opcode != TEXT:
            if opcode == PING:
                self.write(client_frame(PONG, data[start:end]))
            elif opcode == CLOSE:
                self.write(client_frame(CLOSE, data[start:end]))
                self.is_open = False
            return
        found = data.find(_PAYLOAD, start, end)
        if found >= 0:
            at = data.index(b'"', found + len(_PAYLOAD)) + 1
            if not self.stamped:
                self._count_unstamped(now)
                return
            if self.echo:
                safe = a2b_base64(data[at : at + 2 * STAMP_B64])
                if safe[0] in _SAFE:  # else silence of the server's own
                    self.judge(bytes.fromhex(safe.translate(_FROM_SAFE).decode()), now, "to_line")
                return
            stamp = a2b_base64(data[at : at + STAMP_B64])
            if self.is_cleared and stamp[0] == self.utterance:
                self.tally.stale += 1
                return
            self.is_cleared = False
            self.judge(stamp, now, "to_line")
        elif data.find(b'"mark"', start, end) >= 0:
            self.write(client_frame(TEXT, data[start:end]))
        elif data.find(b'"clear"', start, end) >= 0:
            if self.caused_at > 0:
                self.tally.clears_us.append((now - self.caused_at) // 1000)
                self.caused_at = -2
            self.is_cleared = True

    def _count_unstamped(self, now: int) -> None:
        """Without stamps: the oldest frame sent is the one that came."""
        self.tally.received += 1
        if self.agent is not None and self.agent.sent_at:
            self.tally.latencies_us["to_line"].append((now - self.agent.sent_at.popleft()) // 1000)


class Agent(Leg):
    """Vapi's end of one call."""

    def __init__(self, sock: socket.socket, tally: Tally, *, stamped: bool) -> None:
        super().__init__(sock, tally)
        self.stamped = stamped
        self.line: Line | None = None
        self.number = 0
        self.spoken = 0
        self.said = 0
        self.sent_at: deque[int] = deque(maxlen=2000)
        self.pause_left = 0
        self.heard_from = -1
        self._head = struct.pack("!BBH", 0x80 | BINARY, 126, FRAME_BYTES)

    def shake(self, head: bytes) -> None:
        wanted = next(
            (
                line.split(b":", 1)[1].strip()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key:")
            ),
            b"",
        )
        accept = b64encode(sha1(wanted + _GUID).digest())  # noqa: S324 — RFC 6455 says so
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        self.is_open = True
        self.tell({"type": "speech-update", "status": "started", "role": "assistant"})

    def tell(self, message: dict[str, Any]) -> None:
        self.write(server_frame(TEXT, msgspec.json.encode(message)))

    def break_off(self, frames: int) -> None:
        """Vapi's own barge-in: it stops, and answers after a pause."""
        self.tell({"type": "user-interrupted"})
        self.tell({"type": "speech-update", "status": "stopped", "role": "assistant"})
        self.pause_left = frames

    def speak(self) -> None:
        """One frame of the agent; or one frame's time of silence, in which nothing is sent."""
        if self.pause_left:
            self.pause_left -= 1
            if self.pause_left == 0:
                self._next_utterance()
            return
        self.said += 1
        now = perf_counter_ns()
        if not self.stamped:
            self.sent_at.append(now)
        call = self.line.call if self.line is not None else 0
        stamp = STAMP.pack(self.spoken & 0xFF, call, self.number, now)
        self.number += 1
        self.tally.sent += 1
        self.write(self._head + stamp + SPEECH)

    def _next_utterance(self) -> None:
        self.spoken += 1
        self.said = 0
        self.tell({"type": "speech-update", "status": "started", "role": "assistant"})

    def new_sentence(self) -> None:
        """One utterance ends and the next begins, as Vapi says it."""
        self.tell({"type": "speech-update", "status": "stopped", "role": "assistant"})
        self.tell({"type": "transcript", "role": "assistant", "transcriptType": "final", "transcript": "A sentence."})
        self._next_utterance()

    def frame(self, opcode: int, data: bytes, start: int, end: int, mask: bytes, now: int) -> None:
        if opcode == BINARY:
            if not self.stamped:
                self.tally.received += 1
                if self.line is not None and self.line.sent_at:
                    self.tally.latencies_us["to_agent"].append((now - self.line.sent_at.popleft()) // 1000)
                return
            if end - start != FRAME_BYTES:
                self.tally.strange += 1
                return
            stamp = data[start : start + STAMP_BYTES]
            if mask != b"\0\0\0\0":
                stamp = (int.from_bytes(stamp, "big") ^ int.from_bytes((mask * 4)[:STAMP_BYTES], "big")).to_bytes(
                    STAMP_BYTES, "big"
                )
            if stamp[1:3] == b"\xff\xff":
                return  # silence that a bridge put in for a caller who was not there yet
            self.heard_from = self.judge(stamp, now, "to_agent")
        elif opcode == PING:
            self.write(server_frame(PONG, _unmasked(data[start:end], mask)))
        elif opcode == CLOSE:
            self.write(server_frame(CLOSE, _unmasked(data[start:end], mask)))
            self.is_open = False


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)) if mask else payload
