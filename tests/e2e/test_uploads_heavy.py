"""What uploads promise when they are large, many, slow, or when the gateway dies: bounded memory,
nothing acknowledged is lost, nobody else waits."""

import asyncio
import base64
import hashlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import httpx
import pytest

from gateway import SANITIZED, until

CONFIG = """
[uploads.main]
path = "/upload"
dir = "data/uploads"
max_size = "2GiB"
auth = "public"
max_concurrent = 400
[downloads.files]
path = "/files"
from = "main"
[upstreams.u]
url = "{url}"
[pages.fast]
path = "/fast"
[pages.fast.parts.u]
path = "/ok"
"""
BIG = (64 if SANITIZED else 1024) << 20
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def one(gateway, faults):
    return gateway(CONFIG.format(url=faults.url))


@pytest.fixture(scope="module")
def big_file(tmp_path_factory):
    """A file of BIG bytes that don't repeat, and its digest."""
    path = tmp_path_factory.mktemp("big") / "big.bin"
    digest = hashlib.sha256()
    block = bytearray(os.urandom(1 << 20))
    with open(path, "wb") as file:
        for number in range(BIG >> 20):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)
            digest.update(block)
    yield path, digest.hexdigest()
    path.unlink()


class Memory:
    """The most that the gateway had resident while the block ran, in KiB: of its own, and with the pages
    of files, which libraries share with whoever else runs them (those that draw certificates: 8 MB)."""

    def __init__(self, gateway):
        self.gateway = gateway

    def __enter__(self):
        self.peak, self.own, self.running = 0, 0, True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while self.running:
            self.peak = max(self.peak, self.gateway.status("VmRSS"))
            self.own = max(self.own, self.gateway.status("RssAnon"))
            time.sleep(0.02)  # between two looks

    def __exit__(self, *_):
        self.running = False
        self.thread.join()


def upload_by(way, one, path):
    url = one.url + "/upload"
    json = ["-H", "Accept: application/json"]
    ways = {
        "form": [*json, "-F", f"file=@{path}", url],
        "put": ["-T", path, url + "/big.bin"],
        "chunked": ["-T", path, "-H", "Transfer-Encoding: chunked", url + "/big.bin"],
        "http2": ["--http2-prior-knowledge", "-T", path, url + "/big.bin"],
    }
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--max-time", "300", *ways[way]],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    import json as reader

    return reader.loads(done.stdout)["files"][0]


def upload_by_tus(one, path):
    size = path.stat().st_size
    made = httpx.post(
        one.url + "/upload",
        headers={**TUS, "Upload-Length": str(size), "Upload-Metadata": "filename YmlnLmJpbg=="},
    )
    assert made.status_code == 201, made.text
    location = httpx.URL(one.url).join(made.headers["location"])
    with open(path, "rb") as file:
        offset = 0
        while offset < size:
            part = file.read(256 << 20)
            done = httpx.patch(
                location,
                content=part,
                headers={
                    **TUS,
                    "Upload-Offset": str(offset),
                    "Content-Type": "application/offset+octet-stream",
                },
                timeout=120,
            )
            assert done.status_code == 204, done.text
            offset += len(part)
            assert int(done.headers["upload-offset"]) == offset
    return {"id": location.path.rsplit("/", 1)[1], "size": size}


