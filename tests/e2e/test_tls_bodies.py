"""Bodies and connections over TLS: large ones in little memory, whole ones by every way, clients that
leave or are many, and the end of the process."""

import hashlib
import os
import select
import socket
import ssl
import subprocess
import threading
import time

import h2.config
import h2.connection
import h2.events
import hpack
import pytest

from certificates import Authority
from gateway import SANITIZED, until
from test_tls import ask, connect, context, curl, metric

HEADER = """
[server]
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
workers = {workers}
drain_timeout = "20s"
[tls.certificates.a]
certificate = "{folder}/shop.pem"
key = "{folder}/shop.key"
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
format = "json"
"""

CONFIG = """
[upstreams.u]
url = "{url}"
timeout = "20s"
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok"
[pages.late]
path = "/late"
deadline = "10s"
[pages.late.parts.u]
path = "/late/1"
[pages.later]
path = "/later"
deadline = "10s"
[pages.later.parts.u]
path = "/late/9"
[routes.r]
path = "/r"
upstream = "u"
[uploads.main]
path = "/upload"
dir = "uploads"
max_size = "2GiB"
auth = "public"
[static.files]
path = "/files"
dir = "{files}"
"""
BIG = (24 if SANITIZED else 320) << 20
LIMIT_KIB = 48 << 10


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    ca = Authority(tmp_path_factory.mktemp("keys"))
    ca.sign("shop", hosts=["localhost", "shop.example"])
    return ca


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.fixture
def serve(gateway, faults, keys, files):
    def start(workers=1):
        return gateway(CONFIG.format(url=faults.url, files=files),
                       header=HEADER.format(folder=keys.folder, workers=workers))

    return start


class Client:
    """HTTP/2 over TLS. What came back is in statuses, bodies, ended, by stream; and pongs."""

    def __init__(self, one, keys):
        self.socket = connect(one, context(keys, alpn=("h2",)))
        assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.statuses, self.bodies, self.ended, self.pongs = {}, {}, set(), 0
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def ask(self, stream, path="/", end=True, method="GET", fields=()):
        self.h2.send_headers(stream, [(":method", method), (":path", path), (":scheme", "https"),
                                      (":authority", "a"), *fields], end_stream=end)
        self.flush()

    def hear(self, until_true, seconds=20):
        end = time.monotonic() + seconds
        while not until_true():
            assert time.monotonic() < end
            if not self.socket.pending() and not select.select([self.socket], [], [], 0.1)[0]:
                continue
            data = self.socket.recv(65536)
            if not data:
                return False
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)
                elif isinstance(event, h2.events.PingAckReceived):
                    self.pongs += 1
                elif isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.flush()
        return True


# -- large ones --


@pytest.fixture(scope="module")
def big_file(tmp_path_factory):
    """BIG bytes, none of a block like those of another, and their digest."""
    path = tmp_path_factory.mktemp("big") / "big.bin"
    digest, block = hashlib.sha256(), bytearray(os.urandom(1 << 20))
    with open(path, "wb") as file:
        for number in range(BIG >> 20):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)
            digest.update(block)
    yield path, digest.hexdigest()
    path.unlink()


@pytest.mark.parametrize("way", ["--http1.1", "--http2"])
def test_a_large_upload_needs_no_memory(serve, keys, big_file, way):
    path, digest = big_file
    one = serve()
    done = curl(one, keys, way, "-T", path, "-m", "120", path="/upload")
    assert f'"sha256":"{digest}"'.encode() in done.stdout, done.stdout
    assert SANITIZED or one.status("VmHWM") < LIMIT_KIB, one.status("VmHWM")


def test_a_chunked_upload_needs_no_memory(serve, keys, big_file):
    path, digest = big_file
    one = serve()
    done = curl(one, keys, "--http1.1", "-H", "Transfer-Encoding: chunked", "-T", path, "-m", "120", path="/upload")
    assert f'"sha256":"{digest}"'.encode() in done.stdout, done.stdout
    assert SANITIZED or one.status("VmHWM") < LIMIT_KIB, one.status("VmHWM")


