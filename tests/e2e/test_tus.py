"""Resumable uploads (tus 1.0): what clients are answered, and that no acknowledged byte is lost."""

import base64
import contextlib
import fcntl
import hashlib
import json
import pathlib
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import zlib
from email.utils import parsedate_to_datetime

import httpx
import pytest

from conftest import HEADER
from gateway import SANITIZED, until

ROOT = pathlib.Path(__file__).parents[2]
CLIENTS = ROOT / "build/clients"
MIB = 1 << 20

CONFIG = """
[data]
dir = "data"
[uploads.main]
path = "/upload"
dir = "uploads"
max_size = "256MiB"
expire_after = "1h"
lock_timeout = "5s"
auth = "public"
{more}
[downloads.main]
path = "/files"
from = "main"
auth = "public"
"""


class Tus:
    """A client of one gateway."""

    def __init__(self, one):
        self.one = one
        self.uploads = one.folder / "uploads"
        self.http = httpx.Client(base_url=one.url, headers={"Tus-Resumable": "1.0.0"}, timeout=60)

    def create(self, length=None, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if length is not None:
            headers["Upload-Length"] = str(length)
        if body is not None:
            headers["Content-Type"] = "application/offset+octet-stream"
        return self.http.post("/upload", content=body, headers=headers)

    def new(self, length, **headers):
        answer = self.create(length, **headers)
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]

    def head(self, location):
        return self.http.head(location)

    def offset(self, location):
        answer = self.head(location)
        assert answer.status_code == 200, answer.status_code
        return int(answer.headers["upload-offset"])

    def patch(self, location, offset, data, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Content-Type": "application/offset+octet-stream", **headers}
        if offset is not None:
            headers["Upload-Offset"] = str(offset)
        return self.http.patch(location, content=data, headers=headers)

    def path(self, location):
        return self.uploads / location.split("?")[0].rpartition("/")[2]

    def partial(self, location):
        return self.uploads / ".partial" / location.split("?")[0].rpartition("/")[2]

    def begin_patch(self, location, offset, length, data, more=""):
        """A PATCH that announces `length` bytes, sends `data` and then hangs."""
        client = socket.create_connection(self.one.host_port)
        head = (
            f"PATCH {location} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
            f"Content-Length: {length}\r\n{more}\r\n"
        )
        client.sendall(head.encode() + data)
        return client


@pytest.fixture
def tus(gateway):
    def start(more="", config=CONFIG, **options):
        return Tus(gateway(config.format(more=more), **options))

    return start


def restart(client):
    """After kill -9; the same folders, another port."""
    client.one.process.wait()
    client.one.start()
    return Tus(client.one)


def problem(answer):
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


def recorded(one):
    """The offset of the only partial upload, as another process sees it."""
    [database] = [path for path in (one.folder / "data").iterdir() if path.suffix == ".db"]
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        table = next(
            name
            for [name] in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if "partial" in name
        )
        columns = [column[1] for column in store.execute(f"PRAGMA table_info({table})")]
        column = next(name for name in columns if "offset" in name or name == "received")
        rows = store.execute(f'SELECT "{column}" FROM {table}').fetchall()
    return rows[0][0] if rows else None


# -- the protocol --


def test_options_tell_what_there_is(tus):
    client = tus()
    answer = httpx.options(client.one.url + "/upload")  # no Tus-Resumable is needed
    assert answer.status_code == 204
    assert answer.headers["tus-resumable"] == answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-max-size"] == str(256 * MIB)
    assert answer.headers["tus-checksum-algorithm"] == "sha256,sha1,md5,crc32"
    assert sorted(answer.headers["tus-extension"].split(",")) == [
        "checksum",
        "creation",
        "creation-defer-length",
        "creation-with-upload",
        "expiration",
        "termination",
    ]


def test_an_upload_in_pieces_becomes_a_file(tus):
    client, data = tus(), random.Random(1).randbytes(300_000)
    name = base64.b64encode("Prüfung 😀.bin".encode()).decode()
    metadata = f"filename {name},is_confidential"
    created = client.create(len(data), Upload_Metadata=metadata)
    assert created.status_code == 201
    location = created.headers["location"]
    assert location.startswith("/upload/")
    expires = parsedate_to_datetime(created.headers["upload-expires"]).timestamp()
    assert 3500 < expires - time.time() < 3700
    assert "upload-offset" not in created.headers

    for start in range(0, len(data), 100_000):
        head = client.head(location)
        assert head.status_code == 200
        assert head.headers["upload-offset"] == str(start)
        assert head.headers["upload-length"] == str(len(data))
        assert head.headers["upload-metadata"] == metadata
        assert head.headers["cache-control"] == "no-store"
        assert "upload-expires" in head.headers and "upload-defer-length" not in head.headers
        answer = client.patch(location, start, data[start : start + 100_000])
        assert answer.status_code == 204
        assert answer.headers["upload-offset"] == str(start + 100_000)
        assert ("repr-digest" in answer.headers) == (start == 200_000)
    assert "upload-expires" not in answer.headers
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
    assert answer.headers["repr-digest"] == digest
    assert answer.headers["content-location"] == location.replace("/upload/", "/files/")

    head = client.head(location)
    assert head.headers["upload-offset"] == head.headers["upload-length"] == str(len(data))
    assert head.headers["upload-metadata"] == f"filename {name}"
    assert client.path(location).read_bytes() == data
    until(lambda: not client.partial(location).exists(), "the partial file's end")
    # What was answered and lost may be asked again, and nothing more is taken.
    again = client.patch(location, len(data), b"")
    assert again.status_code == 204 and again.headers["upload-offset"] == str(len(data))
    assert again.headers["repr-digest"] == digest
    assert again.headers["content-location"] == answer.headers["content-location"]
    assert problem(client.patch(location, len(data), b"x")) == (413, "upload-size-exceeded")
    assert problem(client.patch(location, 0, data)) == (409, "mismatched-offset")

    found = httpx.get(client.one.url + location)
    assert found.status_code == 303
    assert found.headers["location"] == answer.headers["content-location"]
    file = httpx.get(client.one.url + found.headers["location"])
    assert file.content == data
    assert "filename*=UTF-8''Pr%C3%BCfung%20%F0%9F%98%80.bin" in file.headers["content-disposition"]
    assert file.headers["repr-digest"] == digest


def fields_of(one):
    """What is recorded beside each whole file, by id."""
    with contextlib.closing(sqlite3.connect(f"file:{next((one.folder / 'data').glob('*.db'))}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT id, fields FROM files"))


def test_metadata_that_is_a_field_is_recorded_as_of_a_form(tus):
    client, data = tus('fields = ["note", "title"]'), b"x" * 1000
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in
               {"title": 'Der "Topf" 😀', "note": "b", "filename": "a.txt", "other": "x"}.items()}
    metadata = ",".join(f"{key} {value}" for key, value in encoded.items())
    expected = '{"note":"b","title":"Der \\"Topf\\" 😀"}'

    pieces = client.new(len(data), Upload_Metadata=metadata)
    assert client.head(pieces).headers["upload-metadata"] == metadata, "what isn't a field is kept with the upload"
    assert client.patch(pieces, 0, data[:500]).status_code == 204
    client.one.process.kill()
    client = restart(client)
    assert client.patch(pieces, 500, data[500:]).status_code == 204
    at_once = client.create(len(data), data, Upload_Metadata=metadata).headers["location"]
    empty = client.new(0, Upload_Metadata=metadata)
    without = client.new(0, Upload_Metadata=f"filename {encoded['filename']},other")
    form = httpx.post(client.one.url + "/upload", data={"title": 'Der "Topf" 😀', "note": "b"},
                      files={"file": ("a.txt", data)}, headers={"Accept": "application/json"}).json()

    kept = fields_of(client.one)
    assert [kept[where.rpartition("/")[2]] for where in (pieces, at_once, empty)] == [expected] * 3
    assert kept[form["files"][0]["id"]] == expected
    assert not kept[without.rpartition("/")[2]]


