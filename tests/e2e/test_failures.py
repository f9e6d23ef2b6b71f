"""Memory that isn't there and a disk that doesn't write: whichever allocation or write fails, what was
asked for ends in an error, or the process does with a word about it; nothing that was acknowledged is
lost, nothing is half there, and no answer that was passed off as whole is wrong.

GW_FAILURES=all tries many more places (`make failure-check`)."""

import contextlib
import errno
import hashlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import time

import httpx
import pytest

from failing import FAILED, FILES, FILES_COUNT, MEMORY, MEMORY_COUNT, Failing
from gateway import BINARY, ENVIRONMENT, SANITIZED, Gateway, command, until
from scripted import Origin

pytestmark = pytest.mark.skipif(SANITIZED, reason="the sanitizer has an allocator of its own")

ALL = os.environ.get("GW_FAILURES") == "all"
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="90mm" height="50mm" viewBox="0 0 400 200">
<text x="20" y="80" font-size="30" font-family="DejaVu Sans">{{name}} {{serial}}</text></svg>"""
CONFIG = """
[server]
listen = ["127.0.0.1:0"]
workers = 1
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
access = "access.log"
[data]
dir = "data"
[cache]
last_good = "last-good"
[upstreams.shop]
url = "{url}"
[pages.home]
path = "/"
template = "home.html"
[pages.home.parts.promo]
upstream = "shop"
path = "/promo"
[pages.home.parts.recco]
upstream = "shop"
path = "/recco"
cache.enabled = true
cache.last_good = true
cache.ttl = "1ms"
[routes.through]
path = "/through"
to = "/"
upstream = "shop"
[uploads.main]
path = "/upload"
dir = "up"
auth = "public"
[downloads.main]
path = "/files"
from = "main"
[certificates.course]
path = "/certificate"
template = "course.svg"
open = true
rate_limit = ""
[register]
url = "https://shop.example/certificates/"
"""
TEMPLATES = {"home.html": "<h1>{{promo.title}}</h1>{{#recco.items}}<li>{{.}}{{/recco.items}}!",
             "course.svg": SVG}
PAGE = "<h1>Sale</h1><li>1<li>2!"
LAST_WORDS = re.compile(r"assertion failed|no memory|fatal|bad_alloc|out of memory|failed to allocate", re.I)


# What draws certificates and what tells files' types doesn't always look whether there is memory
# (fontconfig, expat below it, libmagic, h2o's table of media types), or ends the process when there isn't (GLib). There the
# report of the crash is the word.
FOREIGN = re.compile(
    r"msg=\"backtrace\"\n.*\n.*libc\.so.*\n(?:.*libc\.so.*\n)*.*/lib"
    r"(?:magic|fontconfig|expat|glib|gobject|pango|cairo|rsvg|freetype|harfbuzz|xml2|h2o.*\n.*h2o_mimemap)"
).search


def died_with_a_word(code, said):
    """It ended by itself, and says why: never by a wild pointer of ours."""
    if code in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGTRAP):
        return FOREIGN(said)
    return code in (-signal.SIGABRT, 70, 71, 78, 1) and LAST_WORDS.search(said)


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/promo", {"body": {"title": "Sale"}})
    one.serves("/recco", {"body": {"items": [1, 2]}})
    one.serves("/big", {"body": b"0123456789abcdef" * 20000})
    yield one
    one.stop()


SITES = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    """After a test that failed, too."""
    yield
    for site in SITES:
        if site.one.process is not None and site.one.process.poll() is None:
            site.one.process.kill()
            site.one.process.wait()
    SITES.clear()


class Site:
    """A gateway that may die of what fails, and is begun again on the same folders."""

    def __init__(self, folder, origin):
        SITES.append(self)
        self.failing = Failing(folder / "failing")
        self.one = Gateway(folder / "gateway", CONFIG.format(url=origin.url), TEMPLATES)
        self.preloaded = {**self.one.env, **self.failing.env}
        self.plain = dict(self.one.env)
        self.uploads, self.certificates, self.deaths = {}, {}, 0
        self.start()

    def start(self, preloaded=True):
        self.one.env = self.preloaded if preloaded else self.plain
        self.one.start()
        self.http = httpx.Client(base_url=self.one.url, trust_env=False, timeout=20)

    def end(self):
        """As nothing fails any more."""
        self.http.close()
        self.one.process.send_signal(signal.SIGTERM)
        code = self.one.process.wait(30)
        assert code == 0, (code, self.one.log()[-3000:])

    def settle(self):
        """After something failed: the process serves on, or has ended with a word."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.one.process.wait(0.02 if self.one.process.poll() is None else 0)
        if self.one.process.poll() is None:
            # it may be writing its last words
            try:
                assert self.http.get("/promo-not-there").status_code == 404
                return
            except httpx.HTTPError:
                self.one.process.wait(20)
        code, said = self.one.process.returncode, self.one.log()
        assert died_with_a_word(code, said), (code, said[-3000:])
        self.deaths += 1
        self.http.close()
        self.start()

    def check(self):
        """All that was acknowledged is there, in a process that knows nothing of failures."""
        self.end()
        self.start(preloaded=False)
        up = self.one.folder / "up"
        for name, content in self.uploads.items():
            answer = self.http.get(name)
            assert (answer.status_code, answer.content) == (200, content), name
        whole = {p.name for p in up.iterdir() if p.is_file()}
        # a crash may leave a whole file that was never acknowledged, but none that is half there
        for path in (p for p in up.iterdir() if p.is_file()):
            assert hashlib.sha256(path.read_bytes()).hexdigest() in KNOWN, path
        assert len(whole) >= len(self.uploads)
        for serial, content in self.certificates.items():
            answer = self.http.get(f"/certificates/{serial}", headers={"accept": "application/json"})
            assert answer.status_code == 200 and answer.json()["status"] == "valid", answer.text
            assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
        assert list((up / ".tmp").iterdir()) == []
        for database in (self.one.folder / "data").glob("*.db"):
            with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
                assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert self.http.get("/").text == PAGE
        self.end()


