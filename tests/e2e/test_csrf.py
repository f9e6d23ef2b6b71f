"""Forms that only pages of ours can send with a visitor's browser: the real page's token and cookie, sent
by Chromium and, with one thing changed at a time, by a plain client. (That the plain form of the page is
taken and ends on `redirect` is in test_upload_page.py.)"""

import http.server
import re
import threading

import httpx
import pytest

from gateway import until
from test_upload_page import SECRET, kept, make, site, visit  # noqa: F401: fixtures

FILE = ("file", ("a.txt", b"hello", "text/plain"))
SAME = {"Sec-Fetch-Site": "same-origin"}


class Visitor:
    """A browser's cookie and the token of the page that it was shown."""

    def __init__(self, url):
        self.url = url + "/upload"
        page = httpx.get(self.url)
        self.cookies = dict(page.cookies)
        [self.token] = re.findall(r'name="csrf_token" value="([^"]+)"', page.text)
        assert list(self.cookies) == ["gw_csrf"]
        attributes = page.headers["set-cookie"].lower()
        assert "httponly" in attributes and "samesite=lax" in attributes

    def send(self, *parts, cookies=None, **headers):
        cookie = "; ".join(f"{k}={v}" for k, v in (self.cookies if cookies is None else cookies).items())
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if cookie:
            headers["Cookie"] = cookie
        return httpx.post(self.url, files=list(parts), headers=headers)

    def field(self, value=None):
        return ("csrf_token", (None, value or self.token))


@pytest.fixture
def visitor(site):  # noqa: F811
    gate, folder = site()
    one = Visitor(gate.url)
    one.folder = folder
    return one


def taken(visitor, answer):
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/upload?thanks"
    assert len(kept(visitor.folder)) == 1


def refused(visitor, answer, kind="text/html"):
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith(kind)
    assert "did not come from a page of this site" in answer.text and "reload the page" in answer.text
    assert kept(visitor.folder) == []
    tmp = visitor.folder / ".tmp"
    until(lambda: list(tmp.iterdir()) == [], "nothing left behind")


def test_the_pages_own_token_and_cookie_are_enough(visitor):
    taken(visitor, visitor.send(visitor.field(), FILE, **SAME))


def test_a_script_of_ours_sends_the_token_as_a_header(visitor):
    taken(visitor, visitor.send(FILE, X_CSRF_Token=visitor.token, **SAME))


def changed(token):
    return token[:-2] + ("AA" if token[-2:] != "AA" else "BA")


@pytest.mark.parametrize("how", ["no token", "changed", "of another visitor", "of no cookie of ours", "after the file"])
def test_a_form_that_is_not_from_our_page_is_refused_in_words(visitor, how):
    other = Visitor(visitor.url.removesuffix("/upload"))
    assert other.token != visitor.token
    cookies = None
    parts = {
        "no token": [FILE],
        "changed": [visitor.field(changed(visitor.token)), FILE],
        "of another visitor": [visitor.field(other.token), FILE],
        "of no cookie of ours": [visitor.field(), FILE],
        "after the file": [FILE, visitor.field()],
    }[how]
    if how == "of no cookie of ours":
        cookies = {"session": "of another program on this host"}
    refused(visitor, visitor.send(*parts, cookies=cookies, Accept="text/html", **SAME))


def test_programs_are_told_as_json(visitor):
    answer = visitor.send(FILE, Accept="application/json")
    refused(visitor, answer, "application/problem+json")
    assert answer.json()["type"].endswith("csrf")


@pytest.mark.parametrize("site_of_sender", ["cross-site", "same-site"])
def test_no_token_outweighs_what_the_browser_says(visitor, site_of_sender):
    """Also without a cookie: the browser sends none with another site's form, SameSite sees to it."""
    for cookies in (None, {}):
        answer = visitor.send(visitor.field(), FILE, cookies=cookies, Sec_Fetch_Site=site_of_sender, Accept="text/html")
        refused(visitor, answer)


def test_a_foreign_origin_needs_a_token_where_browsers_say_no_more(visitor):
    refused(visitor, visitor.send(FILE, cookies={}, Origin="http://elsewhere.test", Accept="text/html"))
    taken(visitor, visitor.send(visitor.field(), FILE, Origin="http://proxy-has-changed-host.test"))


@pytest.mark.parametrize("headers, cookies", [
    ({}, {}),
    ({"Sec_Fetch_Site": "none"}, {}),
    ({"Authorization": f"Bearer {SECRET}"}, None),
    ({"Authorization": f"Bearer {SECRET}"}, {"session": "x"}),
], ids=["no cookie", "no cookie, typed in", "token and cookie", "token and another's cookie"])
def test_programs_are_not_bothered(visitor, headers, cookies):
    taken(visitor, visitor.send(FILE, cookies=cookies, **headers))


def test_a_page_without_its_cookie_tells_the_visitor_why(site, visit, make):  # noqa: F811
    """The visitor has another program's cookie for this host, and has thrown ours away."""
    gate, folder = site()
    page = visit(gate.url, javascript=False)
    page.driver.delete_all_cookies()
    page.driver.add_cookie({"name": "session", "value": "x"})
    page.choose(make("a.bin", 1000))
    page.submit()
    until(lambda: "could not be taken" in page.driver.page_source, "the refusal")
    assert "Allow cookies for this site" in page.driver.page_source
    assert kept(folder) == []


@pytest.fixture
def stranger():
    """A page of another host (localhost is not 127.0.0.1) whose form goes where `target` says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        target = ""

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"""<form method=post enctype=multipart/form-data action="{Handler.target}">
                <input type=file name=file id=files><button id=submit>Win a pot</button></form>""".encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def start(target):
        Handler.target = target
        return f"http://localhost:{server.server_port}/?"

    yield start
    server.shutdown()
    server.server_close()


def test_another_sites_form_is_refused_in_a_real_browser(site, visit, make, stranger):  # noqa: F811
    gate, folder = site()
    page = visit(gate.url)  # the visitor has our cookie
    page.driver.get(stranger(gate.url + "/upload"))
    page.choose(make("a.bin", 1000))
    page.submit()
    until(lambda: "could not be taken" in page.driver.page_source, "the refusal")
    assert kept(folder) == []