def test_the_digest_of_a_file_is_right_however_it_came(tus):
    """Taken as the bytes pass, or read back in several slices."""
    client, data = tus(), random.Random(2).randbytes(20 * MIB)
    for pieces in (1, 3):
        location = client.new(len(data))
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            assert client.patch(location, start, data[start : start + size]).status_code == 204
        file = httpx.get(client.one.url + location.replace("/upload/", "/files/"))
        assert hashlib.sha256(data).hexdigest() in file.headers["etag"] or file.headers[
            "repr-digest"
        ] == f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
        assert file.content == data


def test_a_creation_may_bring_bytes(tus):
    client, data = tus(), b"x" * 5000
    answer = client.create(len(data), data[:2000])
    assert answer.status_code == 201 and answer.headers["upload-offset"] == "2000"
    assert "upload-expires" in answer.headers
    location = answer.headers["location"]
    assert client.offset(location) == 2000
    assert client.patch(location, 2000, data[2000:]).status_code == 204
    assert client.path(location).read_bytes() == data

    answer = client.create(len(data), data)
    assert answer.status_code == 201 and answer.headers["upload-offset"] == "5000"
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
    assert answer.headers["content-location"] == answer.headers["location"].replace("/upload/", "/files/")
    assert client.path(answer.headers["location"]).read_bytes() == data
    assert problem(client.create(4999, data)) == (413, "upload-size-exceeded")


