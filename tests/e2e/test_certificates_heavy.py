"""What certificates promise when they are many: memory stays what it was, pages on the same process
don't wait for them, a full queue says so and loses nothing."""

import concurrent.futures
import hashlib
import http.client
import itertools
import statistics
import threading
import time
import urllib.parse

import pytest

import pdf_templates
from gateway import SANITIZED, command
from test_browser import ROOT

SVG = (ROOT / "templates" / "certificate.svg").read_text()

CONFIG = """
[register]
url = "http://127.0.0.1/certificates"
[offload]
threads = 1
max_queue = {queue}
[certificates.filled]
path = "/filled"
template = "filled.pdf"
open = true
rate_limit = ""
[certificates.drawn]
path = "/drawn"
template = "certificate.svg"
open = true
rate_limit = ""
[certificates.drawn.sign]
key = "{folder}/key.key.pem"
certificate = "{folder}/key.cert.pem"
[pages.fast]
path = "/fast"
template = "fast.html"
[pages.fast.parts.u]
upstream = "u"
path = "/ok"
[upstreams.u]
url = "{url}"
"""


@pytest.fixture
def start(gateway, faults, tmp_path):
    def run(queue=256):
        made = command("keygen", "--type", "p256", "--name", "Heavy", "--out", tmp_path / "key")
        assert made.returncode == 0, made.stderr
        return gateway(CONFIG.format(url=faults.url, folder=tmp_path, queue=queue),
                       {"certificate.svg": SVG, "filled.pdf": pdf_templates.plain(),
                        "fast.html": "<p>{{parts.u.state}}</p>"})

    return run


class Client:
    """Asks again and again on one connection."""

    def __init__(self, one):
        self.connection = http.client.HTTPConnection(*one.host_port, timeout=120)

    def get(self, target):
        self.connection.request("GET", target)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def close(self):
        self.connection.close()


def many(one, count, target, clients=8):
    """Asks for `count` certificates, no two the same; target(number)."""
    numbers = itertools.count()

    def work():
        client = Client(one)
        while (number := next(numbers)) < count:
            status, _, pdf = client.get(target(number))
            assert status == 200 and pdf.startswith(b"%PDF") and pdf.endswith(b"%%EOF\n"), (status, pdf[:300])
        client.close()

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for one_of_them in [pool.submit(work) for _ in range(clients)]:
            one_of_them.result()


def asked(path, name, number):
    return f"{path}?name={urllib.parse.quote(f'{name} {number}')}"


@pytest.mark.skipif(SANITIZED, reason="sanitizers keep what was freed")
def test_memory_is_flat_however_many_are_registered(start):
    """Ten thousand, once a third of them warmed it up; KiB."""
    one, count = start(), 10_000
    many(one, count // 3, lambda n: asked("/filled", "Ada Lovelace", n))
    before = one.status("RssAnon")
    many(one, count - count // 3, lambda n: asked("/filled", "Ada Lovelace", count + n))
    assert one.status("RssAnon") - before < 2048
    assert one.open_files() < 100


def test_pages_do_not_wait_for_certificates(start):
    """Sixteen clients without pause: each waits for fifteen others' drawing. If that ran on the loop, a page would."""
    one = start()
    ending = threading.Event()
    taken = {"/drawn": [], "/fast": []}
    numbers = itertools.count()

    def draw():
        client = Client(one)
        while not ending.is_set():
            began = time.perf_counter()
            status, _, _ = client.get(asked("/drawn", "Ada", next(numbers)))
            assert status == 200
            taken["/drawn"].append(time.perf_counter() - began)
        client.close()

    visitor = Client(one)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        drawing = [pool.submit(draw) for _ in range(16)]
        try:
            while len(taken["/drawn"]) < 64:
                time.sleep(0.01)  # between two looks
            for _ in range(50 if SANITIZED else 200):
                began = time.perf_counter()
                status, _, body = visitor.get("/fast")
                assert (status, body) == (200, b"<p>ok</p>")
                taken["/fast"].append(time.perf_counter() - began)
        finally:
            ending.set()
        for one_of_them in drawing:
            one_of_them.result()
    visitor.close()
    page, certificate = (statistics.median(taken[path]) for path in ("/fast", "/drawn"))
    print(f"a page {page * 1000:.1f} ms, a certificate {certificate * 1000:.1f} ms")
    assert page < certificate / 3


def test_a_full_queue_refuses_and_loses_nothing(start):
    one = start(queue=4)
    answers = []

    def ask(number):
        client = Client(one)
        answers.append((number, *client.get(asked("/drawn", "Ada", number))))
        client.close()

    with concurrent.futures.ThreadPoolExecutor(48) as pool:
        list(pool.map(ask, range(48)))
    refused = [headers for _, status, headers, _ in answers if status == 503]
    assert refused and all(int(headers["retry-after"]) >= 1 for headers in refused)
    issued = {number: pdf for number, status, _, pdf in answers if status == 200}
    assert len(issued) + len(refused) == 48 and len(issued) >= 4
    client = Client(one)
    for number in range(48):
        status, _, pdf = client.get(asked("/drawn", "Ada", number))
        assert status == 200
        assert number not in issued or hashlib.sha256(pdf).digest() == hashlib.sha256(issued[number]).digest()
    client.close()
