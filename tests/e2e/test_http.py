"""Protocols, methods, paths and heads, good and bad."""

import asyncio
import contextlib
import socket
import subprocess

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from gateway import until

PAGE = """
[upstreams.u]
url = "{url}"
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok"
[pages.product]
path = "/product/{{id}}"
[pages.product.parts.u]
path = "/ok"
"""


@pytest.fixture
def one(gateway, faults):
    return gateway(PAGE.format(url=faults.url))


def raw(one, data, half_close=False):
    """Sends bytes, reads until the gateway closes or is silent."""
    with socket.create_connection(one.host_port, timeout=5) as client:
        with contextlib.suppress(OSError):
            client.sendall(data)  # it may have answered before the end
            if half_close:
                client.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while chunk := client.recv(65536):
                answer += chunk
        except (socket.timeout, ConnectionResetError):
            pass
        return answer


def status(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


REFUSED = [
    ("dotdot", b"GET /product/.. HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("encoded dotdot", b"GET /product/%2e%2E HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("dotdot inside", b"GET /a/../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("NUL", b"GET /product/%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("encoded newline", b"GET /product/a%0ab HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("broken escape", b"GET /product/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("cut escape", b"GET /product/% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("not UTF-8", b"GET /product/%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("over-long URL", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("endless URL", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("header bomb", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 200000 + b"\r\n\r\n", 431),
    ("many headers", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    ("not HTTP", b"hello there, this is not HTTP\r\n\r\n", 400),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("two lengths", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    ("length and chunks", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("unknown path", b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ("unknown method", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("wrong method", b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
]


@pytest.mark.parametrize("name,data,code", REFUSED, ids=[r[0] for r in REFUSED])
def test_bad_requests_have_one_clear_outcome(one, name, data, code):
    assert status(raw(one, data, half_close=True)) == code
    record = one.access(1)[0]
    assert record["status"] == code
    assert httpx.get(one.url).status_code == 200, "and the next page comes as ever"


def test_wrong_method_says_which_are_right(one):
    answer = httpx.request("DELETE", one.url + "/product/1")
    assert answer.status_code == 405
    assert {m.strip() for m in answer.headers["allow"].split(",")} >= {"GET", "HEAD"}


def test_problems_are_problem_json(one):
    answer = httpx.get(one.url + "/nowhere?x=1", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 404 and problem["instance"] == "/nowhere"
    assert problem["title"] and problem["type"] and problem["request_id"]
    assert one.access(1)[0]["flags"] == "NR"


def test_request_id_is_kept_when_well_formed_else_made(one):
    def ask(value):
        return httpx.get(one.url, headers={"X-Request-Id": value}).headers["x-request-id"]

    assert ask("order-66.a") == "order-66.a"
    for bad in ("has blank", "x" * 200, "quote\"", ""):
        made = ask(bad)
        assert made != bad and len(made) == 32
    ids = {httpx.get(one.url).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


def test_pipelined_requests_are_answered_in_order(one):
    head = b"GET /product/%d HTTP/1.1\r\nHost: a\r\nX-Request-Id: n%d\r\n%s\r\n"
    data = b"".join(head % (n, n, b"") for n in range(9)) + head % (9, 9, b"Connection: close\r\n")
    answer = raw(one, data)
    assert answer.count(b"HTTP/1.1 200") == 10
    ids = [line.split()[1] for line in answer.lower().split(b"\r\n") if line.startswith(b"x-request-id:")]
    assert ids == [b"n%d" % n for n in range(10)]


def test_http10_closes(one):
    answer = raw(one, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert status(answer) == 200 and b"connection: close" in answer.lower()


def test_a_client_that_half_closes_still_gets_its_page(one):
    assert status(raw(one, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")) == 200


def test_http2_with_prior_knowledge(one):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]
    for stream in (1, 3, 5, 7):
        connection.send_headers(stream, headers, end_stream=True)
    bodies, codes, ended = {}, {}, 0
    with socket.create_connection(one.host_port, timeout=15) as client:
        client.sendall(connection.data_to_send())
        while ended < 4:
            for event in connection.receive_data(client.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    codes[event.stream_id] = dict(event.headers)[b":status"]
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                    connection.acknowledge_received_data(len(event.data), event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    ended += 1
            client.sendall(connection.data_to_send())
    assert set(codes.values()) == {b"200"}
    assert all(body.startswith(b'{"data":') for body in bodies.values())
    assert one.access(4)[0]["protocol"] == "HTTP/2"


def test_http2_by_upgrade_and_by_curl(one):
    for option in ("--http2", "--http2-prior-knowledge", "--http1.1", "--http1.0"):
        done = subprocess.run(
            ["curl", "-sS", option, "-w", "%{http_version} %{http_code}", "-o", "/dev/null", one.url],
            capture_output=True, text=True, timeout=30,
        )
        version, code = done.stdout.split()
        assert code == "200", done.stderr
        assert version == {"--http1.1": "1.1", "--http1.0": "1.1"}.get(option, "2")


def test_unix_sockets_and_several_listeners(gateway, faults, tmp_path):
    path = tmp_path / "listen.sock"
    header = (
        f'[server]\nlisten = ["127.0.0.1:0", "[::1]:0", "unix:{path}"]\nworkers = 2\n'
        '[admin]\nlisten = ""\ncontrol = ""\n[log]\nformat = "json"\n'
    )
    one = gateway(PAGE.format(url=faults.url), header=header)
    tcp = [a for a in one.addresses if not a.startswith("unix:")]
    assert len(tcp) == 2
    for address in tcp:
        assert httpx.get(f"http://{address}/").status_code == 200
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://gateway/").status_code == 200
    one.stop()
    assert not path.exists()


def test_a_body_on_a_page_is_read_up_to_its_cap(one):
    assert httpx.request("GET", one.url, content=b"x" * 1000).status_code == 200
    head = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 << 20)
    assert status(raw(one, head + b"x" * (2 << 20))) == 413


def test_clients_that_leave_take_their_calls_along(gateway, faults):
    one = gateway(PAGE.format(url=faults.url).replace('"/ok"', '"/late/20"', 1).replace(
        'path = "/"\n', 'path = "/"\ndeadline = "30s"\n').replace(
        "[pages.home]", 'timeout = "30s"\n[pages.home]'))
    for n in range(1, 6):
        with socket.create_connection(one.host_port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: len(faults.requests) == n, "the call")
    records = one.access(5)
    assert {record["status"] for record in records} == {499}
    assert {record["flags"] for record in records} == {"DC"}
    until(lambda: faults.aborted == 5, "the end of the calls")


async def test_slow_heads_cost_nobody_anything(one):
    """200 connections that never finish their head; pages come as ever meanwhile."""
    slow = []
    for _ in range(200):
        reader, writer = await asyncio.open_connection(*one.host_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        slow.append(writer)
    async with httpx.AsyncClient(timeout=10) as client:
        for _ in range(20):
            assert (await client.get(one.url)).status_code == 200
    for writer in slow:
        writer.close()