def test_a_creation_whose_bytes_are_wrong_leaves_nothing(tus):
    client = tus()
    wrong = "sha1 " + base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    assert problem(client.create(10, b"12345", Upload_Checksum=wrong)) == (460, "checksum-mismatch")
    until(lambda: not any((client.uploads / ".partial").iterdir()), "nothing left")
    assert recorded(client.one) is None


def test_an_empty_file_is_whole_at_once(tus):
    client = tus()
    location = client.new(0)
    assert client.path(location).read_bytes() == b""
    head = client.head(location)
    assert head.headers["upload-offset"] == head.headers["upload-length"] == "0"


def test_the_length_may_be_told_later(tus):
    client = tus()
    answer = client.create(Upload_Defer_Length="1")
    assert answer.status_code == 201
    location = answer.headers["location"]
    assert client.patch(location, 0, b"a" * 1000).status_code == 204
    head = client.head(location)
    assert head.headers["upload-defer-length"] == "1" and "upload-length" not in head.headers
    assert problem(client.patch(location, 1000, b"", Upload_Length="999")) == (
        400,
        "invalid-upload-length",
    )
    assert client.patch(location, 1000, b"b" * 10, Upload_Length="1015").status_code == 204
    assert client.head(location).headers["upload-length"] == "1015"
    assert problem(client.patch(location, 1010, b"c", Upload_Length="1016")) == (
        400,
        "invalid-upload-length",
    )
    assert client.patch(location, 1010, b"c" * 5, Upload_Length="1015").status_code == 204
    assert client.path(location).read_bytes() == b"a" * 1000 + b"b" * 10 + b"c" * 5

    # What was taken under a larger max_size is no leave to go on without an end.
    location = client.create(Upload_Defer_Length="1").headers["location"]
    assert client.patch(location, 0, b"a" * 2000).status_code == 204
    client.one.process.kill()
    config = client.one.config.read_text()
    client.one.config.write_text(config.replace('"256MiB"', '"1000B"'))
    client = restart(client)
    assert problem(client.patch(location, 2000, b"b")) == (413, "max-size-exceeded")
    assert problem(client.patch(location, 2000, iter([b"b"]))) == (413, "max-size-exceeded")
    assert client.offset(location) == 2000

    # Known only once everything is there.
    location = client.create(Upload_Defer_Length="1").headers["location"]
    assert client.patch(location, 0, b"abc").status_code == 204
    assert client.patch(location, 3, b"", Upload_Length="3").status_code == 204
    assert client.path(location).read_bytes() == b"abc"


