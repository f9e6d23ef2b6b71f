"""Somebody else says who may: what that service is asked, what comes of its answers, and what happens
while it gives none."""

import subprocess
import threading

import httpx
import pytest

from gateway import BINARY, until
from scripted import Origin


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/x", {})
    one.serves("/page", {"body": {"n": 1}})
    yield one
    one.stop()


@pytest.fixture
def auth():
    one = Origin().start()
    yield one
    one.stop()


def start(gateway, origin, auth, section="", upstream="", more="", **options):
    return gateway(f"""
[upstreams.shop]
url = "{origin.url}"
forward_headers = ["X-User", "Cookie"]
[upstreams.sso]
url = "{auth if isinstance(auth, str) else auth.url}"
{upstream}
[forward_auth.sso]
path = "/auth?for=shop"
{section}
[routes.shop]
path = "/"
middleware = ["forward_auth.sso"]
{more}
""", **options)


def ask(one, path="/x", method="GET", **options):
    return httpx.request(method, one.url + path, trust_env=False, timeout=60, **options)


def test_what_the_service_is_asked(gateway, origin, auth):
    auth.serves("/auth", {"status": 204})
    one = start(gateway, origin, auth)
    answer = ask(one, "/x?a=1&b=%2F", "POST", content=b"body" * 10000,
                 headers={"Cookie": "session=1", "Authorization": "Bearer x", "X-Other": "1",
                          "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Uri": "/harmless",
                          "X-Forwarded-Method": "HEAD", "X-Forwarded-Host": "evil.example",
                          "Host": "shop.example"})
    assert answer.status_code == 200
    (path, fields), = auth.heads
    assert auth.methods == [("GET", "/auth?for=shop")] and path == "/auth?for=shop"
    assert fields["cookie"] == "session=1" and fields["authorization"] == "Bearer x"
    assert fields["x-forwarded-method"] == "POST"
    assert fields["x-forwarded-uri"] == "/x?a=1&b=%2F"
    assert fields["x-forwarded-host"] == "shop.example"
    assert fields["x-forwarded-proto"] == "http"
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-request-id"] == origin.heads[0][1]["x-request-id"]
    assert "x-other" not in fields and "content-length" not in fields
    assert origin.heads[0][1]["content-length"] == "40000"


def test_what_it_says_of_the_user_goes_upstream(gateway, origin, auth):
    auth.serves("/auth", lambda _, fields: {
        "status": 200, "headers": [("X-User", fields["x-key"]), ("X-Groups", "a"),
                                   ("x-groups", "b"), ("X-Secret", "1"),
                                   ("X-Forwarded-User", "ada")] if "x-key" in fields else []})
    origin.serves("/page", lambda _, fields: {"body": {"who": fields.get("x-user", "")},
                                              "headers": [("Cache-Control", "max-age=60")]})
    one = start(gateway, origin, auth,
                'request_headers = ["X-Key"]\n'
                'response_headers = ["X-User", "X-Groups", "X-Forwarded-User", "X-None"]', more="""
[routes.shop.cache]
enabled = true
[pages.page]
path = "/composed"
middleware = ["forward_auth.sso"]
[pages.page.parts.shop]
path = "/page"
[pages.page.parts.shop.cache]
enabled = true
ttl = "60s"
""")
    spoofed = {"X-User": "root", "x_user": "root", "X-Groups": "admin", "X-None": "1",
               "X-Forwarded-User": "root", "Connection": "close, X-User, X-Groups"}
    for path in ["/page", "/composed"]:
        for name in ["ada", "bob"]:
            answer = ask(one, path, headers={**spoofed, "X-Key": name, "Accept": "application/json"})
            assert name in answer.text
            assert "private" in answer.headers["cache-control"]
        assert "root" not in ask(one, path, headers={**spoofed, "Accept": "application/json"}).text
    for _, fields in origin.heads:
        assert fields.get("x-user") in ["ada", "bob", None]
        assert "x_user" not in fields and "x-none" not in fields and "x-secret" not in fields
    first = origin.heads[0][1]
    assert first["x-groups"] == "a, b"
    assert first["x-forwarded-user"] == "ada"


def test_a_refusal_is_the_service_s_own(gateway, origin, auth):
    auth.serves("/auth",
                {"status": 401, "body": b"<p>sign in</p>",
                 "headers": [("WWW-Authenticate", 'Basic realm="sso"'), ("X-Inner", "1"),
                             ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"),
                             ("Content-Type", "text/html; charset=utf-8")]},
                {"status": 403, "body": {"no": "you may not"}},
                {"status": 302, "body": b"", "headers": [
                    ("Location", "https://sso.example/login?rd=%2Fx"),
                    ("Cache-Control", "private, no-store")]},
                {"status": 401, "body": b"x" * 100_000})
    one = start(gateway, origin, auth)
    answer = ask(one)
    assert (answer.status_code, answer.text) == (401, "<p>sign in</p>")
    assert answer.headers["www-authenticate"] == 'Basic realm="sso"'
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert "x-inner" not in answer.headers
    answer = ask(one)
    assert (answer.status_code, answer.json()) == (403, {"no": "you may not"})
    answer = ask(one)
    assert (answer.status_code, answer.text) == (302, "")
    assert answer.headers["location"] == "https://sso.example/login?rd=%2Fx"
    assert answer.headers["cache-control"] == "private, no-store"
    answer = ask(one)
    assert (answer.status_code, answer.text) == (401, "")
    assert ask(one, method="HEAD").status_code == 401
    assert origin.heads == []
    assert {line["flags"] for line in one.access(5)} == {"UAEX"}


