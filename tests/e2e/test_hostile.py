"""Clients and upstreams that mean harm: each attack has one outcome, and the others go on as ever."""

import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conftest import HEADER, free_port
from gateway import BINARY, ENVIRONMENT, SANITIZED, until
from raw_http2 import (CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PROTOCOL_ERROR, UNKNOWN,
                       exchange, frame, goaway_code, head, literal)

PAGE = """
[upstreams.u]
url = "{url}"
max_body = "16MiB"
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok"
[pages.other]
path = "/other"
[pages.other.parts.u]
path = "{path}"
"""

INDEXED_AGAIN = b"\xbe"  # the newest entry of the compression table


def http2(one, data):
    return exchange(one, data)[0]


def assert_serves(one):
    assert httpx.get(one.url, timeout=20).json()["meta"]["completed"] is True


@pytest.fixture
def one(gateway, faults):
    return gateway(PAGE.format(url=faults.url, path="/ok"))


# -- HTTP/2 ----------------------------------------------------------------------------------------

SECTIONS = [  # name, frames, GOAWAY's code (None: only the stream ends), logged status
    ("no path", frame(HEADERS, 5, 1, head(path=None)), None, 400),
    ("nothing at all", frame(HEADERS, 5, 1), None, 400),
    ("upper case", frame(HEADERS, 5, 1, head() + literal(b"X-Foo", b"1")), PROTOCOL_ERROR, 400),
    ("connection", frame(HEADERS, 5, 1, head() + literal(b"connection", b"close")), PROTOCOL_ERROR, 400),
    ("pseudo last", frame(HEADERS, 5, 1, literal(b"x", b"1") + head()), PROTOCOL_ERROR, 400),
    ("bad index", frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\x0f"), 9, 400),
    ("over 32 KiB", frame(HEADERS, 1, 1, head()) + frame(CONTINUATION, 0, 1, b"\x00" * 16384) * 2
     + frame(CONTINUATION, 4, 1), ENHANCE_YOUR_CALM, 431),
    ("over 1,000 fields", frame(HEADERS, 5, 1, head() + literal(b"x", b"1") * 1001),
     ENHANCE_YOUR_CALM, 431),
]


@pytest.mark.parametrize("name,data,code,status", SECTIONS, ids=[s[0] for s in SECTIONS])
def test_http2_header_sections_that_no_handler_sees_are_logged(one, name, data, code, status):
    frames = http2(one, data)
    assert goaway_code(frames) == code
    assert not any(kind == HEADERS for kind, _ in frames), "no answer"
    records = one.access(1)
    assert [(r["status"], r["protocol"]) for r in records] == [(status, "HTTP/2")]
    assert_serves(one)


@pytest.mark.parametrize("trailers", [False, True], ids=["headers", "trailers"])
def test_http2_fields_that_cost_a_byte_each_end_the_connection(one, trailers):
    """An entry of the compression table, repeated 320,000 times a stream, on 20 streams."""
    assert_serves(one)
    rest, data = one.status("VmHWM"), b""
    for stream in range(1, 41, 2):
        if trailers:
            data += frame(HEADERS, END_HEADERS, stream, head()) + frame(0, 0, stream, b"x")
        first = b"" if trailers else head()
        data += frame(HEADERS, END_STREAM, stream, first + literal(b"x-big", b"v" * 3900, b"\x40"))
        data += frame(CONTINUATION, 0, stream, INDEXED_AGAIN * 16000) * 20
        data += frame(CONTINUATION, END_HEADERS, stream)
    http2(one, data)
    assert one.access(2)[1]["status"] == 431
    assert_serves(one)
    if not SANITIZED:
        assert one.status("VmHWM") < rest + 32768


def test_http2_frames_of_unknown_types_are_not_logged_each(one):
    before = len(one.log())
    frames = http2(one, frame(UNKNOWN, 0, 0, b"x" * 20) * 900 + frame(HEADERS, 5, 1, head()))
    assert any(kind == HEADERS for kind, _ in frames), "they are ignored, RFC 9113 section 4.1"
    assert len(one.log()) == before


# -- HTTP/1 ----------------------------------------------------------------------------------------

GET, HOST = b"GET / HTTP/1.1\r\n", b"Host: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

AMBIGUOUS = {
    "two lengths": HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "the same length twice": HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": HOST + b"Content-Length: 5, 5\r\n",
    "a signed length": HOST + b"Content-Length: +5\r\n",
    "length and chunks": HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunks and length": HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "chunked twice": HOST + b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked not last": HOST + b"Transfer-Encoding: chunked, identity\r\n",
    "another coding": HOST + b"Transfer-Encoding: gzip, chunked\r\n",
    "identity": HOST + b"Transfer-Encoding: identity\r\n",
    "chunked in disguise": HOST + b"Transfer-Encoding: \x0bchunked\r\n",
    "a blank before the colon": HOST + b"Transfer-Encoding : chunked\r\n",
    "a folded coding": HOST + b"Transfer-Encoding:\r\n chunked\r\n",
    "a folded field": HOST + b"X: a\r\n\tb\r\n",
    "a bare line feed": HOST + b"X: a\nTransfer-Encoding: chunked\r\n",
    "a bare carriage return": HOST + b"X: a\rTransfer-Encoding: chunked\r\n",
    "NUL": HOST + b"X: a\x00b\r\n",
    "NUL in a name": HOST + b"X\x00: a\r\n",
    "DEL": HOST + b"X: \x7f\r\n",
    "a name beyond ASCII": HOST + b"\xe4: a\r\n",
    "no host": b"X: a\r\n",
    "two hosts": HOST + b"Host: b\r\n",
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_two_servers_might_read_differently_ends_the_connection(one, fields):
    for before in (b"", GET + HOST + b"\r\n"):  # at once, and behind another
        with socket.create_connection(one.host_port, timeout=15) as client:
            client.sendall(before + GET + fields + b"\r\n" + b"0\r\n\r\n" + SMUGGLED)
            got = b""
            while chunk := client.recv(65536):
                got += chunk
        assert got.count(b"HTTP/1.1 ") == 1 + (before != b""), got
        assert got[got.rindex(b"HTTP/1.1 "):].startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"\r\nConnection: close\r\n" in got and b"content-type:" in got
    records = one.access(3)
    assert [r["status"] for r in records] == [400, 200, 400]
    assert not any(r["path"] == "/smuggled" for r in records)


def test_pipelining_without_end_or_reading_holds_little(one):
    """What is behind a request stays in the kernel until its answer is out."""
    assert_serves(one)
    memory, files = one.status("RssAnon"), one.open_files()
    clients = []
    for _ in range(20):
        client = socket.create_connection(one.host_port)
        client.setblocking(False)
        try:
            while True:
                client.send((GET + HOST + b"\r\n") * 2000)
        except BlockingIOError:
            clients.append(client)
    for _ in range(10):
        assert_serves(one)
    if not SANITIZED:
        assert one.status("RssAnon") < memory + 20 * 400, "KiB"
    for client in clients:
        client.close()
    # each of them had a connection to the upstream at most, which is kept
    until(lambda: one.open_files() <= files + 2 + len(clients), "the end of their connections", 30)


# -- upstreams -------------------------------------------------------------------------------------


def test_bytes_behind_an_answer_are_not_the_next_calls_answer(gateway, faults):
    one = gateway(PAGE.format(url=faults.url, path="/and-more"))
    for _ in range(5):
        poisoned = len(faults.poisoned)
        assert httpx.get(one.url + "/other").json()["data"]["u"]["items"] == [1, 2, 3]
        until(lambda: len(faults.poisoned) > poisoned, "the bytes behind")
        time.sleep(0.05)  # they have arrived: it's one machine
        assert httpx.get(one.url).json()["data"]["u"]["items"] == [1, 2, 3]


def test_nor_that_of_a_call_in_the_same_turn(gateway, faults):
    one = gateway(PAGE.format(url=faults.url, path="/and-more-at-once"))

    def fetch(path):
        with httpx.Client(timeout=20) as client:
            return [client.get(one.url + path).json()["data"]["u"] for _ in range(50)]

    with ThreadPoolExecutor() as threads:
        answers = sum(threads.map(fetch, ["/", "/other"] * 3), [])
    until(lambda: len(faults.poisoned) == 150, "the last note of it")
    assert all(answer["items"] == [1, 2, 3] for answer in answers)


def test_connections_that_upstreams_close_are_not_kept(gateway, faults):
    """Their descriptors stay with curl until it looks, but the connection ends at once."""
    one = gateway(PAGE.format(url=faults.url, path="/ok-and-close"))
    for _ in range(20):
        assert httpx.get(one.url + "/other").json()["data"]["u"]["items"] == [1, 2, 3]
        assert httpx.get(one.url).json()["meta"]["completed"] is True
    assert one.open_files() < 40


def test_a_page_of_nothing_but_what_must_be_escaped(gateway, faults):
    template = {"t.html": "{{u.text}}{{#u.items}}{{.}}{{/u.items}}"}
    text = PAGE.format(url=faults.url, path="/quotes/1000000").replace(
        'path = "/other"', 'path = "/other"\ntemplate = "t.html"')
    one = gateway(text, template)
    page = httpx.get(one.url + "/other", timeout=30)
    assert page.text == "&lt;" * 1000000 + "{}" * 1000000
    assert_serves(one)
    if not SANITIZED:
        assert one.status("VmHWM") < 128 * 1024


# -- the system ------------------------------------------------------------------------------------


def full_pipe():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
        return reader, writer


@pytest.mark.parametrize("outputs", ["a full pipe", "closed"])
def test_outputs_that_nobody_takes_hold_up_nothing(faults, tmp_path, outputs):
    port = free_port()
    config = tmp_path / "gateway.toml"
    config.write_text(HEADER.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
                      + PAGE.format(url=faults.url, path="/status/500"))
    reader, writer = full_pipe()

    def close_all():
        for fd in range(3):
            os.close(fd)

    process = subprocess.Popen([BINARY, "run", "-c", config], stdout=writer, stderr=writer,
                               env=ENVIRONMENT, preexec_fn=close_all if outputs == "closed" else None)
    try:
        url = f"http://127.0.0.1:{port}"

        def serves():
            try:
                return httpx.get(url, timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        until(serves, "the first page", 30)
        for _ in range(50):
            assert httpx.get(url + "/other", timeout=5).status_code == 200
        for fd in range(3) if outputs == "closed" else ():
            assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)
