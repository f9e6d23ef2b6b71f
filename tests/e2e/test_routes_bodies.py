"""Bodies through [routes.NAME]: of any size in little memory, no faster than they are taken, at once when
there is little of them, and cut so that everybody notices."""

import hashlib
import os
import select
import socket
import subprocess
import threading

import h2.events
import pytest

from conftest import HEADER
from gateway import SANITIZED, until
from test_http2_bodies import Client

ROUTE = """
[upstreams.shop]
url = "{url}"
timeout = "20s"
[routes.shop]
path = "/"
"""
MIB = 1 << 20
GROWTH = 400 * 1024 if SANITIZED else 24 * 1024  # KiB that a transfer may cost; sanitizers keep what is freed
BLOCK = bytes(range(256)) * 256  # 64 KiB


def dial(one, receive_buffer=None):
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(60)
    client.connect(one.host_port)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def hear(client, mark):
    got = b""
    while mark not in got:
        more = client.recv(65536)
        assert more, got
        got += more
    return got


def to_end(client):
    """All until the connection closes; whether it closed with an error doesn't matter."""
    got = b""
    try:
        while more := client.recv(65536):
            got += more
    except ConnectionError:
        pass
    return got


def get(client, stream, path="/x"):
    client.h2.send_headers(stream, [(":method", "GET"), (":path", path), (":scheme", "http"),
                                    (":authority", "a")], end_stream=True)
    client.flush()


def stands_still(number, seconds=1):
    """Waits until a number that grows does so no more; its value."""
    seen = [-1, 0]

    def still():
        import time

        now = number()
        if now != seen[0]:
            seen[:] = [now, time.monotonic()]
        return time.monotonic() - seen[1] > seconds

    until(still, "a standstill", 60)
    return number()


class Memory:
    """The most that the gateway's memory grew by while this is open, in KiB."""

    def __init__(self, one):
        self.one = one

    def __enter__(self):
        self.before = self.one.status("VmRSS")
        self.peak = self.before
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.ending.wait(0.01):
            self.peak = max(self.peak, self.one.status("VmRSS"))

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    @property
    def growth(self):
        return self.peak - self.before


# -- large -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--http2-prior-knowledge"]])
@pytest.mark.parametrize("path", ["large", "chunked/large"])
def test_100_mb_down_in_little_memory(gateway, nginx, arguments, path):
    digest = hashlib.sha256()
    server = nginx({}, "location /chunked/ { alias www/; types {} default_type a/b; gzip on; gzip_types a/b; "
                       "gzip_comp_level 1; gzip_min_length 1; }")
    with open(server.folder / "www" / "large", "wb") as file:
        block = os.urandom(MIB)
        for i in range(100):
            file.write(block[i:] + block[:i])
            digest.update(block[i:] + block[:i])
    one = gateway(ROUTE.format(url=server.url))
    with Memory(one) as memory:
        compressed = ["--compressed"] if "chunked" in path else []
        curl = subprocess.Popen(["curl", "-sf", *arguments, *compressed, f"{one.url}/{path}"],
                                stdout=subprocess.PIPE)
        got = hashlib.sha256()
        while piece := curl.stdout.read(MIB):
            got.update(piece)
        assert curl.wait(60) == 0
    assert got.digest() == digest.digest()
    assert memory.growth < GROWTH, memory.growth
    record = one.access()[0]
    assert record["bytes"] >= 100 * MIB and record["parts"][0]["bytes"] >= 100 * MIB


@pytest.mark.parametrize("arguments", [[], ["-H", "Transfer-Encoding: chunked"], ["--http2-prior-knowledge"],
                                       ["-X", "PUT"]])
def test_100_mb_up_in_little_memory(gateway, origin, tmp_path, arguments):
    def handler(exchange):
        digest, length = hashlib.sha256(), 0
        for piece in exchange.pieces():
            digest.update(piece)
            length += len(piece)
        exchange.answer(f"{length} {digest.hexdigest()}".encode())

    upstream = origin(handler)
    digest = hashlib.sha256()
    with open(tmp_path / "large", "wb") as file:
        block = os.urandom(MIB)
        for i in range(100):
            file.write(block[i:] + block[:i])
            digest.update(block[i:] + block[:i])
    one = gateway(ROUTE.format(url=upstream.url))
    with Memory(one) as memory:
        done = subprocess.run(["curl", "-s", "-T", tmp_path / "large", *arguments, f"{one.url}/x"],
                              capture_output=True, timeout=120)
    assert done.stdout.decode() == f"{100 * MIB} {digest.hexdigest()}"
    assert memory.growth < GROWTH, memory.growth
    exchange = upstream.exchanges[-1]
    if "Transfer-Encoding: chunked" in arguments:
        assert exchange.header("transfer-encoding") == ["chunked"] and not exchange.header("content-length")
    else:
        assert exchange.header("content-length") == [str(100 * MIB)]
        assert not exchange.header("transfer-encoding")
    assert not exchange.header("expect")


