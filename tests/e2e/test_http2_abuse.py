"""Clients that make work and ask for nothing, frame by frame: each is bounded, told to go and counted, and the
pages of others stand. And clients that only look like it, which must never be told to go."""

import contextlib
import re
import socket
import statistics
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx
import pytest

from conftest import HEADER
from gateway import SANITIZED, until
from raw_http2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PREFACE,
                       PRIORITY, RST_STREAM, SETTINGS, UNKNOWN, WINDOW_UPDATE, cancel, exchange, frame, goaway_code,
                       head, parse, request, window_update)

CONFIG = """
[upstreams.u]
url = "{url}"
timeout = "20s"
max_inflight = 1000
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok"
[pages.slow]
path = "/slow"
deadline = "20s"
[pages.slow.parts.u]
path = "/late/20"
[routes.up]
path = "/up"
upstream = "u"
[static.files]
path = "/files"
dir = "files"
"""
TIMEOUT = 60 if SANITIZED else 15


@pytest.fixture
def one(gateway, faults, tmp_path):
    return start(gateway, faults, tmp_path)


def start(gateway, faults, tmp_path, more="", header=HEADER):
    files = tmp_path / "gateway0" / "files"
    files.mkdir(parents=True)
    with open(files / "large.bin", "wb") as file:
        file.truncate(32 << 20)
    return gateway(CONFIG.format(url=faults.url), header=header.replace("workers = 1\n", "workers = 1\n" + more))


def counted(one, kind):
    text = httpx.get(one.admin + "/metrics", trust_env=False).text
    found = re.search(rf'^gw_abuse_closed_total{{kind="{kind}"}} (\d+)$', text, re.M)
    return int(found[1]) if found else 0


def assert_serves(one):
    assert httpx.get(one.url, timeout=TIMEOUT).json()["meta"]["completed"] is True


def assert_closed_for(one, kind, data):
    """Many times the limit, sent at once: GOAWAY, closed, counted, told once; others are served."""
    frames, closed = exchange(one, data, TIMEOUT)
    assert closed
    assert goaway_code(frames) == ENHANCE_YOUR_CALM
    assert frames[-1][1][8:] == kind.encode() or kind == "head"
    assert counted(one, kind) == 1
    assert one.log().count("closed a connection for what its client did") == 1
    assert f'"kind":"{kind}"' in one.log()
    assert_serves(one)
    return frames


# -- what is sent too often ------------------------------------------------------------------------

POST = request(1, b"/up/slow", flags=0, method=b"POST")
DONE = request(1) + cancel(1)  # a stream that is gone
PRIORITIES = struct.pack(">IB", 0, 9)

FLOODS = {
    "settings": ("settings", frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 70000)) * 5000),
    "pings": ("pings", frame(PING, 0, 0, b"12345678") * 5000),
    "priority": ("priority", DONE + frame(PRIORITY, 0, 1, PRIORITIES) * 5000),
    "windows of the connection": ("windows", window_update(0, 1) * 5000),
    "windows of a stream": ("windows", POST + window_update(1, 1) * 5000),
    "windows of a stream that is gone": ("windows", DONE + window_update(1, 1) * 5000),
    "empty data": ("tiny", POST + frame(DATA, 0, 1) * 5000),
    "a byte at a time": ("tiny", POST + frame(DATA, 0, 1, b"x") * 5000),
    "data to nobody": ("stray", DONE + frame(DATA, 0, 1, b"x" * 100) * 5000),
    "resets of what is gone": ("stray", DONE + cancel(1) * 5000),
    "unknown frames": ("stray", frame(UNKNOWN, 0, 0, b"x" * 10) * 5000),
    "acknowledgements": ("stray", frame(SETTINGS, ACK, 0) * 2500 + frame(PING, ACK, 0, b"12345678") * 2500),
    "goaways": ("stray", frame(GOAWAY, 0, 0, bytes(8)) * 5000),
    "empty continuations": ("head", frame(HEADERS, END_STREAM, 1, head()) + frame(CONTINUATION, 0, 1) * 5000),
    "endless continuations": ("head", frame(HEADERS, END_STREAM, 1, head())
                              + frame(CONTINUATION, 0, 1, bytes(16384)) * 20),
    "idle streams": ("priority", b"".join(frame(PRIORITY, 0, n, PRIORITIES) for n in range(1, 2001, 2))),
    "malformed heads": ("refused", b"".join(frame(HEADERS, 5, n, head(path=None)) for n in range(1, 4001, 2))),
}


@pytest.mark.parametrize("kind,data", FLOODS.values(), ids=FLOODS.keys())
def test_floods_end_the_connection(one, kind, data):
    if kind == "priority" and data.startswith(frame(PRIORITY, 0, 1, PRIORITIES)):
        frames, closed = exchange(one, data, TIMEOUT)  # h2o's own limit, in its own words
        assert closed and goaway_code(frames) == ENHANCE_YOUR_CALM and counted(one, kind) == 1
    else:
        assert_closed_for(one, kind, data)


