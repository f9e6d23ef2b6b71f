"""The register: what was issued can be looked up, verified, revoked and replaced, by anybody's browser,
on the control socket and from the command line; and outlives whatever happens to the process."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import httpx
import pytest

from conftest import HEADER
from gateway import command, until

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="200mm" height="100mm" viewBox="0 0 800 400">
<text x="20" y="80" font-size="40" font-family="DejaVu Sans">{{name}}</text>
<text x="20" y="220" font-size="20" font-family="DejaVu Sans">{{timestamp}} {{serial}}</text>
</svg>
"""
CONFIG = """
[certificates.course]
path = "/certificate"
template = "certificate.svg"
open = true
rate_limit = ""
show = ["name"]
[certificates.secret]
path = "/secret"
template = "certificate.svg"
open = true
rate_limit = ""
[register]
url = "https://shop.example/certificates/"
max_file = "1MiB"
"""
SERIAL = re.compile(r"[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){3}")
JSON = {"accept": "application/json"}
UNKNOWN = "00000-00000-00000-00000"


@pytest.fixture
def start(gateway, tmp_path):
    """start(config) serves it; .control is a client of the control socket."""
    clients = []

    def run(config=CONFIG, templates=None, **options):
        control = tmp_path / f"control{len(clients)}.sock"
        header = HEADER.replace('control = ""', f'control = "unix:{control}"')
        one = gateway(config, {"certificate.svg": SVG, **(templates or {})}, header=header, **options)
        client = httpx.Client(
            base_url="http://control", transport=httpx.HTTPTransport(uds=str(control)), timeout=30
        )
        clients.append(client)
        one.control = client
        return one

    yield run
    for client in clients:
        client.close()


@pytest.fixture
def site(start):
    return start()


def issue(site, name="Ada Lovelace", path="/certificate"):
    """The PDF and its serial, by the newest entry of the register."""
    answer = httpx.get(site.url + path, params={"name": name}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"%PDF")
    digest = hashlib.sha256(answer.content).hexdigest()
    listed = site.control.get("/certificates").json()["certificates"]
    return answer.content, next(one["id"] for one in listed if one["sha256"] == digest)


def look_up(site, serial, **options):
    return httpx.get(f"{site.url}/certificates/{serial}", headers=JSON, timeout=30, **options)


def verify(site, content, headers=JSON):
    return httpx.post(
        f"{site.url}/certificates/verify",
        content=content,
        headers={"content-type": "application/pdf", **headers},
        timeout=30,
    )


def gateway_command(site, *arguments):
    return command("certificate", *arguments, "-c", site.config)


# -- by serial --


