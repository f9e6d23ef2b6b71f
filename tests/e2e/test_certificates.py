"""Issuing certificates: who may, what is refused and how that is told, what is given again."""

import base64
import concurrent.futures
import email.message
import hashlib
import json
import pathlib
import random
import re
import socket
import subprocess
import time
import urllib.parse

import httpx
import pytest

from gateway import BINARY, ENVIRONMENT, command, until

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="200mm" height="100mm" viewBox="0 0 800 400">
<text x="20" y="80" font-size="40" font-family="DejaVu Sans">{{name}}</text>
<text x="20" y="160" font-size="20" font-family="DejaVu Sans">on {{timestamp}}</text>
<text x="20" y="220" font-size="20" font-family="DejaVu Sans">number {{serial}}</text>
<text x="20" y="280" font-size="20" font-family="DejaVu Sans">{{#course}}for {{course}}{{/course}}</text>
</svg>
"""
PLAIN = SVG.replace("{{#course}}for {{course}}{{/course}}", "")

REGISTER = """
[register]
url = "https://certificates.example/certificates"
"""


def section(name="main", path="/certificate", open_=True, template="certificate.svg", more=""):
    return f"""
[certificates.{name}]
path = "{path}"
template = "{template}"
open = {"true" if open_ else "false"}
rate_limit = ""
{more}
"""


@pytest.fixture
def start(gateway):
    """start(config) serves it with the templates of these tests."""

    def run(config, **options):
        return gateway(REGISTER + config, {"certificate.svg": PLAIN, "course.svg": SVG}, **options)

    return run


@pytest.fixture
def one(start):
    return start(section())


def text_of(pdf):
    done = subprocess.run(["pdftotext", "-", "-"], input=pdf, capture_output=True, check=True, timeout=30)
    return done.stdout.decode()


def is_sound(pdf, tmp_path):
    path = tmp_path / "one.pdf"
    path.write_bytes(pdf)
    done = subprocess.run(["qpdf", "--check", path], capture_output=True, text=True, timeout=30)
    return done.returncode == 0, done.stdout + done.stderr


def issued(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    return answer.content


def refused(answer, status, kind):
    """A problem for programs, with the members that all of them have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-robots-tag"] == "noindex"
    problem = answer.json()
    assert problem["status"] == status and problem["title"] and problem["request_id"]
    assert problem["type"] == f"/problems/{kind}", problem
    return problem


def faults(answer):
    problem = refused(answer, 400, "fields-refused")
    return {error["field"]: error["detail"] for error in problem["errors"]}


JSON = {"accept": "application/json"}


# -- a certificate ----------------------------------------------------------------------------------------------------


def test_a_certificate_carries_what_was_asked_for(one, tmp_path):
    answer = httpx.get(f"{one.url}/certificate", params={"name": "Ada Lovelace"})
    pdf = issued(answer)
    assert is_sound(pdf, tmp_path)[0], is_sound(pdf, tmp_path)
    text = text_of(pdf)
    assert "Ada Lovelace" in text
    assert time.strftime("%Y-%m-%d", time.gmtime()) in text
    serial = re.search(r"number ([0-9A-Z]{5}(-[0-9A-Z]{5}){3})", text)[1]
    assert answer.headers["link"] == (
        f'<https://certificates.example/certificates/{serial}>; rel="describedby"'
    )
    assert answer.headers["content-disposition"] == 'attachment; filename="certificate.pdf"'
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert answer.headers["content-length"] == str(len(pdf))
    assert "location" not in answer.headers
    digest = hashlib.sha256(pdf).digest()
    assert answer.headers["etag"] == f'"sha256-{digest.hex()[:32]}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    record = one.access(1)[0]
    assert (record["route"], record["status"]) == ("main", 200)


@pytest.mark.parametrize("send", [
    lambda url: httpx.get(url, params={"name": "Zoë Müller"}),
    lambda url: httpx.post(url, data={"name": "Zoë Müller"}),
    lambda url: httpx.post(url, json={"name": "Zoë Müller"}),
    lambda url: httpx.post(url, files={"name": (None, "Zoë Müller")}),
    lambda url: httpx.post(url, params={"name": "Zoë Müller"}),
    lambda url: httpx.post(url, params={"name": "somebody"}, json={"name": "Zoë Müller"}),
])
def test_each_way_to_say_a_field(one, send):
    assert "Zoë Müller" in text_of(issued(send(f"{one.url}/certificate")))


def test_fields_come_from_where_the_configuration_says(start):
    one = start(section(path="/courses/{course}/certificate", template="course.svg", more="""
[certificates.main.fields.name]
from = "json.learner.name"
[certificates.main.fields.course]
from = "path.course"
"""))
    url = f"{one.url}/courses/sea%20lore/certificate"
    text = text_of(issued(httpx.post(url, json={"learner": {"name": "Ada"}, "course": "forged"})))
    assert "Ada" in text and "for sea lore" in text
    assert faults(httpx.post(url, json={"name": "Ada"})) == {"name": "is missing"}


def test_time_zones_and_formats(start):
    zones = [("utc", "UTC"), ("far", "Pacific/Kiritimati"), ("west", "America/Los_Angeles")]
    one = start("".join(
        section(name, f"/{name}", more=f'register = false\ntime_zone = "{zone}"\ntimestamp_format = "%Y-%m-%d %H h"')
        for name, zone in zones))
    for name, zone in zones:
        def now():
            done = subprocess.run(["date", "+%Y-%m-%d %H h"], env={"TZ": zone}, capture_output=True, text=True)
            return done.stdout.strip()
        before = now()
        text = text_of(issued(httpx.get(f"{one.url}/{name}", params={"name": "Ada"})))
        assert f"on {before}" in text or f"on {now()}" in text, (text, before)


def test_what_a_configuration_may_not_say(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "certificate.svg").write_text(PLAIN)
    (tmp_path / "bad.toml").write_text("""\
[certificates.main]
path = "/certificate/{id}"
template = "certificate.svg"
register = false
open = true
rate_limit = "often"
time_zone = "Europe/Pariss"
filename = "{{#name}}.pdf"
show = ["nam"]
[certificates.main.fields.name]
pattern = "(a"
[certificates.main.fields.id]
from = "path.idd"
[certificates.main.fields.other]
from = "lerner.x"
""")
    done = command("check", "-c", "bad.toml", cwd=tmp_path)
    assert done.returncode == 78
    for says in ["bad.toml:6:14: error: ", 'bad.toml:7:13: error: there is no time zone "Europe/Pariss"',
                 'bad.toml:8:12: error: filename: "{{#name}}.pdf" is not a template',
                 'bad.toml:9:9: error: show: there is no field "nam"',
                 "bad.toml:11:11: error: pattern: missing closing parenthesis, at character 2",
                 'bad.toml:13:8: error: from: the path "/certificate/{id}" has no {idd}',
                 'bad.toml:15:8: error: from: "lerner.x" begins with neither']:
        assert says in done.stderr, (says, done.stderr)


def test_a_preview_is_drawn_and_not_issued(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "course.svg").write_text(SVG)
    (tmp_path / "one.toml").write_text(REGISTER + section(template="course.svg", more=FIELDS.replace("note", "hint")))

    def preview(*arguments):
        return command("certificate", "preview", "-c", "one.toml", *arguments, cwd=tmp_path)

    assert preview("main", "name=Zoë", "course=<sea>").returncode == 0
    text = text_of((tmp_path / "preview.pdf").read_bytes())
    assert "Zoë" in text and "for <sea>" in text and "number 00000-00000-00000-00000" in text
    done = subprocess.run([BINARY, "certificate", "preview", "-c", "one.toml", "main", "--out", "-"],
                          cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=60)
    assert done.returncode == 0 and "Ada Lovelace" in text_of(done.stdout)
    assert not (tmp_path / "data").exists()
    for arguments, says, code in [(["main", "nam=x"], '"nam" is not a field of this certificate', 1),
                                  (["man"], "there is no [certificates.man]", 1),
                                  (["main", "name"], '"name" is not FIELD=VALUE', 2),
                                  (["main", "name=\x07"], '"name" has control characters', 1),
                                  (["main", "--out", "no/such/folder.pdf"], "No such file", 1),
                                  ([], "gateway certificate preview: too few arguments", 2)]:
        done = preview(*arguments)
        assert done.returncode == code and says in done.stderr, (arguments, done.stderr)


# -- who may ----------------------------------------------------------------------------------------------------------

TOKEN = "an-access-token-for-tests-0123456789"


@pytest.fixture
def closed(start):
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return start(section(open_=False) + f'[tokens.school]\ndigest = "sha256:{digest}"\n')


def link(gateway, target, *options):
    done = command("sign-url", "-c", gateway.config, *options, target)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return gateway.url + done.stdout.strip()


def test_without_leave_nothing_is_issued(closed):
    problem = refused(httpx.get(f"{closed.url}/certificate?name=Ada", headers=JSON), 403, "link-needed")
    assert problem["title"] == "This needs a signed link"
    refused(httpx.post(f"{closed.url}/certificate", data={"name": "Ada"}, headers=JSON), 403, "link-needed")
    bad = {**JSON, "authorization": "Bearer wrong"}
    refused(httpx.get(f"{closed.url}/certificate?name=Ada", headers=bad), 401, "token-invalid")


def test_a_token_may_get_and_post(closed):
    may = {"authorization": f"Bearer {TOKEN}"}
    first = issued(httpx.get(f"{closed.url}/certificate?name=Ada", headers=may))
    assert issued(httpx.post(f"{closed.url}/certificate", json={"name": "Ada"}, headers=may)) == first


def test_a_signed_link_issues_what_it_says_and_nothing_else(closed):
    url = link(closed, "/certificate?name=Ada%20Lovelace")
    pdf = issued(httpx.get(url))
    assert "Ada Lovelace" in text_of(pdf)
    assert issued(httpx.post(url)) == pdf
    assert issued(httpx.post(url, data={"name": "Mallory"})) == pdf
    assert issued(httpx.post(url, json={"name": "Mallory"})) == pdf
    for altered in [url.replace("Lovelace", "Mallory"), url.replace("name=", "name=x&name="),
                    url.replace("?", "?disposition=inline&"), url + "&name=Mallory", url[:-1],
                    url.replace("/certificate", "/certificate/")]:
        assert httpx.get(altered, headers=JSON).status_code in (403, 404), altered


def test_a_link_without_a_name_lets_its_holder_fill_it_in(closed):
    url = link(closed, "/certificate")
    page = httpx.get(url)
    assert page.status_code == 400 and "<form" in page.text
    action = re.search(r'action="([^"]+)"', page.text)[1].replace("&amp;", "&")
    assert closed.url + action == url
    assert "Ada" in text_of(issued(httpx.post(closed.url + action, data={"name": "Ada"})))


def test_links_are_made_for_paths_with_parameters(start):
    one = start(section(path="/courses/{course}/certificate", open_=False, template="course.svg",
                        more="[certificates.main.fields.name]\n[certificates.main.fields.course]\n"))
    url = link(one, "/courses/sea lore/certificate?name=Zoë")
    text = text_of(issued(httpx.get(url)))
    assert "Zoë" in text and "for sea lore" in text
    assert issued(httpx.post(url, data={"course": "forged"}))
    assert "forged" not in text_of(issued(httpx.post(url, data={"course": "forged"})))
    done = command("sign-url", "-c", one.config, "/courses/certificate")
    assert "warning: nothing of" in done.stderr


def test_a_link_that_expired(closed):
    url = link(closed, "/certificate?name=Ada", "--expires", "1ms")  # less than a second is one
    until(lambda: httpx.get(url, headers=JSON).status_code == 403, "the link's end")
    refused(httpx.get(url, headers=JSON), 403, "link-expired")
    refused(httpx.post(url, headers=JSON), 403, "link-expired")


def test_an_open_certificate_has_a_rate(gateway):
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    config = section().replace('rate_limit = ""', 'rate_limit = "3/m"')
    one = gateway(REGISTER + config + f'[tokens.school]\ndigest = "sha256:{digest}"\n', {"certificate.svg": PLAIN})
    for i in range(3):
        issued(httpx.get(f"{one.url}/certificate?name=n{i}"))
    answer = httpx.get(f"{one.url}/certificate?name=n4", headers=JSON)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-robots-tag"] == "noindex"
    issued(httpx.get(f"{one.url}/certificate?name=n4", headers={"authorization": f"Bearer {TOKEN}"}))


def test_the_head_alone_issues_nothing(one):
    answer = httpx.head(f"{one.url}/certificate?name=Ada")
    assert (answer.status_code, answer.content) == (405, b"")
    assert answer.headers["allow"] == "GET, POST, OPTIONS"
    options = httpx.options(f"{one.url}/certificate?name=Ada")
    assert options.status_code == 204 and "POST" in options.headers["allow"]
    for method in ["PUT", "DELETE", "PATCH"]:
        assert httpx.request(method, f"{one.url}/certificate?name=Ada").status_code == 405


@pytest.mark.parametrize("header", [{"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"},
                                    {"x-moz": "prefetch"}])
def test_nothing_is_issued_ahead_of_people(one, header):
    url = f"{one.url}/certificate?name=Ada"
    refused(httpx.get(url, headers={**JSON, **header}), 403, "prefetch-refused")
    pdf = issued(httpx.get(url))
    assert issued(httpx.get(url, headers=header)) == pdf


# -- what is refused --------------------------------------------------------------------------------------------------

FIELDS = """
[certificates.main.fields.name]
[certificates.main.fields.course]
pattern = "[A-Z]{2}-[0-9]{3}"
[certificates.main.fields.note]
required = false
max_length = 10
"""


@pytest.fixture
def three(start):
    return start(section(template="course.svg", more=FIELDS))


def test_all_that_is_wrong_is_told_at_once(three):
    answer = httpx.post(f"{three.url}/certificate", json={"course": "ab", "note": "x" * 11})
    assert faults(answer) == {"name": "is missing", "course": "is not written as it should be",
                              "note": "has 11 characters, more than 10"}


def test_a_browser_gets_the_form_to_fill_in_again(three):
    sent = {"name": '"><script>alert(1)</script>', "course": "ab", "note": "x" * 11}
    page = httpx.post(f"{three.url}/certificate", data=sent, headers={"accept": "text/html"})
    assert page.status_code == 400
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy and "form-action 'self'" in policy
    assert "<script" not in page.text
    assert 'value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in page.text
    assert 'value="ab"' in page.text and 'action="/certificate"' in page.text
    assert "is not written as it should be" in page.text and "has 11 characters, more than 10" in page.text
    assert page.text.count("aria-invalid") == 2
    again = httpx.post(f"{three.url}/certificate", data={"name": "Ada", "course": "AB-123", "note": ""})
    assert "for AB-123" in text_of(issued(again))


def test_asking_without_fields_shows_the_form(one):
    page = httpx.get(f"{one.url}/certificate", headers={"accept": "text/html"})
    assert page.status_code == 400 and '<form method="post" action="/certificate"' in page.text
    assert 'name="name"' in page.text and "required" in page.text
    assert page.headers["x-robots-tag"] == "noindex" and page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name,detail", [
    (b"", "is missing"),
    (b"a%00b", "has a control character (U+0000)"),
    (b"a%0d%0aSet-Cookie:x", "has a control character (U+000D)"),
    (b"%ff", "is not UTF-8"),
    (b"a%e2%80%aeb", "has a character that turns the text's direction (U+202E)"),
    (b"a%e2%81%a7b", "has a character that turns the text's direction (U+2067)"),
    (b"x" * 10000 + b"", None),
    (b"a&name=b", "is there twice"),
])
def test_hostile_fields_are_refused_with_the_reason(one, name, detail):
    if detail is None:
        answer = httpx.post(f"{one.url}/certificate", content=b"name=" + name,
                            headers={**JSON, "content-type": "application/x-www-form-urlencoded"})
        assert faults(answer) == {"name": "has 10000 characters, more than 200"}
        return
    answer = httpx.get(f"{one.url}/certificate?name=" + name.decode(), headers=JSON)
    assert faults(answer) == {"name": detail}


