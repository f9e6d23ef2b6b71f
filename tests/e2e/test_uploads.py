"""Files that clients send, as forms and as raw bodies: what is kept, what is refused, what is left."""

import base64
import contextlib
import hashlib
import itertools
import json
import os
import re
import socket
import sqlite3
import subprocess
import threading

import httpx
import pytest

from gateway import SANITIZED, until

JSON = {"Accept": "application/json"}
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"
    b"\x90wS\xde\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef"
)


def config(keys="", auth="public", folder="up"):
    return f"""
[uploads.main]
path = "/upload"
dir = "{folder}"
auth = "{auth}"
fields = ["title", "tag"]
redirect = "/thanks?from=form"
{keys}
[downloads.main]
path = "/files"
from = "main"
"""


class Folder:
    """What is on the gateway's disk."""

    def __init__(self, path):
        self.path = path

    def whole(self):
        return {p.name: p.read_bytes() for p in self.path.iterdir() if p.is_file()}

    def unfinished(self):
        return [p for inner in (".tmp", ".partial") for p in (self.path / inner).iterdir()]

    def is_empty(self):
        return not self.whole() and not self.unfinished()


@pytest.fixture
def uploads(gateway):
    """uploads(keys) -> the gateway, what is in its upload folder."""

    def start(keys="", **options):
        one = gateway(config(keys, **options))
        return one, Folder(one.folder / "up")

    return start


def curl(*arguments):
    """Status, headers (of the last answer) and body of what curl gets."""
    done = subprocess.run(
        ["curl", "-s", "-i", "--max-time", "60", *map(str, arguments)], capture_output=True, check=True
    )
    head, body = done.stdout, b""
    while head.startswith(b"HTTP/"):
        first, _, head = head.partition(b"\r\n\r\n")
        status, headers, body = int(first.split()[1]), first.decode(), head
    return status, headers, body


def sent(answer, content):
    """The one file of an answer, checked against what was sent."""
    assert answer.status_code == 201, answer.text
    [file] = answer.json()["files"]
    assert file["size"] == len(content)
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert re.fullmatch("[0-9a-f]{32}", file["id"])
    return file


def digest_of(content, name="sha256"):
    digest = base64.b64encode(hashlib.new(name, content).digest()).decode()
    return f"{ {'sha256': 'sha-256', 'sha512': 'sha-512'}[name] }=:{digest}:"


def problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{kind}"
    return answer.json()


# -- forms --------------------------------------------------------------------------------------


