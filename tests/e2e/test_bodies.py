"""Requests with bodies, as HTTP/1 sends them: where each ends, how long it may take, and what happens
to the connection afterwards. Pages read no body, so theirs is taken and thrown away."""

import re
import signal
import socket
import subprocess
import time

import httpx
import pytest

PAGE = """
[upstreams.u]
url = "{url}"
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok"
"""

HEADER = """
[server]
listen = ["127.0.0.1:0"]
workers = 1
max_body = "1MiB"
{server}
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
format = "json"
"""

HOST = b"Host: a\r\n"
NEXT = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
MARK = b'"completed":true'  # of a page
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
def start(gateway, faults):
    def start(server=""):
        return gateway(PAGE.format(url=faults.url), header=HEADER.format(server=server))

    return start


def dial(one):
    client = socket.create_connection(one.host_port, timeout=15)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def hear(client, count=1, what=MARK):
    """Reads until `what` was seen `count` times."""
    got = b""
    while got.count(what) < count:
        chunk = client.recv(65536)
        assert chunk, got
        got += chunk
    return got


def hear_end(client):
    got = b""
    while chunk := client.recv(65536):
        got += chunk
    return got


def statuses(text):
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d+) ", text)]


WHOLE = [
    b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
]


@pytest.mark.parametrize("request_", WHOLE, ids=["length", "chunks", "refused"])
def test_wherever_the_bytes_part_the_next_request_is_answered(start, request_):
    one = start()
    status = 405 if request_.startswith(b"POST") else 200
    with dial(one) as client:
        for cut in range(len(request_) + len(NEXT) + 1):
            both = request_ + NEXT
            client.sendall(both[:cut])
            time.sleep(0.001)  # so that the pieces arrive as such
            client.sendall(both[cut:])
            assert statuses(hear(client, 1 + (status == 200))) == [status, 200]
    assert {r["status"] for r in one.access(2)} <= {status, 200}


def test_curl_and_httpx_post_to_pages(start, tmp_path):
    one = start()
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    for arguments in (["-F", f"file=@{file}"], ["-T", file], ["-T", "-", "-H", "Expect:"]):
        got = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", one.url, "--request-target", "/", *map(str, arguments)],
            stdin=open(file, "rb"), capture_output=True, text=True, timeout=30)
        assert got.stdout == "405", got

    def chunks():
        yield b"a" * 1000
        yield b"b" * 70000

    with httpx.Client() as client:
        for _ in range(3):
            assert client.request("GET", one.url, content=b"x" * 70000).status_code == 200
            assert client.request("GET", one.url, content=chunks()).status_code == 200
            assert client.post(one.url, content=b"x" * 50000).status_code == 405
        assert client.request("GET", one.url, content=b"x" * 1048577).status_code == 413


def test_100_continue_is_sent_when_the_body_is_read_and_only_then(start):
    one = start()
    with dial(one) as client:
        head = b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        client.sendall(head)
        assert client.recv(1000) == CONTINUE
        client.sendall(b"hello" + head + b"hello")
        assert statuses(hear(client, 2)) == [200, 200]
        client.sendall(head.replace(b"GET", b"POST"))
        got = hear_end(client)
        assert statuses(got) == [405] and b"\r\nConnection: close\r\n" in got
    with dial(one) as client:
        client.sendall(head.replace(b"100-c", b"200-c"))
        assert statuses(hear_end(client)) == [417]


def test_what_is_refused_while_it_is_sent_is_read_by_its_sender(start):
    one = start()
    for framing, rest in ((b"Content-Length: 100000000", b""), (b"Transfer-Encoding: chunked", b"5f5e100\r\n")):
        for method, status in ((b"GET", 413), (b"POST", 405)):
            with dial(one) as client:
                client.sendall(method + b" / HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n" + rest)
                client.sendall(b"x" * 8_000_000)
                got = hear_end(client)
                assert statuses(got) == [status] and b"\r\nConnection: close\r\n" in got


BAD_CHUNKS = [b"x\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloX\r\n", b"-1\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
              b"5 \r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n",
              b"5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n", b"1;" + b"a" * 20000, b"0\r\n" + b"A: b\r\n" * 2000]


@pytest.mark.parametrize("chunks", BAD_CHUNKS, ids=range(len(BAD_CHUNKS)))
def test_malformed_chunks_are_one_refusal_and_no_request(start, faults, chunks):
    one = start()
    with dial(one) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + NEXT)
        assert statuses(hear_end(client)) == [400]
    assert [r["status"] for r in one.access(1)] == [400]
    assert httpx.get(one.url).status_code == 200


# -- clocks ----------------------------------------------------------------------------------------


def test_slow_heads_are_cut_and_idle_connections_are_not(start):
    one = start('head_timeout = "500ms"\nidle_timeout = "3s"')
    began = time.monotonic()
    with dial(one) as slow, dial(one) as idle, dial(one) as used:
        used.sendall(NEXT)
        hear(used)
        slow.settimeout(0.05)
        got = b""
        slow.sendall(b"GET /slow HTTP/1.1\r\nX: ")
        while not got:
            try:
                slow.sendall(b"x")
                got = slow.recv(1000)
            except socket.timeout:
                pass
        assert 0.5 <= time.monotonic() - began < 3
        slow.settimeout(15)
        assert statuses(got + hear_end(slow)) == [408]
        time.sleep(max(0, 1.5 - (time.monotonic() - began)))
        for client in (idle, used):
            client.sendall(NEXT)
            hear(client)
        again = time.monotonic()
        assert hear_end(idle) == b"" and hear_end(used) == b""
        assert time.monotonic() - again > 1.5
    record = one.access(1, lambda r: r["status"] == 408)[0]
    assert (record["method"], record["path"]) == ("GET", "/slow")


def test_slow_bodies_are_cut_below_the_rate_only(start):
    one = start('body_idle_timeout = "500ms"\nbody_min_rate = "40"')
    head = b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 100\r\n\r\n"
    for pause, honest in ((0.02, True), (0.1, False)):
        with dial(one) as client:
            client.settimeout(pause)
            client.sendall(head)
            got = b""
            for _ in range(100):
                client.sendall(b"x")
                try:
                    got = client.recv(1000)
                    break
                except socket.timeout:
                    pass
            client.settimeout(15)
            got = got or client.recv(1000)
            assert statuses(got) == [200 if honest else 408]
    with dial(one) as client:
        client.sendall(head)
        assert statuses(hear_end(client)) == [408]


# -- leaving ---------------------------------------------------------------------------------------


def test_a_client_that_leaves_amid_its_body_has_its_line(start):
    one = start()
    for end in (b"Content-Length: 5\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with dial(one) as client:
            client.sendall(b"GET /?left HTTP/1.1\r\n" + HOST + end)
            time.sleep(0.05)  # so that the head was seen
    records = one.access(2)
    assert [(r["status"], r["path"]) for r in records] == [(499, "/?left")] * 2


def test_sigterm_lets_a_body_finish(start):
    one = start()
    with dial(one) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000) == CONTINUE
        one.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        assert one.process.poll() is None
        client.sendall(b"hello")
        got = hear_end(client)
        assert statuses(got) == [200] and b"\r\nConnection: close\r\n" in got
    assert one.process.wait(10) == 0