@pytest.mark.parametrize("name", [
    "<b>bold</b> & <i>", "&amp;&lt;&#65;&xxe;", "%PDF-1.4 %%EOF", "(brackets\\) \\(", "{{serial}} {{{name}}}",
    "%name% %timestamp%", "]]> -->", "endstream endobj", "' or 1=1 -- x", "../../etc/passwd",
])
def test_hostile_fields_are_only_text(one, name, tmp_path):
    answer = httpx.get(f"{one.url}/certificate", params={"name": name})
    pdf = issued(answer)
    assert is_sound(pdf, tmp_path)[0]
    assert name in text_of(pdf)


def test_scripts_of_the_world(one):
    for name in ["李小龙", "Владимир", "Ångström", "ἀρετή"]:
        assert name in text_of(issued(httpx.get(f"{one.url}/certificate", params={"name": name})))


@pytest.mark.parametrize("query,body,kind,says", [
    ("", b"name=%zz", "application/x-www-form-urlencoded", "the form has a %"),
    ("", b'{"name":"Ada"', "application/json", "the body is not JSON"),
    ("", b'["Ada"]', "application/json", "the body is not a JSON object"),
    ("", b"x", "multipart/form-data", "no boundary"),
])
def test_what_is_malformed_is_refused(one, query, body, kind, says):
    url = f"{one.url}/certificate?{query}"
    headers = {**JSON, **({"content-type": kind} if kind else {})}
    answer = httpx.request("GET" if body is None else "POST", url, content=body, headers=headers)
    assert says in refused(answer, 400, "malformed-request")["detail"]