def test_a_wrong_offset_is_refused_with_the_right_one(tus):
    client = tus()
    location = client.new(10)
    assert client.patch(location, 0, b"abcd").status_code == 204
    for wrong in (0, 3, 5, 10):
        answer = client.patch(location, wrong, b"x")
        assert problem(answer) == (409, "mismatched-offset")
        assert answer.headers["upload-offset"] == "4"
    assert client.offset(location) == 4


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5", "crc32"])
def test_bytes_with_a_checksum_count_when_it_is_right(tus, algorithm):
    def checksum(data):
        if algorithm == "crc32":
            value = zlib.crc32(data).to_bytes(4, "big")
        else:
            value = hashlib.new(algorithm, data).digest()
        return f"{algorithm} {base64.b64encode(value).decode()}"

    client, data = tus(), random.Random(3).randbytes(400_000)
    location = client.new(len(data))
    half = len(data) // 2
    wrong = client.patch(location, 0, data[:half], Upload_Checksum=checksum(data))
    assert problem(wrong) == (460, "checksum-mismatch")
    assert client.offset(location) == 0
    right = client.patch(location, 0, data[:half], Upload_Checksum=checksum(data[:half]))
    assert right.status_code == 204
    wrong = client.patch(location, half, data[half:], Upload_Checksum=checksum(data[:half]))
    assert problem(wrong) == (460, "checksum-mismatch")
    assert client.offset(location) == half
    right = client.patch(location, half, data[half:], Upload_Checksum=checksum(data[half:]))
    assert right.status_code == 204
    assert client.path(location).read_bytes() == data


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize("algorithm, name", [("sha-256", "sha256"), ("sha-512", "sha512")])
def test_bytes_with_a_digest_field_count_when_it_is_right(tus, field, algorithm, name):
    client = tus()
    location = client.new(9)

    def digest(data):
        value = base64.b64encode(hashlib.new(name, data).digest()).decode()
        return {field: f"{algorithm}=:{value}:"}

    wrong = client.patch(location, 0, b"abc", **digest(b"abd"))
    assert problem(wrong) == (460, "checksum-mismatch")
    assert client.offset(location) == 0
    malformed = client.patch(location, 0, b"abc", **{field: f"{algorithm}=:YWJj:"})
    assert problem(malformed) == (400, "malformed-digest")
    assert client.patch(location, 0, b"abc", **digest(b"abc")).status_code == 204
    assert client.offset(location) == 3
    assert client.create(3, b"abc", **digest(b"abd")).status_code == 460
    assert client.create(3, b"abc", **digest(b"abc")).status_code == 201


def test_what_is_refused(tus):
    client = tus()
    location = client.new(10)
    unknown = "/upload/" + 32 * "0"

    answer = client.http.post("/upload", headers={"Upload-Length": "1", "Tus-Resumable": "0.2.2"})
    assert problem(answer) == (412, "unsupported-version")
    assert answer.headers["tus-version"] == "1.0.0"
    assert httpx.head(client.one.url + location).status_code == 412
    assert httpx.patch(client.one.url + location, content=b"x").status_code == 412
    answer = client.http.post(location)
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"

    for headers, expected in (
        ({}, (400, "invalid-upload-length")),
        ({"Upload-Length": "-1"}, (400, "invalid-upload-length")),
        ({"Upload-Length": "9223372036854775808"}, (400, "invalid-upload-length")),
        ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, (400, "invalid-upload-length")),
        ({"Upload-Defer-Length": "2"}, (400, "invalid-upload-length")),
        ({"Upload-Length": str(256 * MIB + 1)}, (413, "max-size-exceeded")),
        ({"Upload-Length": "1", "Upload-Metadata": "a b c"}, (400, "invalid-upload-metadata")),
        ({"Upload-Length": "1", "Upload-Metadata": "k,k"}, (400, "invalid-upload-metadata")),
        (
            {"Upload-Length": "1", "Upload-Metadata": "k " + 4100 * "A"},
            (413, "upload-metadata-too-large"),
        ),
    ):
        assert problem(client.http.post("/upload", headers=headers)) == expected, headers

    for change, expected in (
        ({"Content-Type": "text/plain"}, (415, "invalid-content-type")),
        ({"Upload-Offset": "x"}, (400, "invalid-upload-offset")),
        ({"Upload-Length": "11"}, (400, "invalid-upload-length")),
        ({"Upload-Checksum": "sha512 AAAA"}, (400, "unsupported-checksum-algorithm")),
        ({"Upload-Checksum": "sha1 AAAA"}, (400, "invalid-upload-checksum")),
    ):
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": "0",
            **change,
        }
        answer = client.http.patch(location, content=b"x", headers=headers)
        assert problem(answer) == expected, change
    assert problem(client.patch(location, None, b"x")) == (400, "invalid-upload-offset")
    assert problem(client.patch(location, 0, b"12345678901")) == (413, "upload-size-exceeded")
    assert problem(client.patch(location, 0, iter([b"123456", b"78901"]))) == (
        413,
        "upload-size-exceeded",
    )
    assert client.offset(location) == 0

    assert problem(client.patch(unknown, 0, b"x")) == (404, "upload-not-found")
    assert client.head(unknown).status_code == client.head("/upload/x").status_code == 404
    assert problem(client.http.delete(unknown)) == (404, "upload-not-found")
    assert httpx.get(client.one.url + unknown).status_code == 404
    assert httpx.get(client.one.url + location).status_code == 404, "it isn't whole"
    assert client.http.post(location).status_code == 405


