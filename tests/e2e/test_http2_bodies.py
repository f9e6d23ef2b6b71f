"""Bodies under HTTP/2, sent by python3-h2 and by curl: what is announced, what is too much, who is slow,
and that none of it costs memory. The routes are pages, which throw bodies away."""

import random
import select
import socket
import subprocess
import time

import h2.connection
import h2.config
import h2.events
import pytest

from conftest import HEADER
from gateway import SANITIZED, until

PAGE = """
[upstreams.u]
url = "{url}"
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok"
"""
HEAD = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]


class Client:
    """One connection. What came back is in statuses, bodies, resets (codes) and ended, by stream."""

    def __init__(self, one):
        self.socket = socket.create_connection(one.host_port, timeout=15)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.statuses, self.resets, self.ended, self.pongs = {}, {}, set(), 0
        self.bodies = {}
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def ask(self, stream, *fields):
        self.h2.send_headers(stream, HEAD + list(fields))
        self.flush()

    def hear(self, seconds=0.05):
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        for event in self.h2.receive_data(self.socket.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.StreamReset):
                self.resets[event.stream_id] = event.error_code
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.PingAckReceived):
                self.pongs += 1
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()

    def send(self, stream, n, end=False):
        """As much of n bytes as the windows let through, in frames; stops when it was answered."""
        while n and stream not in self.statuses and stream not in self.resets:
            room = min(n, self.h2.local_flow_control_window(stream), 16384)
            if room:
                self.h2.send_data(stream, b"x" * room, end_stream=end and n == room)
                self.flush()
                n -= room
            self.hear(0 if room else 0.05)

    def until(self, condition, what="it", seconds=15):
        until(lambda: self.hear() or condition(), what, seconds)

    def status(self, stream):
        self.until(lambda: stream in self.ended or stream in self.resets, "the answer")
        return self.statuses.get(stream)

    def close(self):
        self.socket.close()


@pytest.fixture
def serve(gateway, faults):
    clients = []

    def start(server=""):
        one = gateway(PAGE.format(url=faults.url),
                      header=HEADER.replace("[admin]", server + "\n[admin]"))
        one.dial = lambda: clients.append(Client(one)) or clients[-1]
        return one

    yield start
    for client in clients:
        client.close()


def test_a_body_that_no_page_wants_is_thrown_away_first(serve):
    one = serve()
    client = one.dial()
    client.ask(1)
    client.send(1, 1 << 20, end=False)
    client.hear(0.3)
    assert 1 not in client.statuses, "the page comes after the body"
    client.h2.end_stream(1)
    client.flush()
    assert client.status(1) == 200 and not client.resets


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_max_body_is_answered_413(serve, announced):
    one = serve('max_body = "100KiB"')
    client = one.dial()
    client.ask(1, *([("content-length", "102401")] if announced else []))
    if not announced:
        client.send(1, 102401)
    assert client.status(1) == 413
    client.until(lambda: 1 in client.resets, "the reset after the answer")
    assert client.resets[1] == 0, "NO_ERROR: the answer stands"
    client.ask(3)
    client.send(3, 102400, end=True)
    assert client.status(3) == 200
    assert [r["status"] for r in one.access(2)] == [413, 200]


def test_a_client_that_reads_nothing_before_it_sent_all_gets_its_answer(serve):
    one = serve('max_body = "64KiB"')
    client = one.dial()
    client.ask(1, ("content-length", "100000"))
    client.until(lambda: 1 in client.statuses, "the answer, which such a client doesn't look at yet")
    left, end = 100000, time.monotonic() + 5
    while left and time.monotonic() < end:
        n = min(left, client.h2.local_flow_control_window(1), 16384)
        if n:
            client.h2.send_data(1, b"x" * n, end_stream=n == left)
            client.flush()
            left -= n
        client.hear(0 if n else 0.05)
    assert left == 0, "it waits for leave to send the rest"
    assert client.status(1) == 413 and not client.resets


def test_the_answer_to_a_wrong_length_is_a_reset(serve):
    client = serve().dial()
    for stream, sent in ((1, 9), (3, 11)):
        client.ask(stream, ("content-length", "10"))
        # h2 would not send this itself
        client.h2.streams[stream]._expected_content_length = None
        client.send(stream, sent, end=True)
        client.until(lambda: stream in client.resets, "the reset")
        assert client.resets[stream] == 1 and stream not in client.statuses


def test_a_hundred_streams_with_all_they_may_send_cost_no_memory(serve):
    one = serve('max_body = "16MiB"')
    client = one.dial()
    client.ask(1)
    client.send(1, 1000, end=True)
    assert client.status(1) == 200
    rest = one.status("VmHWM")
    for stream in range(3, 203, 2):
        client.ask(stream)
    for _ in range(8):
        for stream in range(3, 203, 2):
            client.send(stream, 16384)
    assert not client.statuses.keys() - {1} and not client.resets
    if not SANITIZED:
        assert one.status("VmHWM") < rest + 16384, "100 streams x 128 KiB came in"
    for stream in range(3, 203, 2):
        client.h2.end_stream(stream)
    client.flush()
    assert {client.status(stream) for stream in range(3, 203, 2)} == {200}


def test_slow_bodies_are_answered_408_and_steady_ones_are_served(serve):
    one = serve('body_idle_timeout = "1s"\nbody_min_rate = "1000"')
    idle, dripping, steady = one.dial(), one.dial(), one.dial()
    for client in (idle, dripping, steady):
        client.ask(1)
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        if 1 not in dripping.statuses:
            dripping.send(1, 10)
        steady.send(1, 200)
        idle.hear(0)
        dripping.hear(0)
        steady.hear(0.05)
    assert idle.status(1) == 408 and dripping.status(1) == 408
    assert 1 not in steady.statuses
    steady.h2.end_stream(1)
    steady.flush()
    assert steady.status(1) == 200


def test_clients_that_leave_amid_bodies_leave_nothing(serve):
    one = serve('max_body = "16MiB"')
    chance = random.Random(7)
    client = one.dial()
    client.ask(1)
    client.send(1, 10, end=True)
    assert client.status(1) == 200
    files = one.open_files()
    for _ in range(30):
        client = one.dial()
        for stream in range(1, 41, 2):
            client.ask(stream)
            client.send(stream, chance.randrange(60000))
            if chance.random() < 0.5:
                client.h2.reset_stream(stream, 8)
        client.h2.ping(b"was read")
        client.flush()
        client.until(lambda: client.pongs, "the echo")
        client.close()
    statuses = [r["status"] for r in one.access(1 + 30 * 20)]
    assert statuses == [200] + [499] * 600, "each has its line"
    client = one.dial()
    client.ask(1)
    client.send(1, 10, end=True)
    assert client.status(1) == 200
    until(lambda: one.open_files() <= files + 1, "the closing of sockets")


def test_curl_sends_bodies(serve, tmp_path):
    one = serve('max_body = "64MiB"')
    body = tmp_path / "body"
    body.write_bytes(b"x" * (60 << 20))
    too_large = tmp_path / "too_large"
    too_large.write_bytes(b"x" * (65 << 20))
    for file, fields, code in ((body, [], "200"), (body, ["-H", "Content-Length:"], "200"),
                               (too_large, [], "413"), (too_large, ["-H", "Content-Length:"], "413")):
        done = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "-X", "GET", "--request-target", "/", "-T", file, *fields, "-m", "60",
             "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{speed_upload}", one.url],
            capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[:2] == [code, "2"]
    if not SANITIZED:
        assert one.status("VmHWM") < 65536, "60 MiB went by"
