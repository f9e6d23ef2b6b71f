"""Pages that begin before their slowest part has answered."""

import socket
import subprocess
import threading

import httpx
import pytest

from gateway import command, until
from scripted import Origin
from test_http2_bodies import Client


@pytest.fixture
def origin():
    one = Origin().start()
    yield one
    one.stop()


PAGE = """<!doctype html><head><title>{{request.query.t}}</title></head><body>
<h1>{{fast.name}}</h1>
<ul>{{#slow.items}}<li>{{.}} {{fast.name}}</li>{{/slow.items}}</ul>
{{#parts.slow.is.timeout}}<p>late</p>{{/parts.slow.is.timeout}}
</body>
"""


def config(origin, page="stream = true", slow="", more=""):
    return f"""
[upstreams.shop]
url = "{origin.url}"
timeout = "20s"
[pages.home]
path = "/"
template = "page.html"
deadline = "20s"
{page}
[pages.home.parts.fast]
upstream = "shop"
path = "/fast"
[pages.home.parts.slow]
upstream = "shop"
path = "/slow"
{slow}
{more}
"""


def serve(origin, gate=None, **slow):
    origin.serves("/fast", {"body": {"name": "Tern & Tide"}})
    origin.serves("/slow", {"body": {"items": [1, 2]}, "until": gate, **slow})


class Reading:
    """curl, read as the bytes come."""

    def __init__(self, url, *options):
        self.process = subprocess.Popen(["curl", "-sNi", "--max-time", "60", *options, url],
                                        stdout=subprocess.PIPE)
        self.text = b""

    def until(self, wanted):
        while wanted not in self.text:
            byte = self.process.stdout.read1(65536)
            assert byte, (wanted, self.text)
            self.text += byte
        return self.text.decode()

    def rest(self):
        self.text += self.process.stdout.read()
        return self.text.decode(), self.process.wait(30)


VERSIONS = pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])


@VERSIONS
def test_first_bytes_come_before_the_slow_part(gateway, origin, version):
    gate = threading.Event()
    serve(origin, gate)
    one = gateway(config(origin), {"page.html": PAGE})
    reading = Reading(one.url + "/?t=hello", version)
    first = reading.until(b"<ul>")
    assert "Tern &amp; Tide</h1>" in first and "<title>hello" in first and "<li>" not in first
    head = first.split("\r\n\r\n")[0].lower()
    assert " 200" in head and "cache-control: no-store" in head
    assert "content-length" not in head and "etag" not in head and "x-page-completed" not in head
    gate.set()
    text, code = reading.rest()
    assert code == 0
    assert "<ul><li>1 Tern &amp; Tide</li><li>2 Tern &amp; Tide</li></ul>" in text
    assert text.endswith("</body>\n")
    parts = one.access(1)[0]["parts"]
    assert [part["state"] for part in parts] == ["ok", "ok"]


@pytest.mark.parametrize("text", ["{{#fast.list}}{{name}}{{#sale}}!{{/sale}}{{none.x}};{{/fast.list}}", "{{none}}a;b;",
                                  "{{#parts.fast}}{{#is.ok}}a;b;{{/is.ok}}{{/parts.fast}}{{parts.none}}",
                                  "{{#request}}a;b;{{id.x}}{{/request}}"])
def test_what_is_nowhere_is_not_waited_for(gateway, origin, text):
    """A member that an element lacks is looked up in the root."""
    gate = threading.Event()
    serve(origin, gate)
    origin.serves("/fast", {"body": {"list": [{"name": "a"}, {"name": "b"}]}})
    one = gateway(config(origin), {"page.html": text + "<p>{{slow.items}}"})
    reading = Reading(one.url, "--http1.1")
    assert reading.until(b"<p>").endswith("a;b;<p>")
    gate.set()
    assert reading.rest()[0].endswith("<p>[1, 2]")


@pytest.mark.parametrize("text", ["{{page.complete}}", "{{#page}}{{complete}}{{/page}}", "{{#parts}}true{{/parts}}"])
def test_what_tells_of_the_whole_page_waits_for_it(gateway, origin, text):
    gate = threading.Event()
    serve(origin, gate)
    one = gateway(config(origin), {"page.html": "<p>" + text})
    reading = Reading(one.url, "--http1.1")
    assert reading.until(b"<p>").endswith("<p>")
    gate.set()
    assert reading.rest()[0].endswith("<p>true")


def test_a_fast_page_goes_out_as_a_whole(gateway, origin):
    serve(origin)
    one = gateway(config(origin, page='stream = true\nflush_after = "10s"'), {"page.html": PAGE})
    answer = httpx.get(one.url, trust_env=False)
    assert "content-length" in answer.headers and "etag" in answer.headers
    assert answer.headers["x-page-completed"] == "true"
    assert "<li>1 Tern" in answer.text