def test_other_methods_may_be_asked_for_by_post(tus):
    client = tus()
    location = client.new(3)
    headers = {
        "X-HTTP-Method-Override": "PATCH",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": "0",
    }
    answer = client.http.post(location, content=b"ab", headers=headers)
    assert answer.status_code == 204 and answer.headers["upload-offset"] == "2"
    answer = client.http.post(location, headers={"X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 204
    assert client.head(location).status_code == 404


def test_termination_removes_an_upload(tus):
    client = tus('quota = "100KiB"')
    location = client.new(100 * 1024)
    assert client.patch(location, 0, b"x" * 1000).status_code == 204
    assert client.partial(location).exists()
    assert client.create(1).status_code == 507
    assert client.http.delete(location).status_code == 204
    until(lambda: not client.partial(location).exists(), "the bytes' end")
    assert client.head(location).status_code == 404
    assert client.http.delete(location).status_code == 404

    location = client.create(100 * 1024, b"y" * 100 * 1024).headers["location"]  # there is room again
    assert client.path(location).exists()
    assert client.http.delete(location).status_code == 204
    assert client.head(location).status_code == 404
    until(lambda: not client.path(location).exists(), "the file's end")
    assert client.create(100 * 1024).status_code == 201


def test_http2_uploads_too(tus, tmp_path):
    client, data = tus(), random.Random(4).randbytes(3 * MIB)
    location = client.new(len(data))
    (tmp_path / "data").write_bytes(data)
    subprocess.run(
        ["curl", "-sS", "--fail", "--http2-prior-knowledge", "-X", "PATCH"]
        + ["-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0"]
        + ["-H", "Content-Type: application/offset+octet-stream"]
        + ["--data-binary", f"@{tmp_path}/data", client.one.url + location],
        check=True,
    )
    assert client.path(location).read_bytes() == data


# -- who may, and how much --


def test_a_signed_location_is_enough_to_go_on(tus):
    client = tus(config=CONFIG.replace("public", "signed", 1))
    assert client.create(3).status_code in (401, 403)
    expires = int(time.time()) + 100
    signed = subprocess.run(
        [client.one.process.args[0], "sign-url", "-c", client.one.config, "--write", "/upload"],
        capture_output=True,
        text=True,
        check=False,
    )
    if signed.returncode != 0:
        pytest.skip("there is no sign-url yet")
    answer = client.http.post(signed.stdout.strip(), headers={"Upload-Length": "3"})
    assert answer.status_code == 201, (answer.text, expires)
    location = answer.headers["location"]
    assert "sig=" in location
    assert client.head(location.split("?")[0]).status_code in (401, 403)
    assert client.patch(location, 0, b"abc").status_code == 204


def test_types_are_told_by_content(tus):
    client = tus('allow_types = ["image/png"]')
    location = client.new(20)
    assert client.patch(location, 0, b"<html><body>").status_code == 204
    answer = client.patch(location, 12, b"x</body>")
    assert answer.status_code == 415
    until(lambda: client.head(location).status_code == 404, "its removal")
    until(lambda: not client.partial(location).exists(), "the bytes' end")
    assert not client.path(location).exists()


def test_quotas_are_asked_before_bytes_come(tus):
    client = tus('client_quota = "1MiB"\nquota = "3MiB"')
    assert client.create(MIB + 1).status_code == 413
    first = client.new(MIB - 1000)
    assert client.create(1001).status_code == 413
    location = client.create(Upload_Defer_Length="1").headers["location"]
    assert client.patch(location, 0, b"x" * 1000).status_code == 204
    assert client.patch(location, 1000, b"x").status_code == 413
    assert client.patch(location, 1000, iter([b"x"])).status_code == 413
    assert client.offset(location) == 1000
    assert client.http.delete(first).status_code == 204
    assert client.patch(location, 1000, iter([b"x" * 5000])).status_code == 204
    client.one.process.kill()
    client = restart(client)
    assert client.create(MIB - 6000 + 1).status_code == 413, "counted anew from the records"
    assert client.create(MIB - 6000).status_code == 201


# -- time --


def test_an_upload_that_nobody_goes_on_with_expires(tus):
    client = tus('quota = "1000B"', config=CONFIG.replace('"1h"', '"1s"'))
    location = client.new(1000)
    assert client.patch(location, 0, b"x").status_code == 204  # its time begins anew
    assert client.create(1).status_code == 507
    until(lambda: client.head(location).status_code == 410, "its end")
    assert problem(client.patch(location, 1, b"x")) == (410, "upload-expired")
    client.one.process.kill()
    client = restart(client)
    until(lambda: client.head(location).status_code == 404, "the sweep")
    assert not client.partial(location).exists()
    assert client.create(1000).status_code == 201


def test_many_that_nobody_goes_on_with_expire_together(tus):
    client = tus(config=CONFIG.replace('"1h"', '"1s"'))
    locations = [client.new(10) for _ in range(350)]
    until(lambda: client.head(locations[-1]).status_code == 410, "their end")
    client.one.stop()
    client.one.start()
    client = Tus(client.one)
    until(lambda: client.head(locations[-1]).status_code == 404, "the sweep", 60)
    assert [client.head(location).status_code for location in locations] == [404] * 350


# -- whoever comes back --


@pytest.mark.parametrize("workers", [1, 3])
def test_a_newcomer_takes_over_from_a_dead_connection(tus, workers):
    client = tus(header=HEADER.replace("workers = 1", f"workers = {workers}"))
    data = random.Random(5).randbytes(500_000)
    location = client.new(len(data))
    dead = client.begin_patch(location, 0, len(data), data[:200_000])
    until(lambda: client.partial(location).exists(), "the first bytes")
    began = time.monotonic()
    offset = client.offset(location)
    assert time.monotonic() - began < 3, "it isn't waited for"
    assert 0 < offset <= 200_000
    dead.settimeout(10)
    assert dead.recv(100).startswith(b"HTTP/1.1 423"), "its client is told, if it still is there"
    other = client.begin_patch(location, offset, len(data) - offset, data[offset : offset + 200_000])
    until(lambda: client.partial(location).stat().st_size > offset, "more bytes")
    # A PATCH takes over as well; which offset it needs is told.
    answer = client.patch(location, 0, b"x")
    assert answer.status_code == 409
    offset = int(answer.headers["upload-offset"])
    assert client.patch(location, offset, data[offset:]).status_code == 204
    assert client.path(location).read_bytes() == data
    dead.close()
    other.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_of_many_at_once_each_byte_counts_once(tus, workers):
    client = tus(header=HEADER.replace("workers = 1", f"workers = {workers}"))
    data = random.Random(6).randbytes(2 * MIB)
    location = client.new(len(data))
    statuses = []

    def go():
        mine = Tus(client.one)
        while True:
            head = mine.head(location)
            if head.status_code == 423:
                continue
            offset = int(head.headers["upload-offset"])
            if offset == len(data):
                return
            with contextlib.suppress(httpx.TransportError):
                answer = mine.patch(location, offset, data[offset : offset + 300_000])
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "all of them come to an end"
    assert set(statuses) <= {204, 409, 423, 413}
    assert client.path(location).read_bytes() == data


def test_who_is_waited_for_gets_on_with_it_first(tus):
    """Else of many who want the same upload none would ever bring a byte."""
    client = tus()
    location = client.new(2000)
    dead = client.begin_patch(location, 0, 2000, b"")
    until(lambda: client.partial(location).exists(), "its lock")
    client.one.process.send_signal(signal.SIGSTOP)  # so that both have come when it looks
    patch = client.begin_patch(location, 0, 1000, bytes(1000))
    head = socket.create_connection(client.one.host_port)
    head.sendall(f"HEAD {location} HTTP/1.1\r\nHost: t\r\nTus-Resumable: 1.0.0\r\n\r\n".encode())
    client.one.process.send_signal(signal.SIGCONT)
    answers = [one.recv(1000).lower() for one in (dead, patch, head)]
    assert [answer.split()[1] for answer in answers] == [b"423", b"204", b"200"]
    assert b"upload-offset: 1000" in answers[1]
    for one in (dead, patch, head):
        one.close()


def test_who_waits_for_the_lock_too_long_is_told(tus):
    """Another process (here: this test) holds the file."""
    client = tus()
    location = client.new(10)
    assert client.patch(location, 0, b"x").status_code == 204
    with open(client.partial(location), "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        answer = client.patch(location, 1, b"y")
        assert problem(answer) == (423, "upload-locked")
        assert client.offset(location) == 1, "looking is free"
    assert client.patch(location, 1, b"y").status_code == 204


def test_what_a_client_sent_before_it_left_counts(tus):
    client, data = tus(), random.Random(7).randbytes(300_000)
    location = client.new(len(data))
    sock = client.begin_patch(location, 0, len(data), data[:150_000])
    until(lambda: client.partial(location).exists(), "the first bytes")
    sock.close()
    offset = until(lambda: client.offset(location), "the bytes")
    assert client.partial(location).read_bytes()[:offset] == data[:offset]
    # With a checksum it is all or nothing.
    digest = base64.b64encode(hashlib.sha1(data[offset:]).digest()).decode()
    sock = client.begin_patch(
        location,
        offset,
        len(data) - offset,
        data[offset : offset + 1000],
        more=f"Upload-Checksum: sha1 {digest}\r\n",
    )
    time.sleep(0.1)  # let some arrive
    sock.close()
    assert client.offset(location) == offset
    assert client.patch(location, offset, data[offset:]).status_code == 204
    assert client.path(location).read_bytes() == data


# -- crashes --


def test_a_long_patch_is_recorded_on_its_way(tus):
    client, data = tus(), random.Random(8).randbytes(40 * MIB)
    location = client.new(64 * MIB)
    sock = client.begin_patch(location, 0, 64 * MIB, data)
    until(lambda: (recorded(client.one) or 0) >= 16 * MIB, "a checkpoint", 60)
    client.one.process.kill()
    sock.close()
    client = restart(client)
    offset = client.offset(location)
    assert 16 * MIB <= offset <= len(data)
    assert client.partial(location).read_bytes()[:offset] == data[:offset]


def test_kill_9_loses_no_acknowledged_byte(tus):
    seed = 9
    client, data = tus(), random.Random(seed).randbytes((12 if SANITIZED else 48) * MIB)
    location = client.new(len(data))
    delays, acknowledged = random.Random(seed), 0
    for round_number in range(10):
        killer = threading.Timer(delays.uniform(0.01, 0.25), client.one.process.kill)
        killer.start()
        offset, size = acknowledged, delays.choice([100_000, MIB, 5 * MIB])
        with contextlib.suppress(httpx.TransportError, AssertionError):
            offset = client.offset(location)
            while offset < len(data):
                answer = client.patch(location, offset, data[offset : offset + size])
                assert answer.status_code == 204
                offset = acknowledged = int(answer.headers["upload-offset"])
                time.sleep(0.005)  # so that ten rounds meet an upload that isn't over
        killer.join()
        client = restart(client)
        offset = client.offset(location)
        assert acknowledged <= offset <= len(data), round_number
        if offset < len(data):
            assert client.partial(location).read_bytes()[:offset] == data[:offset], round_number
        acknowledged = offset
    while (offset := client.offset(location)) < len(data):
        assert client.patch(location, offset, data[offset : offset + 5 * MIB]).status_code == 204
    assert client.path(location).read_bytes() == data


def test_kill_9_around_the_last_byte(tus):
    """Whole with its record, or partial with a true offset: nothing between."""
    delays = random.Random(10)
    client = tus()
    for round_number in range(10):
        data = delays.randbytes(200_000)
        location = client.new(len(data))
        assert client.patch(location, 0, data[:100_000]).status_code == 204
        killer = threading.Timer(delays.uniform(0, 0.012), client.one.process.kill)
        killer.start()
        with contextlib.suppress(httpx.TransportError):
            client.patch(location, 100_000, data[100_000:])
        killer.join()
        client = restart(client)
        offset = client.offset(location)
        assert offset in (100_000, len(data)), round_number
        if offset != len(data):
            answer = client.patch(location, offset, data[offset:])
            assert answer.status_code == 204, (round_number, answer.text)
        assert client.path(location).read_bytes() == data, round_number


def test_a_stop_in_the_middle_is_gone_on_with_after_a_start(tus):
    client, data = tus(), random.Random(11).randbytes(200_000)
    location = client.new(len(data))
    assert client.patch(location, 0, data[:50_000]).status_code == 204
    assert client.one.terminate() == 0
    client = restart(client)
    assert client.offset(location) == 50_000
    assert client.patch(location, 50_000, data[50_000:]).status_code == 204
    assert client.path(location).read_bytes() == data


def test_a_stop_with_a_patch_under_way(tus):
    client, data = tus(), random.Random(14).randbytes(300_000)
    location = client.new(len(data))
    assert client.patch(location, 0, data[:100_000]).status_code == 204
    sock = client.begin_patch(location, 100_000, 200_000, data[100_000:250_000])
    until(lambda: client.partial(location).stat().st_size > 100_000, "more bytes")
    client.one.process.terminate()
    time.sleep(0.1)  # two signals at once may be one
    assert client.one.terminate() == 0
    sock.close()
    client = restart(client)
    offset = client.offset(location)
    assert 100_000 <= offset <= 250_000
    assert client.patch(location, offset, data[offset:]).status_code == 204
    assert client.path(location).read_bytes() == data


def test_what_is_recorded_when_the_disk_is_full_is_there(tus):
    limit = 24 * MIB + 12345
    client = tus(env={"FULL_DISK_AT": str(limit)}, preload="full_disk.so")
    data = random.Random(15).randbytes(40 * MIB)
    location = client.new(len(data))
    with contextlib.suppress(httpx.TransportError):  # it may still be sending
        answer = client.patch(location, 0, data)
        assert answer.status_code == 507
    offset = client.offset(location)
    assert offset <= limit
    assert client.partial(location).read_bytes()[:offset] == data[:offset]
    # Piece by piece all that there is room for, and not a byte more.
    while client.patch(location, offset, data[offset : offset + 999_999]).status_code == 204:
        offset += 999_999
    assert client.offset(location) == offset and limit - 999_999 < offset <= limit
    assert client.partial(location).read_bytes()[:offset] == data[:offset]
    assert client.http.delete(location).status_code == 204


def test_a_disk_too_full_for_a_file_is_told_at_the_creation(tus):
    client = tus('quota = "3B"', env={"NO_PARTIALS": "1"}, preload="full_disk.so")
    for _ in range(2):  # nothing is left behind that counts
        answer = client.create(3, b"abc")
        assert problem(answer) == (507, "storage-full")
    location = client.new(3)
    assert problem(client.patch(location, 0, b"abc")) == (507, "storage-full")
    assert client.offset(location) == 0


# -- the reference client --


@pytest.fixture(scope="session")
def clients():
    if not (CLIENTS / "installed").exists():
        subprocess.run([ROOT / "tests/clients/install"], check=True)


def run_client(client, path, **options):
    done = subprocess.run(
        ["node", CLIENTS / "tus.mjs", client.one.url + "/upload", path, json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunk": 300_000},
        {"chunk": 300_000, "with_creation": True},
        {"chunk": 300_000, "deferred": True},
    ],
    ids=["at once", "in chunks", "with the creation", "deferred"],
)
def test_tus_js_client(tus, clients, tmp_path, options):
    client, data = tus(), random.Random(12).randbytes(2 * MIB + 17)
    (tmp_path / "file").write_bytes(data)
    done = run_client(client, tmp_path / "file", metadata={"filename": "ä.bin"}, **options)
    assert done["state"] == "uploaded", done
    location = httpx.URL(done["url"]).path
    assert client.path(location).read_bytes() == data
    file = httpx.get(client.one.url + location.replace("/upload/", "/files/"))
    assert "%C3%A4.bin" in file.headers["content-disposition"]


def test_tus_js_client_goes_on_where_it_stopped(tus, clients, tmp_path):
    client, data = tus(), random.Random(13).randbytes(4 * MIB)
    (tmp_path / "file").write_bytes(data)
    state = str(tmp_path / "state")
    left = run_client(client, tmp_path / "file", chunk=500_000, stop=1_500_000, state=state)
    assert left["state"] == "left"
    done = run_client(client, tmp_path / "file", chunk=500_000, state=state)
    assert done["state"] == "uploaded" and done["url"] == left["url"]
    assert [method for method, _ in done["requests"]][0] == "HEAD"
    assert len([1 for method, _ in done["requests"] if method == "PATCH"]) <= 6
    assert client.path(httpx.URL(done["url"]).path).read_bytes() == data