KNOWN = set()  # digests of all that was ever sent


def content(n):
    made = random.Random(n).randbytes(30_000 + n % 7 * 1000)
    KNOWN.add(hashlib.sha256(made).hexdigest())
    return made


# -- what is asked for: each returns when the answer was right, or an error ---------------------------


def page(site, n):
    answer = site.http.get("/")
    if answer.status_code == 200 and answer.headers["x-page-completed"] == "true":
        assert answer.text == PAGE
    elif answer.status_code == 200:
        assert answer.text in ("<h1></h1><li>1<li>2!", "<h1>Sale</h1>!", "<h1></h1>!")
    else:
        assert answer.status_code >= 500


def through(site, n):
    answer = site.http.get("/through/big")
    assert answer.status_code >= 500 or answer.content == b"0123456789abcdef" * 20000


def form(site, n):
    sent = content(n)
    answer = site.http.post("/upload", files={"file": ("a.bin", sent)},
                            headers={"Accept": "application/json"})
    if answer.status_code == 201:
        file, = answer.json()["files"]
        assert file["sha256"] == hashlib.sha256(sent).hexdigest()
        site.uploads[f"/files/{file['id']}"] = sent
    else:
        assert answer.status_code >= 500, answer.text


def raw(site, n):
    sent = content(n)
    answer = site.http.put(f"/upload/file{n}.bin", content=sent, headers={"Accept": "application/json"})
    if answer.status_code == 201:
        file = answer.json()["files"][0] if "files" in answer.json() else answer.json()
        site.uploads[f"/files/{file['id']}"] = sent
    else:
        assert answer.status_code >= 500, (answer.status_code, answer.text)


def tus(site, n):
    sent = content(n)
    version = {"Tus-Resumable": "1.0.0"}
    answer = site.http.post("/upload", headers={**version, "Upload-Length": str(len(sent))})
    if answer.status_code != 201:
        assert answer.status_code >= 500, answer.text
        return
    location = answer.headers["location"]
    offset, tries = 0, 0
    while offset < len(sent):
        tries += 1
        assert tries < 20, "no progress"
        with contextlib.suppress(httpx.HTTPError):
            answer = site.http.patch(location, content=sent[offset:offset + 12_000], headers={
                **version, "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream"})
            if answer.status_code == 204:
                offset = int(answer.headers["upload-offset"])
                continue
            assert answer.status_code in (409, 423) or answer.status_code >= 500, answer.status_code
        site.failing.disarm()
        site.settle()
        said = site.http.head(location, headers=version)
        assert said.status_code == 200, said.status_code
        told = int(said.headers["upload-offset"])
        assert offset <= told, "acknowledged bytes are gone"
        offset = told
    site.uploads["/files/" + location.rpartition("/")[2]] = sent


def download(site, n):
    name = next(iter(site.uploads), None)
    if name is None:
        return
    answer = site.http.get(name)
    assert answer.status_code >= 500 or answer.content == site.uploads[name]


def certificate(site, n):
    answer = site.http.get("/certificate", params={"name": f"Ada {n}"})
    if answer.status_code == 200:
        assert answer.content.startswith(b"%PDF"), (dict(answer.headers), answer.content[:200])
        assert answer.content.rstrip().endswith(b"%%EOF"), (dict(answer.headers), answer.content[-300:])
        serial = re.search(r'filename="?[^"]*?([0-9A-Z]{5}(?:-[0-9A-Z]{5}){3})',
                           answer.headers.get("content-disposition", ""))
        if serial:
            site.certificates[serial[1]] = answer.content
    else:
        assert answer.status_code >= 500, answer.text


