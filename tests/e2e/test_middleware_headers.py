"""[headers.NAME]: rules on the headers of requests, as upstreams see them, and of answers."""

import httpx
import pytest

from gateway import command
from scripted import Origin

HEADER = """
[server]
listen = ["127.0.0.1:0"]
{server}
[admin]
listen = ""
control = ""
[log]
access = "off"
"""


@pytest.fixture
def upstream():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1}})
    one.serves("/api/x", {"body": {"n": 2}, "headers": [
        ("Server", "secret/1.2"), ("X-Powered-By", "php"), ("x-powered_by", "php"), ("Set-Cookie", "a=1"),
        ("Cache-Control", "private"), ("Link", "</a>")]})
    yield one
    one.stop()


def start(gateway, upstream, sections, page="", route='middleware = ["headers.api"]', server=""):
    return gateway(f"""
{sections}
[upstreams.shop]
url = "{upstream.url}"
forward_headers = ["Accept-Language", "X-Site", "Cookie"]
[pages.home]
path = "/"
{page}
[pages.home.parts.shop]
path = "/a"
[routes.api]
path = "/api"
upstream = "shop"
{route}
""", header=HEADER.format(server=server), env={"KEY": "s3cret"})


REQUEST = """[headers.api.request]
X-Site = "north"
X-User = ""
Cookie = ""
X-Api-Key = "${KEY}"
[headers.api.request_add]
Accept-Language = "fr;q=0.1"
"""


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_upstreams_see_requests_by_the_rules(gateway, upstream, http2):
    one = start(gateway, upstream, REQUEST)
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, verify=False) as client:
        sent = [("X-Site", "a"), ("x_site", "b"), ("X-SITE", "c"), ("X-User", "root"), ("x_user", "root"),
                ("Accept-Language", "de"), ("X-Api-Key", "guess"), ("Cookie", "a=b"), ("X-Other", "kept")]
        assert client.get(one.url + "/api/x", headers=sent).status_code == 200
    (_, head), = upstream.requests
    lines = sorted(line.lower() for line in head.split("\r\n")
                   if line.lower().startswith(("x-", "x_", "accept-l", "cookie")))
    assert [line for line in lines if not line.startswith(("x-forwarded", "x-request"))] == [
        "accept-language: de", "accept-language: fr;q=0.1", "x-api-key: s3cret", "x-other: kept", "x-site: north"]


def test_pages_forward_what_the_rules_left(gateway, upstream):
    one = start(gateway, upstream, REQUEST, page='middleware = ["headers.api"]')
    assert httpx.get(one.url, trust_env=False, verify=False, headers={"X-Site": "x", "Cookie": "a=b"}).status_code == 200
    fields = upstream.heads[0][1]
    assert fields["x-site"] == "north" and "cookie" not in fields


RESPONSE = """[headers.api.response]
Server = ""
X-Powered-By = ""
Cache-Control = "no-store"
X-Frame-Options = "DENY"
[headers.api.response_add]
Link = "</b>; rel=preload"
Set-Cookie = "b=2"
"""


def test_answers_go_out_by_the_rules(gateway, upstream):
    one = start(gateway, upstream, RESPONSE)
    answer = httpx.get(one.url + "/api/x", trust_env=False, verify=False)
    assert answer.json() == {"n": 2}
    assert "server" not in answer.headers and "x-powered-by" not in answer.headers
    assert "x-powered_by" not in answer.headers
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers.get_list("link") == ["</a>", "</b>; rel=preload"]
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    # elsewhere nothing changes
    assert httpx.get(one.url + "/", trust_env=False, verify=False).headers["server"] == "gateway"


def test_the_server_s_rules_hold_for_errors(gateway, upstream):
    one = start(gateway, upstream, RESPONSE, route="", server='middleware = ["headers.api"]')
    for path, status in [("/nowhere", 404), ("/%00", 400), ("/", 200)]:
        answer = httpx.get(one.url + path, trust_env=False, verify=False)
        assert answer.status_code == status and "server" not in answer.headers
        assert answer.headers["x-frame-options"] == "DENY" and answer.headers["x-request-id"]


def test_print_config_shows_all_rules(tmp_path):
    config, printed = tmp_path / "config.toml", tmp_path / "printed.toml"
    config.write_text(REQUEST + RESPONSE + '[headers.none]\n[server]\nmiddleware = ["headers.none", "headers.api"]\n')
    first = command("print-config", "-c", config, env={"KEY": "s3cret"})
    for line in ['X-Site = "north"', 'X-User = ""', 'X-Api-Key = "${KEY}"', "[headers.api.response_add]", "[headers.none]"]:
        assert line in first.stdout.splitlines()
    printed.write_text(first.stdout)
    assert command("print-config", "-c", printed, env={"KEY": "s3cret"}).stdout == first.stdout
    assert command("check", "-c", printed, env={"KEY": "s3cret"}).returncode == 0


def test_mistakes_are_told_where_they_stand(tmp_path):
    (tmp_path / "config.toml").write_text("""[headers.a.request]
Content-Length = "1"
X-Forwarded-For = "127.0.0.1"
"two words" = "x"
Authorization = "Basic eA=="
X-Fine = "${EMPTY}"
X-Break = "a\\nb"
Cookie = ""
[headers.a.response]
transfer-encoding = ""
Date = ""
X-Request-Id = ""
Host = "x"
[headers.a.response_add]
Server = ""
[headers.a.reqest]
""")
    done = command("check", "-c", tmp_path / "config.toml", env={"EMPTY": ""})
    assert done.returncode == 78
    errors = [line.partition("config.toml:")[2] for line in done.stderr.splitlines()]
    assert errors == [
        "2:1: error: header 'Content-Length' can't be changed: it says how the message is sent",
        "3:1: error: header 'X-Forwarded-For' can't be changed: the gateway writes it itself",
        "4:1: error: header 'two words' isn't a header's name",
        '5:17: error: Authorization: a secret may not stand in the file; write "${NAME}" for it and set NAME in the '
        'environment, or put it in a file: { file = "path" }',
        "6:10: error: header 'X-Fine' has no value; \"\" alone takes it away",
        "7:13: error: control character U+000A in a string",
        "10:1: error: header 'transfer-encoding' can't be changed: it says how the message is sent",
        "11:1: error: header 'Date' can't be changed: the gateway writes it itself",
        "12:1: error: header 'X-Request-Id' can't be changed: the gateway writes it itself",
        "13:1: error: header 'Host' can't be changed: it says how the message is sent",
        "15:10: error: header 'Server' is to be added and has no value",
        '16:12: error: unknown key "reqest"; did you mean "request"?',
    ]