def test_an_escape_of_the_query_that_is_none(one):
    done = subprocess.run(["curl", "-s", "-H", "accept: application/json", f"{one.url}/certificate?name=100%"],
                          capture_output=True, timeout=30)
    assert json.loads(done.stdout)["detail"] == "the query has a % that begins no escape like %20"


def test_bodies_of_other_kinds_and_sizes(one):
    url = f"{one.url}/certificate?name=Ada"
    answer = httpx.post(url, content=b"<name/>", headers={**JSON, "content-type": "text/xml"})
    refused(answer, 415, "unsupported-media-type")
    assert "application/json" in answer.headers["accept-post"]
    answer = httpx.post(url, content=b"x", headers={
        **JSON, "content-type": "application/json", "content-encoding": "gzip"})
    refused(answer, 415, "unsupported-media-type")
    answer = httpx.post(url, content=b"name=" + b"x" * 70000,
                        headers={**JSON, "content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 413


def test_the_disposition(start):
    one = start(section(more='filename = "{{name}} {{serial}}.pdf"'))

    def disposition(**params):
        answer = httpx.get(f"{one.url}/certificate", params=params)
        issued(answer)
        message = email.message.Message()
        message["content-disposition"] = answer.headers["content-disposition"]
        serial = re.search(r"certificates/([^>]+)>", answer.headers["link"])[1]
        name = answer.headers["content-disposition"].partition("filename*=UTF-8''")[2]
        name = urllib.parse.unquote(name) or message.get_filename()
        return message.get_content_disposition(), name.replace(serial, "SERIAL")

    assert disposition(name="Ada") == ("attachment", "Ada SERIAL.pdf")
    assert disposition(name="Ada", disposition="inline") == ("inline", "Ada SERIAL.pdf")
    assert disposition(name="Zoë <b>", disposition="attachment") == ("attachment", "Zoë <b> SERIAL.pdf")
    assert disposition(name="../x")[1] == "_._x SERIAL.pdf"
    answer = httpx.get(f"{one.url}/certificate?name=Ada&disposition=x", headers=JSON)
    assert faults(answer) == {"disposition": "is neither inline nor attachment"}


# -- templates that are filled in on the loop ------------------------------------------------------------------------


def filled_in(picture=""):
    """A one-page PDF of text that says where fields go; its font has what Latin-1 has."""
    content = "BT /F 24 Tf 50 300 Td (For %name%) Tj 0 -40 Td (on %timestamp%) Tj 0 -40 Td (number %serial%) Tj ET"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 6000 400] /Contents 4 0 R"
               " /Resources << /Font << /F 5 0 R >> /XObject << /P 6 0 R >> >> >>",
               f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
               f"<< /Type /XObject /Subtype /Form /BBox [0 0 1 1] /Length {len(picture)} >>\nstream\n{picture}\nendstream"]
    pdf, offsets = "%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(pdf))
        pdf += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return (f"{pdf}xref\n0 7\n0000000000 65535 f \n{table}trailer\n<< /Size 7 /Root 1 0 R >>\n"
            f"startxref\n{len(pdf)}\n%%EOF\n")


