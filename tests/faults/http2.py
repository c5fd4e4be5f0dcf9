"""gRPC calls as bytes: HTTP/2 frames that no client library would send.

Formats: RFC 9113 for frames, RFC 7541 for header fields, which are all literal here, and gRPC's own
"PROTOCOL-HTTP2" for messages.
"""

import struct

SETTINGS, PING = 4, 6
_DATA, _HEADERS = 0, 1
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_FRAME_HEAD = 9

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + bytes((SETTINGS, 0)) + bytes(4)
"""What opens a connection, with settings that change nothing."""


def call(method: str, stream: int = 1) -> bytes:
    """The headers that begin a call of the inference service."""
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/inference.GRPCInferenceService/{method}"),
        (":authority", "manta"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    packed = b"".join(_literal(name.encode(), value.encode()) for name, value in fields)
    return frame(_HEADERS, _END_HEADERS, stream, packed)


def data(content: bytes, stream: int = 1, *, end: bool = False) -> bytes:
    return frame(_DATA, _END_STREAM if end else 0, stream, content)


def message(content: bytes, said: int | None = None) -> bytes:
    """A gRPC message that says it has so many bytes."""
    return b"\0" + struct.pack(">I", len(content) if said is None else said) + content


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    size = struct.pack(">I", len(content))[1:]
    return size + bytes((kind, flags)) + struct.pack(">I", stream) + content


def pongs(received: bytes) -> bytes:
    """The answers to the pings among whole frames."""
    answers, at = b"", 0
    while at + _FRAME_HEAD <= len(received):
        start = at + _FRAME_HEAD
        end = start + int.from_bytes(received[at : at + 3], "big")
        if received[at + 3] == PING and not received[at + 4] & _ACK:
            answers += frame(PING, _ACK, 0, received[start:end])
        at = end
    return answers


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that is neither indexed nor packed; both are shorter than 127 bytes."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
