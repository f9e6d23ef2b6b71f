"""RFC 9111 row by row: what an origin says, what a client asks, and whether the origin is asked again.

Time is told by Age: an answer that is 61 seconds old and may be used for 60 is stale at once."""

import email.utils
import time

import httpx
import pytest

from scripted import Origin

CONFIG = """
[upstreams.shop]
url = "{url}"
[upstreams.shop.retry]
attempts = 1
[routes.shop]
path = "/"
[routes.shop.cache]
enabled = true
{cache}
"""


@pytest.fixture
def origin():
    one = Origin().start()
    yield one
    one.stop()


def date(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def cc(value):
    return ("Cache-Control", value)


HIT, AGAIN = 1, 2

# name: (answer's headers or a function, second request's headers, how often the origin is asked)
ROWS = {
    # section 4.2.1, freshness
    "max-age": ([cc("max-age=60")], {}, HIT),
    "max-age, young enough": ([cc("max-age=60"), ("Age", "58")], {}, HIT),
    "max-age, too old": ([cc("max-age=60"), ("Age", "61")], {}, AGAIN),
    "max-age, exactly as old": ([cc("max-age=60"), ("Age", "60")], {}, AGAIN),
    "s-maxage wins": ([cc("s-maxage=60, max-age=0")], {}, HIT),
    "s-maxage wins, shorter": ([cc("s-maxage=0, max-age=60")], {}, AGAIN),
    "s-maxage over Expires": (lambda: [cc("s-maxage=60"), ("Expires", date(-60))], {}, HIT),
    "max-age over Expires": (lambda: [cc("max-age=60"), ("Expires", date(-60))], {}, HIT),
    "max-age=0 over Expires": (lambda: [cc("max-age=0"), ("Expires", date(60))], {}, AGAIN),
    "Expires ahead": (lambda: [("Date", date(0)), ("Expires", date(60))], {}, HIT),
    "Expires past": (lambda: [("Date", date(0)), ("Expires", date(-60))], {}, AGAIN),
    "Expires is Date": (lambda: [("Date", date(0)), ("Expires", date(0))], {}, AGAIN),
    "Expires without Date": (lambda: [("Expires", date(60))], {}, HIT),
    "Expires: 0": ([("Expires", "0")], {}, AGAIN),
    "Expires: -1": ([("Expires", "-1")], {}, AGAIN),
    "Expires malformed": ([("Expires", "tomorrow")], {}, AGAIN),
    "Expires in RFC 850's form": ([("Expires", "Sunday, 06-Nov-94 08:49:37 GMT")], {}, AGAIN),
    "Expires in asctime's form": ([("Expires", "Sun Nov  6 08:49:37 1994")], {}, AGAIN),
    "Expires far ahead, asctime": ([("Expires", "Thu Nov  6 08:49:37 2080")], {}, HIT),
    "two Expires": (lambda: [("Expires", date(60)), ("Expires", date(-60))], {}, AGAIN),
    "nothing said": ([], {}, AGAIN),
    "heuristic": (lambda: [("Date", date(0)), ("Last-Modified", date(-100000))], {}, HIT),
    "heuristic, just modified": (lambda: [("Date", date(0)), ("Last-Modified", date(0))], {}, AGAIN),
    # directives: forms
    "quoted": ([cc('max-age="60"')], {}, HIT),
    "case": ([cc("MaX-aGe=60")], {}, HIT),
    "blanks": ([cc("  public ,   max-age=60  ")], {}, HIT),
    "empty members": ([cc(",,max-age=60,,")], {}, HIT),
    "unknown members": ([cc("x, y=1, z=\"a, b\", max-age=60")], {}, HIT),
    "in two lines": ([cc("public"), cc("max-age=60")], {}, HIT),
    "huge": ([cc("max-age=99999999999999999999999")], {}, HIT),
    "negative": ([cc("max-age=-1")], {}, AGAIN),
    "a fraction": ([cc("max-age=60.5")], {}, AGAIN),
    "no number": ([cc("max-age=soon")], {}, AGAIN),
    "without a value": ([cc("max-age")], {}, AGAIN),
    "twice, differing": ([cc("max-age=60, max-age=0")], {}, AGAIN),
    "twice, the same": ([cc("max-age=60, max-age=60")], {}, HIT),
    "in a quoted string": ([cc('x="max-age=60"')], {}, AGAIN),
    # section 3, storing
    "no-store": ([cc("no-store, max-age=60")], {}, AGAIN),
    "private": ([cc("private, max-age=60")], {}, AGAIN),
    "private with fields": ([cc('private="x", max-age=60')], {}, AGAIN),
    "no-cache": ([cc("no-cache, max-age=60")], {}, AGAIN),
    "no-cache with fields": ([cc('no-cache="x", max-age=60')], {}, AGAIN),
    "must-revalidate, fresh": ([cc("must-revalidate, max-age=60")], {}, HIT),
    "must-understand": ([cc("must-understand, no-store, max-age=60")], {}, HIT),
    "Pragma of an answer means nothing": ([cc("max-age=60"), ("Pragma", "no-cache")], {}, HIT),
    "Set-Cookie": ([cc("max-age=60"), ("Set-Cookie", "a=b")], {}, AGAIN),
    "Set-Cookie, public": ([cc("public, max-age=60"), ("Set-Cookie", "a=b")], {}, AGAIN),
    # section 4.2.3, age
    "Age malformed": ([cc("max-age=60"), ("Age", "old")], {}, AGAIN),
    "Age negative": ([cc("max-age=60"), ("Age", "-1")], {}, AGAIN),
    "Age of two": ([cc("max-age=60"), ("Age", "5, 100")], {}, HIT),
    "Age huge": ([cc("max-age=60"), ("Age", "99999999999999999999")], {}, AGAIN),
    "Date long ago": (lambda: [cc("max-age=60"), ("Date", date(-3600))], {}, AGAIN),
    "Date ahead": (lambda: [cc("max-age=60"), ("Date", date(3600))], {}, HIT),
    "Date malformed": ([cc("max-age=60"), ("Date", "now")], {}, HIT),
    # section 4.1, Vary
    "Vary, the same": ([cc("max-age=60"), ("Vary", "X-A")], {"X-A": "1"}, HIT),
    "Vary, another": ([cc("max-age=60"), ("Vary", "X-A")], {"X-A": "2"}, AGAIN),
    "Vary, case of the name": ([cc("max-age=60"), ("Vary", "x-a")], {"X-A": "1"}, HIT),
    "Vary, case of the value": ([cc("max-age=60"), ("Vary", "X-B")], {"X-B": "A"}, AGAIN),
    "Vary, several": ([cc("max-age=60"), ("Vary", "X-A, X-B")], {"X-A": "1", "X-B": "z"}, AGAIN),
    "Vary in two lines": ([cc("max-age=60"), ("Vary", "X-A"), ("Vary", "X-B")], {"X-A": "1", "X-B": "z"}, AGAIN),
    "Vary: *": ([cc("max-age=60"), ("Vary", "*")], {}, AGAIN),
    "Vary: X-A, *": ([cc("max-age=60"), ("Vary", "X-A, *")], {}, AGAIN),
    "Vary malformed": ([cc("max-age=60"), ("Vary", "X A")], {}, AGAIN),
    "Vary by what neither has": ([cc("max-age=60"), ("Vary", "X-Never")], {}, HIT),
    # section 5.2.1, requests
    "asked: no-cache": ([cc("max-age=60")], {"Cache-Control": "no-cache"}, AGAIN),
    "asked: Pragma": ([cc("max-age=60")], {"Pragma": "no-cache"}, AGAIN),
    "asked: Pragma with Cache-Control": ([cc("max-age=60")], {"Pragma": "no-cache", "Cache-Control": "x"}, HIT),
    "asked: max-age, old enough": ([cc("max-age=60"), ("Age", "10")], {"Cache-Control": "max-age=30"}, HIT),
    "asked: max-age, too old": ([cc("max-age=60"), ("Age", "10")], {"Cache-Control": "max-age=5"}, AGAIN),
    "asked: max-age=0": ([cc("max-age=60")], {"Cache-Control": "max-age=0"}, AGAIN),
    "asked: min-fresh, left": ([cc("max-age=60")], {"Cache-Control": "min-fresh=30"}, HIT),
    "asked: min-fresh, not left": ([cc("max-age=60"), ("Age", "40")], {"Cache-Control": "min-fresh=30"}, AGAIN),
    "asked: max-stale": ([cc("max-age=60"), ("Age", "70"), ("ETag", '"e"')], {"Cache-Control": "max-stale"}, HIT),
    "asked: max-stale=100": ([cc("max-age=60"), ("Age", "70"), ("ETag", '"e"')],
                             {"Cache-Control": "max-stale=100"}, HIT),
    "asked: max-stale=5": ([cc("max-age=60"), ("Age", "70"), ("ETag", '"e"')],
                           {"Cache-Control": "max-stale=5"}, AGAIN),
    "asked: max-stale, must-revalidate": ([cc("max-age=60, must-revalidate"), ("Age", "70"), ("ETag", '"e"')],
                                          {"Cache-Control": "max-stale"}, AGAIN),
    "asked: with a Range": ([cc("max-age=60")], {"Range": "bytes=0-1"}, AGAIN),
    # section 3.5
    "Authorization": ([cc("max-age=60")], {"Authorization": "x"}, AGAIN),
    "Authorization, public": ([cc("public, max-age=60")], {"Authorization": "x"}, HIT),
    "Authorization, s-maxage": ([cc("s-maxage=60")], {"Authorization": "x"}, HIT),
    "Authorization, must-revalidate": ([cc("max-age=60, must-revalidate")], {"Authorization": "x"}, HIT),
    "Cookie": ([cc("max-age=60")], {"Cookie": "x=1"}, AGAIN),
    "Cookie, public": ([cc("public, max-age=60")], {"Cookie": "x=1"}, HIT),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One gateway and one origin for all rows: each has a path of its own."""
    from gateway import Gateway
    from conftest import HEADER
    origin = Origin().start()
    one = Gateway(tmp_path_factory.mktemp("conformance"), HEADER + CONFIG.format(url=origin.url, cache=""))
    one.start()
    yield one, origin
    one.stop()
    origin.stop()


@pytest.mark.parametrize("number, name", enumerate(ROWS), ids=ROWS.keys())
def test_freshness_storing_and_wishes(served, number, name):
    one, origin = served
    headers, again, asked = ROWS[name]
    headers = headers() if callable(headers) else headers
    path = f"/row{number}"
    origin.serves(path, {"headers": headers, "body": b"answer"})
    first = httpx.get(one.url + path, headers={"X-A": "1", "X-B": "a"}, trust_env=False)
    assert first.status_code == 200 and first.content == b"answer"
    second = httpx.get(one.url + path, headers={"X-A": "1", "X-B": "a", **again}, trust_env=False)
    assert second.status_code == 200 and second.content == b"answer"
    assert origin.asked(path) == asked
    assert second.headers["cache-status"].startswith("gateway; hit" if asked == HIT else "gateway; fwd=")
    if asked == HIT:
        assert "age" in second.headers


STATUSES = {200: HIT, 203: HIT, 204: HIT, 300: HIT, 301: HIT, 302: HIT, 307: HIT, 308: HIT, 400: HIT, 403: HIT,
            404: HIT, 405: HIT, 410: HIT, 414: HIT, 500: HIT, 501: HIT, 503: HIT, 206: AGAIN}


@pytest.mark.parametrize("status, asked", STATUSES.items())
def test_any_final_status_that_says_how_long(served, status, asked):
    one, origin = served
    path = f"/status{status}"
    headers = [cc("max-age=60"), *([("Content-Range", "bytes 0-1/9")] if status == 206 else [])]
    origin.serves(path, {"status": status, "headers": headers, "body": b"xy"})
    for _ in range(2):
        assert httpx.get(one.url + path, trust_env=False).status_code == status
    assert origin.asked(path) == asked


def test_what_is_odd_is_logged_once(gateway, origin):
    origin.serves("/a", {"headers": [cc("max-age=60"), ("Vary", "*")]})
    one = gateway(CONFIG.format(url=origin.url, cache="").replace("[routes.shop]\npath = \"/\"\n[routes.shop.cache]", """
[pages.home]
path = "/{name}"
[pages.home.parts.shop]
path = "/{path.name}"
[pages.home.parts.shop.cache]"""))
    for _ in range(3):
        assert httpx.get(one.url + "/a", trust_env=False).status_code == 200
    assert one.log().count("odd answer for a cache") == 1