@pytest.mark.parametrize("way", ["--http1.1", "--http2"])
def test_a_large_download_is_whole_and_needs_no_memory(serve, keys, files, big_file, way):
    path, digest = big_file
    one = serve()
    os.link(path, files / "big.bin")
    url = f"https://localhost:{one.tls_ports[0]}/files/big.bin"
    common = ["curl", "-sS", "--noproxy", "*", "--cacert", keys.pem, way, "-m", "120"]
    got = hashlib.sha256()
    with subprocess.Popen([*common, url], stdout=subprocess.PIPE) as reader:
        while piece := reader.stdout.read(1 << 20):
            got.update(piece)
    assert got.hexdigest() == digest
    part = subprocess.run([*common, "-r", "1000000-1100000", url], capture_output=True, check=True, timeout=60)
    with open(path, "rb") as file:
        file.seek(1000000)
        assert part.stdout == file.read(100001)
    assert SANITIZED or one.status("VmHWM") < LIMIT_KIB, one.status("VmHWM")


def test_uploads_that_nobody_can_take_wait_with_their_client(serve, keys):
    """A client sends on and on while nothing is read: its window closes, and memory stays as it is."""
    one = serve()
    with connect(one, context(keys)) as sock:
        sock.sendall(b"GET /later HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400000)
        before = one.status("VmRSS")
        sock.settimeout(1)
        sent = 0
        try:
            while sent < 200 << 20:  # pipelined behind the request that waits
                sent += sock.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 60000 + b"\r\n\r\n")
        except TimeoutError:
            pass
        assert sent < 100 << 20
        assert SANITIZED or one.status("VmRSS") - before < 4096


# -- whole ones --


