"""A proxy in front of a real server that spoils what passes: late, reset, swallowed, cut, dripping, refused.

    proxy = FaultProxy(nginx.port).start()
    proxy.faults = [Fault("delay", 0.3, share=0.01), Fault("reset", times=1)]     # at any time
    proxy.refuse()                                                # nobody listens at its port
    proxy.accept()
    proxy.follow(itertools.cycle([(0.5, []), (0.5, REFUSED)]))    # flaps, until proxy.steady()

faults.py says itself what it answers; here the answers are the server's own. Requests are read one by
one, since shares, counts and most faults are of requests; a fault with `per="connection"` is drawn when
the connection comes and stays with it. Without a seed shares are spread evenly, so that a test can count
on which; with one they are drawn.
"""

import asyncio
import collections
import contextlib
import random
import re
import socket
import struct
import threading
import time

KINDS = ("delay", "reset", "blackhole", "cut", "drip", "elsewhere")
REFUSED = object()  # in a schedule: nobody listens
LENGTH = re.compile(rb"(?im)^content-length: *(\d+)\r")
CHUNKED = re.compile(rb"(?im)^transfer-encoding: *chunked\r")


class Fault:
    """delay: the answer comes `seconds` later. reset: RST instead of an answer. blackhole: no answer, ever.
    cut: half of the body, then the end. drip: the body in pieces, `seconds` in all. elsewhere: the server
    at `port` is asked instead."""

    def __init__(self, kind, seconds=0.0, share=1.0, times=None, per="request", port=None):
        assert kind in KINDS and per in ("request", "connection"), (kind, per)
        self.kind, self.seconds, self.share, self.per, self.port = kind, seconds, share, per, port
        self.left = times  # None = any number
        self.due = 1 - share  # at 1 it is due: the first one is, then every 1/share-th

    def is_due(self, chance):
        if self.left == 0:
            return False
        if chance is not None:
            due = chance.random() < self.share
        else:
            self.due += self.share
            due = self.due > 1 - 1e-9
            self.due -= due
        if due and self.left is not None:
            self.left -= 1
        return due