@pytest.fixture
def filled(gateway):
    config = REGISTER + section(template="filled.pdf") + section(
        "free", "/free", template="filled.pdf", more="register = false")
    return gateway(config, {"filled.pdf": filled_in()})


@pytest.mark.parametrize("path", ["/certificate", "/free"])
@pytest.mark.parametrize("name", ["Ada", "Zoë Ångström", "x" * 200, "(a\\) %name% %PDF <b>"])
def test_a_pdf_is_filled_in(filled, path, name, tmp_path):
    answer = httpx.get(f"{filled.url}{path}", params={"name": name})
    pdf = issued(answer)
    assert is_sound(pdf, tmp_path)[0], is_sound(pdf, tmp_path)
    assert f"For {name}" in text_of(pdf)
    kept = f"sha-256=:{base64.b64encode(hashlib.sha256(pdf).digest()).decode()}:"
    assert answer.headers.get("repr-digest") == (kept if path == "/certificate" else None)
    again = issued(httpx.get(f"{filled.url}{path}", params={"name": name}))
    assert (again == pdf) == (path == "/certificate")


def threads(site):
    tasks = pathlib.Path(f"/proc/{site.process.pid}/task")
    return {(task / "comm").read_text().strip() for task in tasks.iterdir()}


def test_a_loop_is_not_held_up_by_the_digest_of_a_large_one(gateway):
    comment = "% " + random.Random(1).randbytes(400_000).hex() + "\n"
    config = REGISTER + "".join(
        section(name, f"/{name}", template=f"{name}.pdf", more=more)
        for name, more in (("small", ""), ("large", ""), ("free", "register = false")))
    site = gateway(config, {"small.pdf": filled_in(), "large.pdf": filled_in(comment), "free.pdf": filled_in(comment)})
    for path in "small", "free":
        issued(httpx.get(f"{site.url}/{path}", params={"name": "Ada"}))
    assert not any(name.startswith("gw-compute") for name in threads(site))
    pdf = issued(httpx.get(f"{site.url}/large", params={"name": "Ada"}))
    assert len(pdf) > 256 * 1024 and "For Ada" in text_of(pdf)
    assert any(name.startswith("gw-compute") for name in threads(site))


