"""Certificates to the byte and to the pixel; the ten thousandth costs what the first one did; and what
asks without meaning to gets none."""

import concurrent.futures
import json
import re
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest
from PIL import Image, ImageChops

import pdf_judges as judges
import pdf_templates
from gateway import BINARY, ENVIRONMENT, SANITIZED, command, until
from pdf_judges import authority  # noqa: F401  (a fixture)
from test_browser import ROOT

JSON = {"accept": "application/json"}
DEJAVU = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
DEFAULT = (ROOT / "templates" / "certificate.svg").read_text()
TEMPLATES = {"certificate.svg": DEFAULT, "plain.pdf": pdf_templates.plain(),
             "whole.pdf": pdf_templates.with_font(DEJAVU)}
REGISTER = """
[register]
url = "https://certificates.example/certificates"
"""
NAMES = ["Ada Lovelace", "李小龍", "Фёдор Достоевский", "محمد الفاتح", "Zoe\u0308 Nguye\u0302\u0303n"]


def section(name="main", template="certificate.svg", open_=True, register=True, more=""):
    return f"""
[certificates.{name}]
path = "/{name}"
template = "{template}"
open = {str(open_).lower()}
register = {str(register).lower()}
rate_limit = ""
title = "Certificate for {{{{name}}}}"
{more}
"""


def sign(authority, name="main", more=""):
    key, chain = authority.signer("ec")
    return f"""
[certificates.{name}.sign]
key = "{key}"
certificate = "{chain}"
{more}
"""


def issued(answer):
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/pdf", answer.text
    return answer.content


def ask(one, name="Ada Lovelace", path="/main", **options):
    return httpx.get(one.url + path, params={"name": name}, timeout=60, **options)


def listed(one):
    done = command("certificate", "list", "--json", "--limit", "1000", "-c", one.config)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# -- to the byte --


def preview(one, *arguments):
    done = subprocess.run([BINARY, "certificate", "preview", "-c", one.config, "--out", "-", *arguments],
                          capture_output=True, timeout=60, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("template", TEMPLATES)
def test_fields_serial_and_time_make_the_bytes(gateway, template):
    """What was issued without a signature is made anew, elsewhere and later, from what the register has."""
    one = gateway(REGISTER + section(template=template), TEMPLATES)
    pdf = issued(ask(one, "Zoë"))
    record, = listed(one)
    asked = ["main", "name=Zoë", "--serial", record["id"], "--time", record["issued_at"]]
    assert preview(one, *asked) == pdf
    assert preview(one, *asked) == pdf
    for i, other in ((1, "name=Zoe"), (3, "8K3QF-2M7XR-V0P4N-J6T9W"), (5, "2001-02-03T04:05:06Z")):
        assert preview(one, *asked[:i], other, *asked[i + 1:]) != pdf, other


def test_what_a_preview_cannot_take(gateway):
    one = gateway(REGISTER + section(), TEMPLATES)
    for option, value, says in (("--serial", "8K3QF", "is not a serial"), ("--time", "yesterday", "is not a time"),
                                ("--time", "2026-11-23T09:30:00Zx", "is not a time")):
        done = command("certificate", "preview", "main", option, value, "-c", one.config, "--out", one.folder / "no")
        assert done.returncode == 2 and f'"{value}" {says}' in done.stderr
    assert not (one.folder / "no").exists()


# -- to the pixel --


def name_line(pdf, top=200, bottom=260):
    """Where pdf_templates has the name: a strip of the page, in its points."""
    return judges.picture(pdf, 144).crop((0, 2 * top, 2 * pdf_templates.WIDTH, 2 * bottom))


@pytest.mark.parametrize("template,names", [
    ("plain.pdf", ["Ada", "Ada Lovelace, Countess of Somewhere", r"Ada Love\\lace"]),
    ("whole.pdf", ["Ada Lovelace", "Фёдор Достоевский", "Ὑπατία", "Zoë Dvořák", "%name% %serial%"]),
])
def test_a_filled_template_looks_as_if_it_had_been_written_so(gateway, template, names):
    one = gateway(REGISTER + section(template=template), TEMPLATES)
    for name in names:
        pdf = issued(ask(one, name.replace(r"\\", "\\")))
        assert judges.qpdf_check(pdf) == ""
        written = (pdf_templates.plain(name=name) if template == "plain.pdf"
                   else pdf_templates.with_font(DEJAVU, name=name))
        assert ImageChops.difference(name_line(pdf), name_line(written)).getbbox() is None, name
        assert name_line(pdf) != name_line(issued(ask(one, name + "x")))
        if template == "whole.pdf":
            assert [font["embedded"] for font in judges.pdf_fonts(pdf)] == [True]


@pytest.mark.parametrize("template,name,character", [
    ("plain.pdf", "Влад", "В (U+0412)"), ("whole.pdf", "Li 漢", "漢 (U+6F22)"),
    ("whole.pdf", "x" * 150 + "\U00020000", "\U00020000 (U+20000)")])
def test_what_its_font_cannot_draw_is_refused_with_the_reason(gateway, template, name, character):
    one = gateway(REGISTER + section(template=template), TEMPLATES)
    answer = ask(one, name, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"field": "name", "detail": f"has a character that this certificate can't show: {character}"}]
    assert listed(one) == []


