"""check, print-config, explain, healthcheck, version: what they print and their exit codes."""

import pathlib
import re

import pytest
import tomllib

from conftest import free_port
from gateway import command

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write(folder, text, templates=None):
    (folder / "templates").mkdir()
    for name, content in (templates or {}).items():
        (folder / "templates" / name).write_text(content)
    (folder / "site.toml").write_text(text)
    return "site.toml"


def test_check_prints_every_error_at_once(tmp_path):
    text = """\
[server]
listen = ["127.0.0.1:8080"]
wrokers = 2
drain_timeout = 10

[upstreams.promo]
url = "http://127.0.0.1:9101"
timeout = "80 parsecs"
max_body = "lots"

[upstreams.ftp]
url = "ftp://example"

[pages.home]
path = "/"
template = "index.html"
[pages.home.parts.promo]
[pages.home.parts.recco]
upstream = "promos"
[pages.home.parts.request]
upstream = "promo"

[pages.again]
path = "/"
template = "missing.html"
[pages.bad]
path = "/p/{id}"
[pages.bad.parts.promo]
path = "/x/{path.ib}/{+query.a}"
"""
    templates = {"index.html": "<ul>\n  {{#promo.items}}\n    {{name}}\n"}
    name = write(tmp_path, text, templates)
    done = command("check", "-c", name, cwd=tmp_path)
    assert done.returncode == 78
    for expected in (
        'site.toml:3:1: error: ', "wrokers", 'did you mean "workers"',
        "site.toml:4:", "site.toml:8:", "site.toml:9:", "site.toml:12:",
        "promos", 'did you mean "promo"', "request", "missing.html",
        "index.html:2:3: error: ",
        'did you mean "path.id"', "reserved expansion",
    ):
        assert expected in done.stderr, (expected, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert all(": error: " in line for line in lines)
    again = [line for line in lines if "site.toml:23" in line or "site.toml:24" in line]
    assert any('"/"' in line or "same path" in line for line in again), lines
    assert len(lines) >= 11


def test_what_is_missing_is_told_once(tmp_path):
    text = """\
[upstreams.bare]
[upstreams.wrong]
url = 7
[upstreams.unset]
url = "http://${NOT_SET_ANYWHERE}/"
[pages.home]
[pages.home.parts.bare]
path = "/x/{path.id}"
[static.no_dir]
path = "/a"
[static.no_path]
dir = "."
[static.nothing]
"""
    done = command("check", "-c", write(tmp_path, text), cwd=tmp_path)
    assert done.returncode == 78
    places = [line.split(": error: ")[0] for line in done.stderr.splitlines()]
    assert places == [
        "site.toml:1:1", "site.toml:3:7", "site.toml:5:15", "site.toml:6:1", "site.toml:9:1",
        "site.toml:11:1", "site.toml:13:1", "site.toml:13:1",
    ], done.stderr


def test_check_stops_at_what_is_not_toml(tmp_path):
    done = command("check", "-c", write(tmp_path, "[server\nlisten = 1\n"), cwd=tmp_path)
    assert done.returncode == 78
    assert done.stderr.startswith("site.toml:1:") and done.stderr.count("\n") == 1


def test_check_of_a_missing_file(tmp_path):
    done = command("check", "-c", "none.toml", cwd=tmp_path)
    assert done.returncode == 78
    assert "none.toml" in done.stderr and "No such file" in done.stderr


def test_check_needs_no_network(tmp_path):
    text = '[upstreams.u]\nurl = "http://nowhere.invalid"\n[pages.p]\npath = "/"\n[pages.p.parts.u]\n'
    done = command("check", "-c", write(tmp_path, text), cwd=tmp_path, timeout=20)
    assert done.returncode == 0, done.stderr


def test_the_projects_own_configuration_is_good():
    done = command("check", "-c", ROOT / "config.toml", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_print_config_reads_back_the_same_and_shows_no_secret(tmp_path):
    text = """
[upstreams.u]
url = "http://${HOST:-127.0.0.1}:9101"
[upstreams.u.set_headers]
Authorization = "Bearer ${TOKEN}"
[pages.p]
path = "/"
[pages.p.parts.u]
path = "/a{?query.b}"
"""
    env = {"TOKEN": "s3cret-value"}
    first = command("print-config", "-c", write(tmp_path, text), cwd=tmp_path, env=env)
    assert first.returncode == 0, first.stderr
    assert "s3cret" not in first.stdout and "${TOKEN}" in first.stdout
    parsed = tomllib.loads(first.stdout)
    assert parsed["server"]["listen"] == ["127.0.0.1:8080"]
    assert parsed["upstreams"]["u"]["max_inflight"] == 256
    (tmp_path / "again.toml").write_text(first.stdout)
    second = command("print-config", "-c", "again.toml", cwd=tmp_path, env=env)
    without_name = lambda text: text.partition("\n")[2]  # the first line names the file
    assert without_name(second.stdout) == without_name(first.stdout)


def test_a_literal_secret_is_refused(tmp_path):
    text = '[upstreams.u]\nurl = "http://a"\n[upstreams.u.set_headers]\nAuthorization = "Bearer abc"\n'
    done = command("check", "-c", write(tmp_path, text), cwd=tmp_path)
    assert done.returncode == 78
    assert "site.toml:4:" in done.stderr and "abc" not in done.stderr


def test_an_unset_variable_is_an_error_with_its_name(tmp_path):
    done = command("check", "-c", write(tmp_path, '[upstreams.u]\nurl = "${NOT_SET_HERE}"\n'), cwd=tmp_path)
    assert done.returncode == 78 and "NOT_SET_HERE" in done.stderr


EXPLAINED = """
[upstreams.u]
url = "{url}"
timeout = "750ms"
[pages.product]
path = "/product/{{id}}"
deadline = "1500ms"
[pages.product.parts.product]
upstream = "u"
path = "/ok?id={{path.id}}"
need = "required"
[pages.product.parts.other]
upstream = "u"
path = "/status/500"
"""


def test_explain_prints_the_plan_and_runs_it(tmp_path, faults):
    name = write(tmp_path, EXPLAINED.format(url=faults.url))
    plan = command("explain", "-c", name, "GET", "/product/a%20b", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    for word in ("product", "other", "required", "optional", "750 ms", "1500 ms",
                 f"{faults.url}/ok?id=a%20b", f"{faults.url}/status/500"):
        assert word in plan.stdout, (word, plan.stdout)
    assert faults.requests == [], "the plan alone asks nobody"
    run = command("explain", "-c", name, "--run", "GET", "/product/7", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    for word in ("queue", "dns", "connect", "tls", "first byte", "total", "ok", "error", "500"):
        assert word in run.stdout.lower(), (word, run.stdout)
    assert {path for path, _ in faults.requests} == {"/ok?id=7", "/status/500"}


def test_explain_fails_when_a_required_part_does(tmp_path, faults):
    text = EXPLAINED.format(url=faults.url).replace("/ok?id=", "/status/503?id=")
    run = command("explain", "-c", write(tmp_path, text), "--run", "GET", "/product/7", cwd=tmp_path)
    assert run.returncode == 1 and "503" in run.stdout


def test_explain_prints_nothing_that_a_terminal_obeys(tmp_path, faults):
    text = EXPLAINED.format(url=faults.url).replace("/status/500", "/type-with-escapes")
    run = command("explain", "-c", write(tmp_path, text), "--run", "GET", "/product/7", cwd=tmp_path)
    assert "content type ?]0;mine??[31m/x is not JSON" in run.stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", run.stdout)


def test_explain_shows_no_secret(tmp_path, faults):
    (tmp_path / "cookie").write_text("from-a-file")
    text = EXPLAINED.format(url=faults.url).replace("/status/500", "/status/500?key=${A_SECRET}") + """\
method = "POST"
body = '{"key": "${A_SECRET}", "kind": "any"}'
when = "query.key != '${A_SECRET}'"
headers = { Authorization = "Bearer ${A_SECRET}", Cookie = { file = "cookie" }, X-Kind = "any" }
[pages.product.parts.other.fallback]
path = "/status/500?fallback={query.q}&key=${A_SECRET}"
static = '{"key": "${A_SECRET}"}'
"""
    for run in ((), ("--run",)):
        done = command("explain", "-c", str(write(tmp_path, text) if not run else "site.toml"), *run,
                       "GET", "/product/7?q=1", cwd=tmp_path, env={"A_SECRET": "hunter2"})
        assert done.returncode == 0, done.stderr
        assert "hunter2" not in done.stdout + done.stderr and "from-a-file" not in done.stdout
        for line in ("when query.key != '${A_SECRET}'", "Authorization: Bearer ${A_SECRET}",
                     "Cookie: { file }", "X-Kind: any",
                     'body {"key": "${A_SECRET}", "kind": "any"}', 'static {"key": "${A_SECRET}"}',
                     "/status/500?key=${A_SECRET}", "/status/500?fallback={query.q}&key=${A_SECRET}"):
            assert line in done.stdout, (line, done.stdout)


def test_explain_takes_headers(tmp_path, faults):
    text = EXPLAINED.format(url=faults.url).replace("{path.id}", "{header.accept-language}&x={header.x-y}")
    done = command("explain", "-c", write(tmp_path, text), "-H", "Accept-Language: de", "-H", "X-Y:  a b",
                   "GET", "/product/7", cwd=tmp_path)
    assert "/ok?id=de&x=a%20b" in done.stdout, done.stderr
    wrong = command("explain", "-c", "site.toml", "-H", "no colon", "GET", "/product/7", cwd=tmp_path)
    assert wrong.returncode == 2 and "no colon" in wrong.stderr


def test_explain_of_no_page(tmp_path, faults):
    name = write(tmp_path, EXPLAINED.format(url=faults.url))
    done = command("explain", "-c", name, "GET", "/nowhere", cwd=tmp_path)
    assert done.returncode == 1 and "404" in done.stderr


def test_healthcheck(gateway, faults):
    one = gateway(f'[upstreams.u]\nurl = "{faults.url}"\n[pages.p]\npath = "/"\n[pages.p.parts.u]\n')
    good = command("healthcheck", one.admin + "/readyz")
    assert good.returncode == 0, good.stderr
    assert command("healthcheck", one.admin + "/nowhere").returncode == 1
    nobody = command("healthcheck", f"http://127.0.0.1:{free_port()}/readyz")
    assert nobody.returncode == 1 and nobody.stderr
    by_environment = command("healthcheck", env={"GATEWAY_ADMIN": one.admin.removeprefix("http://")})
    assert by_environment.returncode == 0


@pytest.mark.parametrize("arguments,code,expected", [
    (["--help"], 0, "Commands:"),
    (["version"], 0, "gateway "),
    (["chekc"], 2, 'did you mean "check"'),
    (["--no-such-option"], 2, "gateway run: unknown option '--no-such-option'"),
    (["check", "--no-such-option"], 2, "--no-such-option"),
    (["explain", "GET"], 2, "Usage"),
    *[([name, "--help"], 0, f"Usage: gateway {name}") for name in
      ("run", "check", "explain", "print-config", "stub", "healthcheck", "sign-url",
       "token", "keygen", "version")],
])
def test_usage_and_exit_codes(arguments, code, expected):
    done = command(*arguments)
    assert done.returncode == code
    assert expected in done.stdout + done.stderr


SHARED_FOLDER = """\
[server]
listen = ["127.0.0.1:8080"]
[uploads.main]
path = "/upload"
dir = "{dir}"
auth = "public"
[downloads.files]
path = "{path}"
from = "main"
{more}
"""


@pytest.mark.parametrize("values, expected", [
    ({"dir": "site.toml"},  # the download that reads it says nothing more
     [('site.toml:5:7: error: cannot keep files in "', 'site.toml": Not a directory')]),
    ({"path": "/upload/"},
     [("site.toml:8:8: error: ", 'is also the path of the upload "main"')]),
    ({"more": '[uploads.again]\npath = "/upload"\ndir = "again"\nauth = "public"'},
     [('site.toml:11:8: error: path "/upload" is also the path of "main"', "")]),
])
def test_what_is_wrong_with_an_upload_is_told_once(tmp_path, values, expected):
    text = SHARED_FOLDER.format(**({"dir": "up", "path": "/files", "more": ""} | values))
    done = command("check", "-c", write(tmp_path, text), cwd=tmp_path)
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected), done.stderr
    for line, (start, end) in zip(lines, expected):
        assert line.startswith(start) and end in line, line


def test_check_counts_uploads_and_explain_names_what_is_no_page(tmp_path):
    name = write(tmp_path, SHARED_FOLDER.format(dir="up", path="/files", more=""))
    done = command("check", "-c", name, cwd=tmp_path)
    assert done.stdout.endswith("good: 0 pages, 0 upstreams, 1 upload, 1 download, 0 certificates, 0 routes\n"), done
    done = command("explain", "-c", name, "PUT", "/upload/x", cwd=tmp_path)
    assert done.returncode == 1
    assert 'PUT /upload/x is answered by "main", which is neither a page nor a route nor a certificate' in done.stderr
    assert not (tmp_path / "up").exists() and not (tmp_path / "data").exists()