def digest_of_download(one, file_id):
    digest = hashlib.sha256()
    with httpx.stream("GET", f"{one.url}/files/{file_id}", timeout=120) as answer:
        assert answer.status_code == 200
        for block in answer.iter_raw(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@pytest.mark.parametrize("way", ["form", "put", "chunked", "http2", "tus"])
def test_a_gigabyte_needs_no_memory(one, big_file, way):
    path, digest = big_file
    httpx.get(one.url + "/fast")
    with Memory(one) as memory:
        file = upload_by_tus(one, path) if way == "tus" else upload_by(way, one, path)
    assert file["size"] == BIG
    assert file.get("sha256", digest) == digest
    with Memory(one) as reading:
        assert digest_of_download(one, file["id"]) == digest
    if not SANITIZED and way != "http2":
        assert memory.own < 12 << 10 and reading.own < 12 << 10, "KiB of its own"
        assert memory.peak < 36 << 10, "KiB resident during a gigabyte's upload"
        assert reading.peak < 36 << 10, "KiB resident during its download"
    if way == "http2" and not SANITIZED:  # the spilled file's pages are the kernel's to take back
        assert one.status("RssAnon") < 24 << 10
    assert httpx.delete(f"{one.url}/upload/{file['id']}").status_code == 204


async def test_two_hundred_uploads_at_once(one):
    size = (1 if SANITIZED else 10) << 20
    body = os.urandom(size)
    digest = hashlib.sha256(body).hexdigest()
    limits = httpx.Limits(max_connections=200)
    with Memory(one) as memory:
        async with httpx.AsyncClient(limits=limits, timeout=300) as client:
            answers = await asyncio.gather(
                *(client.put(f"{one.url}/upload/n{n}.bin", content=body) for n in range(200))
            )
    assert {answer.status_code for answer in answers} == {201}
    files = [answer.json()["files"][0] for answer in answers]
    assert {file["sha256"] for file in files} == {digest}
    assert len({file["id"] for file in files}) == 200
    if not SANITIZED:
        assert memory.peak < 100 << 10, "KiB resident during 200 uploads"
    stored = one.folder / "data/uploads"
    assert sum(1 for path in stored.iterdir() if path.is_file()) == 200


def percentile(values, share):
    return sorted(values)[int(len(values) * share)]


def pages(one, count):
    with httpx.Client() as client:
        taken = []
        for _ in range(count):
            begin = time.perf_counter()
            assert client.get(one.url + "/fast").status_code == 200
            taken.append(time.perf_counter() - begin)
    return taken


def test_slow_uploads_beside_fast_pages(one):
    """Three hundred clients that trickle; every page is answered all the same."""
    clients = []
    for _ in range(300):
        client = socket.create_connection(one.host_port)
        client.sendall(b"PUT /upload/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
        clients.append(client)
    ended = threading.Event()

    def trickle():
        while not ended.wait(0.05):
            for client in clients:
                client.sendall(b"y" * 500)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        pages(one, 200)
    finally:
        ended.set()
        thread.join()
    served = one.access(200, lambda record: record["path"] == "/fast")
    assert percentile([record["ms"] for record in served], 0.99) < (2000 if SANITIZED else 200)
    for client in clients:
        client.close()
    temporary = one.folder / "data/uploads/.tmp"
    until(lambda: not any(temporary.iterdir()), "removing what those who left had sent")


# -- kill -9 --


def dead_gateway(one):
    one.process.send_signal(signal.SIGKILL)
    one.process.wait()
    one.stdout.close()
    one.stderr.close()


def form_uploads(one, acknowledged, stop):
    while not stop.is_set():
        body = os.urandom(random.randrange(1, 300_000))
        try:
            answer = httpx.post(
                one.url + "/upload",
                files={"file": ("a.bin", body)},
                headers={"Accept": "application/json"},
            )
        except httpx.TransportError:
            return
        if answer.status_code == 201:
            file = answer.json()["files"][0]
            acknowledged[file["id"]] = hashlib.sha256(body).hexdigest()


def tus_uploads(one, offsets, stop):
    """Keeps for each upload the last offset that was acknowledged, and the bytes up to there."""
    while not stop.is_set():
        body = os.urandom(2_000_000)
        try:
            made = httpx.post(
                one.url + "/upload", headers={**TUS, "Upload-Length": str(len(body))}
            )
            location = made.headers["location"]
            offsets[location] = (0, body)
            for offset in range(0, len(body), 100_000):
                done = httpx.patch(
                    one.url + location,
                    content=body[offset : offset + 100_000],
                    headers={
                        **TUS,
                        "Upload-Offset": str(offset),
                        "Content-Type": "application/offset+octet-stream",
                    },
                )
                assert done.status_code == 204
                offsets[location] = (int(done.headers["upload-offset"]), body)
        except httpx.TransportError:
            return


def check_after_death(one, acknowledged, offsets):
    for file_id, digest in acknowledged.items():
        assert digest_of_download(one, file_id) == digest
    for location, (offset, body) in offsets.items():
        head = httpx.head(one.url + location, headers=TUS)
        assert head.status_code == 200, location
        kept = int(head.headers["upload-offset"])
        assert offset <= kept <= len(body)
        if kept < len(body):
            rest = httpx.patch(
                one.url + location,
                content=body[kept:],
                headers={
                    **TUS,
                    "Upload-Offset": str(kept),
                    "Content-Type": "application/offset+octet-stream",
                },
            )
            assert rest.status_code == 204, rest.text
        file_id = location.rsplit("/", 1)[1]
        assert digest_of_download(one, file_id) == hashlib.sha256(body).hexdigest()


def test_what_was_acknowledged_survives_kill_9(one):
    rounds = 3 if SANITIZED else 8
    acknowledged, everything = {}, {}
    for number in range(rounds):
        stop = threading.Event()
        offsets = {}
        threads = [
            threading.Thread(target=form_uploads, args=(one, acknowledged, stop)),
            threading.Thread(target=form_uploads, args=(one, acknowledged, stop)),
            threading.Thread(target=tus_uploads, args=(one, offsets, stop)),
            threading.Thread(target=tus_uploads, args=(one, offsets, stop)),
        ]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.3, 1.2))  # a random moment is the point
        dead_gateway(one)
        stop.set()
        for thread in threads:
            thread.join()
        one.start()
        check_after_death(one, acknowledged, offsets)
        everything.update(offsets)
    assert acknowledged and everything
    # Whatever else the crashes left behind has gone: files and records are the same set.
    stored = one.folder / "data/uploads"

    def same():
        with sqlite3.connect(one.folder / "data/gateway.db") as database:
            records = {row[0] for row in database.execute("select id from files")}
        return records == {path.name for path in stored.iterdir() if path.is_file()}

    until(same, "sweeping what crashes left behind")
    until(lambda: not any((stored / ".tmp").iterdir()), "sweeping temporary files")