class FaultProxy:
    """Runs on a thread of its own. Numbers may be read at any time."""

    def __init__(self, upstream_port, seed=None):
        self.upstream_port = upstream_port
        self.chance = None if seed is None else random.Random(seed)
        self.faults = []
        self.asked = 0  # requests that came
        self.asked_for = collections.Counter()  # of them, by path without query
        self.passed = 0  # of them, those whose whole answer was handed on
        self.spoilt = collections.Counter()  # of them, by the kind of fault
        self.abandoned = 0  # of them, those whose asker left before the answer's end
        self.resendable = 0  # of them, those whose kept connection ended without a word: asked again unseen
        self.connections = 0  # that came
        self.open = 0
        self.busy = 0  # requests under way
        self.busy_peak = 0
        self.requests = collections.deque(maxlen=10000)  # (when, head, body) of the latest
        self.errors = []
        self.tasks = set()
        self.schedule = None
        self.started = threading.Event()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # beside what was accepted before
        self.listener.bind(("127.0.0.1", self.port))  # by number: so it stays ours while nobody listens
        self.listener.setblocking(False)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()), daemon=True)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    def paths(self):
        return [head.split(" ", 2)[1] for _, head, _ in list(self.requests)]

    # -- switched from any thread ------------------------------------------------------------------

    def start(self):
        self.thread.start()
        assert self.started.wait(15)
        return self

    def stop(self):
        self.loop.call_soon_threadsafe(self.ending.set)
        self.thread.join(15)
        assert not self.thread.is_alive()
        self.listener.close()
        assert self.errors == [], self.errors

    def refuse(self):
        """As a server that died: connections are refused, those that stand are reset."""
        self.call(self.shut)

    def accept(self):
        self.call(self.listen)

    def follow(self, schedule):
        """schedule: (seconds, faults or REFUSED), one after the other."""
        self.call(self.begin, schedule)

    def steady(self):
        """No schedule, no faults."""
        self.call(self.settle)

    def call(self, what, *arguments):
        """Runs it on the proxy's thread; when this returns it is done."""

        async def run():
            what(*arguments)

        asyncio.run_coroutine_threadsafe(run(), self.loop).result(15)

    # -- on the proxy's thread ---------------------------------------------------------------------

    async def main(self):
        self.loop = asyncio.get_running_loop()
        self.ending = asyncio.Event()
        self.listening = False
        self.listen()
        self.started.set()
        await self.ending.wait()
        self.settle()
        self.shut()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def listen(self):
        if not self.listening:
            self.listener.listen(1024)
            self.loop.add_reader(self.listener, self.take)
            self.listening = True

    def shut(self):
        if self.listening:
            self.loop.remove_reader(self.listener)
            self.listener.shutdown(socket.SHUT_RDWR)  # refuses from now on
            self.listening = False
        for task in self.tasks:
            task.cancel()

    def begin(self, schedule):
        self.settle()
        self.schedule = self.loop.create_task(self.flap(schedule))

    def settle(self):
        if self.schedule is not None:
            self.schedule.cancel()
            self.schedule = None
        self.faults = []
        self.listen()

    async def flap(self, schedule):
        at = self.loop.time()
        try:
            for seconds, faults in schedule:
                if faults is REFUSED:
                    self.shut()
                else:
                    self.faults = faults
                    self.listen()
                at += seconds  # a late turn doesn't delay those after it
                await asyncio.sleep(max(0, at - self.loop.time()))
        except Exception as error:  # told when the proxy is stopped
            self.errors.append(repr(error))

    def take(self):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                client = self.listener.accept()[0]
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = self.loop.create_task(self.serve(client))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    def choose(self, per):
        for fault in self.faults:
            if fault.per == per and fault.is_due(self.chance):
                return fault
        return None

    async def serve(self, client):
        self.connections += 1
        self.open += 1
        servers = {}  # connections to servers, by port
        answered, busy = 0, False
        reader, writer = await asyncio.open_connection(sock=client, limit=1 << 20)
        try:
            stays = self.choose("connection")
            if stays is not None and stays.kind == "reset":
                self.spoilt["reset"] += 1
                reset(writer)
                return
            while request := await read_message(reader):
                self.asked += 1
                self.asked_for[request[0].split(b" ", 2)[1].partition(b"?")[0].decode()] += 1
                self.requests.append((time.monotonic(), request[0].decode("latin-1"), request[1]))
                self.busy += 1
                self.busy_peak = max(self.busy, self.busy_peak)
                busy = True
                try:
                    await self.relay(b"".join(request), stays or self.choose("request"), reader, writer, servers)
                except (Left, ConnectionError):
                    self.abandoned += 1
                    return
                finally:
                    self.busy -= 1
                answered, busy = answered + 1, False
        except (Over, ConnectionError):
            pass
        except asyncio.CancelledError:
            reset(writer)
        except Exception as error:  # told when the proxy is stopped
            self.errors.append(repr(error))
        finally:
            self.open -= 1
            self.resendable += busy and answered != 0
            for _, server in servers.values():
                server.close()
            writer.close()

    async def relay(self, request, fault, reader, writer, servers):
        """Asks the server and hands on what it says, or what the fault makes of it."""
        kind = fault.kind if fault is not None else None
        if kind is not None:
            self.spoilt[kind] += 1
        if kind == "reset":
            reset(writer)
            raise Over
        if kind == "blackhole":
            await watch(reader, None)
        port = fault.port if kind == "elsewhere" else self.upstream_port
        answering = self.loop.create_task(ask(port, request, servers))
        try:
            if kind == "delay":
                await watch(reader, fault.seconds)
            head, body = await until_left(answering, reader)
        finally:
            answering.cancel()
        if kind == "cut":
            assert len(body) > 1, "nothing to cut"
            writer.write(head + body[: len(body) // 2])
            await writer.drain()
            raise Over
        if kind == "drip":
            writer.write(head)
            size = max(1, len(body) // 20)
            for at in range(0, len(body), size):
                await watch(reader, fault.seconds / 20)
                writer.write(body[at : at + size])
            self.passed += 1
        else:
            self.passed += 1  # before it can be read at the other end
            writer.write(head + body)
        await writer.drain()


class Left(Exception):
    """Whoever asked closed the connection while an answer was due."""


class Over(Exception):
    """The connection ends here: as the fault has it, or because the server gave no answer."""


def reset(writer):
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def watch(reader, seconds):
    """Waits that long (None = for ever), unless the asker leaves."""
    with contextlib.suppress(asyncio.TimeoutError):
        data = await asyncio.wait_for(reader.read(1), seconds)
        assert data == b"", "a request before the answer to the one before"
        raise Left


async def until_left(answering, reader):
    """The task's result, unless the asker leaves before."""
    leaving = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            assert leaving.result() == b"", "a request before the answer to the one before"
            raise Left
        return answering.result()
    finally:
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await leaving


async def ask(port, request, servers):
    """The server's answer, head and body. A kept connection that ended meanwhile is made anew."""
    for _ in range(2):
        with contextlib.suppress(ConnectionError):
            if port not in servers:
                servers[port] = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            reader, writer = servers[port]
            writer.write(request)
            if answer := await read_message(reader, is_answer=True):
                return answer
        if port in servers:
            servers.pop(port)[1].close()
    raise Over


async def read_message(reader, is_answer=False):
    """Head and body of an HTTP/1.1 message; None where the connection ended before one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionError("a message without its end") from error
        return None
    assert not CHUNKED.search(head), "the servers behind this proxy say how long their answers are"
    length = LENGTH.search(head)
    if is_answer and not length:
        assert head.split(b" ", 2)[1] in (b"204", b"304"), head
    return head, await reader.readexactly(int(length[1])) if length else b""