def drawable(ranges):
    """Whether a code point is in "U+0020 !-~ U+00A0-U+00AC"."""
    number = lambda end: int(end[2:], 16) if end.startswith("U+") else ord(end)
    bounds = [(number(one[0]), number(one[-1])) for one in (text.split("-") for text in ranges.split())]
    return lambda c: any(low <= c <= high for low, high in bounds)


def test_check_tells_of_each_placeholder_what_its_font_can_draw(gateway):
    one = gateway(REGISTER + section(template="plain.pdf") + section("whole", "whole.pdf"), TEMPLATES)
    done = command("check", "-c", one.config)
    assert done.returncode == 0 and done.stderr == ""
    plain, whole = done.stdout.split("certificates.whole: whole.pdf\n")
    assert plain.startswith("certificates.main: plain.pdf\n")
    for text, fonts in ((plain, ["Times-Roman (not embedded)"] * 2 + ["Courier (not embedded)"] * 2), (whole, ["Whole"] * 4)):
        lines = re.findall(r"^  %(\w+)%: page 1, ([^,]+), draws (.*)$", text, re.M)
        assert [name for name, _, _ in lines] == ["name", "timestamp", "serial", "verify_url"]
        assert [font for _, font, _ in lines] == fonts
        can = drawable(lines[0][2])
        assert can(ord("A")) and can(ord("é")) and not can(ord("漢"))
        assert can(ord("В")) == (text == whole)
        assert lines[1][2] == "what it draws for %name%"


def test_long_names_shrink_into_their_line(gateway, authority):
    """And the signature's place is where it was configured, over nothing that is drawn."""
    one = gateway(REGISTER + section(register=False) + sign(authority, more='rect = "100 50 120.5 40"\n'), TEMPLATES)
    heights = {}
    for name in ("Ada", "Ada Lovelace " * 15, "李小龍" * 40):
        pdf = issued(ask(one, name.strip()))
        page = judges.picture(pdf, 144).resize((1188, 840), Image.BOX).crop((0, 360, 1188, 470))
        red, _, blue = page.split()
        left, top, right, bottom = ImageChops.subtract(red, blue).point(lambda v: 255 * (v > 60)).crop(
            (90, 0, 1098, 110)).getbbox()
        assert 50 < left and right < 958 and abs(left + right - 1008) < 16, (name, left, right)
        heights[name] = bottom - top
        assert re.search(rb"/Subtype\s*/Widget", pdf)
        rect = re.search(rb"/Rect\s*\[([^]]*)\]", pdf[pdf.rindex(b"/Widget") - 400:])[1]
        assert [float(n) for n in rect.split()] == [100, 50, 220.5, 90]
        found, = judges.pdfsig(pdf, authority)
        assert found["signature"] == "Signature is Valid."
    assert heights["Ada"] > 2 * max(height for name, height in heights.items() if name != "Ada")


# -- ten thousand --