def test_continuations_over_the_limit_are_logged_as_a_request(one):
    assert_closed_for(one, "head", frame(HEADERS, END_STREAM, 1, head()) + frame(CONTINUATION, 0, 1) * 40)
    assert [r["status"] for r in one.access(1)][0] == 431


def test_streams_over_the_limit_are_refused_and_then_the_client_is(one):
    """100 are under way; the client opens more and more."""
    frames = assert_closed_for(one, "refused", b"".join(request(n, b"/slow") for n in range(1, 2001, 2)))
    refused = [payload for kind, payload in frames if kind == RST_STREAM]
    assert 400 < len(refused) < 600 and set(refused) == {struct.pack(">I", 7)}


def test_a_flood_in_front_of_every_request_counts(one):
    assert_closed_for(one, "pings", frame(PING, 0, 0, b"12345678") * 501)


def test_a_flood_behind_an_upgrade_counts(one):
    first = (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
             b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
    with socket.create_connection(one.host_port, timeout=TIMEOUT) as client:
        client.sendall(first)
        got = b""
        while b"\r\n\r\n" not in got:
            got += client.recv(65536)
        assert got.startswith(b"HTTP/1.1 101")
        client.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(PING, 0, 0, b"12345678") * 600)
        until(lambda: counted(one, "pings") == 1, "the connection's end")
    assert_serves(one)


# -- rapid reset -----------------------------------------------------------------------------------


def latencies(one, count, pause=0.005):
    took = []
    with httpx.Client(timeout=TIMEOUT) as client:
        for _ in range(count):
            began = time.monotonic()
            assert client.get(one.url).json()["meta"]["completed"] is True
            took.append(time.monotonic() - began)
            time.sleep(pause)
    return took


def test_rapid_resets_reach_no_upstream_and_nobody_else(one, faults):
    """20,000 requests that are called off at once, on one connection after the other."""
    data = b"".join(request(n, b"/slow") + cancel(n) for n in range(1, 40001, 2))
    latencies(one, 5)
    files, calm = one.open_files(), statistics.median(latencies(one, 50))

    def flood():
        return [exchange(one, data, TIMEOUT)[0] for _ in range(3)]

    with ThreadPoolExecutor() as threads:
        flooding = threads.submit(flood)
        beside = latencies(one, 100)
        floods = flooding.result()
    assert all(goaway_code(frames) == ENHANCE_YOUR_CALM for frames in floods)
    assert counted(one, "resets") == 3
    assert sum(path == "/late/20" for path, _ in faults.requests) <= 3 * 100, "the ends of turns"
    until(lambda: one.open_files() <= files + 2, "descriptors as before")
    if not SANITIZED:
        assert statistics.median(beside) < calm + 0.05
        assert max(beside) < 1
    called_off = one.access(1, lambda record: record["path"] == "/slow")
    assert {record["status"] for record in called_off} == {499}
    assert len(called_off) <= 3 * 510


@pytest.mark.parametrize("provoke", [window_update(1, 0), frame(DATA, END_STREAM, 1, b"x"), window_update(1, 0x7fffffff)],
                         ids=["a window of nothing", "data behind the end", "a window too wide"])
def test_resets_that_the_gateway_is_made_to_send_count_too(one, provoke):
    """By RFC 9113 it is the gateway who ends these streams; the requests are called off all the same."""
    data = b"".join(request(n, b"/slow") + provoke[:5] + struct.pack(">I", n) + provoke[9:] for n in range(1, 4001, 2))
    frames = assert_closed_for(one, "resets", data)
    assert sum(kind == RST_STREAM for kind, _ in frames) >= 400


def test_streams_over_max_streams_wait_and_may_be_called_off(gateway, faults, tmp_path):
    one = start(gateway, faults, tmp_path, "max_streams = 2\n")
    slow = b"".join(request(n, b"/slow") for n in range(1, 21, 2))
    with socket.create_connection(one.host_port, timeout=TIMEOUT) as client:
        client.sendall(PREFACE + frame(SETTINGS, 0, 0) + slow)
        until(lambda: len(faults.requests) == 2, "two calls")
        assert_serves(one)
        asked = len(faults.requests)
        client.sendall(b"".join(cancel(n) for n in range(5, 21, 2)) + cancel(1) + request(21))
        got = b""
        while b'"completed":true' not in got:  # the answer to 21, beside the one that still runs
            got += client.recv(65536)
        assert len(faults.requests) == asked + 1
    assert counted(one, "resets") == 0


# -- what isn't read, what is never done -----------------------------------------------------------


