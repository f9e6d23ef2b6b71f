"""Routes whose answers are kept: RFC 9111 as its clients see it."""

import threading

import httpx
import pytest

from gateway import until
from scripted import Origin


@pytest.fixture
def origin():
    one = Origin().start()
    yield one
    one.stop()


def config(origin, cache="", route="", upstream="", more=""):
    return f"""
{more}
[upstreams.shop]
url = "{origin.url}"
{upstream}
[routes.shop]
path = "/"
{route}
[routes.shop.cache]
enabled = true
{cache}
"""


FRESH = [("Cache-Control", "max-age=60")]


def get(gateway, path="/a", method="GET", **headers):
    return httpx.request(method, gateway.url + path, trust_env=False, timeout=20,
                         headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_kept_answer_is_the_origins(gateway, origin):
    origin.serves("/a", {"headers": [*FRESH, ("Content-Type", "text/plain"), ("X-Own", "1"), ("ETag", '"e"'),
                                     ("Connection", "X-Hop"), ("X-Hop", "1"), ("Age", "10")],
                         "body": b"hello"})
    one = gateway(config(origin))
    first, again, head = get(one), get(one), get(one, method="HEAD")
    assert origin.asked("/a") == 1
    assert first.headers["cache-status"] == "gateway; fwd=miss; fwd-status=200; stored"
    assert again.headers["cache-status"].startswith("gateway; hit; ttl=")
    for answer in (again, head):
        assert answer.headers["content-type"] == "text/plain" and answer.headers["x-own"] == "1"
        assert int(answer.headers["age"]) >= 10 and "x-hop" not in answer.headers
        assert answer.headers["content-length"] == "5" and answer.headers["etag"] == '"e"'
    assert again.content == b"hello" and head.content == b""


def test_coded_bodies_are_kept_as_they_came(gateway, origin):
    import gzip
    body = gzip.compress(b"hello" * 100)
    origin.serves("/a", {"headers": [*FRESH, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")],
                         "body": body})
    one = gateway(config(origin))
    for _ in range(2):
        answer = get(one, Accept_Encoding="gzip")
        assert answer.content == b"hello" * 100 and answer.headers["content-length"] == str(len(body))
    assert origin.asked("/a") == 1
    get(one, Accept_Encoding="identity")
    assert origin.asked("/a") == 2


def test_conditions_of_the_client(gateway, origin):
    modified = "Sun, 06 Nov 1994 08:49:37 GMT"
    origin.serves("/a", {"headers": [*FRESH, ("ETag", 'W/"e"'), ("Last-Modified", modified)]})
    one = gateway(config(origin))
    get(one)
    for condition in ({"If_None_Match": '"e"'}, {"If_None_Match": '"x", W/"e"'}, {"If_None_Match": "*"},
                      {"If_Modified_Since": modified}):
        answer = get(one, **condition)
        assert answer.status_code == 304 and answer.content == b"", condition
        assert answer.headers["etag"] == 'W/"e"'
    for condition in ({"If_None_Match": '"x"'}, {"If_None_Match": '"x"', "If_Modified_Since": modified},
                      {"If_Modified_Since": "Sat, 05 Nov 1994 08:49:37 GMT"}):
        assert get(one, **condition).status_code == 200, condition
    assert origin.asked("/a") == 1


@pytest.mark.parametrize("wish", [{"Cache_Control": "no-cache"}, {"Cache_Control": "max-age=5"},
                                  {"Cache_Control": "min-fresh=55"}, {"Pragma": "no-cache"}],
                         ids=lambda wish: str(wish))
def test_wishes_of_the_client(gateway, origin, wish):
    origin.serves("/a", {"headers": [*FRESH, ("Age", "10")]})
    one = gateway(config(origin))
    get(one)
    assert get(one, **wish).headers["cache-status"].startswith("gateway; fwd=")
    assert origin.asked("/a") == 2


def test_only_if_cached(gateway, origin):
    origin.serves("/a", {"headers": FRESH})
    one = gateway(config(origin))
    assert get(one, Cache_Control="only-if-cached").status_code == 504
    assert origin.asked("/a") == 0
    get(one)
    assert get(one, Cache_Control="only-if-cached").status_code == 200


def test_a_304_brings_it_up_to_date(gateway, origin):
    def validated(path, fields):
        if fields.get("if-none-match") == '"e"':
            return {"status": 304, "headers": [*FRESH, ("ETag", '"e"'), ("X-New", "1")]}
        return {"headers": [("Cache-Control", "max-age=0"), ("ETag", '"e"'), ("Content-Type", "text/plain")],
                "body": b"hello"}

    origin.serves("/a", validated)
    one = gateway(config(origin))
    get(one)
    second, third = get(one), get(one)
    assert second.headers["cache-status"] == "gateway; fwd=stale; fwd-status=304; stored"
    assert third.headers["cache-status"].startswith("gateway; hit")
    for answer in (second, third):
        assert answer.status_code == 200 and answer.content == b"hello" and answer.headers["x-new"] == "1"
        assert answer.headers["content-type"] == "text/plain"
    assert origin.asked("/a") == 2
    assert get(one, If_None_Match='"e"').status_code == 304


def test_a_304_about_something_else(gateway, origin):
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=0"), ("ETag", '"e"')]},
                  {"status": 304, "headers": [("ETag", '"other"')]}, {"headers": FRESH, "body": b"new"})
    one = gateway(config(origin))
    get(one)
    assert get(one).content == b"new"  # asked again, without conditions
    assert origin.asked("/a") == 3 and "if-none-match" not in origin.heads[-1][1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_unsafe_methods_invalidate(gateway, origin, method):
    origin.serves("/a", {"headers": FRESH})
    one = gateway(config(origin))
    get(one)
    answer = get(one, method=method)
    assert answer.headers["cache-status"] == "gateway; fwd=method"
    get(one)
    assert origin.asked("/a") == 3


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
def test_unsafe_methods_invalidate_what_they_name(gateway, origin, name):
    origin.serves("/a", {"headers": FRESH})
    origin.serves("/b", {"headers": FRESH})
    one = gateway(config(origin))
    for named in (f"{origin.url}/a", f"{one.url}/a#x", "/a"):
        origin.serves("/make", {"status": 201, "headers": [(name, named)]})
        asked = origin.asked("/a")
        get(one)
        get(one, "/b")
        get(one, "/make", method="POST")
        get(one)
        assert origin.asked("/a") >= asked + 1, named
        assert get(one).headers["cache-status"].startswith("gateway; hit")
    for named in ("http://other.example/a", "//other.example/a", "a", ""):
        origin.serves("/make", {"status": 201, "headers": [(name, named)]})
        get(one, "/make", method="POST")
        assert get(one).headers["cache-status"].startswith("gateway; hit"), named
    assert origin.asked("/b") == 1


def test_a_failed_unsafe_method_does_not(gateway, origin):
    origin.serves("/a", lambda path, fields: {"headers": FRESH, "status": 200 if "x-get" in fields else 500})
    one = gateway(config(origin))
    get(one, X_Get="1")
    get(one, method="POST")
    assert get(one, X_Get="1").headers["cache-status"].startswith("gateway; hit")


def test_credentials(gateway, origin):
    origin.serves("/a", {"headers": FRESH})
    origin.serves("/b", {"headers": [("Cache-Control", "public, max-age=60")]})
    one = gateway(config(origin))
    get(one)
    for name in ("Authorization", "Cookie"):
        get(one, **{name: "secret"})
    assert origin.asked("/a") == 3
    assert get(one).headers["cache-status"].startswith("gateway; hit")  # the others threw nothing out
    get(one, "/b", Authorization="secret")
    assert get(one, "/b", Authorization="other").headers["cache-status"].startswith("gateway; hit")


def test_ranges_go_past(gateway, origin):
    origin.serves("/a", {"headers": FRESH, "body": b"0123456789"})
    one = gateway(config(origin))
    get(one)
    get(one, Range="bytes=0-3")
    assert origin.asked("/a") == 2 and origin.heads[-1][1]["range"] == "bytes=0-3"
    origin.serves("/part", {"status": 206, "headers": [*FRESH, ("Content-Range", "bytes 0-1/10")], "body": b"01"})
    for _ in range(2):
        assert get(one, "/part", Range="bytes=0-1").status_code == 206
    assert origin.asked("/part") == 2


@pytest.mark.parametrize("newer", [{"headers": FRESH, "body": b"new"},
                                   {"status": 304, "headers": [*FRESH, ("ETag", '"e"')]}], ids=["answer", "304"])
def test_stale_while_it_is_asked_for_anew(gateway, origin, newer):
    gate = threading.Event()
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=60, stale-while-revalidate=60"), ("Age", "70"),
                                     ("ETag", '"e"')], "body": b"old"}, {**newer, "until": gate})
    one = gateway(config(origin))
    get(one)
    for _ in range(3):
        answer = get(one)
        assert answer.content == b"old" and "ttl=-" in answer.headers["cache-status"]
    gate.set()
    fresh = until(lambda: (answer := get(one)) and "ttl=-" not in answer.headers["cache-status"] and answer)
    assert fresh.content == newer.get("body", b"old") and fresh.headers["cache-status"].startswith("gateway; hit")
    assert origin.asked("/a") == 2


