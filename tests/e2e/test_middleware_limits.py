"""[limits.NAME]: sizes and methods of requests."""

import socket

import httpx
import pytest

from gateway import command

LIMITED = """
[limits.small]
{limits}
[upstreams.shop]
url = "{url}"
[routes.api]
path = "/api"
upstream = "shop"
middleware = ["limits.small"]
[routes.free]
path = "/free"
upstream = "shop"
[uploads.files]
path = "/upload"
dir = "files"
auth = "public"
middleware = ["limits.small"]
"""


@pytest.fixture
def start(gateway, origin, tmp_path):
    def handler(exchange):
        exchange.body()  # all of it, or the connection's end
        exchange.answer(b"" if exchange.method == "HEAD" else b"fine")
        return True

    def begin(limits):
        return gateway(LIMITED.format(limits=limits, url=origin(handler).url), env={"GATEWAY_DATA": str(tmp_path / "data")})

    return begin


def client(http2=False):
    return httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=20)


def unannounced(n):
    yield from (b"x" * 500 for _ in range(n // 500))


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("path", ["/api", "/upload"])
def test_a_body_may_not_be_larger_announced_or_not(start, http2, path):
    one = start('max_body = "1000B"')
    with client(http2) as c:
        good = 201 if path == "/upload" else 200
        kind = {"Content-Type": "application/octet-stream", "X-File-Name": "a", "Accept": "application/json"}
        assert c.post(one.url + path, content=b"x" * 1000, headers=kind).status_code == good
        assert c.post(one.url + path, content=b"x" * 1001, headers=kind).status_code == 413
        assert c.post(one.url + path, content=unannounced(1000), headers=kind).status_code == good
        assert c.post(one.url + path, content=unannounced(1500), headers=kind).status_code == 413
        # elsewhere it isn't limited
        assert c.post(one.url + "/free", content=unannounced(100000)).status_code == 200


def test_reading_stops_where_the_limit_is(start):
    """A client that never ends its body is answered all the same."""
    one = start('max_body = "1000B"')
    with socket.create_connection(one.host_port, timeout=20) as c:
        c.sendall(b"POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n" + b"x" * 500 + b"\r\n" +
                  b"1f5\r\n" + b"x" * 501 + b"\r\n")
        assert c.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_methods_that_are_not_listed_are_refused(start):
    one = start('methods = ["GET", "POST"]')
    with client() as c:
        assert [c.request(m, one.url + "/api").status_code for m in ("GET", "HEAD", "POST")] == [200] * 3
        for method in ("DELETE", "OPTIONS", "PROPFIND"):
            answer = c.request(method, one.url + "/api", headers={"Accept": "application/json"})
            assert answer.status_code == 405 and answer.headers["allow"] == "GET, POST, HEAD"
            assert answer.json()["type"] == "/problems/method-not-allowed"
        assert c.delete(one.url + "/free").status_code == 200


def test_head_may_be_listed_alone(start):
    one = start('methods = ["HEAD"]')
    with client() as c:
        assert c.head(one.url + "/api").status_code == 200
        answer = c.get(one.url + "/api")
        assert answer.status_code == 405 and answer.headers["allow"] == "HEAD"


def test_query_and_headers_have_limits(start):
    one = start('max_query = "10B"\nmax_headers = "300B"')
    with client() as c:
        assert c.get(one.url + "/api?" + "q" * 10).status_code == 200
        assert c.get(one.url + "/api?" + "q" * 11).status_code == 414
        assert c.get(one.url + "/api", headers={"X-Large": "v" * 300}).status_code == 431
        assert c.get(one.url + "/api", headers={"X-Large": "v" * 50}).status_code == 200


def test_mistakes_are_told_where_they_stand(tmp_path):
    (tmp_path / "config.toml").write_text('[limits.a]\nmethods = ["GET", "post", "A B"]\nmax_query = "9KiB"\n')
    done = command("check", "-c", tmp_path / "config.toml")
    assert done.returncode == 78
    errors = [line.partition("config.toml:")[2] for line in done.stderr.splitlines()]
    assert errors == [
        '2:19: error: methods: "post" is no method; they are written in upper case',
        '2:27: error: methods: "A B" is no method; they are written in upper case',
        '3:13: error: max_query: out of range: expected 0B to 8KiB, got "9KiB"',
    ]