# -- backpressure ----------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
def test_a_client_that_reads_nothing_stops_the_upstream(gateway, origin, framing):
    sent = [0]
    total = 32 * MIB

    def handler(exchange):
        fields = {"length": f"Content-Length: {total}\r\n", "chunks": "Transfer-Encoding: chunked\r\n",
                  "close": "Connection: close\r\n"}[framing]
        exchange.send(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode())
        while sent[0] < total:
            exchange.chunk(BLOCK) if framing == "chunks" else exchange.send(BLOCK)
            sent[0] += len(BLOCK)
        if framing == "chunks":
            exchange.send(b"0\r\n\r\n")
        return framing != "close"

    one = gateway(ROUTE.format(url=origin(handler).url))
    with dial(one, 256 * 1024) as client, Memory(one) as memory:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        until(lambda: sent[0], "the answer's begin")
        there = stands_still(lambda: sent[0])
        assert there < total // 2, "the rest waits in the upstream"
        got = len(to_end(client).partition(b"\r\n\r\n")[2])
        assert got >= total
    assert memory.growth < GROWTH, memory.growth


def test_a_stream_that_reads_nothing_stops_the_upstream_and_no_other_stream(gateway, origin):
    sent = [0]
    total = 32 * MIB

    def handler(exchange):
        if exchange.target == "/small":
            return exchange.answer(b"hi")
        exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n".encode())
        while sent[0] < total:
            exchange.send(BLOCK)
            sent[0] += len(BLOCK)

    one = gateway(ROUTE.format(url=origin(handler).url))
    client = Client(one)
    get(client, 1, "/large")
    until(lambda: sent[0], "the answer's begin")
    # The client takes what comes, but opens no window again.
    held = []

    def listen():
        for event in client.h2.receive_data(client.socket.recv(65536)):
            held.append(event)
        client.flush()

    until(lambda: listen() or any(isinstance(e, h2.events.DataReceived) for e in held), "some of the body")
    assert stands_still(lambda: sent[0]) < total // 2
    client.h2.increment_flow_control_window(65535)
    get(client, 3, "/small")
    assert client.status(3) == 200
    client.close()