def test_a_refresh_that_fails_or_never_ends(gateway, origin):
    stale = [("Cache-Control", "max-age=60, stale-while-revalidate=60"), ("Age", "70")]
    origin.serves("/a", {"headers": stale, "body": b"old"}, {"status": 500}, {"headers": FRESH, "body": b"x" * (6 << 20)},
                  {"after": 30})
    one = gateway(config(origin))
    get(one)
    for asked in (2, 3, 4):
        until(lambda: get(one).content[:3] in (b"old", b"xxx") and origin.asked("/a") >= asked, "the refresh")
    assert one.terminate() == 0  # with one under way


@pytest.mark.parametrize("failing", [{"status": 503}, {"after": 30}], ids=["status", "timeout"])
def test_stale_if_error(gateway, origin, failing):
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=60"), ("Age", "70")], "body": b"old"}, failing)
    one = gateway(config(origin, cache='stale_if_error = "1h"', route='timeout = "500ms"',
                         upstream="[upstreams.shop.retry]\nattempts = 1"))
    get(one)
    answer = get(one)
    assert answer.status_code == 200 and answer.content == b"old"
    assert "ttl=-" in answer.headers["cache-status"] and int(answer.headers["age"]) >= 70
    record = one.access(2)[1]["parts"][0]
    assert record["state"] == "stale"