def metrics(site, n):
    answer = httpx.get(site.one.admin + "/metrics", trust_env=False, timeout=20)
    assert answer.status_code >= 500 or answer.text.endswith("\n") and "gw_build_info" in answer.text


def reload(site, n):
    before = site.one.log().count("reloaded")
    site.one.process.send_signal(signal.SIGHUP)
    until(lambda: site.one.process.poll() is not None or site.one.log().count("reloaded") > before,
          "the reload or its failure")


def attempt(site, operation, what, n, **how):
    """Whether something failed."""
    site.failing.arm(what, n, **how)
    with contextlib.suppress(httpx.HTTPError):  # a connection that breaks is an error, too
        operation(site, n)
    failed = site.failing.disarm()
    site.settle()
    return failed


def places(count, few):
    """Of 1 to count: so many, the first ones among them, or all."""
    if ALL:
        return range(1, count + 1, max(1, count // 400))
    some = random.Random(count).sample(range(1, count + 1), min(few, count))
    return sorted({*range(1, min(count, 4) + 1), *some})


def count_of(site, operation, what):
    """How often it allocates, or writes, when all goes well."""
    operation(site, 1_000_000)
    site.failing.arm(what, 0)
    operation(site, 1_000_001)
    time.sleep(0.05)  # what is done after the answer
    return site.failing[MEMORY_COUNT if what == MEMORY else FILES_COUNT]


@pytest.mark.parametrize("operation,few", [
    (page, 14), (through, 8), (form, 10), (raw, 8), (tus, 8), (download, 8), (certificate, 12),
    (metrics, 4), (reload, 8),
], ids=lambda it: getattr(it, "__name__", ""))
def test_an_allocation_fails(tmp_path, origin, operation, few):
    site = Site(tmp_path, origin)
    form(site, 2_000_000)
    count = count_of(site, operation, MEMORY)
    failed = sum(bool(attempt(site, operation, MEMORY, n)) for n in places(count, few))
    assert failed > 0 or count == 0, "nothing failed: the test does"
    site.check()


@pytest.mark.parametrize("how", [
    {"error": errno.ENOSPC}, {"error": errno.EIO}, {"half": True}, {"error": errno.EIO, "stays": True},
], ids=["full", "broken", "short", "stays"])
@pytest.mark.parametrize("operation,few", [(form, 20), (raw, 20), (tus, 12), (certificate, 12)],
                         ids=lambda it: getattr(it, "__name__", ""))
def test_a_write_fails(tmp_path, origin, operation, few, how):
    site = Site(tmp_path, origin)
    form(site, 2_000_000)
    count = count_of(site, operation, FILES)
    assert count > 0
    failed = sum(bool(attempt(site, operation, FILES, n, **how)) for n in places(count, few))
    assert failed > 0
    assert site.deaths == 0, "a disk that doesn't write is no reason to end"
    site.check()


def test_the_access_log_s_disk_is_full(tmp_path, origin):
    site = Site(tmp_path, origin)
    site.failing.arm(FILES, 1, stays=True)
    for _ in range(50):
        assert site.http.get("/through/promo").status_code == 200
    until(lambda: site.failing[FAILED] > 0, "a line that can't be written")
    site.failing.disarm()
    for _ in range(3):
        site.http.get("/through/promo")
    log = site.one.folder / "access.log"
    until(lambda: log.read_text().count("status=") >= 3, "lines after that")
    assert all(line.startswith("ts=") for line in log.read_text().splitlines())
    until(lambda: "access log lines lost" in site.one.log(), "a word about the lines that are lost")
    site.end()


COMMANDS = {
    "check": ["check"], "print-config": ["print-config"], "explain": ["explain", "GET", "/"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_memory(tmp_path, name):
    failing = Failing(tmp_path / "failing")
    (tmp_path / "templates").mkdir()
    for file, text in TEMPLATES.items():
        (tmp_path / "templates" / file).write_text(text)
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(url="http://127.0.0.1:1").partition("[certificates")[0])
    verb, *rest = COMMANDS[name]

    def run():
        return subprocess.run([BINARY, verb, "-c", config, *rest], capture_output=True, text=True,
                              env={**ENVIRONMENT, **failing.env}, timeout=60)

    good = run()
    assert good.returncode == 0, good.stderr
    count = failing[MEMORY_COUNT]
    failed = 0
    for n in places(count, 25):
        failing.arm(MEMORY, n)
        done = run()
        failed += failing.disarm()
        if done.returncode == 0:
            assert done.stdout == good.stdout
        else:
            assert done.returncode == 78 or died_with_a_word(done.returncode, done.stderr), (
                n, done.returncode, done.stderr)
            assert done.stderr
    assert failed