# -- a full disk --


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_said_and_leaves_nothing(gateway, faults, small_disk):
    config = CONFIG.format(url=faults.url).replace("data/uploads", f"{small_disk}/uploads")
    one = gateway(config)
    told = httpx.put(one.url + "/upload/a", content=b"x" * (20 << 20))
    assert told.status_code == 507, "known beforehand"

    def unannounced():
        for _ in range(20):
            yield b"x" * (1 << 20)

    try:
        status = httpx.put(one.url + "/upload/a", content=unannounced()).status_code
    except httpx.TransportError:  # the answer came while it was still sending
        status = None
    assert status in (507, None)
    assert 507 in {record["status"] for record in one.access(2)}
    stored = small_disk / "uploads"
    until(lambda: not any((stored / ".tmp").iterdir()), "removing what didn't fit")
    assert not [path for path in stored.iterdir() if path.is_file()]
    small = httpx.put(one.url + "/upload/b", content=b"fits")
    assert small.status_code == 201
    assert httpx.get(one.url + small.json()["files"][0]["url"]).content == b"fits"


def test_a_digest_that_differs_is_refused(one):
    def put(text):
        return httpx.put(one.url + "/upload/a", content=b"abc", headers={"Repr-Digest": text})

    right = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
    assert put(f"sha-256=:{right}:").status_code == 201
    wrong = base64.b64encode(hashlib.sha256(b"abd").digest()).decode()
    assert put(f"sha-256=:{wrong}:").status_code == 400
