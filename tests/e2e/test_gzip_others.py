"""What isn't a page, compressed for who accepts it: by its type and its size, with the headers that fit; and what is
left alone."""

import gzip
import random
import socket
import threading
import zlib

import httpx
import pytest

WORDS = [random.Random(7).randbytes(6).hex() for _ in range(400)]
TEXT = "\n".join(WORDS).encode()
LARGE = TEXT * 300  # 1.5 MB


def answer(body, *lines, status="200 OK", length=True):
    frame = f"Content-Length: {len(body)}" if length else "Transfer-Encoding: chunked"
    head = "\r\n".join([f"HTTP/1.1 {status}", frame, *lines]).encode() + b"\r\n\r\n"
    if length:
        return head + body
    pieces = [body[i:i + 70000] for i in range(0, len(body), 70000)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


JSON = "Content-Type: application/json; charset=utf-8"
ANSWERS = {
    "/s/json": answer(TEXT, JSON, 'ETag: "v1"', "Accept-Ranges: bytes", "Repr-Digest: sha-256=:x:", "Vary: Origin"),
    "/s/weak": answer(TEXT, JSON, 'ETag: W/"v1"', "Vary: origin, accept-encoding"),
    "/s/large": answer(LARGE, JSON),
    "/s/chunked": answer(LARGE, JSON, length=False),
    "/s/empty": answer(b"", JSON, length=False),
    "/s/short": answer(TEXT[:1000], JSON),
    "/s/png": answer(TEXT, "Content-Type: image/png"),
    "/s/untyped": answer(TEXT),
    "/s/coded": answer(gzip.compress(TEXT), JSON, "Content-Encoding: gzip"),
    "/s/asis": answer(TEXT, JSON, "Cache-Control: public, no-transform"),
    "/s/missing": answer(TEXT, JSON, status="404 Not Found"),
    "/s/created": answer(TEXT, JSON, status="201 Created", length=False),
    "/s/events": answer(TEXT, "Content-Type: text/event-stream", length=False),
}


@pytest.fixture
def start(gateway, origin, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "words.txt").write_bytes(TEXT)
    (files / "short.txt").write_bytes(TEXT[:1000])
    (files / "words.png").write_bytes(TEXT)
    (files / "large.txt").write_bytes(LARGE)
    (files / "middle.txt").write_bytes(LARGE[:1000000])
    for n in range(40):
        (files / f"{n}.bin").write_bytes(b"x")

    def handler(exchange):
        if exchange.target == "/s/cut":
            exchange.send(answer(LARGE, JSON)[:500000])
            return False
        if exchange.target == "/s/slow":
            whole = answer(TEXT, JSON, length=False)
            exchange.send(whole[:1500])
            assert begin.gate.wait(30)
            exchange.send(whole[1500:])
            return True
        body = ANSWERS[exchange.target]
        if exchange.target == "/s/json" and any('"v1"' in tags for tags in exchange.header("if-none-match")):
            body = b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n'
        if exchange.method == "HEAD":
            body = body[:body.index(b"\r\n\r\n") + 4]
        exchange.send(body)
        return True

    def begin(server=""):
        return gateway(f"""
[upstreams.shop]
url = "{origin(handler).url}"
[routes.shop]
path = "/s"
upstream = "shop"
[static.files]
path = "/files"
dir = "{files}"
[downloads.files]
path = "/down"
dir = "{files}"
auth = "public"
listing = true
""", header=f"""
[server]
listen = ["127.0.0.1:0"]
workers = 1
{server}
[admin]
listen = ""
control = ""
""", env={"GATEWAY_DATA": str(tmp_path / "data")})

    begin.files = files
    begin.gate = threading.Event()
    return begin


def ask(one, path, coding="gzip", method="GET", http2=False, **headers):
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, verify=False, timeout=30) as client:
        headers = {"Accept-Encoding": coding, **{name.replace("_", "-"): value for name, value in headers.items()}}
        with client.stream(method, one.url + path, headers=headers) as got:
            return got, b"".join(got.iter_raw())


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_upstreams_answers_are_compressed_on_their_way(start, http2):
    one = start()
    for path, text in [("/s/json", TEXT), ("/s/weak", TEXT), ("/s/large", LARGE), ("/s/chunked", LARGE), ("/s/empty", b"")]:
        got, body = ask(one, path, http2=http2)
        assert got.status_code == 200 and got.headers["content-encoding"] == "gzip", path
        assert gzip.decompress(body) == text and (not text or len(body) < len(text)), path
        assert "content-length" not in got.headers
        plain, body = ask(one, path, "identity", http2=http2)
        assert body == text and "content-encoding" not in plain.headers
        for reply in got, plain:
            assert "accept-encoding" in reply.headers["vary"].lower()
        head, body = ask(one, path, method="HEAD", http2=http2)
        assert head.headers["content-encoding"] == "gzip" and body == b"" and "content-length" not in head.headers


def test_what_an_answer_says_of_its_bytes_fits_them(start):
    one = start()
    got, _ = ask(one, "/s/json")
    assert got.headers["etag"] == 'W/"v1"' and got.headers.get_list("vary") == ["Origin", "Accept-Encoding"]
    assert "accept-ranges" not in got.headers and "repr-digest" not in got.headers
    plain, _ = ask(one, "/s/json", "br")
    assert plain.headers["etag"] == '"v1"' and "repr-digest" in plain.headers and "accept-ranges" in plain.headers
    got, _ = ask(one, "/s/weak")
    assert got.headers["etag"] == 'W/"v1"' and got.headers.get_list("vary") == ["origin, accept-encoding"]
    # what was compressed is known again, by the ETag that it has
    for tag in 'W/"v1"', '"v1"':
        got, body = ask(one, "/s/json", If_None_Match=tag)
        assert got.status_code == 304 and body == b"" and got.headers["etag"] == tag