@pytest.mark.parametrize("path", ["/certificate", "/free"])
def test_a_character_that_the_template_cannot_show_is_refused(filled, path):
    answer = httpx.get(f"{filled.url}{path}", params={"name": "Li 漢"}, headers=JSON)
    assert faults(answer) == {"name": "has a character that this certificate can't show: 漢 (U+6F22)"}
    page = httpx.get(f"{filled.url}{path}", params={"name": "Li 漢"}, headers={"accept": "text/html"})
    assert page.status_code == 400 and "漢 (U+6F22)" in page.text and 'value="Li 漢"' in page.text


def test_no_font_for_a_character(one):
    answer = httpx.get(f"{one.url}/certificate", params={"name": "a\ue000"}, headers=JSON)
    assert faults(answer) == {"name": "has a character that this certificate can't show: \ue000 (U+E000)"}


# -- parts ------------------------------------------------------------------------------------------------------------


def parts(url, asked="/people/{field.learner}.json"):
    return section(path="/courses/{course}", template="course.svg", more=f"""
[certificates.main.fields.learner]
[certificates.main.fields.course]
[certificates.main.fields.name]
from = "people.name.full"
max_length = 20
[certificates.main.parts.people]
path = "{asked}"
need = "required"
timeout = "500ms"
[upstreams.people]
url = "{url}"
""")