def test_an_upstream_that_reads_nothing_stops_the_client(gateway, origin):
    go = threading.Event()
    got = [0]

    def handler(exchange):
        go.wait(60)
        for piece in exchange.pieces():
            got[0] += len(piece)
        exchange.answer(b"done")

    one = gateway(ROUTE.format(url=origin(handler, receive_buffer=65536).url) + 'idle_timeout = "60s"\n')
    total, sent = 64 * MIB, [0]
    with dial(one) as client, Memory(one) as memory:
        client.sendall(f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n".encode())

        def send():
            while sent[0] < total:
                client.sendall(BLOCK)
                sent[0] += len(BLOCK)

        sender = threading.Thread(target=send)
        sender.start()
        until(lambda: sent[0], "the body's begin")
        assert stands_still(lambda: sent[0]) < total // 2
        go.set()
        assert hear(client, b"done").startswith(b"HTTP/1.1 200 ")
        sender.join()
    assert got[0] == total
    assert memory.growth < GROWTH, memory.growth


# -- little by little ------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
def test_each_event_of_a_stream_arrives_before_the_next_is_sent(gateway, origin, http2):
    arrived = [threading.Event() for _ in range(6)]
    late = []

    def handler(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        late.append(not arrived[0].wait(15))  # the head alone
        for i in range(1, 6):
            exchange.chunk(b"data: %d\n\n" % i)
            late.append(not arrived[i].wait(15))
        exchange.send(b"0\r\n\r\n")

    one = gateway(ROUTE.format(url=origin(handler).url))
    if http2:
        client = Client(one)
        get(client, 1)
        client.until(lambda: 1 in client.statuses, "the head")
        arrived[0].set()
        for i in range(1, 6):
            client.until(lambda: client.bodies.get(1, b"").endswith(b"data: %d\n\n" % i), "the event")
            arrived[i].set()
        assert client.status(1) == 200
        client.close()
    else:
        with dial(one) as client:
            client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"text/event-stream" in hear(client, b"\r\n\r\n")
            arrived[0].set()
            for i in range(1, 6):
                hear(client, b"data: %d\n\n\r\n" % i)
                arrived[i].set()
            hear(client, b"0\r\n\r\n")
    assert late == [False] * 6


def test_each_piece_of_a_request_arrives_before_the_next_is_sent(gateway, origin):
    pieces = []

    def handler(exchange):
        for piece in exchange.pieces():
            pieces.append(piece)
        exchange.answer(b"done")

    one = gateway(ROUTE.format(url=origin(handler).url))
    with dial(one) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(5):
            client.sendall(b"5\r\npart%d\r\n" % i)
            until(lambda: b"".join(pieces).endswith(b"part%d" % i), "the piece")
        client.sendall(b"0\r\n\r\n")
        assert hear(client, b"done").startswith(b"HTTP/1.1 200 ")
    assert b"".join(pieces) == b"part0part1part2part3part4"


def test_silence_within_idle_timeout_is_fine_and_more_cuts(gateway, origin):
    def handler(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        exchange.chunk(b"one")
        exchange.closed(0.5)
        exchange.chunk(b"two")
        exchange.closed(30)
        return False

    one = gateway(ROUTE.format(url=origin(handler).url) + 'idle_timeout = "2s"\n')
    with dial(one) as client:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        got = to_end(client)
    assert got.endswith(b"3\r\none\r\n3\r\ntwo\r\n"), got
    record = one.access()[0]
    assert record["status"] == 200 and record["flags"] == "UT" and record["parts"][0]["state"] == "timeout"


# -- cut -------------------------------------------------------------------------------------------


CUT = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "amid a chunk": b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
}


@pytest.mark.parametrize("how", CUT)
def test_an_upstream_that_breaks_off_is_noticed(gateway, origin, how):
    def handler(exchange):
        exchange.send(CUT[how])
        exchange.closed(0.3)
        return False

    one = gateway(ROUTE.format(url=origin(handler).url))
    with dial(one) as client:
        client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        got = to_end(client)
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"hello" in body and not body.endswith(b"0\r\n\r\n"), got
    assert (b"Content-Length: 100" in head) == (how == "length")
    client = Client(one)
    get(client, 1)
    client.status(1)
    assert 1 in client.resets and client.resets[1] != 0 and 1 not in client.ended
    get(client, 3)
    client.status(3)  # the connection lives on
    client.close()
    for record in one.access(3):
        assert record["parts"][0]["state"] == "error", record
        assert record["parts"][0]["error"] in ("http_response_incomplete", "connection_terminated",
                                               "http_protocol_error"), record


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("http2", [False, True])
def test_a_client_that_leaves_amid_an_answer_takes_it_along(gateway, origin, busy, http2):
    gone = threading.Event()

    def handler(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        exchange.chunk(b"first")
        try:
            while busy:
                exchange.chunk(BLOCK)
            assert exchange.closed(20)
        except OSError:
            pass
        gone.set()
        return False

    one = gateway(ROUTE.format(url=origin(handler).url))
    if http2:
        client = Client(one)
        get(client, 1)
        client.until(lambda: 1 in client.statuses, "the head")
        client.h2.reset_stream(1, 8)
        client.flush()
        assert gone.wait(15)
        client.close()
    else:
        with dial(one) as client:
            client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            hear(client, b"first")
        assert gone.wait(15)
    record = one.access()[0]
    assert record["flags"] == "DC" and record["status"] == 200, record


def test_a_client_that_leaves_amid_its_body_takes_the_call_along(gateway, origin):
    gone = threading.Event()

    def handler(exchange):
        try:
            exchange.body()
        except OSError:
            gone.set()
        return False

    upstream = origin(handler)
    one = gateway(ROUTE.format(url=upstream.url))
    with dial(one) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + BLOCK)
        until(lambda: upstream.exchanges, "the call")
    assert gone.wait(15)
    assert one.access()[0]["flags"] == "DC"


# -- limits and early answers ----------------------------------------------------------------------


def test_bodies_over_max_body_never_pass(gateway, origin):
    upstream = origin(lambda exchange: exchange.answer(exchange.body()[:5]))
    one = gateway(ROUTE.format(url=upstream.url) + 'max_body = "100KiB"\n')
    with dial(one) as client:  # announced: nothing is asked
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 102401\r\nExpect: 100-continue\r\n\r\n")
        got = to_end(client)
        assert got.startswith(b"HTTP/1.1 413 "), got
    assert not upstream.exchanges
    with dial(one) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"19001\r\n" + b"x" * 102401 + b"\r\n0\r\n\r\n")
        assert hear(client, b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    with dial(one) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 102400\r\n\r\n" + b"x" * 102400)
        assert hear(client, b"xxxxx").startswith(b"HTTP/1.1 200 ")


def test_100_continue_comes_when_the_upstream_wants_the_body(gateway, origin):
    upstream = origin(lambda exchange: exchange.answer(exchange.body()))
    one = gateway(ROUTE.format(url=upstream.url))
    with dial(one) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert hear(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        assert hear(client, b"hello").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("http2", [False, True])
def test_an_upstream_that_refuses_a_body_early_is_heard(gateway, origin, tmp_path, http2):
    def handler(exchange):
        exchange.read(1000)
        exchange.answer(b"too much for me", "413 Content Too Large", "Connection: close")
        exchange.closed(5)
        return False

    (tmp_path / "large").write_bytes(b"x" * 20 * MIB)
    one = gateway(ROUTE.format(url=origin(handler).url))
    done = subprocess.run(["curl", "-si", *(["--http2-prior-knowledge"] if http2 else []), "-T",
                           tmp_path / "large", one.url + "/x"], capture_output=True, timeout=60)
    assert b" 413" in done.stdout and b"too much for me" in done.stdout, done


def test_a_good_answer_waits_for_the_bodys_end(gateway, origin):
    def handler(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in exchange.pieces(1000):
            exchange.chunk(piece.upper())
        exchange.send(b"0\r\n\r\n")

    one = gateway(ROUTE.format(url=origin(handler).url))
    with dial(one) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\nConnection: close\r\n\r\n")
        for _ in range(10):
            client.sendall(b"x" * 1000)
        got = to_end(client)
    assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"0\r\n\r\n") and got.count(b"X") == 10000


def test_many_uploads_at_once_keep_their_bytes(gateway, origin):
    def handler(exchange):
        digest = hashlib.sha256()
        for piece in exchange.pieces():
            digest.update(piece)
        exchange.answer(digest.hexdigest().encode())

    one = gateway(ROUTE.format(url=origin(handler).url))
    results = {}

    def send(i):
        body = hashlib.sha256(b"%d" % i).digest() * 20000
        with dial(one) as client:
            client.sendall(f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
                           "Connection: close\r\n\r\n".encode())
            client.sendall(body)
            results[i] = to_end(client).endswith(hashlib.sha256(body).hexdigest().encode())

    threads = [threading.Thread(target=send, args=[i]) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(30), True)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nenough",
    b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n6\r\nenough\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upstream_that_has_heard_enough_is_heard(gateway, origin, answer, chunked):
    def handler(exchange):
        exchange.read(1000)
        exchange.send(answer.replace(b"Length: 5", b"Length: 6"))
        ending.wait(30)
        return False

    ending = threading.Event()
    one = gateway(ROUTE.format(url=origin(handler, receive_buffer=65536).url) + 'idle_timeout = "1s"\n')
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 100000000"
    with dial(one) as client:
        client.settimeout(0.2)
        client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        try:
            while not select.select([client], [], [], 0)[0]:
                client.sendall(b"10000\r\n%s\r\n" % BLOCK if chunked else BLOCK)
        except TimeoutError:
            pass
        client.settimeout(15)
        got = hear(client, b"\r\n\r\n" if b"204" in answer else b"enough")
    assert got.startswith(answer[:12]), got
    ending.set()
    record = one.access()[0]
    assert record["parts"][0]["state"] == "ok", record


def test_a_stream_that_is_reset_while_its_window_is_shut_takes_its_call_along(gateway, origin):
    sent, gone = [0], threading.Event()

    def handler(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                exchange.send(BLOCK)
                sent[0] += 1
        except OSError:
            gone.set()
        return False

    one = gateway(ROUTE.format(url=origin(handler).url))
    client = Client(one)
    get(client, 1)
    until(lambda: sent[0], "the answer's begin")
    stands_still(lambda: sent[0], 0.5)
    client.h2.receive_data(client.socket.recv(65536))
    client.h2.reset_stream(1, 8)
    client.flush()
    assert gone.wait(15)
    client.close()
    assert one.access()[0]["flags"] == "DC"


def test_a_client_of_http_1_0_gets_no_chunks(gateway, origin):
    upstream = origin(lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"))
    one = gateway(ROUTE.format(url=upstream.url))
    with dial(one) as client:
        client.sendall(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = to_end(client).partition(b"\r\n\r\n")
    assert body == b"hello world" and b"chunked" not in head and b"Content-Length" not in head
    assert upstream.exchanges[0].header("via")[0].startswith("1.0 gateway-")


def test_requests_behind_one_another_are_answered_in_order(gateway, origin):
    upstream = origin(lambda exchange: exchange.body() is None or exchange.answer(exchange.target.encode()))
    one = gateway(ROUTE.format(url=upstream.url))
    with dial(one) as client:
        client.sendall(b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
                       b"POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                       b"GET /three HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = to_end(client)
    assert [got.find(target) > 0 for target in (b"/one", b"/two", b"/three")] == [True] * 3, got
    assert got.index(b"/one") < got.index(b"/two") < got.index(b"/three")
    assert [exchange.target for exchange in upstream.exchanges] == ["/one", "/two", "/three"]