@pytest.mark.parametrize("path", ["short", "png", "untyped", "asis", "missing", "created", "events"])
def test_the_rest_passes_as_it_is(start, path):
    one = start()
    got, body = ask(one, f"/s/{path}")
    assert "content-encoding" not in got.headers and TEXT.startswith(body) and len(body) >= 1000
    assert "accept-encoding" not in got.headers.get("vary", "").lower()


def test_nothing_is_compressed_twice_or_for_who_is_too_old(start):
    one = start()
    got, body = ask(one, "/s/coded")
    assert gzip.decompress(body) == TEXT
    with socket.create_connection(one.host_port, timeout=20) as client:
        client.sendall(b"GET /s/json HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        whole = b""
        while piece := client.recv(65536):
            whole += piece
    assert whole.endswith(TEXT) and b"content-encoding" not in whole


def test_a_connection_goes_on_after_compressed_answers(start):
    one = start()
    with httpx.Client(trust_env=False, verify=False) as client:
        for _ in range(3):
            for path in "/s/json", "/s/chunked", "/files/words.txt", "/s/short":
                assert client.get(one.url + path).status_code == 200
            assert client.head(one.url + "/s/chunked").status_code == 200


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_pieces_are_sent_as_they_come(start, http2):
    one = start()
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, verify=False, timeout=30) as client:
        with client.stream("GET", one.url + "/s/slow", headers={"Accept-Encoding": "gzip"}) as got:
            unpack, text = zlib.decompressobj(31), b""
            for piece in got.iter_raw():
                text += unpack.decompress(piece)
                if len(text) > 1000:
                    start.gate.set()
    assert got.headers["content-encoding"] == "gzip" and text == TEXT


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_an_answer_that_breaks_off_is_not_taken_for_whole(start, http2):
    one = start()
    with pytest.raises(httpx.RemoteProtocolError):
        ask(one, "/s/cut", http2=http2)


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_static_files_without_a_variant_are_compressed(start, http2):
    one = start()
    plain, _ = ask(one, "/files/words.txt", "identity", http2=http2)
    for name, text in [("words", TEXT), ("middle", LARGE[:1000000])]:
        got, body = ask(one, f"/files/{name}.txt", http2=http2)
        assert got.headers["content-encoding"] == "gzip" and gzip.decompress(body) == text
        assert got.headers["etag"].startswith('W/"') and "accept-ranges" not in got.headers
        assert got.headers["vary"] == "Accept-Encoding"
    got, _ = ask(one, "/files/words.txt", http2=http2)
    assert got.headers["etag"] == "W/" + plain.headers["etag"]
    again, body = ask(one, "/files/words.txt", http2=http2, If_None_Match=got.headers["etag"])
    assert again.status_code == 304 and again.headers["etag"] == got.headers["etag"]
    head, body = ask(one, "/files/words.txt", method="HEAD", http2=http2)
    assert head.headers["content-encoding"] == "gzip" and body == b""
    for name in "short.txt", "words.png", "large.txt":  # too small, of another type, too large
        got, _ = ask(one, f"/files/{name}", http2=http2)
        assert "content-encoding" not in got.headers, name
    part, body = ask(one, "/files/words.txt", http2=http2, Range="bytes=3-9")
    assert part.status_code == 206 and body == TEXT[3:10] and part.headers["etag"] == plain.headers["etag"]
    part, body = ask(one, "/files/words.txt", http2=http2, Range="bytes=3-9", If_Range='W/"x"')
    assert part.status_code == 200 and gzip.decompress(body) == TEXT
    (start.files / "words.txt.gz").write_bytes(gzip.compress(TEXT))
    got, body = ask(one, "/files/words.txt", http2=http2)
    assert got.headers["etag"].startswith('"') and int(got.headers["content-length"]) == len(body)


def test_whole_replies_keep_their_length(start):
    one = start()
    got, body = ask(one, "/down/", Accept="application/json")
    assert got.headers["content-type"] == "application/json" and got.headers["content-encoding"] == "gzip"
    assert int(got.headers["content-length"]) == len(body) and b"words.txt" in gzip.decompress(body)
    assert "accept-encoding" in got.headers["vary"].lower()
    # downloads are resumed by their bytes
    got, body = ask(one, "/down/words.txt")
    assert body == TEXT and got.headers["accept-ranges"] == "bytes" and got.headers["etag"].startswith('"')


def test_types_and_sizes_are_the_site_s_to_say(start):
    one = start('gzip_types = ["text/*", "image/png"]\ngzip_min_size = "500B"')
    coded = {path: "content-encoding" in ask(one, path)[0].headers
             for path in ("/s/json", "/s/png", "/s/events", "/files/short.txt", "/files/words.png")}
    assert coded == {"/s/json": False, "/s/png": True, "/s/events": False, "/files/short.txt": True,
                     "/files/words.png": True}
    one = start("gzip = false")
    for path in "/s/json", "/files/words.txt", "/down/":
        got, _ = ask(one, path)
        assert "content-encoding" not in got.headers and got.headers.get("vary", "") in ("", "Origin", "Accept", "Accept-Encoding")
