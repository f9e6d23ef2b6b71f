"""Configurations of certificates that are wrong: one line each, where it is and what to do."""

import os
import pathlib
import subprocess

import pytest

from gateway import command

ROOT = pathlib.Path(__file__).resolve().parents[2]

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="200mm" height="100mm" viewBox="0 0 800 400">
<text x="20" y="80" font-size="40" font-family="DejaVu Sans">{{name}}</text>
</svg>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a template, two keys with their certificates, and one that others may read."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "templates").mkdir()
    (folder / "templates" / "c.svg").write_text(SVG)
    (folder / "templates" / "c.txt").write_text("no template")
    for name in "ab":
        assert command("keygen", "--out", name, cwd=folder).returncode == 0
    (folder / "loose.pem").write_bytes((folder / "a.key.pem").read_bytes())
    os.chmod(folder / "loose.pem", 0o644)
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", "a.key.pem", "-out", "locked.pem",
                    "-passout", "pass:sesame"], cwd=folder, check=True, capture_output=True)
    os.chmod(folder / "locked.pem", 0o600)
    return folder


def text(more="", fields="", sign="", parts="", register='url = "https://example.org/certificates"',
         rest="", path='path = "/cert"', template="c.svg"):
    """Lines 1 to 3 are the section's own, `more` begins on line 4."""
    return (f'[certificates.c]\n{path}\ntemplate = "{template}"\n{more}\n'
            f'[certificates.c.fields.name]\n{fields}\n'
            f'[certificates.c.sign]\n{sign}\n{parts}\n[register]\n{register}\n{rest}\n')


def check(site, config, **env):
    (site / "site.toml").write_text(config)
    done = command("check", "-c", "site.toml", cwd=site, env=env)
    return done.returncode, done.stderr.replace(f"{site}/", "").strip()


def key(name="a.key.pem", certificate="a.cert.pem", more=""):
    return f'key = "{name}"\ncertificate = "{certificate}"\n{more}'


UPSTREAM = '[upstreams.people]\nurl = "http://127.0.0.1:1"\n'

WRONG = {
    "template that isn't there": (
        text(template="no.svg"), '3:12: error: no template "no.svg" in templates'),
    "PDF that isn't there": (
        text(template="no.pdf"), '3:12: error: no template "no.pdf" in templates'),
    "another ending": (
        text(template="c.txt"),
        '3:12: error: a certificate\'s template ends with .svg or .pdf, not "c.txt"'),
    "no path": (
        text(path=""),
        '1:1: error: missing key "path": where certificates are asked for, "/certificate"'),
    "two on a path": (
        text(rest='[certificates.d]\npath = "/cert"\ntemplate = "c.svg"'),
        '13:8: error: path "/cert" is also the path of "c"'),
    "time zone": (
        text('time_zone = "Europe/Pris"'),
        '4:13: error: there is no time zone "Europe/Pris" (they are named like "Europe/Paris"; is '
        'tzdata installed?)'),
    "another file as time zone": (
        text('time_zone = "../../../etc/passwd"'),
        '4:13: error: there is no time zone "../../../etc/passwd" (they are named like '
        '"Europe/Paris"; is tzdata installed?)'),
    "rate": (
        text('rate_limit = "30 per minute"'),
        '4:14: error: "30 per minute" is no rate; expected a number from 1 to 1000000 and /s, /m, '
        '/h or /d, like "30/m"'),
    "unknown field in filename": (
        text('filename = "{{nmae}}.pdf"'),
        '4:12: error: filename: there is no field "nmae"; did you mean "name"?'),
    "unknown field in title": (
        text('title = "{{#course}}of {{course}}{{/course}}"'),
        '4:9: error: title: there is no field "course"\n'
        '4:9: error: title: there is no field "course"'),
    "unknown field in show": (
        text('show = ["nmae"]'), '4:9: error: show: there is no field "nmae"; did you mean "name"?'),
    "pattern": (
        text(fields='pattern = "[a-"'),
        '6:11: error: pattern: missing terminating ] for character class, at character 3 of "[a-"'),
    "source": (
        text(fields='from = "qurey.name"'),
        '6:8: error: from: nothing is named "qurey"; did you mean "query.name"?'),
    "part as source": (
        text(fields='from = "poeple.name"', parts="[certificates.c.parts.people]", rest=UPSTREAM),
        '6:8: error: from: nothing is named "poeple"; did you mean "people.name"?'),
    "constant that no request could send": (
        text(fields='value = "abcdef"\nmax_length = 3'),
        '6:9: error: value: "abcdef" has 6 characters, more than 3'),
    "fallback that no request could send": (
        text(fields='fallback = "abc"\npattern = "[0-9]+"'),
        '6:12: error: fallback: "abc" is not written as it should be'),
    "field in a part's path": (
        text(parts='[certificates.c.parts.people]\npath = "/by/{field.nmae}"', rest=UPSTREAM),
        '10:14: error: no field "nmae" comes from the request; did you mean "field.name"?'),
    "field that a part's path waits for": (
        text(fields='from = "people.name"', rest=UPSTREAM,
             parts='[certificates.c.parts.people]\npath = "/by/{field.name}"'),
        '10:14: error: no field "name" comes from the request'),
    "no url": (
        text(register=""),
        "1:1: error: certificates that are registered need [register] url, where they are verified "
        "(or say register = false)"),
    "url of another route": (
        text(register='url = "https://example.org/cert"'),
        '11:7: error: path "/cert" is also the path of "c"'),
    "no such key": (
        text(sign=key("no.pem")), "8:7: error: no.pem: cannot be read: No such file or directory"),
    "no such certificate": (
        text(sign=key(certificate="no.pem")),
        "9:15: error: no.pem: cannot be read: No such file or directory"),
    "certificate of another key": (
        text(sign=key(certificate="b.cert.pem")),
        "9:15: error: b.cert.pem: the certificate is not of the key in a.key.pem"),
    "key that others may read": (
        text(sign=key("loose.pem")),
        "8:7: warning: loose.pem: others than its owner may use it (mode 0644): chmod 600 it"),
    "key without its password": (
        text(sign=key("locked.pem")),
        "8:7: error: locked.pem: the key is encrypted: its password is needed"),
    "another password": (
        text(sign=key("locked.pem", more='password = "${WRONG}"')),
        "8:7: error: locked.pem: the key is encrypted with another password"),
    "authority": (
        text(sign=key(more='timestamp = "tsa"')),
        "10:13: error: timestamp: there is no [upstreams.tsa]"),
    "rectangle": (
        text(sign=key(more='rect = "nan inf 1 1"')),
        '10:8: error: rect: "nan inf 1 1" is not "x y width height" in points, from 0 to 14400'),
    "rectangle of nothing": (
        text(sign='rect = "10 10 0 50"'),
        '8:8: error: rect: "10 10 0 50" is not "x y width height" in points, from 0 to 14400'),
}


