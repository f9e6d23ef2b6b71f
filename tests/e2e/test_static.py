"""The page's own files: style sheets and pictures."""

import gzip
import os

import httpx
import pytest

CONFIG = '[static.assets]\npath = "/assets"\ndir = "files"\nmax_age = "1h"\n'


@pytest.fixture
def one(gateway, tmp_path):
    files = tmp_path / "gateway0" / "files"
    (files / "deep").mkdir(parents=True)
    (files / "site.css").write_text("body { color: #333 }\n" * 100)
    (files / "site.css.gz").write_bytes(gzip.compress(b"body { color: #333 }\n" * 100))
    (files / "deep" / "a b.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (files / "large.bin").write_bytes(os.urandom(3 << 20))
    (files / ".hidden").write_text("secret")
    (tmp_path / "gateway0" / "outside.txt").write_text("secret")
    (files / "link.txt").symlink_to("../outside.txt")
    (files / "inner.css").symlink_to("site.css")
    return gateway(CONFIG)


def test_files_come_with_type_length_and_age(one):
    css = httpx.get(one.url + "/assets/site.css", headers={"Accept-Encoding": "identity"})
    assert css.status_code == 200
    assert css.headers["content-type"].startswith("text/css")
    assert css.headers["cache-control"] == "public, max-age=3600"
    assert css.headers["x-content-type-options"] == "nosniff"
    assert css.headers["etag"] and css.headers["last-modified"]
    assert len(css.content) == 2100
    svg = httpx.get(one.url + "/assets/deep/a%20b.svg")
    assert svg.status_code == 200 and svg.headers["content-type"].startswith("image/svg+xml")
    assert httpx.get(one.url + "/assets/inner.css").status_code == 200


def test_a_file_not_changed_is_not_sent_again(one):
    first = httpx.get(one.url + "/assets/site.css")
    for headers in ({"If-None-Match": first.headers["etag"]},
                    {"If-None-Match": '"other", ' + first.headers["etag"]},
                    {"If-Modified-Since": first.headers["last-modified"]}):
        again = httpx.get(one.url + "/assets/site.css", headers=headers)
        assert again.status_code == 304 and again.content == b""
    changed = httpx.get(one.url + "/assets/site.css", headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


def test_a_compressed_sibling_is_sent_to_who_takes_it(one):
    packed = httpx.get(one.url + "/assets/site.css", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and "accept-encoding" in packed.headers["vary"].lower()
    plain = httpx.get(one.url + "/assets/site.css", headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers and plain.content == packed.content
    assert plain.headers["etag"] != packed.headers["etag"]


def test_brotli_comes_first_when_both_are_there(one, tmp_path):
    (tmp_path / "gateway0" / "files" / "site.css.br").write_bytes(b"as if")
    with httpx.stream("GET", one.url + "/assets/site.css", headers={"Accept-Encoding": "gzip, br"}) as best:
        assert best.headers["content-encoding"] == "br" and b"".join(best.iter_raw()) == b"as if"
    packed = httpx.get(one.url + "/assets/site.css", headers={"Accept-Encoding": "gzip, br;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip" and len(packed.content) == 2100


def test_parts_of_files(one, tmp_path):
    whole = (tmp_path / "gateway0" / "files" / "large.bin").read_bytes()
    assert httpx.get(one.url + "/assets/large.bin").headers["accept-ranges"] == "bytes"
    part = httpx.get(one.url + "/assets/large.bin", headers={"Range": "bytes=1000000-2999999"})
    assert part.status_code == 206 and part.content == whole[1000000:3000000]
    assert part.headers["content-range"] == f"bytes 1000000-2999999/{len(whole)}"
    assert part.headers["cache-control"] == "public, max-age=3600"
    outside = httpx.get(one.url + "/assets/large.bin", headers={"Range": f"bytes={len(whole)}-"})
    assert outside.status_code == 416 and outside.headers["content-range"] == f"bytes */{len(whole)}"


def test_large_files_arrive_whole(one, tmp_path):
    got = httpx.get(one.url + "/assets/large.bin")
    assert got.content == (tmp_path / "gateway0" / "files" / "large.bin").read_bytes()
    head = httpx.head(one.url + "/assets/large.bin")
    assert head.content == b"" and head.headers["content-length"] == str(3 << 20)


@pytest.mark.parametrize("path,code", [
    ("/assets/../outside.txt", 400), ("/assets/%2e%2e/outside.txt", 400),
    ("/assets/..%2foutside.txt", 404), ("/assets/link.txt", 404), ("/assets/.hidden", 404),
    ("/assets/deep", 404), ("/assets/deep/", 404), ("/assets/none.css", 404), ("/assets", 404),
    ("/assets/site.css/x", 404), ("/assets/site.css%00.png", 400), ("/assets//etc/passwd", 404),
])
def test_there_is_no_way_out_of_the_directory(one, path, code):
    import socket

    with socket.create_connection(one.host_port, timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert int(answer[9:12]) == code
    assert b"secret" not in answer and b"root:" not in answer


def test_posting_to_a_file_is_refused(one):
    assert httpx.post(one.url + "/assets/site.css").status_code == 405
