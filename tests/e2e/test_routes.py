"""[routes.NAME]: what passes to the upstream and back, what doesn't, and what a client is told when there
is no answer. Bodies: test_routes_bodies.py."""

import json
import socket
import subprocess
import tomllib

import httpx
import pytest

from conftest import HEADER, free_port
from gateway import command, until

ROUTE = """
[upstreams.shop]
url = "{url}"
[routes.shop]
path = "/"
"""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "BREW-IT"]


def tell(exchange):
    """Answers with the request, as JSON."""
    said = {"line": exchange.line, "headers": exchange.headers, "body": exchange.body().decode("latin-1")}
    body = json.dumps(said).encode()
    exchange.answer(b"" if exchange.method == "HEAD" else body, "200 OK", "Content-Type: application/json")


def values(said, name):
    return [value for field, value in said["headers"] if field.lower() == name]


def raw(one, data):
    """The whole answer to bytes that end with `Connection: close`."""
    with socket.create_connection(one.host_port, timeout=15) as client:
        client.sendall(data)
        got = b""
        while more := client.recv(65536):
            got += more
        return got


@pytest.fixture
def client():
    clients = []

    def make(one, http2=False):
        clients.append(httpx.Client(base_url=one.url, http1=not http2, http2=http2, timeout=15))
        return clients[-1]

    yield make
    for one in clients:
        one.close()


# -- there and back --------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_passes(gateway, origin, client, method, http2):
    upstream = origin(tell)
    one = gateway(ROUTE.format(url=upstream.url))
    content = b"hello" if method in ("POST", "PUT", "PATCH", "REPORT") else None
    reply = client(one, http2).request(method, "/a/b?c=d", content=content)
    assert reply.status_code == 200
    assert reply.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    exchange = upstream.exchanges[0]
    assert exchange.line == f"{method} /a/b?c=d HTTP/1.1"
    assert exchange.header("host") == [f"127.0.0.1:{upstream.port}"]
    if method != "HEAD":
        assert reply.json()["body"] == (content or b"").decode()
    record = one.access()[0]
    assert record["route"] == "shop" and record["method"] == method
    part = record["parts"][0]
    assert (part["name"], part["state"], part["status"], part["attempts"]) == ("shop", "ok", 200, 1)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_never_pass(gateway, origin, method):
    upstream = origin(tell)
    one = gateway(ROUTE.format(url=upstream.url))
    got = raw(one, f"{method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert b" 405 " in got.split(b"\r\n")[0] and b"\r\nallow: GET, HEAD, POST" in got
    assert not upstream.exchanges


def test_only_the_methods_that_were_picked_pass(gateway, origin, client):
    upstream = origin(tell)
    one = gateway(ROUTE.format(url=upstream.url) + 'methods = ["GET", "POST"]\n')
    statuses = {m: client(one).request(m, "/x").status_code for m in METHODS}
    assert statuses == {m: 200 if m in ("GET", "HEAD", "POST") else 204 if m == "OPTIONS" else 405
                        for m in METHODS}


def test_headers_pass_but_for_those_of_one_connection(gateway, origin):
    def handler(exchange):
        exchange.answer(b"hi", "418 Whatever", "Server: origin/1", "Set-Cookie: a=1", "X-Odd_Name: 1",
                        "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=9", "Set-Cookie: b=2",
                        "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Via: 1.0 there", "X-Request-Id: theirs")

    upstream = origin(handler)
    one = gateway(ROUTE.format(url=upstream.url))
    got = raw(one, b"GET /x HTTP/1.1\r\nHost: shop.example\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n"
                   b"TE: trailers\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nUpgrade: websocket\r\n"
                   b"Authorization: Bearer x\r\nCookie: a=b\r\nAccept-Encoding: br\r\nX-Request-Id: me\r\n"
                   b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Port: 1\r\nX_Forwarded_For: 6.6.6.6\r\n"
                   b"User-Agent: someone\r\nVia: 1.1 earlier\r\nAccept: text/x\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("HTTP/1.1 418 ") and body == b"hi"
    via = [line for line in lines if line.startswith("via: ")]
    assert via[0] == "via: 1.0 there" and via[1].startswith("via: 1.1 gateway-") and len(via) == 2
    assert sorted(line for line in lines[1:] if not line.startswith("via: ")) == [
        "Connection: close", "Content-Length: 2", "Date: Sun, 06 Nov 1994 08:49:37 GMT",
        "server: origin/1", "set-cookie: a=1", "set-cookie: b=2", "x-odd_name: 1", "x-request-id: me"]
    assert lines.index("set-cookie: a=1") < lines.index("set-cookie: b=2")

    there = upstream.exchanges[0]
    names = sorted(name.lower() for name, _ in there.headers if name != "Gateway-Protocol")
    assert names == ["accept", "accept-encoding", "authorization", "cookie", "forwarded", "host",
                     "user-agent", "via", "via", "x-forwarded-for", "x-forwarded-host",
                     "x-forwarded-proto", "x-request-id"], there.headers
    assert there.header("accept") == ["text/x"] and there.header("accept-encoding") == ["br"]
    assert there.header("user-agent") == ["someone"]
    assert there.header("x-forwarded-for") == ["127.0.0.1"]
    assert there.header("x-forwarded-host") == ["shop.example"]
    assert there.header("forwarded") == ["for=127.0.0.1;proto=http;host=shop.example"]
    assert there.header("via")[0] == "1.1 earlier" and there.header("via")[1].startswith("1.1 gateway-")


def test_the_upstreams_own_settings_win_and_the_host_can_be_kept(gateway, origin, client):
    upstream = origin(tell)
    one = gateway(ROUTE.format(url=upstream.url) + """
        [upstreams.shop.set_headers]
        X-Colour = "ours"
        [routes.kept]
        path = "/kept"
        upstream = "shop"
        preserve_host = true
        """)
    said = client(one).get("/x", headers={"X-Colour": "theirs", "Host": "shop.example"}).json()
    assert values(said, "x-colour") == ["ours"]
    assert values(said, "host") == [f"127.0.0.1:{upstream.port}"]
    said = client(one).get("/kept", headers={"Host": "shop.example"}).json()
    assert values(said, "host") == ["shop.example"]


def test_cookies_of_http2_come_in_one_line(gateway, origin):
    upstream = origin(tell)
    one = gateway(ROUTE.format(url=upstream.url))
    done = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "-H", "cookie: a=1", "-H", "cookie: b=2",
                           one.url + "/x"], capture_output=True, timeout=30)
    assert values(json.loads(done.stdout), "cookie") == ["a=1; b=2"]