def test_json_and_head_are_not_streamed(gateway, origin):
    gate = threading.Event()
    serve(origin, gate)
    one = gateway(config(origin), {"page.html": PAGE})
    threading.Timer(0.5, gate.set).start()
    answer = httpx.get(one.url, headers={"Accept": "application/json"}, trust_env=False)
    assert answer.json()["meta"]["completed"] is True and "content-length" in answer.headers
    answer = httpx.head(one.url, trust_env=False)
    assert answer.status_code == 200 and "content-length" in answer.headers


def test_the_status_waits_for_what_is_required(gateway, origin):
    gate = threading.Event()
    serve(origin, gate, status=500)
    one = gateway(config(origin, slow='need = "required"'), {"page.html": PAGE})
    threading.Timer(0.3, gate.set).start()
    assert httpx.get(one.url, trust_env=False, timeout=20).status_code == 502


@pytest.mark.parametrize("ending", [{"status": 500}, {"after": 30}], ids=["fails", "is cut"])
def test_a_part_that_fails_late(gateway, origin, ending):
    serve(origin, **ending)
    one = gateway(config(origin, page='stream = true\nflush_after = "0s"').replace(
        'deadline = "20s"', 'deadline = "1s"'), {"page.html": PAGE})
    answer = httpx.get(one.url, trust_env=False, timeout=20)
    assert answer.status_code == 200 and "<ul></ul>" in answer.text and answer.text.endswith("</body>\n")
    assert ("<p>late</p>" in answer.text) == ("after" in ending)
    state = one.access(1)[0]["parts"][1]["state"]
    assert state == ("timeout" if "after" in ending else "error")


@VERSIONS
def test_who_leaves_midway_cancels_the_rest(gateway, origin, version):
    serve(origin, after=30)
    one = gateway(config(origin), {"page.html": PAGE})
    reading = Reading(one.url, version)
    reading.until(b"<ul>")
    reading.process.kill()
    reading.process.wait()
    until(lambda: origin.aborted == 1, "the call's end")


def test_a_stream_that_is_reset_cancels_the_rest(gateway, origin):
    """The connection stays, and serves others."""
    serve(origin)
    origin.serves("/slow", {"body": {}, "after": 30}, {"body": {"items": []}})
    one = gateway(config(origin), {"page.html": PAGE})
    client = Client(one)
    client.ask(1)
    client.h2.end_stream(1)
    client.flush()
    client.until(lambda: b"<ul>" in client.bodies.get(1, b""), "the first bytes")
    client.h2.reset_stream(1, 8)
    client.flush()
    until(lambda: origin.aborted == 1, "the call's end")
    client.ask(3)
    client.h2.end_stream(3)
    client.flush()
    assert client.status(3) == 200 and client.bodies[3].endswith(b"</body>\n")


def test_who_speaks_http_1_0_gets_a_page_whose_end_can_be_told(gateway, origin):
    gate = threading.Event()
    serve(origin, gate)
    threading.Timer(0.3, gate.set).start()
    one = gateway(config(origin), {"page.html": PAGE})
    with socket.create_connection(one.host_port, timeout=20) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        got = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = got.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}\r\n".encode() in head.lower() + b"\r\n"


@VERSIONS
def test_a_page_that_breaks_off_is_seen_to(gateway, origin, version):
    gate = threading.Event()
    serve(origin, gate)
    one = gateway(config(origin), {"page.html": "<p>{{fast.name}}</p>{{slow.x}}{{>again}}",
                                   "again.html": "{{#fast}}{{>again}}{{/fast}}"})
    reading = Reading(one.url, version)
    reading.until(b"</p>")
    gate.set()
    _, code = reading.rest()
    assert code != 0
    assert "a page broke off" in one.log()


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_client_that_reads_slowly_gets_all_of_it(gateway, origin, http2, coding):
    """Bytes wait for the ones before them, which wait for the client; then the connection serves on."""
    gate = threading.Event()
    rows = [f"row {n} " + "&" * 100 for n in range(20000)]
    origin.serves("/fast", {"body": {"name": rows}})
    origin.serves("/slow", {"body": {"items": rows[::-1]}, "until": gate})
    template = "{{#fast.name}}<b>{{{.}}}</b>{{/fast.name}}<hr>{{#slow.items}}<i>{{{.}}}</i>{{/slow.items}}<hr>"
    one = gateway(config(origin).replace('timeout = "20s"', 'timeout = "20s"\nmax_body = "8MiB"'),
                  {"page.html": template})
    wanted = "".join(f"<b>{row}</b>" for row in rows) + "<hr>" + "".join(f"<i>{row}</i>" for row in rows[::-1])
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=60) as client:
        for _ in range(2):
            with client.stream("GET", one.url, headers={"Accept-Encoding": coding}) as answer:
                assert answer.headers.get("content-encoding", "identity") == coding
                pieces, text = answer.iter_bytes(4096), b""
                while len(text) < 100_000:
                    text += next(pieces)
                gate.set()  # what comes now has to wait
                text += b"".join(pieces)
            assert text.decode() == wanted + "<hr>"
            gate.clear()