def test_a_serial_tells_what_it_stands_for_and_shows_no_more_than_it_may(site):
    pdf, serial = issue(site)
    assert SERIAL.fullmatch(serial)
    answer = look_up(site, serial)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-robots-tag"] == "noindex"
    told = answer.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.pop("issued_at"))
    assert told == {
        "id": serial,
        "status": "valid",
        "revoked_at": None,
        "superseded_at": None,
        "superseded_by": None,
        "sha256": hashlib.sha256(pdf).hexdigest(),
        "certificate": "course",
        "reason": None,
        "fields": {"name": "Ada Lovelace"},
    }
    page = httpx.get(f"{site.url}/certificates/{serial}", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "This certificate is valid" in page.text and "Ada Lovelace" in page.text
    assert f'<link rel="canonical" href="https://shop.example/certificates/{serial}">' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    head = httpx.head(f"{site.url}/certificates/{serial}", headers={"accept": "text/html"})
    assert head.status_code == 200
    assert head.headers["content-length"] == page.headers["content-length"]  # compressed, both

    _, hidden = issue(site, "Grace Hopper", "/secret")
    page = httpx.get(f"{site.url}/certificates/{hidden}", headers={"accept": "text/html"})
    assert page.status_code == 200 and "Grace" not in page.text
    assert "Grace" not in look_up(site, hidden).text


def test_a_serial_is_taken_as_people_type_it(site):
    _, serial = issue(site)
    for text in (serial.lower(), serial.replace("-", ""), serial.replace("0", "o").replace("1", "l")):
        assert look_up(site, text).json()["id"] == serial
    form = httpx.get(f"{site.url}/certificates/verify", params={"serial": " " + serial.lower()})
    assert form.status_code == 303 and form.headers["location"] == f"/certificates/{serial}"


def test_an_unknown_serial_is_404_and_says_so(site):
    for text in (UNKNOWN, "nonsense", "%3Cscript%3E", "8K3QF-2M7XR-V0P4N-J6T9U", "x" * 1000):
        answer = look_up(site, text)
        assert answer.status_code == 404
        told = answer.json()
        assert told["status"] == "unknown" and told["issued_at"] is None and told["sha256"] is None
        assert told["id"] == (UNKNOWN if text == UNKNOWN else None)
        page = httpx.get(f"{site.url}/certificates/{text}", headers={"accept": "text/html"})
        assert page.status_code == 404 and "There is no such certificate" in page.text
        assert "<script" not in page.text


def test_hostile_names_stay_text_on_the_page(site):
    name = "<b>Ada</b> & \"{{serial}}\" </style><script>alert(1)</script> \u202e"
    answer = httpx.get(site.url + "/certificate", params={"name": name}, timeout=30)
    if answer.status_code != 200:  # refused is fine, too: then without the mark of direction
        name = name.replace(" \u202e", "")
        answer = httpx.get(site.url + "/certificate", params={"name": name}, timeout=30)
    assert answer.status_code == 200, answer.text
    serial = site.control.get("/certificates").json()["certificates"][0]["id"]
    assert look_up(site, serial).json()["fields"] == {"name": name}
    page = httpx.get(f"{site.url}/certificates/{serial}", headers={"accept": "text/html"}).text
    assert "<b>" not in page and "<script" not in page and "&lt;b&gt;Ada" in page
    assert "{{serial}}" in page.replace("&#123;", "{").replace("&#125;", "}")


def test_the_form_leads_to_both_ways(site):
    for path in ("/certificates", "/certificates/verify"):
        page = httpx.get(site.url + path, headers={"accept": "text/html"})
        assert page.status_code == 200
        assert 'enctype="multipart/form-data"' in page.text and 'name="serial"' in page.text
        assert 'action="/certificates/verify"' in page.text


def test_a_template_of_ones_own_gets_the_same_names(start):
    template = "{{#is.valid}}VALID{{/is.valid}}|{{id}}|{{headline}}|{{#rows}}{{name}}={{value}};{{/rows}}"
    site = start(
        CONFIG.replace("[register]", '[register]\ntemplate = "verify.html"'), {"verify.html": template}
    )
    _, serial = issue(site)
    page = httpx.get(f"{site.url}/certificates/{serial}", headers={"accept": "text/html"})
    assert page.text == f"VALID|{serial}|This certificate is valid|name=Ada Lovelace;"
    assert "style-src 'self'" in page.headers["content-security-policy"]


# -- by file --


def test_a_file_is_known_by_its_digest_raw_or_by_a_form(site):
    pdf, serial = issue(site)
    told = verify(site, pdf).json()
    assert told["ours"] is True and told["file"] == "unaltered" and "digest" in told["known_by"]
    assert told["id"] == serial and told["status"] == "valid"
    for name, files in {
        "one": {"file": ("c.pdf", pdf, "application/pdf")},
        "after a field": {"note": (None, "hello"), "file": ("c.pdf", pdf)},
        "the first counts": [("a", ("c.pdf", pdf)), ("b", ("d.pdf", b"%PDF other"))],
        "an empty one before": [("a", ("", b"")), ("b", ("c.pdf", pdf))],
    }.items():
        answer = httpx.post(f"{site.url}/certificates/verify", files=files, headers=JSON)
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["id"] == serial, name
    page = httpx.post(
        f"{site.url}/certificates/verify",
        files={"file": ("c.pdf", pdf)},
        headers={"accept": "text/html"},
    )
    assert "This certificate is genuine and valid" in page.text and serial in page.text


def test_a_file_that_is_not_ours_is_told_so(site):
    pdf, _ = issue(site)
    for other in (b"x", b"%PDF-1.7\n", pdf[:-1], pdf + b"\n", pdf.replace(b"1", b"2", 1)):
        answer = verify(site, other)
        assert answer.status_code == 200
        told = answer.json()
        assert told["ours"] is False and told["file"] == "unknown" and told["status"] == "unknown"
        assert told["known_by"] == [] and told["id"] is None
    page = verify(site, b"x", {"accept": "text/html"})
    assert page.status_code == 200 and "This file is not one of ours" in page.text


def test_what_cannot_be_verified_is_refused(site):
    url = f"{site.url}/certificates/verify"
    pdf, _ = issue(site)
    limit = 1 << 20
    assert verify(site, b"x" * limit).status_code == 200
    assert verify(site, b"x" * (limit + 1)).status_code == 413

    def chunks():
        for _ in range(20):
            yield b"x" * 65536

    assert verify(site, chunks()).status_code == 413
    assert httpx.post(url, files={"f": ("x.pdf", b"x" * limit)}, headers=JSON).status_code == 200
    assert httpx.post(url, files={"f": ("x.pdf", b"x" * (limit + 1))}).status_code == 413
    for kind, content, status in (
        ("application/pdf", b"", 400),
        ("text/plain", pdf, 415),
        ("multipart/form-data", pdf, 400),
        ("multipart/form-data; boundary=x", pdf, 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n', 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nb', 400),
    ):
        answer = httpx.post(url, content=content, headers={"content-type": kind, **JSON})
        assert answer.status_code == status, (kind, content, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.put(url, content=pdf).status_code == 405


def test_files_are_verified_at_a_bounded_rate(site):
    taken = 0
    while (answer := verify(site, b"x")).status_code == 200 and taken < 600:
        taken += 1
    assert taken >= 60 and answer.status_code == 429 and answer.headers["retry-after"]
    assert look_up(site, UNKNOWN).status_code == 404  # serials can be looked up all the same


def test_those_who_send_slowly_keep_nobody_from_verifying(site):
    pdf, _ = issue(site)
    slow = [socket.create_connection(site.host_port) for _ in range(40)]
    for one in slow:
        one.sendall(b"POST /certificates/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\n"
                    b"Content-Length: 10000000\r\n\r\n%PDF")
    time.sleep(0.3)  # until they are being read
    assert verify(site, pdf).json()["file"] == "unaltered"
    for one in slow:
        one.close()


# -- by signature --


def make_key(folder, name):
    """A key and a certificate for it, as somebody would make them without us."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        + ["-keyout", key, "-out", certificate, "-days", "30", "-subj", f"/CN={name}"],
        check=True,
        capture_output=True,
    )
    os.chmod(key, 0o600)
    return f"""
[certificates.course.sign]
key = "{key}"
certificate = "{certificate}"
"""


def test_a_signature_speaks_for_a_file_that_is_not_as_it_was(start, tmp_path):
    site = start(CONFIG + make_key(tmp_path, "ours"))
    pdf, serial = issue(site)
    told = verify(site, pdf).json()
    assert (told["file"], told["known_by"]) == ("unaltered", ["digest", "signature"])

    def judge(content):
        told = verify(site, content).json()
        return told["file"], told["ours"], told["known_by"], told["id"], told["status"]

    # Something that was added, after our signature.
    assert judge(pdf + b"\n% more") == ("extended", True, ["signature"], serial, "valid")
    page = verify(site, pdf + b"\n% more", {"accept": "text/html"}).text
    assert "Something was added to this certificate" in page
    # What was signed is another content now: at its beginning, and behind the signature.
    hole = re.search(rb"/Contents\s*(<[0-9A-Fa-f]+>)", pdf)
    assert hole
    for at in (9, len(pdf) // 4, hole.start(1) - 30, len(pdf) - 8):
        if hole.start(1) <= at < hole.end(1):
            continue
        changed = pdf[:at] + bytes([pdf[at] ^ 1]) + pdf[at + 1 :]
        file, ours, known_by, found, status = judge(changed)
        # Where the change hits what tells of the signature there is none left to be found.
        assert (file, ours) in (("altered", True), ("unknown", False)), at
        if at < hole.start() - 2000:
            assert (file, known_by, found, status) == ("altered", ["signature"], serial, "valid"), at
    assert "This file was altered" in verify(site, pdf[:9] + b"#" + pdf[10:], {"accept": "text/html"}).text
    # The signature itself broken: it still names our certificate.
    der = bytes.fromhex(hole[1][1:-1].decode())
    length = 4 + int.from_bytes(der[2:4], "big") if der[1] == 0x82 else 2 + der[1]
    spot = hole.start(1) + 1 + 2 * (length - 4)
    digit = b"1" if pdf[spot : spot + 1] != b"1" else b"2"
    assert judge(pdf[:spot] + digit + pdf[spot + 1 :])[:3] == ("forged", False, [])

    site.control.post(f"/certificates/{serial}/revoke")
    assert judge(pdf + b"\n% more") == ("extended", True, ["signature"], serial, "revoked")


def test_another_ones_signature_is_not_ours(start, tmp_path):
    other = start(CONFIG + make_key(tmp_path, "other"))
    site = start(CONFIG + make_key(tmp_path, "ours"))
    pdf, _ = issue(other)
    told = verify(site, pdf).json()
    assert (told["file"], told["ours"], told["known_by"]) == ("unknown", False, [])


def test_certificates_of_a_key_that_is_gone_are_still_known(start, tmp_path):
    site = start(CONFIG + make_key(tmp_path, "first"))
    pdf, serial = issue(site)
    site.stop()
    site.config.write_text(site.config.read_text().replace("first", "second"))
    make_key(tmp_path, "second")
    site.start()
    told = verify(site, pdf).json()
    assert (told["file"], told["known_by"], told["id"]) == ("unaltered", ["digest"], serial)
    told = verify(site, pdf + b"more").json()
    assert (told["file"], told["known_by"], told["id"]) == ("extended", ["digest"], serial)


# -- what becomes of certificates --


def test_a_revoked_certificate_says_so_everywhere_at_once(site):
    pdf, serial = issue(site)
    answer = site.control.post(f"/certificates/{serial.lower()}/revoke", json={"reason": "Wrong <name>"})
    assert answer.status_code == 200 and answer.json()["status"] == "revoked"
    told = look_up(site, serial).json()
    assert told["status"] == "revoked" and told["reason"] == "Wrong <name>" and told["revoked_at"]
    page = httpx.get(f"{site.url}/certificates/{serial}", headers={"accept": "text/html"}).text
    assert "This certificate was revoked" in page and "Wrong &lt;name&gt;" in page
    told = verify(site, pdf).json()
    assert told["file"] == "unaltered" and told["status"] == "revoked"
    # Again is the same; and nobody gets it anew.
    assert site.control.post(f"/certificates/{serial}/revoke").json() == answer.json()
    assert httpx.get(site.url + "/certificate", params={"name": "Ada Lovelace"}).status_code == 410
    assert site.control.post(f"/certificates/{serial}/supersede").status_code == 409
    until(lambda: "certificate revoked" in site.log())
    assert serial in site.log() and "Ada" not in site.log()


def test_a_superseded_certificate_leads_to_its_successor(site):
    pdf, serial = issue(site)
    answer = site.control.post(f"/certificates/{serial}/supersede")
    assert answer.json()["status"] == "superseded" and answer.json()["superseded_by"] is None
    successor_pdf, successor = issue(site)
    assert successor != serial and successor_pdf != pdf
    told = look_up(site, serial).json()
    assert told["status"] == "superseded" and told["superseded_by"] == successor
    assert told["superseded_at"] and told["revoked_at"] is None
    page = httpx.get(f"{site.url}/certificates/{serial}", headers={"accept": "text/html"}).text
    assert "This certificate was replaced" in page
    assert f'href="https://shop.example/certificates/{successor}"' in page
    assert look_up(site, successor).json()["status"] == "valid"

    _, other = issue(site, "Grace")
    assert site.control.post(f"/certificates/{successor}/supersede", json={"by": serial}).status_code == 409
    assert site.control.post(f"/certificates/{successor}/supersede", json={"by": UNKNOWN}).status_code == 409
    answer = site.control.post(f"/certificates/{successor}/supersede", json={"by": other.lower()})
    assert answer.status_code == 200 and answer.json()["superseded_by"] == other


def test_the_control_socket_lists_and_refuses(site):
    serials = [issue(site, f"Name {i}")[1] for i in range(5)] + [issue(site, "x", "/secret")[1]]
    listed = site.control.get("/certificates?limit=4").json()
    first = [one["id"] for one in listed["certificates"]]
    assert len(first) == 4 and listed["next"] == first[-1]
    rest = site.control.get("/certificates", params={"after": listed["next"]}).json()
    assert rest["next"] is None
    assert sorted(first + [one["id"] for one in rest["certificates"]]) == sorted(serials)
    assert len(site.control.get("/certificates?route=secret").json()["certificates"]) == 1
    assert site.control.get("/certificates?route=other").json()["certificates"] == []
    site.control.post(f"/certificates/{serials[0]}/revoke")
    revoked = site.control.get("/certificates?status=revoked").json()["certificates"]
    assert [one["id"] for one in revoked] == [serials[0]]
    assert site.control.get(f"/certificates/{serials[1]}").json()["id"] == serials[1]
    for method, path, body, status in (
        ("GET", "/certificates?limit=0", None, 400),
        ("GET", "/certificates?limit=x", None, 400),
        ("GET", "/certificates?limit=1001", None, 400),
        ("GET", "/certificates?limit=10000", None, 400),
        ("GET", "/certificates?status=good", None, 400),
        ("GET", "/certificates?after=x", None, 400),
        ("GET", f"/certificates/{UNKNOWN}", None, 404),
        ("GET", "/certificates/x", None, 404),
        ("POST", f"/certificates/{UNKNOWN}/revoke", None, 404),
        ("POST", f"/certificates/{serials[2]}/revoke", b"[]", 400),
        ("POST", f"/certificates/{serials[2]}/revoke", b"{", 400),
        ("POST", f"/certificates/{serials[2]}/revoke", b'{"reason":1}', 400),
        ("POST", f"/certificates/{serials[2]}/revoke", b'{"raison":"x"}', 400),
        ("POST", f"/certificates/{serials[2]}/revoke", json.dumps({"reason": "x" * 501}).encode(), 400),
        ("POST", f"/certificates/{serials[2]}/revoke", b" " * 9000, 413),
        ("POST", f"/certificates/{serials[2]}/supersede", b'{"by":"x"}', 400),
        ("GET", f"/certificates/{serials[2]}/revoke", None, 405),
    ):
        answer = site.control.request(method, path, content=body)
        assert answer.status_code == status, (method, path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert look_up(site, serials[2]).json()["status"] == "valid"
    assert httpx.get(f"{site.url}/certificates/{serials[2]}/revoke").status_code == 404  # not public


def test_the_command_line_sees_and_changes_the_same_register(site, tmp_path):
    pdf, serial = issue(site)
    _, other = issue(site, "Grace")
    listed = gateway_command(site, "list")
    assert listed.returncode == 0 and serial in listed.stdout and other in listed.stdout
    assert listed.stdout.splitlines()[0].split()[0] == "SERIAL"
    lines = gateway_command(site, "list", "--json", "--limit", "1").stdout.splitlines()
    assert len(lines) == 1 and json.loads(lines[0])["id"] == other
    copy = tmp_path / "copy.pdf"
    shown = gateway_command(site, "show", serial.lower(), "--pdf", copy)
    assert shown.returncode == 0 and "valid" in shown.stdout and "Ada Lovelace" in shown.stdout
    assert copy.read_bytes() == pdf
    assert gateway_command(site, "show", serial, "--pdf", copy).returncode == 1  # not over a file
    assert json.loads(gateway_command(site, "show", serial, "--json").stdout)["id"] == serial

    revoked = gateway_command(site, "revoke", serial, "--reason", "Cheated")
    assert revoked.returncode == 0 and "revoked" in revoked.stdout
    assert look_up(site, serial).json()["reason"] == "Cheated"  # the running gateway says so
    again = gateway_command(site, "revoke", serial, "--reason", "Other")
    assert again.returncode == 0 and "Cheated" in again.stdout
    refused = gateway_command(site, "supersede", serial, "--by", other)
    assert refused.returncode == 1 and "it is revoked" in refused.stderr
    assert gateway_command(site, "supersede", other).returncode == 0
    assert look_up(site, other).json()["status"] == "superseded"
    assert serial in gateway_command(site, "list", "--status", "revoked").stdout
    assert serial not in gateway_command(site, "list", "--status", "superseded").stdout
    assert gateway_command(site, "list", "--route", "secret", "--json").stdout == ""


def test_the_command_line_says_what_is_wrong(site, tmp_path):
    issue(site)
    for arguments, code in (
        ((), 2),
        (("burn", UNKNOWN), 2),
        (("show",), 2),
        (("show", "x"), 2),
        (("list", UNKNOWN), 2),
        (("list", "--limit", "x"), 2),
        (("list", "--status", "x"), 2),
        (("revoke", UNKNOWN, "--by", UNKNOWN), 2),
        (("supersede", UNKNOWN, "--by", "x"), 2),
        (("show", UNKNOWN), 1),
        (("revoke", UNKNOWN), 1),
    ):
        done = gateway_command(site, *arguments)
        assert done.returncode == code, (arguments, done)
        assert done.stderr
    missing = command("certificate", "list", "-c", tmp_path / "nothing.toml")
    assert missing.returncode == 78
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    no_database = command("certificate", "list", "-c", empty)
    assert no_database.returncode == 1 and "gateway.db" in no_database.stderr
    assert command("certificate", "--help").returncode == 0


# -- kept --


def test_certificates_outlive_a_kill(site, start):
    issued = dict(issue(site, f"Name {i}")[::-1] for i in range(10))
    site.process.send_signal(signal.SIGKILL)
    site.process.wait()
    site.process = None
    site.start()
    for serial, pdf in issued.items():
        told = look_up(site, serial).json()
        assert told["status"] == "valid" and told["sha256"] == hashlib.sha256(pdf).hexdigest()
        again = httpx.get(site.url + "/certificate", params=told["fields"], timeout=30)
        assert again.content == pdf


def test_an_end_with_jobs_that_never_ran_leaves_nothing(start, tmp_path):
    """Under address sanitizer the gateway's end tells what was never freed; see Gateway.stop()."""
    slow = SVG.replace("</svg>", '<path d="' + "M0 0L800 400" * 10000 + '" stroke="black" stroke-width="9" '
                       'stroke-dasharray="3 1"/></svg>')
    site = start(CONFIG + "[offload]\nthreads = 1\n", {"certificate.svg": slow})
    clients = []
    for i in range(40):
        client = socket.create_connection(site.host_port)
        clients.append(client)
        if i % 4:
            client.sendall(b"GET /certificate?name=N%d HTTP/1.1\r\nHost: x\r\n\r\n" % i)
        else:
            client.sendall(b"POST /certificates/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/pdf\r\n"
                           b"Content-Length: 9\r\n\r\n%%PDF-%04d" % i)
        if i % 2:
            client.close()  # for these only the job is left
    # All are asked for by the time that one more is answered by the same loop.
    assert httpx.get(f"{site.url}/certificates", timeout=30).status_code == 200
    assert len(site.control.get("/certificates").json()["certificates"]) < 10  # most still wait
    site.process.send_signal(signal.SIGTERM)
    until(lambda: "draining" in site.log())
    assert site.terminate() == 0  # at once
    assert "stopped with requests under way" in site.log()
    answers = [client.recv(100) for client in clients[::2]]
    assert all(answer == b"" or answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")) for answer in answers)
    for client in clients:
        client.close()


def test_a_missing_or_unusable_address_is_told_at_check(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "certificate.svg").write_text(SVG)
    config = tmp_path / "gateway.toml"
    for url, says in (
        ("", "need [register] url"),
        ("shop.example/certificates", "is not a URL"),
        ("ftp://shop.example/", "is not a URL"),
        ("https://", "is not a URL"),
        ("https://shop.example/a?b=c", "is not a URL"),
        ("https://shop.example/{a}", "is not a URL"),
        ("https://shop.example/a//b", "is not a URL"),
    ):
        config.write_text(
            '[certificates.course]\npath = "/certificate"\ntemplate = "certificate.svg"\n'
            f'[register]\nurl = "{url}"\n'
        )
        checked = command("check", "-c", config)
        assert checked.returncode == 78 and says in checked.stderr, (url, checked)
        assert f"{config}:" in checked.stderr
    config.write_text(
        '[certificates.course]\npath = "/certificate"\ntemplate = "certificate.svg"\nregister = false\n'
    )
    assert command("check", "-c", config).returncode == 0