def test_replies_that_nobody_reads_do_not_pile_up(one):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(TIMEOUT)
    with client:
        client.connect(one.host_port)
        settings = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff))
        client.sendall(PREFACE + settings + window_update(0, 0x7fff0000 - 65535) + request(1, b"/files/large.bin"))

        def ping():
            try:
                client.sendall(frame(PING, 0, 0, b"12345678") * 5)
            except ConnectionError:
                pass
            return counted(one, "unread")

        until(ping, "the connection's end", TIMEOUT)
    assert counted(one, "pings") == 0
    assert_serves(one)


@pytest.mark.parametrize("dribbled,kept", [
    (frame(HEADERS, 5, 1, head()), False),
    (frame(HEADERS, 1, 1, head()[:9]) + frame(CONTINUATION, 4, 1, head()[9:]), False),
    (frame(PING, 0, 0, b"12345678") * 3, True),  # each is whole in time
    (frame(DATA, 0, 1, b"x" * 100), True),  # a body: body_min_rate is for those
], ids=["a head", "a head of two frames", "pings", "a body"])
def test_heads_must_be_whole_in_time(gateway, faults, tmp_path, dribbled, kept):
    one = start(gateway, faults, tmp_path, 'head_timeout = "500ms"\n')
    with socket.create_connection(one.host_port, timeout=TIMEOUT) as client:
        client.sendall(PREFACE + frame(SETTINGS, 0, 0) + POST if dribbled[3] == DATA else PREFACE + frame(SETTINGS, 0, 0))
        began, piece = time.monotonic(), 2 if not kept else max(1, len(dribbled) // 12)
        try:
            for at in range(0, len(dribbled), piece):
                client.sendall(dribbled[at : at + piece])
                time.sleep(0.1)  # the attack
        except ConnectionError:
            pass
        assert time.monotonic() - began > 0.5
        assert counted(one, "slow") == (0 if kept else 1)
    assert_serves(one)


# -- clients that mean no harm ---------------------------------------------------------------------


class Client:
    """python3-h2 over a socket, which answers every piece of data with window for it, as libraries do."""

    def __init__(self, one):
        self.socket = socket.create_connection(one.host_port, timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.bytes, self.ended, self.updates, self.next = 0, set(), 0, 1
        self.settled = False

    def ask(self, path="/"):
        stream, self.next = self.next, self.next + 2
        self.h2.send_headers(stream, [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "a")],
                             end_stream=True)
        return stream

    def hear(self):
        self.socket.sendall(self.h2.data_to_send())
        chunk = self.socket.recv(65536)
        assert chunk, "the gateway closed the connection"
        for event in self.h2.receive_data(chunk):
            assert not isinstance(event, h2.events.ConnectionTerminated), event.additional_data
            if isinstance(event, h2.events.DataReceived):
                self.bytes += len(event.data)
                if event.flow_controlled_length:
                    self.h2.increment_flow_control_window(event.flow_controlled_length)
                    self.updates += 1
                if event.flow_controlled_length and event.stream_ended is None:
                    with contextlib.suppress(h2.exceptions.StreamClosedError):  # by what came with it
                        self.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
                        self.updates += 1
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                self.settled = True
        self.socket.sendall(self.h2.data_to_send())

    def wait_for(self, streams):
        while not streams <= self.ended:
            self.hear()


def test_who_downloads_may_open_windows_as_often_as_it_takes(one):
    client = Client(one)
    client.wait_for({client.ask("/files/large.bin")})
    assert client.bytes == 32 << 20 and client.updates > 3000
    client.wait_for({client.ask()})


def test_a_browser_that_calls_off_whole_pages_goes_on(one):
    """Its user goes elsewhere four times, each time with 100 requests under way; some were done before."""
    client = Client(one)
    while not client.settled:
        client.hear()
    for _ in range(4):
        client.wait_for({client.ask() for _ in range(20)})
        for stream in [client.ask("/slow") for _ in range(100)]:
            client.h2.reset_stream(stream, 8)
        client.wait_for({client.ask()})
    assert counted(one, "resets") == 0


def test_a_proxy_that_has_many_answered_may_call_off_many(one):
    client = Client(one)
    while not client.settled:
        client.hear()
    for _ in range(20):
        client.wait_for({client.ask() for _ in range(40)})
        for stream in [client.ask("/slow") for _ in range(50)]:
            client.h2.reset_stream(stream, 8)
    client.wait_for({client.ask()})


def test_a_ping_with_every_answer_is_fine(one):
    client = Client(one)
    for n in range(700):
        client.h2.ping(n.to_bytes(8, "big"))
        client.wait_for({client.ask()})


def test_many_streams_at_once_are_fine(one):
    urls = " ".join([one.url + "/?[1-400]"])
    done = subprocess.run(["curl", "-sS", "--http2", "--parallel", "--parallel-max", "100",
                           "-o", "/dev/null", "-w", "%{http_code} %{http_version}\n", urls],
                          capture_output=True, text=True, timeout=4 * TIMEOUT)
    assert done.stdout.splitlines() == ["200 2"] * 400, done.stderr
    assert one.log().count("closed a connection") == 0