COURSE_PARTS_SVG = SVG.replace("number {{serial}}", "number {{serial}} {{learner}}")


def test_a_service_gives_a_field(gateway, nginx):
    people = nginx({"/people/7.json": {"name": {"full": "Ada Lovelace"}}, "/people/8.json": {"name": {}},
                    "/people/9.json": {"name": {"full": "x" * 21}}, "/people/10.json": {"name": {"full": "a\u202eb"}}})
    one = gateway(REGISTER + parts(people.url), {"course.svg": COURSE_PARTS_SVG})
    text = text_of(issued(httpx.get(f"{one.url}/courses/sea?learner=7&name=Mallory")))
    assert "Ada Lovelace" in text and "for sea" in text and "Mallory" not in text
    for learner, says in [(8, "the field name of the service's answer (people.name.full) is missing"),
                          (9, "has 21 characters, more than 20"), (10, "turns the text's direction (U+202E)")]:
        answer = httpx.get(f"{one.url}/courses/sea?learner={learner}", headers=JSON)
        assert says in refused(answer, 502, "field-unusable")["detail"]
    assert httpx.get(f"{one.url}/courses/sea?learner=11", headers=JSON).status_code == 502
    asked = len(people.requests())
    assert faults(httpx.get(f"{one.url}/courses/sea", headers=JSON)) == {"learner": "is missing"}
    assert len(people.requests()) == asked
    record = one.access(1, lambda record: record["status"] == 200)[0]
    assert record["route"] == "main" and record["parts"]


