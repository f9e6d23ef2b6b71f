"""Files given back: plain directories and their listings, with the clients that people use."""

import email
import gzip
import html
import os
import re
import subprocess
import urllib.parse

import httpx
import pytest

from gateway import SANITIZED, until

CONFIG = """
[downloads.files]
path = "/files"
dir = "files"
listing = true
page_size = 4
max_age = "1h"
[downloads.shown]
path = "/shown"
dir = "files"
disposition = "inline"
"""

ODD_NAMES = ["50% off.txt", 'quote".txt', "semi; colons=.txt", "über äll.txt",
             "🐢.bin", "a&b<c>.html", "..hidden-not.txt"[2:], "q?x#y.txt", "back\\slash.txt", " blank ", "CON"]


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "gateway0" / "files"
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "sub" / "one.txt").write_text("one")
    (folder / "sub" / "deeper" / "two.txt").write_text("two")
    (folder / "large.bin").write_bytes(os.urandom(5_000_000))
    (folder / "small.txt").write_text("0123456789" * 100)
    (folder / "empty").write_bytes(b"")
    (folder / "site.css").write_text("body { color: #333 }\n" * 100)
    (folder / ".hidden").write_text("secret")
    (tmp_path / "gateway0" / "outside.txt").write_text("secret")
    (folder / "link.txt").symlink_to("../outside.txt")
    (folder / "inner.txt").symlink_to("small.txt")
    return folder


@pytest.fixture
def one(gateway, files):
    return gateway(CONFIG)


def curl(*arguments, **options):
    return subprocess.run(["curl", "-sS", *map(str, arguments)], capture_output=True, timeout=60, **options)


# -- whole files ------------------------------------------------------------------------------------------------------


def test_a_file_comes_as_an_attachment_under_its_name(one):
    got = httpx.get(one.url + "/files/small.txt")
    assert got.status_code == 200 and got.content == b"0123456789" * 100
    assert got.headers["content-disposition"] == 'attachment; filename="small.txt"'
    assert got.headers["cache-control"] == "public, max-age=3600"
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-type"].startswith("text/plain")
    shown = httpx.get(one.url + "/shown/small.txt")
    assert shown.headers["content-disposition"] == 'inline; filename="small.txt"'
    assert shown.headers["cache-control"] == "public, no-cache"


def test_head_says_what_get_would(one):
    for name in ("small.txt", "empty", "large.bin"):
        got, head = httpx.get(f"{one.url}/files/{name}"), httpx.head(f"{one.url}/files/{name}")
        assert head.status_code == 200 and head.content == b""
        for field in ("content-length", "etag", "last-modified", "content-type", "content-disposition"):
            assert head.headers[field] == got.headers[field]
    assert httpx.head(one.url + "/files/small.txt", headers={"Range": "bytes=0-1"}).status_code == 200


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_found_saved_and_listed(one, files, tmp_path, name):
    (files / name).write_bytes(b"odd: " + name.encode())
    url = f"{one.url}/files/{urllib.parse.quote(name, safe='')}"
    got = httpx.get(url)
    assert got.status_code == 200 and got.content == b"odd: " + name.encode()
    disposition = got.headers["content-disposition"]
    assert disposition.count('"') == 2
    kept = name.replace("\\", "_")
    if "filename*=" in disposition:
        assert urllib.parse.unquote(disposition.split("UTF-8''")[1]) == kept
    else:
        assert disposition == f'attachment; filename="{kept}"'
    listed = [f for f in every_page(one, "/files/") if f["name"] == name]
    assert len(listed) == 1 and httpx.get(one.url + listed[0]["url"]).content == got.content
    page = "".join(html_pages(one, "/files/"))
    assert html.escape(name, quote=True).replace("&#x27;", "&#39;") in page
    # curl itself makes the name: never a path out of its folder
    saved = tmp_path / "saved"
    saved.mkdir()
    done = curl("-OJ", url, cwd=saved)
    assert done.returncode == 0, done.stderr
    assert [p.read_bytes() for p in saved.iterdir()] == [got.content]


@pytest.mark.parametrize("name", [b"raw\xff\xfe.txt", b"line\nbreak.txt", b"tab\t.txt", b"\x7f"])
def test_names_that_no_url_may_have_are_not_offered(one, files, name):
    with open(os.fsencode(files) + b"/" + name, "wb") as file:
        file.write(b"odd")
    assert len(every_page(one, "/files/")) == 6
    assert httpx.get(f"{one.url}/files/{urllib.parse.quote(name, safe='')}").status_code == 400


