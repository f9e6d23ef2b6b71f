"""An upstream that does on demand what no real server does: answers late, cut, endless, wrong.

Each path names a behaviour; the server counts connections and requests and keeps their heads.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import zlib

JSON = b'{"items":[1,2,3],"text":"a <b> & \\"c\\""}'


def answer(body, status="200 OK", content_type="application/json", extra=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return (head + extra + "\r\n").encode() + body


class Faults:
    """Runs on a thread of its own. `requests` holds (path, head) of each request."""

    def __init__(self, port=0):
        self.port = port
        self.requests = []
        self.connections = 0
        self.open = 0
        self.busy = 0  # requests being answered right now
        self.busy_peak = 0
        self.poisoned = []  # paths whose answers were followed by bytes that nobody asked for
        self.aborted = 0  # connections that the gateway closed while an answer was due
        self.started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()), daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.thread.start()
        assert self.started.wait(15)
        return self

    def stop(self):
        self.loop.call_soon_threadsafe(self.ending.set)
        self.thread.join(15)
        assert not self.thread.is_alive()

    async def main(self):
        self.loop = asyncio.get_running_loop()
        self.ending = asyncio.Event()
        server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        self.started.set()
        await self.ending.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                self.requests.append((path, head.decode("latin-1")))
                self.busy += 1
                self.busy_peak = max(self.busy, self.busy_peak)
                try:
                    stays = await self.behave(path, reader, writer)
                finally:
                    self.busy -= 1
                if not stays:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            with contextlib.suppress(Exception):
                writer.close()

    async def wait(self, reader, seconds):
        """Sleeps, unless the gateway closes the connection first."""
        try:
            data = await asyncio.wait_for(reader.read(1), seconds)
            if not data:
                self.aborted += 1
                raise ConnectionError
        except asyncio.TimeoutError:
            pass

    async def behave(self, path, reader, writer):
        """Answers; true = the connection stays."""
        name, _, argument = path.lstrip("/").partition("?")[0].partition("/")
        if name == "ok":
            writer.write(answer(JSON))
        elif name == "ok-and-close":
            writer.write(answer(JSON))
            await writer.drain()
            return False
        elif name == "and-more":  # a little later, another answer
            writer.write(answer(JSON))

            def more():
                writer.write(answer(b'{"poison":1}'))
                self.poisoned.append(path)

            self.loop.call_later(0.02, more)
        elif name == "and-more-at-once":  # behind the body, which comes apart from its head
            whole = answer(JSON)
            writer.write(whole[: -len(JSON)])
            await writer.drain()
            await asyncio.sleep(0.005)  # so that the kernel sends them apart
            writer.write(JSON + answer(b'{"poison":1}'))
            self.poisoned.append(path)
        elif name == "trailers":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n"
                         b"X-Digest: 1\r\nX-More: 2\r\n\r\n" % (len(JSON), JSON))
        elif name == "interim":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + answer(JSON))
        elif name == "endless-interim":
            with contextlib.suppress(ConnectionError):
                for _ in range(100000):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
                    await writer.drain()
            return False
        elif name == "quotes":
            count = int(argument)
            writer.write(answer(b'{"text":"' + b"<" * count + b'","items":['
                                + b",".join([b"{}"] * count) + b"]}"))
        elif name == "late":
            await self.wait(reader, float(argument or 1))
            writer.write(answer(JSON))
        elif name == "status":
            writer.write(answer(b'{"error":"as asked"}', status=f"{argument} As Asked"))
        elif name == "redirect":
            writer.write(answer(b"", status="302 Found", extra="Location: /ok\r\n"))
        elif name == "no-content":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif name == "empty":
            writer.write(answer(b""))
        elif name == "not-json":
            writer.write(answer(b"<html>oops</html>"))
        elif name == "invalid-json":
            writer.write(answer(b'{"items":[1,2,}'))
        elif name == "bad-utf8":
            writer.write(answer(b'{"a":"\xff\xfe"}'))
        elif name == "deep":
            writer.write(answer(b"[" * 100000 + b"]" * 100000))
        elif name == "wrong-type":
            writer.write(answer(b"<p>{}</p>", content_type="text/html"))
        elif name == "type-with-escapes":  # a terminal would change its title and colour
            writer.write(answer(b"{}", content_type="\x1b]0;mine\x07\x1b[31m/x"))
        elif name == "cut":
            writer.write(answer(JSON)[:-10])
            await writer.drain()
            return False
        elif name == "cut-chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n")
            await writer.drain()
            return False
        elif name == "closed":
            return False
        elif name == "reset":
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            writer.transport.abort()
            return False
        elif name == "garbage":
            writer.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n" * 10)
            await writer.drain()
            return False
        elif name == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
            with contextlib.suppress(ConnectionError):
                for _ in range(100000):
                    writer.write(b"1," * 8192)
                    await writer.drain()
            self.aborted += 1
            return False
        elif name == "large":
            writer.write(answer(b'{"a":"' + b"x" * int(argument) + b'"}'))
        elif name == "claims-large":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         b"Content-Length: 99999999999\r\n\r\n[")
            await writer.drain()
            await self.wait(reader, 10)
            return False
        elif name == "drip":
            writer.write(answer(JSON)[: -len(JSON)])
            for byte in JSON:
                writer.write(bytes([byte]))
                await writer.drain()
                await self.wait(reader, 0.1)
        elif name == "gzip":
            coder = zlib.compressobj(wbits=31)
            body = coder.compress(JSON) + coder.flush()
            writer.write(answer(body, extra="Content-Encoding: gzip\r\n"))
        elif name == "bomb":
            coder = zlib.compressobj(level=9, wbits=31)
            body = coder.compress(b"[" + b"1," * (8 << 20) + b"1]") + coder.flush()
            writer.write(answer(body, extra="Content-Encoding: gzip\r\n"))
        elif name == "bad-gzip":
            writer.write(answer(b"not gzip at all", extra="Content-Encoding: gzip\r\n"))
        elif name == "gzip-and-more":
            coder = zlib.compressobj(wbits=31)
            body = coder.compress(JSON) + coder.flush() + b"and more"
            writer.write(answer(body, extra="Content-Encoding: gzip\r\n"))
        elif name == "header-bomb":
            writer.write(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(20000):
                    writer.write(b"X-Filler: " + b"y" * 1000 + b"\r\n")
                    await writer.drain()
            return False
        elif name == "head":  # the request's own head, as JSON
            import json

            lines = self.requests[-1][1].split("\r\n")
            body = json.dumps({"line": lines[0], "headers": [l for l in lines[1:] if l]})
            writer.write(answer(body.encode()))
        elif name == "json":  # a JSON text of the test's own, percent-encoded
            from urllib.parse import unquote_to_bytes

            writer.write(answer(unquote_to_bytes(argument)))
        else:
            writer.write(answer(b'{"error":"no such behaviour"}', status="404 Not Found"))
        await writer.drain()
        return True