def test_a_browsers_form_goes_on_to_the_redirect(uploads):
    one, folder = uploads()
    answer = httpx.post(
        one.url + "/upload",
        files={"file": ("a.txt", b"hello")},
        headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/thanks?from=form"
    assert answer.content == b""
    assert list(folder.whole().values()) == [b"hello"]
    assert folder.unfinished() == []


def test_a_form_of_several_files_and_fields_by_curl(uploads, tmp_path):
    one, folder = uploads()
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b").write_bytes(b"")
    status, _, body = curl(
        "-H", "Accept: application/json", "-F", "title=Ünïcode \"quoted\"", "-F", "tag=1", "-F",
        f"f=@{tmp_path}/a.png", "-F", f"g=@{tmp_path}/b;filename=empty.txt", "-F", "tag=2",
        one.url + "/upload",
    )
    assert status == 201, body
    answer = json.loads(body)
    assert answer["fields"] == {"title": 'Ünïcode "quoted"', "tag": ["1", "2"]}
    first, second = answer["files"]
    assert (first["name"], first["size"], first["type"]) == ("a.png", len(PNG), "image/png")
    assert first["url"] == "/files/" + first["id"]
    assert (second["name"], second["size"]) == ("empty.txt", 0)
    assert second["sha256"] == hashlib.sha256(b"").hexdigest()
    assert folder.whole() == {first["id"]: PNG, second["id"]: b""}


NAMES = [
    ("../../etc/passwd", "passwd"),
    ("..\\..\\boot.ini", "boot.ini"),
    ("CON", "CON"),
    ("..", ".."),
    ("日本語 файл.pdf", "日本語 файл.pdf"),
    ('quo"te.txt', 'quo"te.txt'),
    ("😀" * 1024, "😀" * 1024),
    ("<script>.html", "<script>.html"),
    ("-rf", "-rf"),
]


@pytest.mark.parametrize("name,kept", NAMES, ids=range(len(NAMES)))
def test_a_name_is_only_data(uploads, name, kept):
    one, folder = uploads()
    file = sent(httpx.post(one.url + "/upload", files={"f": (name, b"x")}, headers=JSON), b"x")
    assert file["name"] == kept
    assert set(folder.whole()) == {file["id"]}
    assert {p.name for p in folder.path.parent.iterdir()} >= {"up", "gateway.toml"}
    assert not (folder.path.parent / "passwd").exists()


def test_nul_in_a_name_is_no_end(uploads):
    one, folder = uploads()
    body = (
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="a\0b.txt"\r\n\r\nx\r\n--B--\r\n'
    )
    headers = {**JSON, "Content-Type": "multipart/form-data; boundary=B"}
    answer = httpx.post(one.url + "/upload", content=body, headers=headers)
    if answer.status_code == 201:
        assert sent(answer, b"x")["name"] == "a\ufffdb.txt"
    else:
        problem(answer, 400, "malformed-form")
        assert folder.is_empty()


def test_a_name_of_more_than_4_kib_is_refused(uploads):
    one, folder = uploads()
    answer = httpx.post(one.url + "/upload", files={"f": ("😀" * 1025, b"x")}, headers=JSON)
    problem(answer, 400, "malformed-form")
    assert folder.is_empty()


def form(*parts):
    """A form's body by hand: (head, content) of each part."""
    body = b"".join(b"--B\r\n%s\r\n\r\n%s\r\n" % part for part in parts) + b"--B--\r\n"
    return {"content": body, "headers": {**JSON, "Content-Type": "multipart/form-data; boundary=B"}}


FILE = b'Content-Disposition: form-data; name="f"; filename="a.txt"'
NO_FILE = b'Content-Disposition: form-data; name="f"; filename=""\r\nContent-Type: application/octet-stream'
TITLE = b'Content-Disposition: form-data; name="title"'


def test_an_input_without_a_chosen_file_is_skipped(uploads):
    one, folder = uploads()
    answer = httpx.post(one.url + "/upload", **form((NO_FILE, b""), (FILE, b"x"), (NO_FILE, b"")))
    sent(answer, b"x")
    problem(httpx.post(one.url + "/upload", **form((NO_FILE, b""))), 400, "no-file")
    problem(httpx.post(one.url + "/upload", **form((TITLE, b"x"))), 400, "no-file")
    assert len(folder.whole()) == 1


def test_bytes_without_a_name_are_a_file(uploads):
    one, _ = uploads()
    assert sent(httpx.post(one.url + "/upload", **form((NO_FILE, b"bytes"))), b"bytes")["name"] == ""


MALFORMED = {
    "no end": {"content": b"--B\r\n" + FILE + b"\r\n\r\nx\r\n"},
    "cut inside a file": {"content": b"--B\r\n" + FILE + b"\r\n\r\nxxxx"},
    "no name": {"content": b'--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n'},
    "nothing": {"content": b""},
    "no boundary": {"content": b"x", "headers": {**JSON, "Content-Type": "multipart/form-data"}},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_form_leaves_nothing(uploads, name):
    one, folder = uploads()
    request = {"headers": form()["headers"], **MALFORMED[name]}
    problem(httpx.post(one.url + "/upload", **request), 400, "malformed-form")
    until(folder.is_empty, "cleaning up")


def test_fields_must_be_known_and_short(uploads):
    one, folder = uploads()
    name = 'Content-Disposition: form-data; name="größe"'.encode()
    told = problem(httpx.post(one.url + "/upload", **form((FILE, b"x"), (name, b"1"))), 400, "unknown-field")
    assert told["detail"] == "größe"
    fine = httpx.post(one.url + "/upload", **form((FILE, b"x"), (TITLE, b"t" * 65536)))
    assert fine.json()["fields"] == {"title": "t" * 65536}
    long = httpx.post(one.url + "/upload", **form((FILE, b"x"), (TITLE, b"t" * 65537)))
    problem(long, 413, "too-large")
    many = [(TITLE, b"t" * 60000)] * 5
    problem(httpx.post(one.url + "/upload", **form((FILE, b"x"), *many)), 413, "too-large")
    until(lambda: len(folder.whole()) == 1 and not folder.unfinished(), "cleaning up")


def test_text_that_is_no_utf_8_is_made_so(uploads):
    one, _ = uploads()
    answer = httpx.post(one.url + "/upload", **form((TITLE, b"a\xffb\xc3"), (FILE, b"x")))
    assert answer.json()["fields"] == {"title": "a\ufffdb\ufffd"}


def test_more_files_than_max_files(uploads):
    one, folder = uploads("max_files = 2")
    files = [("f", ("a", b"1")), ("f", ("b", b"2")), ("f", ("c", b"3"))]
    assert httpx.post(one.url + "/upload", files=files[:2], headers=JSON).status_code == 201
    problem(httpx.post(one.url + "/upload", files=files, headers=JSON), 413, "too-many-files")
    until(lambda: len(folder.whole()) == 2 and not folder.unfinished(), "cleaning up")


def test_a_form_in_small_pieces_is_the_same_form(uploads):
    one, folder = uploads()
    content = os.urandom(3000) + b"\r\n--A" + os.urandom(50) + b"\r\n-B\r" + os.urandom(100)
    request = form((TITLE, b"t"), (FILE, content), (FILE, b"\r\n"))
    pieces = [request["content"][i : i + 7] for i in range(0, len(request["content"]), 7)]
    answer = httpx.post(one.url + "/upload", content=iter(pieces), headers=request["headers"])
    assert answer.status_code == 201, answer.text
    first, second = answer.json()["files"]
    assert folder.whole() == {first["id"]: content, second["id"]: b"\r\n"}


def test_people_are_told_on_a_page(uploads):
    one, _ = uploads('allow_types = ["image/*"]')
    answer = httpx.post(one.url + "/upload", files={"f": ("a", b"x")}, headers={"Accept": "text/html"})
    assert answer.status_code == 415
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Files of this type are not taken" in answer.text


def test_http_2_leaves_the_same(uploads, tmp_path):
    one, folder = uploads('max_size = "2MB"')
    content = os.urandom(1_900_000)
    (tmp_path / "a.bin").write_bytes(content)
    (tmp_path / "large.bin").write_bytes(content + content)
    h2 = ["--http2-prior-knowledge", "-H", "Accept: application/json"]
    # curl's head begins with "HTTP/2 201"
    for arguments in (["-F", f"f=@{tmp_path}/a.bin", one.url + "/upload"],
                      ["-T", f"{tmp_path}/a.bin", one.url + "/upload/"]):
        status, _, body = curl(*h2, *arguments)
        assert status == 201
        [file] = json.loads(body)["files"]
        assert (file["name"], file["sha256"]) == ("a.bin", hashlib.sha256(content).hexdigest())
    status, _, body = curl(*h2, "-T", tmp_path / "large.bin", one.url + "/upload/")
    assert (status, json.loads(body)["type"]) == (413, "/problems/too-large")
    until(lambda: list(folder.whole().values()) == [content] * 2 and not folder.unfinished(), "cleaning up")


# -- raw bodies -----------------------------------------------------------------------------------


def test_curl_sends_a_file_under_its_name(uploads, tmp_path):
    one, folder = uploads()
    content = os.urandom(300_000)
    (tmp_path / "größe 1.bin").write_bytes(content)
    status, headers, body = curl("-T", tmp_path / "größe 1.bin", one.url + "/upload/")
    [file] = json.loads(body)["files"]
    assert status == 201
    assert file["name"] == "größe 1.bin"
    assert f"location: /files/{file['id']}\r" in headers + "\r"
    assert folder.whole() == {file["id"]: content}


def test_a_raw_body_is_named_by_query_or_disposition(uploads):
    one, _ = uploads()
    named = {"Content-Disposition": "attachment; filename=\"x.txt\"; filename*=UTF-8''%e2%82%ac.txt"}
    for name, url, headers in [
        ("", "/upload", {}),
        ("a b.txt", "/upload?name=a+b.txt", {}),
        ("c.txt", "/upload?name=..%2F..%2Fc.txt", {}),
        ("d.txt", "/upload?name=..%5Cd.txt", named),
        ("€.txt", "/upload", named),
        ("x.txt", "/upload", {"Content-Disposition": 'attachment; filename="/tmp/x.txt"'}),
        ("", "/upload", {"Content-Disposition": "attachment"}),
        ("", "/upload", {"Content-Disposition": "; ;=x"}),
        ("\ufffd.txt", "/upload?name=%ff.txt", {}),
    ]:
        for method in ("POST", "PUT"):
            answer = httpx.request(method, one.url + url, content=b"x", headers=headers)
            assert sent(answer, b"x")["name"] == name, (method, url, headers)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 5_000_000])