@pytest.mark.parametrize("path,code", [
    ("/files/.hidden", 404), ("/files/link.txt", 404), ("/files/none", 404), ("/files/..%2foutside.txt", 404),
    ("/files/%2e%2e/outside.txt", 400), ("/files/small.txt/", 404), ("/files//small.txt", 404),
    ("/files/sub%00", 400), ("/files/nowhere/", 404), ("/files/.git/", 404), ("/shown/", 404), ("/shown/sub/", 404),
    ("/shown/sub", 404), ("/files/inner.txt", 200), ("/files", 404),
])
def test_nothing_leads_out_of_the_directory(one, path, code):
    done = curl("--path-as-is", "-o", "-", "-w", "\n%{http_code}", one.url + path).stdout
    assert done.endswith(b"\n%d" % code) and b"secret" not in done


def test_a_compressed_variant_is_sent_to_who_takes_it(one, files):
    plain = (files / "site.css").read_bytes()
    (files / "site.css.gz").write_bytes(gzip.compress(plain))
    (files / "site.css.br").write_bytes(b"not really Brotli")
    packed = curl("--compressed", "-H", "Accept-Encoding: gzip", "-D", "-", one.url + "/files/site.css").stdout
    head, _, body = packed.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head.lower() and body == plain
    with httpx.stream("GET", one.url + "/files/site.css", headers={"Accept-Encoding": "gzip;q=0.5, br"}) as best:
        assert best.headers["content-encoding"] == "br" and best.headers["vary"] == "Accept-Encoding"
        assert b"".join(best.iter_raw()) == b"not really Brotli"
    for accepted in ("identity", "deflate", "br;q=0, gzip;q=0"):
        whole = httpx.get(one.url + "/files/site.css", headers={"Accept-Encoding": accepted})
        assert "content-encoding" not in whole.headers and whole.content == plain
        assert whole.headers["vary"] == "Accept-Encoding"
    # a range of the variant is a range of its bytes
    with httpx.stream("GET", one.url + "/files/site.css",
                      headers={"Accept-Encoding": "br", "Range": "bytes=4-9"}) as part:
        assert part.status_code == 206 and b"".join(part.iter_raw()) == b"really"


# -- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/files"])
@pytest.mark.parametrize("value,expected", [
    ("bytes=0-0", slice(0, 1)), ("bytes=100-200000", slice(100, 200001)), ("bytes=4999999-", slice(4999999, None)),
    ("bytes=-1", slice(-1, None)), ("bytes=-300000", slice(-300000, None)), ("bytes=0-99999999", slice(0, None)),
])
def test_a_range_is_exact(one, files, prefix, value, expected):
    whole = (files / "large.bin").read_bytes()
    got = httpx.get(f"{one.url}{prefix}/large.bin", headers={"Range": value})
    assert got.status_code == 206 and got.content == whole[expected]
    first, last, size = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", got.headers["content-range"]).groups())
    assert whole[first:last + 1] == got.content and size == len(whole)


@pytest.mark.parametrize("value", ["bytes=5000000-", "bytes=9999999-10000000", "bytes=-0"])
def test_no_such_bytes(one, value):
    got = httpx.get(one.url + "/files/large.bin", headers={"Range": value})
    assert got.status_code == 416 and got.headers["content-range"] == "bytes */5000000"