def test_a_connection_serves_on_after_a_streamed_page(gateway, origin):
    serve(origin, after=0.1)
    one = gateway(config(origin), {"page.html": PAGE})
    with socket.create_connection(one.host_port, timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        got = b""
        while got.count(b"\r\n0\r\n\r\n") < 2:
            more = client.recv(65536)
            assert more, got
            got += more
    assert got.count(b"HTTP/1.1 200") == 2 and got.count(b"<li>1 Tern") == 2


# -- deferred parts --

DEFERRING = """<!doctype html><html><head><title>x</title></head><body>
<main>{{^defer.slow}}<p class=skeleton>wait</p>{{/defer.slow}}{{#defer.slow}}<ul>{{#slow.items}}<li>{{.}}</li>{{/slow.items}}</ul>{{/defer.slow}}</main>
<footer>{{fast.name}}</footer>
</body></html>
"""


@VERSIONS
def test_a_deferred_part_follows_at_the_end(gateway, origin, version):
    gate = threading.Event()
    serve(origin, gate)
    one = gateway(config(origin, page='defer = ["slow"]'), {"page.html": DEFERRING})
    reading = Reading(one.url, version)
    first = reading.until(b"</footer>")
    assert '<main><div data-gw-place="slow"><p class=skeleton>wait</p></div></main>' in first
    assert "content-security-policy: script-src 'self' 'sha256-" in first.lower()
    gate.set()
    text, code = reading.rest()
    assert code == 0
    assert '</footer>\n<div data-gw-part="slow"><ul><li>1</li><li>2</li></ul></div><script>' in text
    assert text.endswith("</script></body></html>\n")


def test_what_comes_in_time_is_in_its_place(gateway, origin):
    serve(origin)
    one = gateway(config(origin, page='defer = ["slow"]\nflush_after = "10s"'), {"page.html": DEFERRING})
    answer = httpx.get(one.url, trust_env=False)
    assert "<main><ul><li>1</li><li>2</li></ul></main>" in answer.text
    assert "data-gw" not in answer.text and "content-length" in answer.headers


def test_preload_goes_out_with_the_first_bytes(gateway, origin):
    gate = threading.Event()
    serve(origin, gate)
    one = gateway(config(origin, page='stream = true\npreload = ["/a.css", "/f.woff2"]'), {"page.html": PAGE})
    reading = Reading(one.url, "--http1.1")
    first = reading.until(b"<ul>").lower()
    assert "link: </a.css>; rel=preload; as=style, </f.woff2>; rel=preload; as=font; crossorigin\r\n" in first
    gate.set()
    reading.rest()


def test_explain_tells_how_it_is_sent(origin, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text(DEFERRING)
    file = tmp_path / "gateway.toml"
    for page, wanted in (
        ('defer = ["slow"]\nflush_after = "20ms"', ["as it comes, after 20 ms, without waiting for slow", "'sha256-"]),
        ('stream = true\npreload = ["/a.css"]', ["as it comes, after 5 ms\n", "</a.css>; rel=preload; as=style"]),
        ("", []),
    ):
        file.write_text(config(origin, page=page))
        plan = command("explain", "-c", file, "GET", "/").stdout
        assert "page home" in plan and ("as it comes" in plan) == bool(wanted)
        for text in wanted:
            assert text in plan


def test_several_sections_of_a_part_share_its_first_place(gateway, origin):
    gate = threading.Event()
    serve(origin, gate)
    template = ("<body><p>{{#defer.slow}}1{{/defer.slow}}</p>{{^defer.slow}}wait{{/defer.slow}}"
                "<p>{{#defer.slow}}2{{fast.name}}{{/defer.slow}}</p></body>")
    one = gateway(config(origin, page='defer = ["slow"]'), {"page.html": template})
    reading = Reading(one.url, "--http1.1")
    first = reading.until(b"<p></p>")
    assert '<p><div data-gw-place="slow"></div></p><div data-gw-place="slow">wait</div><p></p>' in first
    gate.set()
    assert '<div data-gw-part="slow">12Tern &amp; Tide</div><script>' in reading.rest()[0]


def test_bad_configuration(origin, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text(PAGE)
    for page, slow, wanted in (
        ('defer = ["slow", "slwo"]', 'need = "required"',
         ["part 'slow' is required", "the page has no part 'slwo'"]),
        ('preload = ["/a.exe", "a.css", "/a b.css"]', "", ["/a.exe", "a.css", "/a b.css"]),
        ('csp = "ä"', "", ["one line of ASCII"]),
        ('defer = ["fast"]', "", ["the template has no {{#defer.fast}}"]),
        ('stream = true\nflush_after = "1s"', "", []),
    ):
        file = tmp_path / "gateway.toml"
        file.write_text(config(origin, page=page, slow=slow))
        result = command("check", "-c", file)
        assert (result.returncode == 78) == bool(wanted), result.stderr
        for text in wanted:
            assert text in result.stderr
    file.write_text(config(origin, page='stream = true').replace('template = "page.html"', ""))
    assert "sent as a whole" in command("check", "-c", file).stderr
    file.write_text(config(origin, page='defer = ["fast"]').replace('path = "/slow"', 'path = "/{fast.name}"'))
    assert "part 'slow' needs 'fast'" in command("check", "-c", file).stderr