class Client:
    """One kept-alive connection that asks for the next one when the last byte is there."""

    def __init__(self, one):
        self.connection = socket.create_connection(one.host_port, timeout=60)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def get(self, path):
        """The status, the head and the body."""
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = self.rest
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self.receive()
        head = answer[:end]
        length = end + 4 + int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while len(answer) < length:
            answer += self.receive()
        self.rest = answer[length:]
        return int(head[9:12]), head, answer[end + 4:length]

    def receive(self):
        some = self.connection.recv(1 << 18)
        assert some, "the gateway closed the connection"
        return some

    def close(self):
        self.connection.close()


def in_a_row(one, path, names, count, seconds=600):
    """Asks for so many, or for as many as fit; returns how many came, and the last."""
    client, pdf, end, number = Client(one), b"", time.monotonic() + seconds, 0
    while number < count and time.monotonic() < end:
        name = httpx.QueryParams(name=f"{names[number % len(names)]} {number % 100}")
        status, head, pdf = client.get(f"{path}?{name}")
        assert status == 200 and pdf.startswith(b"%PDF-"), head
        number += 1
    client.close()
    return number, pdf


def test_ten_thousand_filled_templates_take_no_memory(gateway):
    one = gateway(section(template="plain.pdf", register=False), TEMPLATES)
    count = 1_000 if SANITIZED else 10_000
    in_a_row(one, "/main", ["Ada", "Zoë"], count // 10)
    memory, files = one.status("RssAnon"), one.open_files()
    number, pdf = in_a_row(one, "/main", ["Ada", "Zoë"], count)
    assert number == count and judges.qpdf_check(pdf) == ""
    if not SANITIZED:  # a sanitizer keeps what was freed
        assert one.status("RssAnon") <= memory + 256, "KiB"
    until(lambda: one.open_files() <= files, "the connections' end")
    assert len(one.access(count, lambda record: record["status"] == 200)) == count + count // 10


def test_as_many_drawings_take_no_memory(gateway, authority):
    """In every script, signed, by the default template."""
    one = gateway(section(register=False) + sign(authority) + "[offload]\nthreads = 1\n", TEMPLATES)
    in_a_row(one, "/main", NAMES, 20 if SANITIZED else 200)
    memory, files = one.status("RssAnon"), one.open_files()
    number, pdf = in_a_row(one, "/main", NAMES, 2_000, seconds=12)
    assert number > (5 if SANITIZED else 100)
    if not SANITIZED:
        assert one.status("RssAnon") <= memory + 1024, ("KiB", number)
    until(lambda: one.open_files() <= files, "the connections' end")
    found, = judges.pdfsig(pdf, authority)
    assert found["signature"] == "Signature is Valid." and judges.qpdf_check(pdf) == ""


def test_what_was_answered_before_each_kill_comes_again(gateway, authority):
    """Filled ones, which come by the hundred in one commit, and signed ones."""
    config = REGISTER + section("filled", "plain.pdf") + section() + sign(authority)
    one = gateway(config, TEMPLATES)
    answered, lock = {}, threading.Lock()

    def ask_on(number, round_):
        client = None
        for i in range(10_000):
            target = f"/{'main' if number == 0 else 'filled'}?name=r{round_}c{number}n{i}"
            try:
                client = client or Client(one)
                status, _, pdf = client.get(target)
            except (OSError, AssertionError):  # the kill
                break
            assert status == 200
            with lock:
                answered[target] = pdf
        if client:
            client.close()

    for round_ in range(2):
        before = len(answered)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask_on, number, round_) for number in range(8)]
            until(lambda: len(answered) >= before + 150 and f"/main?name=r{round_}c0n1" in answered, "answers", 60)
            one.process.send_signal(signal.SIGKILL)
            one.process.wait()
            for client in asking:
                client.result()
        one.process = None
        one.start()
        client = Client(one)
        for target, pdf in answered.items():
            assert client.get(target)[::2] == (200, pdf), target
        client.close()


# -- beside pages --


