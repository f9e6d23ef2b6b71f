"""Certificates before their judges: the default template, signed by a certificate authority's signer,
registered, as a stranger's programs see it."""

import hashlib
import io
import itertools
import re
import unicodedata
import urllib.parse

import httpx
import pytest
from PIL import Image, ImageChops
from selenium.webdriver.common.by import By

import pdf_judges as judges
import pdf_templates
from conftest import HEADER, free_port
from gateway import command, until
from pdf_judges import authority, clock, stranger  # noqa: F401  (fixtures)
from test_browser import ROOT, browser  # noqa: F401

JSON = {"accept": "application/json"}
COURSE = "A Weekend at the Wheel"
DEFAULT = {"certificate.svg": (ROOT / "templates" / "certificate.svg").read_text()}
DEJAVU = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
KAITI = "/usr/share/fonts/truetype/arphic-gkai00mp/gkai00mp.ttf"
VALID = ("Signature is Valid.", "Certificate is Trusted.")
UNKNOWN = ("Signature is Valid.", "Certificate issuer is unknown.")

SCRIPTS = {
    "Latin": "Ada Lovelace",
    "Chinese": "李小龙",
    "Arabic": "ليلى عبد الله",
    "Cyrillic": "Фёдор Достоевский",
    "Greek": "Ὑπατία",
    "Devanagari": "लता मंगेशकर",
    "combining marks": unicodedata.normalize("NFD", "Zoë Dvořák Nguyễn"),
    "mixed": "Ana李Анна",
}
HOSTILE = ["<b>bold</b> & <i>", "&amp;&lt;&#65;&xxe;", "%PDF-1.4 %%EOF", "(a\\) \\( (b", "{{serial}} {{{name}}}",
           "%timestamp% %name%", "]]> -->", "endstream endobj", "<!ENTITY e 'x'>&e;"]


def section(name="course", template="certificate.svg", more=""):
    return f"""
[certificates.{name}]
path = "/{name}"
template = "{template}"
open = true
rate_limit = ""
title = "Certificate for {{{{name}}}}"
show = ["name"]
{more}
[certificates.{name}.fields.name]
[certificates.{name}.fields.course]
required = false
"""


def sign(signer, name="course", more=""):
    key, chain = signer
    return f"""
[certificates.{name}.sign]
key = "{key}"
certificate = "{chain}"
reason = "Course completed"
{more}
"""


@pytest.fixture
def start(gateway, tmp_path):
    """start(config) serves it where its verify pages say that they are."""
    numbers = itertools.count()

    def run(config, templates=None):
        port = free_port()
        header = HEADER.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
        header = header.replace('control = ""', f'control = "unix:{tmp_path}/control{next(numbers)}.sock"')
        register = f'\n[register]\nurl = "http://127.0.0.1:{port}/certificates"\n'
        return gateway(register + config, {**DEFAULT, **(templates or {})}, header=header)

    return run


@pytest.fixture
def signed(start, authority):
    return start(section() + sign(authority.signer("ec")))


def ask(one, name="Ada Lovelace", course=COURSE, path="/course"):
    return httpx.get(one.url + path, params={"name": name, "course": course}, headers=JSON, timeout=120)


def issued(answer):
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/pdf", answer.text
    assert judges.qpdf_check(answer.content) == ""
    return answer.content