def test_a_service_that_is_away_issues_nothing(gateway, faults):
    one = gateway(REGISTER + parts(faults.url, "/late/30"), {"course.svg": COURSE_PARTS_SVG})
    answer = httpx.get(f"{one.url}/courses/sea?learner=7", headers=JSON)
    assert answer.status_code == 504, answer.text
    assert answer.headers["x-robots-tag"] == "noindex"


# -- again ------------------------------------------------------------------------------------------------------------


def test_the_same_fields_give_the_same_bytes(one):
    url = f"{one.url}/certificate"
    first = httpx.get(url, params={"name": "Ada"})
    pdf = issued(first)
    for answer in [httpx.get(url, params={"name": "Ada"}), httpx.post(url, json={"name": " Ada "}),
                   httpx.get(url, params={"name": "Ada", "utm_source": "x"})]:
        assert issued(answer) == pdf
        for name in ["etag", "repr-digest", "link"]:
            assert answer.headers[name] == first.headers[name]
    assert issued(httpx.get(url, params={"name": "ada"})) != pdf


def test_many_at_once_get_one_certificate(one):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: httpx.get(f"{one.url}/certificate?name=Ada"), range(32)))
    assert len({issued(answer) for answer in answers}) == 1


def test_what_was_issued_survives_the_gateway(one):
    pdf = issued(httpx.get(f"{one.url}/certificate?name=Ada"))
    one.stop()
    one.start()
    assert issued(httpx.get(f"{one.url}/certificate?name=Ada")) == pdf


def test_without_register_each_one_is_new(start):
    one = start(section(more="register = false"))
    answers = [httpx.get(f"{one.url}/certificate?name=Ada") for _ in range(2)]
    first, second = map(issued, answers)
    assert first != second and "link" not in answers[0].headers


def test_an_idempotency_key(one):
    url = f"{one.url}/certificate"
    key = {"idempotency-key": '"9b2f \\"x\\""'}
    pdf = issued(httpx.post(url, json={"name": "Ada"}, headers=key))
    assert issued(httpx.post(url, json={"name": "Ada"}, headers=key)) == pdf
    refused(httpx.post(url, json={"name": "Bob"}, headers=key), 422, "idempotency-key-reused")
    assert issued(httpx.post(url, json={"name": "Bob"}, headers={"idempotency-key": '"9b2f"'})) != pdf


@pytest.mark.parametrize("key", ["bare", '""', '"open', 'open"', '"a"b"', '"a\\x"', '"' + "k" * 256 + '"', '"a";b'])
def test_an_idempotency_key_that_is_none(one, key):
    answer = httpx.post(f"{one.url}/certificate", json={"name": "Ada"}, headers={"idempotency-key": key})
    assert "Idempotency-Key" in refused(answer, 400, "malformed-request")["detail"]


def serial_of(answer):
    issued(answer)
    return re.search(r"certificates/([^>]+)>", answer.headers["link"])[1]


def test_the_link_of_the_answer_leads_to_its_verify_page(one):
    answer = httpx.get(f"{one.url}/certificate?name=Ada")
    serial = serial_of(answer)
    status = httpx.get(f"{one.url}/certificates/{serial}", headers=JSON).json()
    assert status["status"] == "valid"
    said = httpx.post(f"{one.url}/certificates/verify", content=answer.content,
                      headers={**JSON, "content-type": "application/pdf"}).json()
    assert said["status"] == "valid"


def test_one_that_was_revoked_is_not_issued_again(one):
    url = f"{one.url}/certificate"
    key = {"idempotency-key": '"first"'}
    serial = serial_of(httpx.post(url, json={"name": "Ada"}, headers=key))
    done = command("certificate", "revoke", serial, "-c", one.config)
    assert done.returncode == 0, done.stderr
    refused(httpx.post(url, json={"name": "Ada"}), 410, "certificate-revoked")
    refused(httpx.post(url, json={"name": "Ada"}, headers=key), 410, "certificate-revoked")
    issued(httpx.post(url, json={"name": "Bob"}))


def test_one_that_was_superseded_gives_way_to_a_new_one(one):
    url = f"{one.url}/certificate"
    key = {"idempotency-key": '"first"'}
    first = serial_of(httpx.post(url, json={"name": "Ada"}, headers=key))
    done = command("certificate", "supersede", first, "-c", one.config)
    assert done.returncode == 0, done.stderr
    second = serial_of(httpx.post(url, json={"name": "Ada"}))
    assert second != first
    assert serial_of(httpx.get(url, params={"name": "Ada"})) == second
    problem = refused(httpx.post(url, json={"name": "Ada"}, headers=key), 410, "certificate-superseded")
    assert second in problem["detail"]