def test_a_raw_body_of_any_size_with_and_without_a_length(uploads, size):
    one, folder = uploads()
    content = os.urandom(size)
    whole = httpx.put(one.url + "/upload/a", content=content)
    chunked = httpx.put(one.url + "/upload/a", content=iter([content[: size // 3], content[size // 3 :]]))
    assert folder.whole() == {sent(whole, content)["id"]: content, sent(chunked, content)["id"]: content}


def test_what_is_no_whole_file_is_refused(uploads):
    one, folder = uploads()
    part = httpx.put(one.url + "/upload/a", content=b"x", headers={"Content-Range": "bytes 0-0/2"})
    problem(part, 400, "bad-request")
    coded = httpx.put(one.url + "/upload/a", content=b"x", headers={"Content-Encoding": "gzip"})
    problem(coded, 415, "unsupported-media-type")
    assert folder.is_empty()


# -- records ------------------------------------------------------------------------------------


def test_a_file_is_recorded_and_deleted_with_its_record(uploads):
    one, folder = uploads()
    file = sent(httpx.put(one.url + "/upload/a.txt", content=b"hello"), b"hello")
    other = sent(httpx.put(one.url + "/upload/b.txt", content=b"other"), b"other")
    gone = httpx.delete(one.url + "/upload/" + file["id"])
    assert (gone.status_code, gone.content) == (204, b"")
    until(lambda: folder.whole() == {other["id"]: b"other"}, "the removal")
    problem(httpx.delete(one.url + "/upload/" + file["id"]), 404, "not-found")
    for name in ("0" * 32, "a.txt", "..%2f..%2fgateway.toml"):
        assert httpx.delete(one.url + "/upload/" + name).status_code in (400, 404)
    assert (folder.path.parent / "gateway.toml").exists()


def test_what_a_crash_left_is_swept_at_the_next_start(uploads, gateway):
    one, folder = uploads()
    kept = sent(httpx.put(one.url + "/upload/a", content=b"kept"), b"kept")
    (folder.path / ("0" * 32)).write_bytes(b"renamed, not recorded")
    (folder.path / ".tmp" / ("1" * 32)).write_bytes(b"half")
    (folder.path / "notes.txt").write_bytes(b"not ours")
    one.stop()
    one.start()
    until(lambda: set(folder.whole()) == {kept["id"], "notes.txt"}, "the sweep")
    until(lambda: folder.unfinished() == [], "the sweep")


def test_a_lost_database_takes_no_files_along(uploads):
    one, folder = uploads()
    kept = sent(httpx.put(one.url + "/upload/a", content=b"kept"), b"kept")
    one.stop()
    for path in (one.folder / "data").glob("*.db*"):
        path.unlink()
    (folder.path / ".partial" / ("1" * 32)).write_bytes(b"half")
    (folder.path / ".tmp" / ("2" * 32)).write_bytes(b"never wanted")
    one.start()
    until(lambda: "without records" in one.log(), "the sweep")
    assert folder.whole() == {kept["id"]: b"kept"}
    assert [path.name for path in folder.unfinished()] == ["1" * 32]


def test_kill_at_any_moment_loses_nothing_that_was_answered(uploads):
    """Every answered file is whole, and whatever else is there has a record after the sweep."""
    one, folder = uploads()
    acknowledged = {}

    def send(number):
        with httpx.Client() as client, contextlib.suppress(httpx.HTTPError):
            for size in itertools.count(number * 7919, 20_011):
                content = os.urandom(size % 300_000)
                answer = client.put(one.url + "/upload/x", content=content)
                acknowledged[sent(answer, content)["id"]] = content

    for round_number in range(4):
        before = len(acknowledged)
        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(acknowledged) >= before + 10 + 3 * round_number, "uploads")
        one.process.kill()
        one.process.wait()
        for thread in threads:
            thread.join()
        one.start()
        found = folder.whole()
        assert acknowledged.items() <= found.items()
    until(lambda: folder.unfinished() == [], "the sweep")
    left = until(lambda: not (orphans(one, folder)) and folder.whole(), "the sweep")
    assert acknowledged.items() <= left.items()
    for file in left:
        assert httpx.delete(one.url + "/upload/" + file).status_code == 204


def orphans(one, folder):
    """Whole files of which the store knows nothing."""
    data = (one.folder / "data").iterdir()
    [path] = [p for p in data if p.is_file() and p.read_bytes().startswith(b"SQLite format 3")]
    with contextlib.closing(sqlite3.connect(path)) as store:
        recorded = {row[0] for row in store.execute("SELECT id FROM files")}
    return set(folder.whole()) - recorded


# -- digests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_a_wrong_digest_is_refused_and_leaves_nothing(uploads, field, name):
    one, folder = uploads()
    request = form((FILE, b"content"))
    for method, url, body, headers in [
        ("PUT", "/upload/a", b"content", {}),
        ("POST", "/upload", request["content"], request["headers"]),
    ]:
        right = {**headers, field: "unknown=1, " + digest_of(body, name)}
        answer = httpx.request(method, one.url + url, content=body, headers=right)
        assert answer.status_code == 201, answer.text
        wrong = {**headers, field: digest_of(b"other", name)}
        problem(httpx.request(method, one.url + url, content=body, headers=wrong), 400, "digest-mismatch")
        bad = {**headers, field: "sha-256=:AAAA:"}
        problem(httpx.request(method, one.url + url, content=body, headers=bad), 400, "malformed-digest")
    until(lambda: len(folder.whole()) == 2 and not folder.unfinished(), "cleaning up")


# -- limits ---------------------------------------------------------------------------------------


def test_types_are_told_by_content(uploads):
    one, folder = uploads('allow_types = ["image/*"]')
    sent(httpx.put(one.url + "/upload/a.txt", content=PNG), PNG)
    problem(httpx.put(one.url + "/upload/a.png", content=b"no image"), 415, "unsupported-media-type")
    both = httpx.post(
        one.url + "/upload", files=[("f", ("a", PNG)), ("f", ("b.png", b"no image"))], headers=JSON
    )
    problem(both, 415, "unsupported-media-type")
    until(lambda: len(folder.whole()) == 1 and not folder.unfinished(), "cleaning up")


def test_a_file_larger_than_max_size(uploads):
    one, folder = uploads('max_size = "100KiB"\nmax_files = 2')
    large, fine = b"x" * 102401, b"x" * 102400
    for answer in [
        httpx.put(one.url + "/upload/a", content=large),
        httpx.put(one.url + "/upload/a", content=iter([large])),
        httpx.post(one.url + "/upload", files={"f": ("a", large)}, headers=JSON),
        httpx.post(one.url + "/upload", headers=JSON, files=[("f", ("a", fine)), ("f", ("b", large))]),
    ]:
        assert problem(answer, 413, "too-large")["detail"] == "a file may have 102400 bytes"
    until(folder.is_empty, "cleaning up")
    sent(httpx.put(one.url + "/upload/a", content=fine), fine)


def test_a_body_that_can_only_be_too_large_is_refused_by_its_head(uploads):
    one, folder = uploads('max_size = "1MiB"\nmax_files = 1')
    for head in [
        "PUT /upload/a HTTP/1.1\r\nContent-Length: 1048577",
        "POST /upload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 2097153",
    ]:
        with socket.create_connection(one.host_port) as client:
            client.sendall(f"{head}\r\nHost: x\r\nExpect: 100-continue\r\n\r\n".encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert folder.is_empty()


def test_the_clients_quota(uploads):
    one, folder = uploads('client_quota = "1000"')
    first = sent(httpx.put(one.url + "/upload/a", content=b"x" * 600), b"x" * 600)
    for body in (b"x" * 401, iter([b"x" * 401])):
        problem(httpx.put(one.url + "/upload/b", content=body), 413, "quota-exceeded")
    answer = httpx.post(one.url + "/upload", files={"f": ("a", b"x" * 401)}, headers=JSON)
    problem(answer, 413, "quota-exceeded")
    sent(httpx.put(one.url + "/upload/b", content=b"x" * 400), b"x" * 400)
    assert httpx.delete(one.url + "/upload/" + first["id"]).status_code == 204
    sent(httpx.put(one.url + "/upload/b", content=b"x" * 600), b"x" * 600)
    until(lambda: len(folder.whole()) == 2 and not folder.unfinished(), "cleaning up")


def test_the_quota_of_all_survives_a_restart(uploads):
    one, folder = uploads('quota = "1000"')
    sent(httpx.put(one.url + "/upload/a", content=b"x" * 600), b"x" * 600)
    problem(httpx.put(one.url + "/upload/b", content=b"x" * 401), 507, "storage-full")
    one.stop()
    one.start()
    problem(httpx.put(one.url + "/upload/b", content=b"x" * 401), 507, "storage-full")
    sent(httpx.put(one.url + "/upload/b", content=b"x" * 400), b"x" * 400)


@contextlib.contextmanager
def under_way(one, announced=100_000, sent_bytes=50_000, path="/upload/a"):
    """A client that stays in the middle of its upload."""
    with socket.create_connection(one.host_port) as client:
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n"
        client.sendall(head.encode() + b"x" * sent_bytes)
        yield client


def test_a_forms_fields_count_for_the_quota(uploads):
    one, _ = uploads('quota = "1MiB"')

    def send(files):
        return httpx.post(
            one.url + "/upload",
            data={"title": "n" * 60_000},
            files=[("f", ("empty", b""))] * files,
            headers=JSON,
        )

    first = send(10)
    assert first.status_code == 201
    problem(send(10), 507, "storage-full")
    one.stop()
    one.start()
    problem(send(10), 507, "storage-full")
    for file in first.json()["files"]:
        assert httpx.delete(one.url + "/upload/" + file["id"]).status_code == 204
    assert send(10).status_code == 201


def test_more_uploads_than_max_concurrent(uploads):
    one, folder = uploads("max_concurrent = 2")
    with under_way(one) as first, under_way(one):
        def refused():
            answer = httpx.put(one.url + "/upload/b", content=b"x")
            return answer.status_code == 503 and answer
        answer = until(refused, "503")
        problem(answer, 503, "busy")
        assert answer.headers["retry-after"] == "1"
        first.sendall(b"x" * 50_000)
        assert first.recv(4096).startswith(b"HTTP/1.1 201 ")
        sent(httpx.put(one.url + "/upload/b", content=b"x"), b"x")
    until(lambda: not folder.unfinished(), "cleaning up")


def test_a_client_that_leaves_leaves_nothing(uploads):
    one, folder = uploads('max_concurrent = 3\nclient_quota = "1MiB"')
    for announced, sent_bytes in [(100_000, 0), (100_000, 1), (900_000, 800_000), (300_000, 299_999)]:
        with under_way(one, announced, sent_bytes):
            if sent_bytes > 2 * 65536:
                until(folder.unfinished, "the first bytes on the disk")
        until(folder.is_empty, "cleaning up")
    head = form((FILE, b"x" * 500_000))["content"][:400_000]
    with socket.create_connection(one.host_port) as client:
        client.sendall(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 500200\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" + head
        )
        until(folder.unfinished, "the first bytes on the disk")
    until(folder.is_empty, "cleaning up")
    # Places and bytes are given back, too.
    sent(httpx.put(one.url + "/upload/a", content=b"x" * 1048576), b"x" * 1048576)


def test_stopping_in_the_middle_of_uploads_leaves_nothing_half(uploads):
    one, folder = uploads()
    one.stop()
    one.config.write_text(one.config.read_text().replace("workers = 1", 'workers = 2\ndrain_timeout = "1s"'))
    one.start()
    with contextlib.ExitStack() as clients:
        for n in range(8):
            clients.enter_context(under_way(one, 900_000, 100_000 * n))
        until(lambda: len(folder.unfinished()) >= 5, "the first bytes on the disk")
        one.stop()  # checks that nothing leaked
    assert folder.is_empty()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", path], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mounting a file system isn't permitted here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_is_507_and_leaves_nothing(gateway, small_disk):
    one = gateway(config(folder=small_disk))
    folder = Folder(small_disk)
    content = b"x" * 3_000_000
    for body in (content, iter([content[:1_000_000], content[:1_500_000], content[:500_000]])):
        problem(httpx.put(one.url + "/upload/a", content=body), 507, "storage-full")
        until(folder.is_empty, "cleaning up")
    answer = httpx.post(one.url + "/upload", files={"f": ("a", content)}, headers=JSON)
    problem(answer, 507, "storage-full")
    until(folder.is_empty, "cleaning up")
    sent(httpx.put(one.url + "/upload/a", content=b"x" * 1_000_000), b"x" * 1_000_000)


# -- who may --------------------------------------------------------------------------------------


def test_only_tokens_upload_and_delete(gateway):
    secret = "s3cret-token"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    one = gateway(config(auth="token") + f'[tokens.ci]\ndigest = "sha256:{digest}"\n')
    folder = Folder(one.folder / "up")
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert httpx.put(one.url + "/upload/a", content=b"x", headers=headers).status_code == 401
        answer = httpx.post(one.url + "/upload", files={"f": ("a", b"x")}, headers=headers)
        assert answer.status_code == 401
    assert folder.is_empty()
    bearer = {"Authorization": f"Bearer {secret}"}
    file = sent(httpx.put(one.url + "/upload/a", content=b"x", headers=bearer), b"x")
    assert httpx.delete(one.url + "/upload/" + file["id"]).status_code == 401
    assert httpx.delete(one.url + "/upload/" + file["id"], headers=bearer).status_code == 204


def test_another_sites_form_is_refused(uploads):
    one, folder = uploads()
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Cookie": "gw_csrf=" + "A" * 22}
    answer = httpx.post(one.url + "/upload", files={"f": ("a", b"x")}, headers=foreign)
    assert answer.status_code == 403
    answer = httpx.put(one.url + "/upload/a", content=b"x", headers=foreign)
    assert answer.status_code == 403
    # Our own page's cookie without its token: the form could still bring it, before any file.
    own = {"Cookie": "gw_csrf=" + "A" * 22}
    token = b'Content-Disposition: form-data; name="csrf_token"'
    for parts in ([(FILE, b"x")], [(token, b"wrong"), (FILE, b"x")], [(FILE, b"x"), (token, b"late")]):
        request = form(*parts)
        request["headers"] = {**request["headers"], **own}
        assert httpx.post(one.url + "/upload", **request).status_code == 403
    until(folder.is_empty, "cleaning up")


# -- many, and large ------------------------------------------------------------------------------


def test_many_at_once_are_all_whole(uploads):
    one, folder = uploads()
    contents = [os.urandom(n * 4099 % 200_000) for n in range(60)]
    ids = {}

    def send(n):
        ids[sent(httpx.put(one.url + f"/upload/{n}", content=contents[n], timeout=60), contents[n])["id"]] = n

    threads = [threading.Thread(target=send, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 60
    assert folder.whole() == {file: contents[n] for file, n in ids.items()}


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's memory isn't the gateway's")
def test_a_large_upload_needs_little_memory(uploads, tmp_path):
    one, folder = uploads()
    sent(httpx.put(one.url + "/upload/first", content=b"x"), b"x")
    before = one.status("VmHWM")
    with open(tmp_path / "large", "wb") as large:
        large.truncate(300_000_000)
    status, _, _ = curl("-F", f"f=@{tmp_path}/large", "-H", "Accept: application/json", one.url + "/upload")
    assert status == 201
    assert one.status("VmHWM") - before < 12_000  # KiB, of them libmagic's database 8,000
