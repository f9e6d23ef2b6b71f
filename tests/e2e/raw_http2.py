"""HTTP/2 by the frame, for what no library sends."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
UNKNOWN = 0x77
END_STREAM = ACK = 1
END_HEADERS = 4
PROTOCOL_ERROR, ENHANCE_YOUR_CALM = 1, 11


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value, kept=b"\x00"):
    """A field, RFC 7541 section 6.2; values up to 16 KiB."""
    length, rest = bytes([min(len(value), 127)]), len(value) - 127
    if rest >= 0:
        length += bytes([rest]) if rest < 128 else bytes([rest % 128 + 128, rest // 128])
    return kept + bytes([len(name)]) + name + length + value


def head(**changed):
    fields = {"method": b"GET", "scheme": b"http", "path": b"/", "authority": b"a", **changed}
    return b"".join(literal(b":" + k.encode(), v) for k, v in fields.items() if v is not None)


def request(stream, path=b"/", flags=END_STREAM, method=b"GET"):
    return frame(HEADERS, END_HEADERS | flags, stream, head(path=path, method=method))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def cancel(stream):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def parse(got):
    """(type, payload) of each whole frame."""
    at, frames = 0, []
    while at + 9 <= len(got):
        n = int.from_bytes(got[at : at + 3], "big")
        frames.append((got[at + 3], got[at + 9 : at + 9 + n]))
        at += 9 + n
    return frames


def exchange(one, data, seconds=0.5, first=PREFACE + frame(SETTINGS, 0, 0)):
    """The frames that come back, until the gateway closes or is silent; and whether it closed."""
    got = b""
    with socket.create_connection(one.host_port, timeout=seconds) as client:
        try:
            client.sendall(first + data)
        except socket.timeout:
            return parse(got), False
        except ConnectionError:
            pass  # it had closed before all was sent; what it said is still there
        try:
            while chunk := client.recv(65536):
                got += chunk
        except socket.timeout:
            return parse(got), False
        except ConnectionError:
            pass
    return parse(got), True


def goaway_code(frames):
    return next((int.from_bytes(p[4:8], "big") for kind, p in frames if kind == GOAWAY), None)
