"""An upstream whose answers the test itself writes: a function that is handed each request.

    def handler(exchange):
        exchange.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

Each connection has a thread. It stays open until the function returns False or raises.
"""

import contextlib
import select
import socket
import struct
import threading
import time


class Exchange:
    """One request, and what is left of its connection."""

    def __init__(self, connection, head, rest):
        self.socket = connection
        self.rest = rest
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
        self.line = lines[0]

    def header(self, name):
        """All values of a header, in order."""
        return [value for field, value in self.headers if field.lower() == name]

    def read(self, n):
        """Exactly n bytes of what follows the head."""
        while len(self.rest) < n:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the gateway has closed")
            self.rest += more
        got, self.rest = self.rest[:n], self.rest[n:]
        return got

    def read_line(self):
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.read(1)
        return line[:-2]

    def pieces(self, size=65536):
        """The request's body, as it comes: at most `size` bytes at once."""
        if self.header("transfer-encoding"):
            while left := int(self.read_line(), 16):
                while left:
                    piece = self.read(min(left, size))
                    left -= len(piece)
                    yield piece
                self.read(2)
            self.read(2)
        else:
            left = int((self.header("content-length") or ["0"])[0])
            while left:
                if not self.rest:
                    self.rest = self.socket.recv(min(left, size))
                    if not self.rest:
                        raise ConnectionError("the gateway has closed")
                n = min(left, size, len(self.rest))
                left -= n
                yield self.read(n)

    def body(self):
        return b"".join(self.pieces())

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, body=b"", status="200 OK", *fields):
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
        self.send((head + "".join(f"{field}\r\n" for field in fields) + "\r\n").encode() + body)

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def closed(self, seconds=15):
        """Waits for the gateway to close the connection."""
        end = time.monotonic() + seconds
        try:
            while select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
                if self.socket.recv(65536) == b"":
                    return True
        except ConnectionError:
            return True
        return False

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        return False


class Origin:
    """`exchanges` are all requests so far."""

    def __init__(self, handler, receive_buffer=None):
        self.handler = handler
        self.exchanges = []
        self.connections = 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self.open.add(connection)
                threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        data = b""
        with contextlib.suppress(OSError, ValueError), connection:
            while True:
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, rest = data.partition(b"\r\n\r\n")
                exchange = Exchange(connection, head, rest)
                self.exchanges.append(exchange)
                if self.handler(exchange) is False:
                    return
                data = exchange.rest

    def stop(self):
        self.listener.close()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