def test_pages_answer_while_certificates_are_drawn(gateway):
    config = section(register=False) + '[pages.home]\npath = "/"\n[offload]\nthreads = 1\nmax_queue = 4\n'
    one = gateway(config, TEMPLATES)
    drawn, ending = [], threading.Event()

    def ask_on(number):
        client, i = Client(one), 0
        while not ending.is_set():
            status, head, pdf = client.get(f"/main?name=c{number}n{i}")
            assert status == 200 and pdf.startswith(b"%PDF-") or status == 503 and b"retry-after: 1" in head, head
            drawn.append(status)
            i += 1
        client.close()

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asking = [pool.submit(ask_on, number) for number in range(12)]
        try:
            until(lambda: drawn.count(200) >= 3, "certificates", 60)
            before = drawn.count(200)
            rounds = 0
            with httpx.Client(timeout=10) as client:
                while rounds < 50 or drawn.count(200) < before + 5:
                    assert client.get(one.url + "/", headers=JSON).status_code == 200
                    rounds += 1
        finally:
            ending.set()
        for client in asking:
            client.result()
    assert 503 in drawn  # twelve at once are more than one that is drawn and four that wait
    assert max(record["ms"] for record in one.access(50, lambda record: record["path"] == "/")) < 5_000


# -- a service's answer --


def test_a_name_of_a_service_that_may_fail(gateway, nginx):
    people = nginx({"/7.json": {"name": "Ada Lovelace"}}, extra="location /broken/ { return 500; }")
    config = REGISTER + f'[upstreams.people]\nurl = "{people.url}"\ntimeout = "5s"\n'
    fields = """
[certificates.{0}.fields.learner]
[certificates.{0}.fields.name]
from = "people.name"
{1}
[certificates.{0}.parts.people]
path = "{2}{{field.learner}}.json"
need = "{3}"
"""
    for name, fallback, path, need in (("main", "", "/", "required"), ("broken", "", "/broken/", "required"),
                                       ("kind", 'fallback = "A good learner"', "/broken/", "optional"),
                                       ("strict", "", "/broken/", "optional")):
        config += section(name, "plain.pdf", more=fields.format(name, fallback, path, need))
    one = gateway(config, TEMPLATES)

    def get(path):
        return httpx.get(f"{one.url}{path}?learner=7", headers=JSON, timeout=60)

    assert "Ada Lovelace" in judges.pdf_text(issued(get("/main")))
    assert get("/broken").status_code == 502
    assert "A good learner" in judges.pdf_text(issued(get("/kind")))
    answer = get("/strict")
    assert answer.status_code == 502 and answer.json()["type"] == "/problems/field-unusable", answer.text
    people.stop()
    assert httpx.get(f"{one.url}/main?learner=8", headers=JSON, timeout=60).status_code == 502
    assert sorted(record["certificate"] for record in listed(one)) == ["kind", "main"]


# -- who gets none --


def test_crawlers_mint_nothing(gateway):
    one = gateway(REGISTER + section() + section("closed", open_=False), TEMPLATES)
    done = command("sign-url", "-c", one.config, "/closed?name=Ada")
    link = one.url + done.stdout.strip()
    for path in ("/main?name=Ada", "/closed?name=Ada", link.removeprefix(one.url)):
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"):
            assert httpx.request(method, one.url + path, timeout=60).status_code in (204, 405), (method, path)
        for header in ({"sec-purpose": "prefetch"}, {"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"},
                       {"x-moz": "prefetch"}):
            assert httpx.get(one.url + path, headers=header, timeout=60).status_code == 403, (header, path)
    for target in ("/closed?name=Ada", "/closed", link.removeprefix(one.url).replace("Ada", "Bob")):
        for method in ("GET", "POST"):
            answer = httpx.request(method, one.url + target, headers=JSON, timeout=60)
            assert answer.status_code == 403, (method, target)
            assert answer.headers["x-robots-tag"] == "noindex"
    for path in ("/main", "/certificates", "/certificates/verify", "/certificates/00000-00000-00000-00000"):
        assert httpx.get(one.url + path, timeout=60).status_code in (200, 400, 404)
    assert listed(one) == []
    issued(httpx.get(link, timeout=60))
    issued(ask(one))
    assert sorted(record["certificate"] for record in listed(one)) == ["closed", "main"]