@pytest.mark.parametrize("value", ["bytes=a-b", "lines=0-1", "bytes=9-0", "bytes", "bytes=0-,0-,0-,0-",
                                   "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 99, 3))])
def test_what_is_no_range_is_ignored(one, files, value):
    got = httpx.get(one.url + "/files/small.txt", headers={"Range": value})
    assert got.status_code == 200 and len(got.content) == 1000 and "content-range" not in got.headers


def test_several_ranges_are_byte_exact(one, files):
    whole = (files / "large.bin").read_bytes()
    asked = [(0, 0), (100, 399_999), (4_000_000, 4_999_999), (2_000_000, 2_000_001)]
    value = "bytes=" + ", ".join(f"{a}-{b}" for a, b in asked)
    got = httpx.get(one.url + "/files/large.bin", headers={"Range": value})
    assert got.status_code == 206 and "content-range" not in got.headers
    assert int(got.headers["content-length"]) == len(got.content)
    boundary = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{32})", got.headers["content-type"])[1].encode()
    expected = b""
    for n, (a, b) in enumerate(asked):
        expected += (b"\r\n" if n else b"") + b"--" + boundary
        expected += b"\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes %d-%d/5000000\r\n\r\n" % (a, b)
        expected += whole[a:b + 1]
    assert got.content == expected + b"\r\n--" + boundary + b"--\r\n"
    # and the standard library's reader of MIME agrees
    message = email.message_from_bytes(b"Content-Type: " + got.headers["content-type"].encode() + b"\r\n\r\n" + got.content)
    assert [part["content-range"] for part in message.get_payload()] == [f"bytes {a}-{b}/5000000" for a, b in asked]
    again = httpx.get(one.url + "/files/large.bin", headers={"Range": value})
    assert again.headers["content-type"] != got.headers["content-type"], "the boundary can be guessed"


def test_if_range(one):
    url = one.url + "/files/small.txt"
    whole = httpx.get(url)
    for validator, code in ((whole.headers["etag"], 206), (whole.headers["last-modified"], 206), ('"other"', 200),
                            ("W/" + whole.headers["etag"], 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 200)):
        got = httpx.get(url, headers={"Range": "bytes=0-9", "If-Range": validator})
        assert got.status_code == code, validator
        assert got.content == whole.content[:10] if code == 206 else whole.content


def test_preconditions_come_before_ranges(one):
    url = one.url + "/files/small.txt"
    etag = httpx.get(url).headers["etag"]
    assert httpx.get(url, headers={"Range": "bytes=0-9", "If-None-Match": etag}).status_code == 304
    assert httpx.get(url, headers={"Range": "bytes=0-9", "If-Match": '"other"'}).status_code == 412
    assert httpx.get(url, headers={"Range": "bytes=5000-", "If-Match": etag}).status_code == 416


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_resumes(one, files, tmp_path, version):
    whole = (files / "large.bin").read_bytes()
    target = tmp_path / "part.bin"
    target.write_bytes(whole[:1_234_567])
    done = curl(version, "-C", "-", "-o", target, "-w", "%{http_code} %{size_download}", one.url + "/files/large.bin")
    assert done.stdout == b"206 3765433" and target.read_bytes() == whole
    part = curl(version, "-r", "10-19", one.url + "/files/large.bin")
    assert part.stdout == whole[10:20]


# -- disks and clients ------------------------------------------------------------------------------------------------


def drop_from_memory(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def test_a_cold_file_arrives_whole(one, files):
    whole = (files / "large.bin").read_bytes()
    for value in (None, "bytes=1000000-4000000", "bytes=0-0,-1"):
        drop_from_memory(files / "large.bin")
        got = httpx.get(one.url + "/files/large.bin", headers={"Range": value} if value else {})
        assert got.status_code == (206 if value else 200)
        assert whole[1000000:4000001] == got.content if value == "bytes=1000000-4000000" else True
        assert got.content == whole if value is None else True


def test_clients_that_leave_take_nothing_along(one, files):
    import socket

    (files / "huge.bin").write_bytes(os.urandom(1 << 20) * 30)
    before = one.open_files()
    clients = []
    for n in range(40):
        if n % 4 == 0:
            drop_from_memory(files / "huge.bin")
        client = socket.create_connection(one.host_port, timeout=10)
        client.sendall(b"GET /files/huge.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        if n % 2 == 0:
            client.recv(1000)
        clients.append(client)
    for client in clients:
        client.close()
    until(lambda: one.open_files() <= before, "everything closed")
    assert httpx.get(one.url + "/files/small.txt").status_code == 200


def test_a_slow_client_costs_little_memory_and_no_time(one, files):
    import socket

    (files / "huge.bin").write_bytes(os.urandom(1 << 20) * 64)
    httpx.get(one.url + "/files/huge.bin")
    before = one.status("VmRSS")
    clients = []
    for _ in range(20):
        client = socket.create_connection(one.host_port, timeout=10)
        client.sendall(b"GET /files/huge.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        clients.append(client)
    assert httpx.get(one.url + "/files/small.txt").status_code == 200
    if not SANITIZED:
        assert one.status("VmRSS") - before < 16 * 1024
    for client in clients:
        client.close()


def test_a_file_that_shrinks_ends_the_connection_not_the_gateway(one, files):
    import socket

    (files / "huge.bin").write_bytes(bytes(30 << 20))
    with socket.create_connection(one.host_port, timeout=10) as client:
        client.sendall(b"GET /files/huge.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(1000)
        os.truncate(files / "huge.bin", 1000)
        got = 0
        while chunk := client.recv(1 << 20):
            got += len(chunk)
        assert got < 30 << 20
    assert httpx.get(one.url + "/files/small.txt").status_code == 200


# -- listings ---------------------------------------------------------------------------------------------------------


def every_page(one, path, headers=None):
    """The files of all pages of a listing."""
    found, pages = [], 0
    while path:
        got = httpx.get(one.url + path, headers={"Accept": "application/json", **(headers or {})})
        assert got.status_code == 200 and got.headers["content-type"] == "application/json"
        found += got.json()["files"]
        path, pages = got.json()["next"], pages + 1
        assert pages < 100
    return found


def html_pages(one, path):
    while path:
        got = httpx.get(one.url + path, headers={"Accept": "text/html"})
        assert got.status_code == 200 and got.headers["content-type"].startswith("text/html")
        yield got.text
        more = re.search(r'<a rel="next" href="([^"]+)">', got.text)
        path = html.unescape(more[1]) if more else None


def test_a_listing_shows_what_can_be_had(one, files):
    listed = every_page(one, "/files/")
    names = [entry["name"] for entry in listed]
    assert names == ["empty", "inner.txt", "large.bin", "site.css", "small.txt", "sub/"]
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["large.bin"]["size"] == 5_000_000
    assert by_name["site.css"]["type"].startswith("text/css")
    assert "size" not in by_name["sub/"] and "type" not in by_name["sub/"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", by_name["empty"]["modified"])
    for entry in listed:
        if not entry["name"].endswith("/"):
            assert httpx.get(one.url + entry["url"]).status_code == 200
    assert [e["name"] for e in every_page(one, by_name["sub/"]["url"])] == ["deeper/", "one.txt"]
    first = httpx.get(one.url + "/files/", headers={"Accept": "application/json"})
    assert len(first.json()["files"]) == 4 and first.headers["vary"] == "Accept"


def test_a_listing_for_people(one, files):
    (files / "<img src=x onerror=alert(1)>").write_text("")
    (files / "zz").mkdir()
    first = httpx.get(one.url + "/files/", headers={"Accept": "text/html"})
    assert "default-src 'none'" in first.headers["content-security-policy"] and "script" not in first.text
    pages = "".join(html_pages(one, "/files/"))
    assert "<img" not in pages and "&lt;img src=x" in pages
    assert "4.8 MiB" in pages and "1000 B" in pages and "One folder up" not in pages
    assert "One folder up" in httpx.get(one.url + "/files/sub/").text
    assert "nothing here" in httpx.get(one.url + "/files/zz/").text
    head = httpx.head(one.url + "/files/", headers={"Accept": "text/html"})
    assert head.headers["content-length"] == first.headers["content-length"] and head.content == b""


def test_a_folder_without_its_slash_is_found(one):
    got = httpx.get(one.url + "/files/sub?x=1")
    assert got.status_code == 301 and got.headers["location"] == "/files/sub/?x=1"


@pytest.mark.parametrize("after", ["*", "a", "....", "Li4", "x" * 5000])
def test_a_cursor_that_is_none(one, after):
    got = httpx.get(f"{one.url}/files/?after={after}", headers={"Accept": "application/json"})
    assert got.status_code == (200 if after == "Li4" else 400)


def test_files_that_come_and_go_between_pages(one, files):
    first = httpx.get(one.url + "/files/", headers={"Accept": "application/json"}).json()
    assert [f["name"] for f in first["files"]][-1] == "site.css"
    (files / "site.css").unlink()
    (files / "a new one").write_text("")
    rest = every_page(one, first["next"])
    assert [f["name"] for f in rest] == ["small.txt", "sub/"]


def test_a_huge_folder_is_listed_up_to_a_bound(gateway, tmp_path):
    folder = tmp_path / "gateway0" / "files" / "many"
    folder.mkdir(parents=True)
    for n in range(100_010):
        os.close(os.open(folder / f"{n:06}", os.O_CREAT | os.O_WRONLY))
    one = gateway('[downloads.files]\npath = "/files"\ndir = "files"\nlisting = true\npage_size = 10000\n')
    got = httpx.get(one.url + "/files/many/", headers={"Accept": "application/json"}, timeout=60).json()
    assert len(got["files"]) == 10000 and got["truncated"] is True
    assert "not all are shown" in httpx.get(one.url + "/files/many/", timeout=60).text