def test_paths_pass_byte_by_byte(gateway, origin):
    upstream = origin(tell)
    one = gateway(ROUTE.format(url=upstream.url))
    targets = ["/", "/a%2Fb", "/a%2fb", "/%61", "/a.b/..c/...", "/a//b", "//a", "/a?b=%2F&c=%zz", "/a;b=c",
               "/a?", "/x%20y", "/a+b", "/!$&'()*,:@[]|", "/%F0%9F%90%A6", "/?a=/../b", "/a%252e%252e/b"]
    for target in targets:
        got = raw(one, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert got.startswith(b"HTTP/1.1 200 "), (target, got)
    assert [exchange.target for exchange in upstream.exchanges] == targets


@pytest.mark.parametrize("target", ["/shop/../x", "/shop/%2e%2e/x", "/shop/..%2fx", "/shop/a%2F..%2Fx",
                                    "/shop/..%5cx", "/shop/..;/x", "/shop/..\\x", "/shop/%0d%0aX:y",
                                    "/shop/%00", "/shop/%zz"])
def test_paths_that_lead_elsewhere_are_refused(gateway, origin, target):
    upstream = origin(tell)
    one = gateway(ROUTE.format(url=upstream.url))
    got = raw(one, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 400 "), got
    assert not upstream.exchanges


def test_pages_and_files_come_first(gateway, origin, client, tmp_path):
    upstream = origin(tell)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a file")
    one = gateway(ROUTE.format(url=upstream.url) + f"""
        [pages.home]
        path = "/"
        template = "home.html"
        [pages.home.parts.shop]
        path = "/part"
        [static.assets]
        path = "/assets"
        dir = "{tmp_path}/files"
        """, {"home.html": "home"})
    ask = client(one)
    assert ask.get("/").text == "home"
    assert ask.get("/assets/a.txt").text == "a file"
    assert ask.get("/assets/b.txt").status_code == 404
    assert ask.post("/", content=b"x").json()["line"] == "POST / HTTP/1.1"
    assert ask.put("/assets/a.txt", content=b"x").json()["line"] == "PUT /assets/a.txt HTTP/1.1"
    assert ask.get("/other").json()["line"] == "GET /other HTTP/1.1"


def test_another_prefix_there_and_redirects_back(gateway, origin, client):
    def handler(exchange):
        wanted = exchange.header("x-location")
        exchange.answer(b"", "302 Found", f"Location: {wanted[0]}", f"X-Target: {exchange.target}")

    upstream = origin(handler)
    one = gateway(f"""
        [upstreams.shop]
        url = "{upstream.url}/base"
        [routes.shop]
        path = "/shop"
        to = "/v2"
        """)

    def ask(path, location):
        reply = client(one).get(path, headers={"X-Location": location})
        return reply.headers["x-target"], reply.headers["location"]

    assert ask("/shop/x?y", f"{upstream.url}/base/v2/cart?a#b") == ("/base/v2/x?y", "/shop/cart?a#b")
    assert ask("/shop", "/base/v2") == ("/base/v2", "/shop")
    assert ask("/shop/", "next") == ("/base/v2/", "next")
    assert ask("/shop/a%2Fb", "https://else.example/v2") == ("/base/v2/a%2Fb", "https://else.example/v2")
    assert client(one).get("/shopping").status_code == 404


# -- when there is no answer -----------------------------------------------------------------------


def failed(one, reply, status, kind, error, state, flags):
    """The client's problem and the log's record of it."""
    assert reply.status_code == status and reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["type"].endswith("/" + kind), problem
    assert problem["parts"][0]["name"] == "shop" and problem["parts"][0]["state"] == state
    assert reply.headers["proxy-status"] == f'gateway; next-hop="shop"; error={error}'
    assert reply.headers["cache-control"] == "no-store"
    record = one.access(1, lambda r: r["id"] == reply.headers["x-request-id"])[0]
    assert record["status"] == status and record.get("flags", "") == flags, record
    assert record["parts"][0]["state"] == state and record["parts"][0]["error"] == error, record


JSON = {"Accept": "application/json"}


def test_nobody_listens(gateway, client):
    one = gateway(ROUTE.format(url=f"http://127.0.0.1:{free_port()}"))
    failed(one, client(one).get("/x", headers=JSON), 502, "upstream-failed", "connection_refused", "error", "UF")
    failed(one, client(one).post("/x", headers=JSON, content=b"x" * 100000), 502, "upstream-failed",
           "connection_refused", "error", "UF")
    page = client(one).get("/x", headers={"Accept": "text/html"})
    assert page.status_code == 502 and page.headers["content-type"].startswith("text/html")
    assert "route failed" in one.log() and "upstream=shop" in one.log().replace('"upstream":"', "upstream=")


def test_no_answer_in_time(gateway, origin, client):
    upstream = origin(lambda exchange: exchange.closed() and False)
    one = gateway(ROUTE.format(url=upstream.url) + 'timeout = "200ms"\n')
    failed(one, client(one).get("/x", headers=JSON), 504, "upstream-timeout", "http_response_timeout",
           "timeout", "UT")


def test_too_many_and_too_often(gateway, origin, client):
    def handler(exchange):
        if exchange.target == "/bad":
            return exchange.reset()
        exchange.closed()
        return False

    upstream = origin(handler)
    one = gateway(f"""
        [upstreams.shop]
        url = "{upstream.url}"
        max_inflight = 1
        max_queue = 0
        timeout = "20s"
        [upstreams.shop.breaker]
        consecutive = 3
        [routes.shop]
        path = "/"
        """)
    with socket.create_connection(one.host_port) as holder:
        holder.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: upstream.exchanges, "the first call")
        reply = client(one).get("/x", headers=JSON)
        failed(one, reply, 503, "upstream-overloaded", "connection_limit_reached", "shed", "UO")
        assert reply.headers["retry-after"] == "1"
    until(lambda: client(one).get("/bad", headers=JSON).status_code == 502, "the slot")
    for _ in range(2):
        assert client(one).get("/bad", headers=JSON).status_code == 502
    reply = client(one).get("/x", headers=JSON)
    failed(one, reply, 503, "upstream-unavailable", "destination_unavailable", "open", "UO")
    assert 1 <= int(reply.headers["retry-after"]) <= 7


@pytest.mark.parametrize("answer, error", [
    (b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"),
    (b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"),
    (b"HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "http_protocol_error"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "http_protocol_error"),
    (b"\0\1\2 this is not HTTP\r\n\r\n", "http_protocol_error"),
    (b"HTTP/1.1 200 OK\r\nX: y\r\n", "connection_terminated"),
    (b"", "connection_terminated"),
])
def test_answers_that_make_no_sense(gateway, origin, client, answer, error):
    def handler(exchange):
        exchange.send(answer)
        return False

    one = gateway(ROUTE.format(url=origin(handler).url))
    reply = client(one).get("/x", headers=JSON)
    assert reply.status_code == 502, (reply, reply.headers)
    assert "hello" not in reply.text
    assert one.access()[0]["parts"][0]["state"] == "error"
    assert f"error={error}" in reply.headers["proxy-status"] or error == "connection_terminated"


@pytest.mark.parametrize("status", [204, 304, 400, 404, 429, 500, 503])
def test_whatever_the_upstream_answers_is_the_answer(gateway, origin, client, status):
    def handler(exchange):
        if status in (204, 304):
            exchange.send(f"HTTP/1.1 {status} X\r\nETag: \"a\"\r\n\r\n".encode())
        else:
            exchange.answer(b"its own words", f"{status} X", 'ETag: "a"', "Retry-After: 7")

    one = gateway(ROUTE.format(url=origin(handler).url))
    ask = client(one)
    for _ in range(2):  # the connection stays good
        reply = ask.get("/x")
        assert reply.status_code == status and reply.headers["etag"] == '"a"'
        if status not in (204, 304):
            assert reply.text == "its own words" and reply.headers["retry-after"] == "7"
        assert "proxy-status" not in reply.headers
    record = one.access(2)[1]
    assert record["parts"][0]["state"] == ("error" if status >= 500 else "ok")


def test_head_has_the_length_of_what_a_get_would_bring(gateway, origin, client):
    upstream = origin(lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"))
    one = gateway(ROUTE.format(url=upstream.url))
    for http2 in (False, True):
        ask = client(one, http2)
        for _ in range(2):
            reply = ask.head("/x")
            assert reply.status_code == 200 and reply.headers["content-length"] == "12345"
    assert upstream.connections == 1, "the connection is used again"


def test_what_came_this_way_before_is_a_loop(gateway, client):
    port = free_port()
    header = HEADER.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    one = gateway(ROUTE.format(url=f"http://127.0.0.1:{port}"), header=header)
    reply = client(one).get("/x", headers=JSON)
    assert reply.status_code == 502 and reply.json()["type"].endswith("/loop-detected")
    assert "error=proxy_loop_detected" in reply.headers["proxy-status"]
    assert len(one.access(2)) == 2


def test_a_chain_of_gateways_is_none(gateway, origin, client):
    upstream = origin(tell)
    inner = gateway(ROUTE.format(url=upstream.url))
    outer = gateway(ROUTE.format(url=inner.url), header=HEADER)
    reply = client(outer).get("/x")
    assert len(values(reply.json(), "via")) == 2
    assert len(set(values(reply.json(), "via"))) == 2
    assert len(reply.headers.get_list("via")) == 2
    assert reply.headers.get_list("x-request-id") == values(reply.json(), "x-request-id")


def test_a_client_that_leaves_takes_its_call_along(gateway, origin):
    gone = []
    upstream = origin(lambda exchange: gone.append(exchange.closed()) or False)
    one = gateway(ROUTE.format(url=upstream.url) + 'timeout = "20s"\n')
    with socket.create_connection(one.host_port) as leaver:
        leaver.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: upstream.exchanges, "the call")
    until(lambda: gone == [True], "the end of the call")
    record = one.access()[0]
    assert record["status"] == 499 and record["flags"] == "DC", record


def test_connections_are_kept_on_both_sides(gateway, origin):
    upstream = origin(lambda exchange: exchange.answer(b"hi"))
    one = gateway(ROUTE.format(url=upstream.url))
    with socket.create_connection(one.host_port, timeout=15) as client:
        for _ in range(5):
            client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            got = b""
            while not got.endswith(b"\r\n\r\nhi"):
                got += client.recv(65536)
    assert upstream.connections == 1 and len(upstream.exchanges) == 5


def test_many_at_once(gateway, origin):
    upstream = origin(lambda exchange: exchange.answer(exchange.target.encode() * 100))
    one = gateway(ROUTE.format(url=upstream.url) + 'timeout = "15s"\n')
    clients = []
    for i in range(200):
        client = socket.create_connection(one.host_port, timeout=30)
        client.sendall(f"GET /{i:05} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        clients.append(client)
    for i, client in enumerate(clients):
        got = b""
        while more := client.recv(65536):
            got += more
        client.close()
        assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(f"/{i:05}".encode() * 100), got[:200]


# -- for people ------------------------------------------------------------------------------------


def test_explain_says_who_is_asked_for_what(tmp_path):
    config = tmp_path / "gateway.toml"
    config.write_text("""
        [server]
        listen = ["127.0.0.1:0"]
        [upstreams.shop]
        url = "http://shop.internal:9101/base"
        [routes.shop]
        path = "/shop"
        to = "/v2"
        max_body = "0"
        """)
    done = command("explain", "-c", config, "GET", "/shop/x?y=z")
    assert done.returncode == 0, done
    assert "GET http://shop.internal:9101/base/v2/x?y=z" in done.stdout
    assert "upstream  shop" in done.stdout and "/shop and below" in done.stdout
    assert "no limit" in done.stdout
    assert command("explain", "-c", config, "--run", "GET", "/shop").returncode == 1
    assert command("explain", "-c", config, "GET", "/other").returncode == 1
    done = command("check", "-c", config)
    assert done.returncode == 0 and "1 route\n" in done.stdout
    done = command("print-config", "-c", config)
    assert tomllib.loads(done.stdout)["routes"]["shop"]["to"] == "/v2"