def test_bodies_in_many_records_and_requests_in_one(serve, keys):
    one = serve()
    body = os.urandom(200000)
    digest = hashlib.sha256(body).hexdigest().encode()
    with connect(one, context(keys)) as sock:
        head = f"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for at in range(len(head)):  # a record a byte
            sock.send(head[at : at + 1])
        for at in range(0, 3000):
            sock.send(body[at : at + 1])
        assert digest in ask(sock, body[3000:])
        # Chunked, then the next request in the same record, then three at once.
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in
                          (body[at : at + 7777] for at in range(0, len(body), 7777)))
        head = b"PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        get = b"GET /files/none HTTP/1.1\r\nHost: a\r\n\r\n"
        assert digest in ask(sock, head + chunks + b"0\r\n\r\n" + get)
        assert b" 404 " in ask(sock, b"")
        for answer in (ask(sock, get * 3), ask(sock, b""), ask(sock, b"")):
            assert answer.startswith(b"HTTP/1.1 404 ")
        # A body that is refused while it comes, by a client that sends it all the same.
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
        try:
            sock.sendall(b"x" * 2000000)
        except OSError:
            pass
        assert ask(sock, b"").startswith(b"HTTP/1.1 413 ")
        assert sock.recv(1) == b"", "closed, and said so"
    # What waits for a 100 gets it.
    with connect(one, context(keys)) as sock:
        sock.sendall(b"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert ask(sock, b"hello").startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("way", ["--http1.1", "--http2"])
def test_routes_stream_both_ways(serve, keys, files, way, tmp_path):
    one = serve()
    (tmp_path / "body").write_bytes(os.urandom(3 << 20))
    assert curl(one, keys, way, "--data-binary", f"@{tmp_path}/body", path="/r/ok").stdout.startswith(b"HTTP/")
    for size in (0, 1, 16383, 16384, 16385, 65536, 300000):
        (files / f"{size}.bin").write_bytes(os.urandom(size))
        got = curl(one, keys, way, path=f"/files/{size}.bin").stdout.partition(b"\r\n\r\n")[2]
        assert got == (files / f"{size}.bin").read_bytes(), size


def test_a_reader_that_stops_gets_the_rest_later(serve, keys, files):
    one = serve()
    content = os.urandom(6 << 20)
    (files / "six.bin").write_bytes(content)
    with connect(one, context(keys)) as sock:
        sock.sendall(b"GET /files/six.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        time.sleep(0.3)  # until all buffers are full
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        assert answer.partition(b"\r\n\r\n")[2] == content


# -- many, and those who leave --


def test_a_hundred_streams_and_more(serve, keys):
    """At a hundred that wait h2o stops reading the connection: it goes on when they are answered."""
    one = serve()
    client = Client(one, keys)
    streams = [2 * i + 1 for i in range(100)]
    for stream in streams:
        client.ask(stream, "/late")
    client.h2.ping(b"12345678")
    client.flush()
    assert client.hear(lambda: len(client.ended) == 100 and client.pongs == 1)
    assert set(client.statuses.values()) == {200}
    for stream in range(201, 401, 2):
        client.ask(stream, "/files/none")
    assert client.hear(lambda: len(client.ended) == 200)
    body = os.urandom(300000)
    client.ask(501, "/upload", end=False, method="PUT", fields=[("content-length", str(len(body)))])
    at = 0
    while at < len(body):
        room = min(client.h2.local_flow_control_window(501), 16384, len(body) - at)
        if room == 0:
            assert client.hear(lambda: client.h2.local_flow_control_window(501) > 0)
            continue
        client.h2.send_data(501, body[at : at + room], end_stream=at + room == len(body))
        client.flush()
        at += room
    assert client.hear(lambda: 501 in client.ended)
    assert hashlib.sha256(body).hexdigest().encode() in client.bodies[501]
    client.socket.close()


@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_leaves_ends_its_request(serve, keys, faults, politely):
    one = serve()
    sock = connect(one, context(keys))
    sock.sendall(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: any(path == "/late/9" for path, _ in faults.requests), "the call")
    if politely:
        sock.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            sock.unwrap()  # close_notify
    sock.close()
    record = one.access()[0]
    assert (record["status"], record["flags"]) == (499, "DC")
    until(lambda: faults.aborted == 1, "the end of the call")


def test_many_clients_come_and_go(serve, keys):
    one = serve(workers=2)
    ctx = context(keys)
    assert ask(connect(one, ctx)).startswith(b"HTTP/1.1 200")
    files = one.open_files()

    def visit(number):
        for turn in range(6):
            with connect(one, ctx) as sock:
                for _ in range(3):
                    assert ask(sock).startswith(b"HTTP/1.1 200")
                if turn % 3 == 1:
                    sock.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")  # and away
                elif turn % 3 == 2:
                    sock.sendall(b"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx")
            with socket.create_connection(("127.0.0.1", one.tls_ports[0])) as raw:
                raw.sendall(b"\x16\x03\x01\x02\x00\x01" if number % 2 else b"")

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    until(lambda: one.open_files() <= files + 20, "the end of 96 connections")  # some to the upstream are kept
    assert metric(one, 'gw_tls_handshakes_total{result="full"}') == 49


# -- the end --

DATA, HEADERS, GOAWAY = 0, 1, 7


def read_frames(sock):
    """What still comes: kind, flags, stream, payload."""
    data = b""
    while more := sock.recv(65536):
        data += more
    while data:
        n = int.from_bytes(data[:3], "big")
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + n]
        data = data[9 + n :]


def test_a_drain_finishes_what_is_under_way(serve, keys, faults):
    one = serve()
    ctx = context(keys)
    h2c, h1, idle = Client(one, keys), connect(one, ctx), connect(one, ctx)
    assert ask(idle).startswith(b"HTTP/1.1 200")
    silent = socket.create_connection(("127.0.0.1", one.tls_ports[0]), timeout=15)
    h2c.ask(1, "/late")
    h1.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: sum(path == "/late/1" for path, _ in faults.requests) == 2, "both calls")
    start = time.monotonic()
    one.process.terminate()
    assert idle.recv(1) == b"" and silent.recv(1) == b"", "who asks for nothing is let go at once"
    frames = list(read_frames(h2c.socket))  # python3-h2 takes none after GOAWAY
    kinds = [kind for kind, flags, stream, payload in frames]
    assert GOAWAY in kinds
    answers = [payload for kind, flags, stream, payload in frames if kind == HEADERS and stream == 1]
    assert dict(hpack.Decoder().decode(answers[0]))[":status"] == "200"
    assert any(kind == DATA and flags & 1 and stream == 1 for kind, flags, stream, payload in frames)
    answer = ask(h1, b"")
    assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer
    assert h1.recv(1) == b""
    assert one.process.wait(15) == 0
    assert time.monotonic() - start < 15