@pytest.mark.parametrize("name", WRONG)
def test_check_tells_it_once_and_where(site, name):
    config, expected = WRONG[name]
    code, told = check(site, config, WRONG="sesami")
    assert told.replace("site.toml:", "") == expected
    assert code == (78 if ": error: " in expected else 0)


def test_a_keys_password_is_as_long_as_it_is(site):
    locked = key("locked.pem", more='password = "${RIGHT}"')
    assert check(site, text(sign=locked), RIGHT="sesame") == (0, "")


def test_a_certificate_that_would_be_blank_is_an_error(site):
    """Where no font is installed, librsvg draws everything but text, and says nothing."""
    (site / "fonts.conf").write_text("<fontconfig></fontconfig>")
    code, told = check(site, text(), FONTCONFIG_FILE=str(site / "fonts.conf"))
    assert code == 78
    assert told.startswith("site.toml:3:12: error: no font is installed"), told


def test_explain_tells_who_is_issued_what(site):
    config = text('open = true\nrate_limit = "5/s"', parts='[certificates.c.parts.people]\n'
                  'path = "/by/{field.name}"\nneed = "required"\n[certificates.c.fields.team]\n'
                  'from = "people.team"\nrequired = false', sign=key(), rest=UPSTREAM)
    (site / "site.toml").write_text(config)
    (site / "templates" / "c.svg").write_text(SVG.replace("{{name}}", "{{name}} of {{team}}"))
    try:
        done = command("explain", "-c", "site.toml", "GET", "/cert?name=Ada", cwd=site)
        assert (done.returncode, done.stderr) == (0, "")
        for line in (
            "certificate c", "  path      /cert",
            "  for       anybody, 5/s a client; tokens aren't counted",
            '  signed    by "Certificate issuer"',
            "  register  yes, verified at https://example.org/certificates/SERIAL",
            "  name        body, query, required, at most 200 characters",
            "  team        people.team, may be left out, at most 200 characters",
            "  serial      made when it is issued",
            "  people: GET /by/{field.name} of people, required",
            "  {{team}}",
        ):
            assert line in done.stdout.splitlines(), (line, done.stdout)
        ran = command("explain", "-c", "site.toml", "--run", "POST", "/cert", cwd=site)
        assert ran.returncode == 1 and "gateway certificate preview c" in ran.stderr
    finally:
        (site / "templates" / "c.svg").write_text(SVG)
