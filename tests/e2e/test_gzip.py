"""Pages compressed for who accepts it: whole ones, kept ones, and those that go out as they come."""

import contextlib
import gzip
import json
import random
import socket
import threading
import zlib

import httpx
import pytest

from conftest import HEADER
from scripted import Origin

WORDS = [random.Random(7).randbytes(6).hex() for _ in range(400)]
PAGE = "<!doctype html><p>{{shop.n}}</p>" + "".join(f"<p>{word}</p>" for word in WORDS)
FRESH = [("Cache-Control", "max-age=600")]


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1, "words": WORDS}, "headers": FRESH})
    yield one
    one.stop()


def config(origin, page="", more=""):
    return f"""
[upstreams.shop]
url = "{origin.url}"
timeout = "20s"
[pages.home]
path = "/"
template = "page.html"
deadline = "20s"
{page}
[pages.home.parts.shop]
path = "/a"
[pages.home.parts.shop.cache]
enabled = true
{more}
"""


def ask(url, coding="gzip", method="GET", http2=False, **headers):
    """The answer and its body as it was sent."""
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=20) as client:
        headers = {"Accept-Encoding": coding, **headers}
        with client.stream(method, url, headers=headers) as answer:
            return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_whole_page_is_compressed(gateway, origin, http2, accept):
    one = gateway(config(origin), {"page.html": PAGE})
    plain, text = ask(one.url, "identity", http2=http2, Accept=accept)
    packed, body = ask(one.url, "br;q=1, gzip;q=0.8", http2=http2, Accept=accept)
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(body) < len(text) * 0.8
    unpacked = gzip.decompress(body)
    if accept == "text/html":
        assert unpacked == text
    else:
        assert json.loads(unpacked)["data"] == json.loads(text)["data"]
    assert packed.headers["content-type"] == plain.headers["content-type"]
    for answer in plain, packed:
        assert answer.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("coding", ["", "identity", "gzip;q=0", "br", "*;q=0", "gzip;q=0.5, identity"])
def test_who_does_not_ask_for_it_gets_it_plain(gateway, origin, coding):
    one = gateway(config(origin), {"page.html": PAGE})
    answer, body = ask(one.url, coding)
    assert "content-encoding" not in answer.headers and body.endswith(b"</p>")
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


def test_head_says_what_get_would(gateway, origin):
    one = gateway(config(origin), {"page.html": PAGE})
    get, body = ask(one.url)
    head, nothing = ask(one.url, method="HEAD")
    assert nothing == b"" and len(body) > 0
    for name in ("content-encoding", "content-length", "etag", "vary"):
        assert head.headers[name] == get.headers[name]