@pytest.mark.parametrize("status", [100, 304, 400, 404, 429, 500, 503])
def test_any_other_answer_lets_nobody_pass(gateway, origin, auth, status):
    auth.serves("/auth", {"status": status, "body": b""})
    one = start(gateway, origin, auth, section='timeout = "1s"')
    answer = ask(one)
    assert answer.status_code in (502, 503)
    assert origin.heads == []


def test_without_an_answer_nobody_passes(gateway, origin, auth):
    auth.serves("/auth", {"status": 200, "after": 30})
    one = start(gateway, origin, auth, section='timeout = "300ms"')
    answer = ask(one, headers={"Accept": "application/json"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"].endswith("/authorization-unavailable")
    assert answer.headers["proxy-status"] == \
        'gateway; next-hop="sso"; error=http_response_timeout'
    assert one.access(1)[0]["flags"] == "UT"
    assert one.log().count("nobody says who may") == 1
    assert origin.heads == []


def test_its_upstream_s_breaker_counts(gateway, origin):
    one = start(gateway, origin, "http://127.0.0.1:1",
                upstream="[upstreams.sso.breaker]\nconsecutive = 2\nopen_for = \"60s\"")
    flags = []
    for _ in range(4):
        answer = ask(one)
        assert answer.status_code == 503
        flags.append(answer.headers["retry-after"])
    assert flags[0] == "1" and int(flags[-1]) > 30
    assert [line["flags"] for line in one.access(4)][-1] == "UO"


def test_who_leaves_is_asked_about_no_longer(gateway, origin, auth):
    auth.serves("/auth", {"status": 200, "after": 30})
    one = start(gateway, origin, auth)
    with pytest.raises(httpx.TimeoutException):
        httpx.get(one.url + "/x", trust_env=False, timeout=0.2)
    until(lambda: auth.aborted == 1, "the end of the call")
    assert one.access(1)[0]["status"] == 499
    assert origin.heads == []


def test_a_gateway_that_ends_meanwhile(gateway, origin, auth):
    auth.serves("/auth", {"status": 200, "after": 20})
    one = start(gateway, origin, auth, header="""
[server]
listen = ["127.0.0.1:0"]
workers = 1
drain_timeout = "100ms"
[admin]
listen = ""
control = ""
""")
    def waits():
        with pytest.raises(httpx.HTTPError):
            ask(one)
    thread = threading.Thread(target=waits)
    thread.start()
    until(lambda: auth.asked("/auth") == 1)
    one.stop()  # asserts that it ends well
    thread.join()


def test_nginx_as_the_service_and_http2(gateway, origin, nginx):
    server = nginx({}, 'location = /auth { default_type text/plain; '
                       'if ($http_authorization = "Bearer good") { return 204; } '
                       'return 401 "no"; }')
    one = start(gateway, origin, server.url)
    for more in [[], ["--http2-prior-knowledge"]]:
        for bearer, status in [("good", "200"), ("bad", "401")]:
            done = subprocess.run(
                ["curl", "-sS", "--noproxy", "*", *more, "-H", f"Authorization: Bearer {bearer}",
                 "-o", "/dev/null", "-w", "%{http_code}", one.url + "/x"],
                capture_output=True, text=True)
            assert done.stdout == status, done
    assert len(server.requests(4)) == 4


def test_kinds_in_a_row(gateway, origin, auth):
    """One after another, in the list's order: whoever refuses is the last that sees it."""
    auth.serves("/auth", {"status": 204})
    one = start(gateway, origin, auth, more="""
[basic_auth.staff]
[basic_auth.staff.users]
ada = "${ADA}"
[pages.both]
path = "/both"
middleware = ["basic_auth.staff", "forward_auth.sso"]
[pages.both.parts.shop]
path = "/page"
""", env={"ADA": subprocess.run(["openssl", "passwd", "-5", "open sesame"], capture_output=True,
                                text=True).stdout.strip()})
    assert ask(one, "/both").status_code == 401
    assert auth.heads == []
    assert ask(one, "/both", auth=("ada", "open sesame")).status_code == 200
    assert "authorization" not in auth.heads[0][1]


def test_what_is_wrong_is_told_where_it_stands(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("""[upstreams.sso]
url = "http://sso"
set_headers = { X-Mine = "1" }
[forward_auth.sso]
path = "auth"
request_headers = ["Cookie", "X-Forwarded-For", "X-Mine"]
response_headers = ["Host", "X-User"]
[forward_auth.ssoo]
path = "/"
[forward_auth.c]
upstream = "sso"
""")
    done = subprocess.run([BINARY, "check", "-c", config], capture_output=True, text=True)
    assert done.returncode == 78
    for line in ['5:8: error: path: expected a path after the upstream\'s url',
                 '6:30: error: request_headers: X-Forwarded-For can\'t be passed on',
                 '6:49: error: request_headers: X-Mine ',
                 '7:21: error: Host: not the name of a header that may be set',
                 'unknown upstream "ssoo"; did you mean "sso"?',
                 '10:1: error: missing key "path"']:
        assert line in done.stderr, (line, done.stderr)