def test_a_quota_is_kept(start):
    one = start(section(more='quota = "20KiB"'))
    statuses = [httpx.get(f"{one.url}/certificate?name=n{i}", headers=JSON).status_code for i in range(12)]
    assert statuses[0] == 200 and statuses[-1] == 507
    assert set(statuses) == {200, 507}
    assert httpx.get(f"{one.url}/certificate?name=n0").status_code == 200


# -- load -------------------------------------------------------------------------------------------------------------


def test_a_full_queue_says_so(start):
    one = start(section(more="register = false") + "[offload]\nthreads = 1\nmax_queue = 1\n")
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(
            lambda i: httpx.get(f"{one.url}/certificate?name=n{i}", headers=JSON, timeout=60), range(96)))
    busy = [answer for answer in answers if answer.status_code == 503]
    assert busy and len(busy) < len(answers)
    for answer in busy:
        assert refused(answer, 503, "busy") and answer.headers["retry-after"] == "1"
    for answer in answers:
        if answer.status_code != 503:
            issued(answer)


def test_clients_that_leave_leave_nothing_behind(start):
    one = start(section() + "[offload]\nthreads = 1\n")
    for i in range(60):
        client = socket.create_connection(one.host_port)
        client.sendall(b"GET /certificate?name=left%d HTTP/1.1\r\nHost: x\r\n\r\n" % i)
        client.close()
    issued(httpx.get(f"{one.url}/certificate?name=stayed", timeout=60))
    files = one.open_files()
    until(lambda: one.open_files() <= files, "the connections' end")
    assert issued(httpx.get(f"{one.url}/certificate?name=left7")) == issued(
        httpx.get(f"{one.url}/certificate?name=left7"))


def test_threads_that_draw_give_way(one):
    issued(httpx.get(f"{one.url}/certificate?name=Ada"))
    nice = {}
    for task in pathlib.Path(f"/proc/{one.process.pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        nice[name] = int((task / "stat").read_text().rpartition(")")[2].split()[16])
    assert nice["gw-compute"] == min(nice["gw-loop-0"] + 10, 19)  # there is none above 19


# -- what would keep a thread busy ------------------------------------------------------------------------------------

PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="200mm" height="100mm" viewBox="0 0 800 400">
<style>.name {fill: {{colour}}}</style>
<text x="20" y="80" font-size="40" font-family="DejaVu Sans" class="name">{{name}}</text>
{{#photo}}<image href="{{.}}" width="100" height="100"/>{{/photo}}
</svg>
"""
# Some hundred bytes, minutes of drawing.
SLOW = "data:image/svg+xml;base64," + base64.b64encode(
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9000" height="9000">'
    b'<filter id="f" x="0" y="0" width="9000" height="9000">'
    + b'<feTurbulence baseFrequency="0.9" numOctaves="90"/>' * 4
    + b'</filter><rect filter="url(#f)" width="9000" height="9000"/></svg>').decode()


def test_a_value_brings_no_picture_and_no_style(gateway):
    more = "register = false\n[certificates.main.fields.name]\n" + "".join(
        f"[certificates.main.fields.{name}]\nrequired = false\nmax_length = 1000\n" for name in ("photo", "colour"))
    one = gateway(section(more=more), {"certificate.svg": PICTURE, "red.svg": PLAIN})
    url = f"{one.url}/certificate"
    for field, value in [("photo", SLOW), ("photo", SLOW.replace("data:", "DATA:")),
                         ("colour", "red; filter: blur(500px)"), ("colour", r"url(d\61ta\3a,x)")]:
        answer = httpx.post(url, json={"name": "Ada", field: value}, timeout=60)
        assert "that this certificate can't show" in faults(answer)[field], value
    issued(httpx.post(url, json={"name": "data: a\\b", "colour": "red", "photo": "red.svg"}, timeout=60))


def test_a_line_that_takes_too_long_is_none(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "certificate.svg").write_text(PLAIN)
    (tmp_path / "long.toml").write_text(
        REGISTER + section(more="[certificates.main.fields.name]\nmax_length = 1001\n"))
    done = command("check", "-c", "long.toml", cwd=tmp_path)
    assert done.returncode == 78
    assert "max_length: on an .svg template a field has at most 1000 characters" in done.stderr