def test_a_body_that_breaks_off_is_not_kept(gateway, origin):
    origin.serves("/a", {"headers": [*FRESH, ("Content-Length", "100")], "body": b"short"})
    one = gateway(config(origin))
    origin_close = threading.Timer(0.3, origin.loop.call_soon_threadsafe, [lambda: None])
    origin_close.start()
    with pytest.raises(httpx.HTTPError):
        httpx.get(one.url + "/a", timeout=2, trust_env=False)
    origin.serves("/a", {"headers": FRESH, "body": b"whole"})
    assert get(one).content == b"whole"


def test_large_bodies_pass_without_being_kept(gateway, origin):
    origin.serves("/a", {"headers": FRESH, "body": b"x" * (6 << 20)})
    one = gateway(config(origin))
    for _ in range(2):
        assert len(get(one).content) == 6 << 20
    assert origin.asked("/a") == 2


def test_parts_and_routes_keep_apart(gateway, origin):
    origin.serves("/a", {"headers": FRESH, "body": {"n": 1}})
    one = gateway(config(origin, route='to = "/"') + """
[pages.home]
path = "/home"
[pages.home.parts.shop]
path = "/a"
[pages.home.parts.shop.cache]
enabled = true
""")
    get(one)
    assert httpx.get(one.url + "/home", trust_env=False).json()["data"]["shop"] == {"n": 1}
    assert get(one).json() == {"n": 1}
    assert origin.asked("/a") == 2


def test_what_a_route_changes_is_no_more_what_parts_have(gateway, origin):
    origin.serves("/a", {"headers": FRESH})
    one = gateway(config(origin) + """
[pages.home]
path = "/home"
[pages.home.parts.shop]
path = "/a"
[pages.home.parts.shop.cache]
enabled = true
""")

    def cached():
        return get(one, "/home").json()["meta"]["parts"]["shop"]["cache"]

    assert (cached(), cached()) == ("miss", "hit")
    assert get(one, "/a", method="PUT").status_code == 200
    assert cached() == "miss"