def test_small_pages_errors_and_old_clients_are_left_alone(gateway, origin):
    origin.serves("/none", {"status": 500})
    small = config(origin).replace("page.html", "small.html")
    failing = """
[pages.broken]
path = "/broken"
template = "page.html"
[pages.broken.parts.shop]
path = "/none"
need = "required"
"""
    one = gateway(small + failing, {"page.html": PAGE, "small.html": "<p>{{shop.n}}</p>"})
    answer, body = ask(one.url)
    assert "content-encoding" not in answer.headers and body == b"<p>1</p>"
    answer, body = ask(one.url + "/broken", Accept="text/html")
    assert answer.status_code == 502 and "content-encoding" not in answer.headers
    one = gateway(config(origin), {"page.html": PAGE})
    with socket.create_connection(one.host_port, timeout=20) as client:
        client.sendall(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
        got = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"content-encoding" not in got.lower() and got.endswith(b"</p>")


@pytest.mark.parametrize("page", ["", 'micro_cache = "1m"'], ids=["made anew", "kept"])
def test_tags_are_of_the_bytes(gateway, origin, page):
    one = gateway(config(origin, page), {"page.html": PAGE})
    for _ in range(2):  # made, then maybe kept
        plain, text = ask(one.url, "identity")
        packed, body = ask(one.url)
        assert gzip.decompress(body) == text
        assert plain.headers["etag"] != packed.headers["etag"]
        for coding, own, other in (("identity", plain, packed), ("gzip", packed, plain)):
            answer, body = ask(one.url, coding, **{"If-None-Match": own.headers["etag"]})
            assert answer.status_code == 304 and body == b""
            assert answer.headers["etag"] == own.headers["etag"]
            assert answer.headers["vary"] == "Accept, Accept-Encoding"
            answer, body = ask(one.url, coding, **{"If-None-Match": other.headers["etag"]})
            assert answer.status_code == 200
    assert ("age" in packed.headers) == (page != "")


def test_it_can_be_switched_off(gateway, origin):
    header = HEADER.replace("workers = 1", "workers = 1\ngzip = false")
    one = gateway(config(origin), {"page.html": PAGE}, header=header)
    answer, body = ask(one.url)
    assert "content-encoding" not in answer.headers and answer.headers["vary"] == "Accept"


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_streamed_page_can_be_read_as_it_comes(gateway, origin, http2):
    gates = [threading.Event(), threading.Event()]
    parts = ""
    for name, gate in zip(("b", "c"), gates):
        origin.serves(f"/{name}", {"body": {"n": name}, "until": gate})
        parts += f'[pages.home.parts.{name}]\nupstream = "shop"\npath = "/{name}"\n'
    template = "<main>{{shop.n}}</main>" + "".join(f"<p>{word}</p>" for word in WORDS)
    template += "<b>{{b.n}}</b><i>{{c.n}}</i>"
    one = gateway(config(origin, "stream = true", parts), {"page.html": template})
    unpack = zlib.decompressobj(31)
    text = b""
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=60) as client:
        with client.stream("GET", one.url, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["vary"] == "Accept, Accept-Encoding"
            assert "content-length" not in answer.headers
            pieces = answer.iter_raw()
            for wanted, gate in ((b"<b>", gates[0]), (b"</b><i>", gates[1])):
                while not text.endswith(wanted):
                    text += unpack.decompress(next(pieces))
                gate.set()
            for piece in pieces:
                text += unpack.decompress(piece)
    assert unpack.eof and text.endswith(b"<b>b</b><i>c</i>")


def test_a_streamed_page_that_begins_with_nothing(gateway, origin):
    gate = threading.Event()
    origin.serves("/b", {"body": {"n": 2}, "until": gate})
    more = '[pages.home.parts.b]\nupstream = "shop"\npath = "/b"\n'
    one = gateway(config(origin, "stream = true", more), {"page.html": "{{b.n}}"})
    with httpx.Client(trust_env=False, timeout=60) as client:
        with client.stream("GET", one.url, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.status_code == 200  # before there is anything to show
            gate.set()
            assert gzip.decompress(b"".join(answer.iter_raw())) == b"2"


def test_many_streams_at_once_are_not_all_compressed(gateway, origin):
    """Each compressor takes memory for as long as its page lasts."""
    gate = threading.Event()
    origin.serves("/b", {"body": {"n": 2}, "until": gate})
    more = ('[pages.home.parts.b]\nupstream = "shop"\npath = "/b"\n'
            '[pages.home.parts.b.cache]\nenabled = true\n')  # one call for all
    one = gateway(config(origin, "stream = true", more), {"page.html": "{{shop.n}}!{{b.n}}"})
    answers = []
    with contextlib.ExitStack() as clients:
        for n in range(280):
            if n % 70 == 0:  # a connection has a hundred streams
                client = clients.enter_context(httpx.Client(http1=False, http2=True, trust_env=False, timeout=60))
            request = client.build_request("GET", one.url, headers={"Accept-Encoding": "gzip"})
            answers.append(client.send(request, stream=True))
        coded = ["content-encoding" in answer.headers for answer in answers]
        assert coded == [True] * 256 + [False] * 24
        gate.set()
        assert {answer.read() for answer in answers} == {b"1!2"}
    origin.serves("/b", {"body": {"n": 3}, "after": 0.2})
    answer, body = ask(one.url)  # there is room again
    assert gzip.decompress(body) == b"1!3"