def verify(one, pdf):
    answer = httpx.post(f"{one.url}/certificates/verify", content=pdf, timeout=60,
                        headers={**JSON, "content-type": "application/pdf"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(pdf, authority, trusted=True):
    one, = judges.pdfsig(pdf, authority, trusted)
    return one["signature"], one["certificate"]


def letters(text):
    """What a text says, however its letters are composed and whatever says where it runs to."""
    return [c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) not in ("Cf", "Zs")]


# -- every script --


def ink(image):
    """What is written in the name's colour, cut out and brought to one size."""
    red, _, blue = image.split()
    mask = ImageChops.subtract(red, blue).point(lambda value: 255 if value > 60 else 0)
    box = mask.getbbox()
    assert box, "nothing is written"
    return mask.crop(box).resize((240, 48), Image.BOX)


def alike(a, b):
    """How much two writings are the same, 0 to 1."""
    x, y = a.tobytes(), b.tobytes()
    both = sum(min(i, j) for i, j in zip(x, y))
    return both / max(1, sum(max(i, j) for i, j in zip(x, y)))


def written(browser, name):
    """The name as Chromium writes it, with the fonts of the default template."""
    families = re.search(r"text \{ font-family: ([^;]*);", DEFAULT["certificate.svg"])[1]
    page = ("<meta charset=utf-8><body style='margin:40px;overflow:hidden;white-space:nowrap'>"
            f"<span style='font:84px {families};color:#a84a28'>{name}</span>")
    browser.set_window_size(1400, 400)
    browser.get("data:text/html;charset=utf-8," + urllib.parse.quote(page))
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


def test_every_script_is_text_in_embedded_fonts_and_looks_right(signed, browser):
    pictures = {}
    for script, name in SCRIPTS.items():
        pdf = issued(ask(signed, name))
        text = judges.pdf_text(pdf)
        lines = [line for line in text.splitlines() if letters(line) == letters(name)]
        assert lines, f"{script}: {name} is not in {text}"
        assert COURSE in text
        for font in judges.pdf_fonts(pdf):
            assert font["embedded"] and font["subset"] and font["unicode"], (script, font)
        page = judges.picture(pdf, 144).resize((1188, 840), Image.BOX)  # four pixels a millimetre
        page.paste((255, 255, 255), (572, 464, 617, 488))  # the ornament under the name
        pictures[script] = ink(page.crop((150, 335, 1038, 488)))
    for script, name in SCRIPTS.items():
        there = ink(written(browser, name))
        likeness = {other: alike(pictures[other], there) for other in SCRIPTS}
        assert max(likeness, key=likeness.get) == script and likeness[script] > 0.45, (script, likeness)


@pytest.mark.parametrize("font,names,refused", [
    (DEJAVU, ["Ada Lovelace", "Фёдор Достоевский", "Ὑπατία", "Zoë Dvořák Nguyễn"], ["李小龙", "ليلى", "e\u0301"]),
    (KAITI, ["李小龙", "Ada", "Анна"], ["Zoë", "عمر"]),
])
def test_a_pdf_with_a_whole_font_shows_what_that_font_can(start, font, names, refused):
    one = start(section(template="whole.pdf"), {"whole.pdf": pdf_templates.with_font(font)})
    empty = issued(ask(one, " ".join("x" * 20)))
    for name in names:
        pdf = issued(ask(one, name))
        assert name in judges.pdf_text(pdf)
        assert [(f["embedded"], f["subset"]) for f in judges.pdf_fonts(pdf)] == [(True, False)]
        assert ImageChops.difference(judges.picture(pdf, 50), judges.picture(empty, 50)).getbbox()
    for name in refused:
        answer = ask(one, name)
        assert answer.status_code == 400 and "can't show" in answer.json()["errors"][0]["detail"], (name, answer.text)


# -- who signed it --


@pytest.mark.parametrize("kind", ["rsa", "rsa3072", "ec", "p384"])
def test_readers_tell_the_trusted_from_the_others(start, authority, stranger, kind):
    one = start(section() + sign(authority.signer(kind)))
    pdf = issued(ask(one))
    assert said(pdf, authority) == VALID
    assert said(pdf, authority, trusted=False) == UNKNOWN == said(pdf, stranger)
    found, = judges.pdfsig(pdf, authority)
    assert found["whole"] and found["type"] == "ETSI.CAdES.detached"
    assert found["name"] == f"Test Academy Signer {kind}"
    assert judges.openssl_verify(pdf, authority) == [""]
    assert judges.openssl_verify(pdf, stranger) != [""]
    assert judges.timestamps(pdf, authority) == [None]

    spot = pdf.index(b"stream\n") + 20
    tampered = pdf[:spot] + bytes([pdf[spot] ^ 1]) + pdf[spot + 1:]
    assert said(tampered, authority)[0] == "Digest Mismatch."
    assert "verify error" in judges.openssl_verify(tampered, authority)[0]

    appended = pdf + b"\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    found, = judges.pdfsig(appended, authority)
    assert found["signature"] == "Signature is Valid." and not found["whole"]


# -- when it was signed --


def with_clock(authority, url, without, timeout="20s"):
    return section() + sign(authority.signer("ec"), more=(
        f'timestamp = "clock"\nwithout_timestamp = "{without}"\n'
        f'[upstreams.clock]\nurl = "{url}"\ntimeout = "{timeout}"\n'))


def test_a_time_stamp_stands_before_its_authority(start, authority, stranger, clock):
    one = start(with_clock(authority, clock.url, "fail"))
    pdf = issued(ask(one))
    assert said(pdf, authority) == VALID and judges.openssl_verify(pdf, authority) == [""]
    assert judges.timestamps(pdf, authority) == [""]
    assert judges.timestamps(pdf, stranger) != [""]
    assert ask(one).content == pdf and len(clock.asked) == 1
    assert verify(one, pdf)["status"] == "valid"


OUTCOMES = [("away", 502), ("hang", 504), ("error", 502), ("garbage", 502), ("refuse", 502), ("other", 502),
            ("nonce", 502), ("purpose", 502)]


@pytest.mark.parametrize("mode,status", OUTCOMES)
def test_an_authority_that_is_of_no_use_has_a_stated_outcome(start, authority, clock, mode, status):
    url = f"http://127.0.0.1:{free_port()}" if mode == "away" else clock.url
    clock.mode = mode
    patience = "2s" if mode == "hang" else "20s"
    one = start(with_clock(authority, url, "fail", patience))
    answer = ask(one)
    assert (answer.status_code, answer.json()["type"]) == (status, "/problems/no-timestamp"), answer.text
    listed = command("certificate", "list", "--json", "-c", one.config)
    assert (listed.returncode, listed.stdout) == (0, "")
    one.stop()

    one.config.write_text(one.config.read_text().replace('"fail"', '"sign"'))
    one.start()
    pdf = issued(ask(one))
    assert said(pdf, authority) == VALID and judges.timestamps(pdf, authority) == [None]
    assert "is signed without a time stamp" in one.log()
    assert verify(one, pdf)["status"] == "valid"


# -- what became of it --


def test_the_code_leads_to_a_page_that_knows_it(signed, browser, tmp_path):
    pdf = issued(ask(signed))
    url, = judges.decode_qr(pdf)
    assert url.startswith(f"{signed.url}/certificates/")
    serial = url.rpartition("/")[2]
    assert serial in judges.pdf_text(pdf)
    told = httpx.get(url, headers=JSON).json()
    assert (told["status"], told["id"], told["fields"]) == ("valid", serial, {"name": "Ada Lovelace"})
    assert told["sha256"] == hashlib.sha256(pdf).hexdigest()

    assert judges.chromium_opens(browser, pdf)
    browser.get(url)
    assert browser.find_element(By.TAG_NAME, "h1").text == "This certificate is valid"
    assert "Ada Lovelace" in browser.find_element(By.TAG_NAME, "main").text
    valid = browser.get_screenshot_as_png()

    file = tmp_path / "sent.pdf"
    for content, headline in ((pdf, "This certificate is genuine and valid"),
                              (pdf[:9] + b"#" + pdf[10:], "This file was altered")):
        file.write_bytes(content)
        browser.find_element(By.ID, "file").send_keys(str(file))
        browser.find_element(By.CSS_SELECTOR, "form[enctype] button").click()
        until(lambda: (browser.current_url, browser.title) == (f"{signed.url}/certificates/verify", headline), headline)

    done = command("certificate", "revoke", serial, "--reason", "Signed in error", "-c", signed.config)
    assert done.returncode == 0, done.stderr
    browser.get(url)
    assert browser.find_element(By.TAG_NAME, "h1").text == "This certificate was revoked"
    assert "Signed in error" in browser.find_element(By.TAG_NAME, "main").text
    revoked = browser.get_screenshot_as_png()
    assert revoked != valid
    assert httpx.get(url, headers=JSON).json()["status"] == "revoked"
    told = verify(signed, pdf)
    assert (told["file"], told["status"]) == ("unaltered", "revoked")
    assert ask(signed).status_code == 410


def test_the_verifier_tells_files_apart(start, authority, stranger):
    one = start(section() + sign(authority.signer("ec")))
    other = issued(ask(start(section() + sign(stranger.signer("ec")))))
    pdf = issued(ask(one))
    spot = pdf.index(b"stream\n") + 20
    for content, file, ours in (
            (pdf, "unaltered", True),
            (pdf[:spot] + bytes([pdf[spot] ^ 1]) + pdf[spot + 1:], "altered", True),
            (pdf + b"\n% more", "extended", True),
            (other, "unknown", False),
            (pdf_templates.plain(), "unknown", False),
            (b"%PDF-1.7 and nothing else", "unknown", False)):
        told = verify(one, content)
        assert (told["file"], told["ours"]) == (file, ours), (file, told)


# -- hostile --


def test_hostile_fields_stay_what_they_are(start, authority):
    one = start(section() + sign(authority.signer("ec")) + section("filled", "filled.pdf") +
                sign(authority.signer("ec"), "filled"),
                {"filled.pdf": pdf_templates.plain()})
    for name in HOSTILE:
        for path in ("/course", "/filled"):
            pdf = issued(ask(one, name, path=path))
            assert letters(name) in [letters(line) for line in judges.pdf_text(pdf).splitlines()], (path, name)
            assert said(pdf, authority) == VALID
            assert verify(one, pdf)["status"] == "valid"
    for name in ("a\u202eb", "a\u0000b", "a\nb", "x" * 10_240):
        answer = httpx.post(f"{one.url}/course", data={"name": name}, headers=JSON, timeout=60)
        assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "name", answer.text
