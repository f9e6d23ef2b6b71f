"""Reading the configuration again while it is served: nothing is lost, errors change nothing."""

import asyncio
import json
import os
import signal
import socket
import threading
import time

import httpx
import pytest

from conftest import free_port
from gateway import SANITIZED, until
from scripted import Origin


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1}})
    yield one
    one.stop()


class Site:
    """A gateway whose file is written anew."""

    def __init__(self, gateway, origin, folder, **more):
        self.origin, self.folder = origin, folder
        self.listen = ["127.0.0.1:0"]
        self.one = gateway(self.pages("/one"), header=self.header(), **more)

    def header(self, server="", access="stdout"):
        return f"""
[server]
listen = {json.dumps(self.listen)}
workers = 2
{server}
[admin]
listen = "127.0.0.1:0"
control = "unix:{self.folder}/control.sock"
[log]
format = "json"
access = "{access}"
"""

    def pages(self, path, upstream="", more=""):
        return f"""
[upstreams.shop]
url = "{self.origin.url}"
timeout = "20s"
{upstream}
[pages.home]
path = "{path}"
deadline = "20s"
[pages.home.parts.shop]
path = "/a"
{more}
"""

    def write(self, text):
        path = self.one.config.with_suffix(".new")
        path.write_text(text)
        os.replace(path, self.one.config)

    def control(self, method, path, timeout=60):
        transport = httpx.HTTPTransport(uds=f"{self.folder}/control.sock")
        with httpx.Client(transport=transport, timeout=timeout) as client:
            return client.request(method, f"http://gateway{path}")

    def reload(self, *text, **more):
        if text:
            self.write(text[0])
        return self.control("POST", "/reload", **more)

    def events(self, message):
        lines = [json.loads(line) for line in self.one.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["msg"] == message]


@pytest.fixture
def site(gateway, origin, tmp_path):
    return Site(gateway, origin, tmp_path)


def status(url):
    return httpx.get(url, trust_env=False).status_code


def threads(one):
    return len(os.listdir(f"/proc/{one.process.pid}/task"))


def test_a_reload_serves_what_the_file_says_now(site):
    one = site.one
    assert (status(one.url + "/one"), status(one.url + "/two")) == (200, 404)
    answer = site.reload(site.header() + site.pages("/two"))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"generation": 2, "warnings": ""}
    assert (status(one.url + "/one"), status(one.url + "/two")) == (404, 200)
    (event,) = site.events("configuration reloaded")
    assert event["generation"] == 2

    site.write(site.header() + site.pages("/three"))
    one.process.send_signal(signal.SIGHUP)
    until(lambda: len(site.events("configuration reloaded")) == 2, "the reload")
    assert status(one.url + "/three") == 200
    upstreams = httpx.get(one.admin + "/upstreams", trust_env=False).json()["upstreams"]
    assert [up["name"] for up in upstreams] == ["shop"]


def test_with_an_error_the_old_one_stays(site):
    one = site.one
    answer = site.reload(site.header() + site.pages("/two", upstream="timeot = '1s'"))
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"].endswith("/bad-configuration")
    assert 'unknown key "timeot"' in problem["detail"] and "gateway.toml:" in problem["detail"]
    assert 'did you mean "timeout"?' in problem["detail"]
    (event,) = site.events("configuration not reloaded: the old one stays")
    assert 'unknown key "timeot"' in event["why"] and event["level"] == "error"
    assert (status(one.url + "/one"), status(one.url + "/two")) == (200, 404)
    numbers = httpx.get(one.admin + "/metrics", trust_env=False).text
    assert "\ngw_config_last_reload_successful 0\n" in numbers
    assert "\ngw_config_generation 1\n" in numbers

    site.write("this is not TOML")
    one.process.send_signal(signal.SIGHUP)
    until(lambda: len(site.events("configuration not reloaded: the old one stays")) > 1, "the error")
    site.one.config.unlink()
    assert site.reload().status_code == 422
    assert status(one.url + "/one") == 200
    assert site.reload(site.header() + site.pages("/two")).status_code == 200
    numbers = httpx.get(one.admin + "/metrics", trust_env=False).text
    assert "\ngw_config_last_reload_successful 1\n" in numbers
    assert "\ngw_config_generation 2\n" in numbers


def test_an_address_that_is_taken_changes_nothing(site):
    one = site.one
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        site.listen = ["127.0.0.1:0", "127.0.0.1:%d" % taken.getsockname()[1]]
        answer = site.reload(site.header() + site.pages("/two"))
    assert answer.status_code == 422 and "Address already in use" in answer.json()["detail"]
    assert (status(one.url + "/one"), status(one.url + "/two")) == (200, 404)


def test_listeners_come_and_go(site):
    one, port, path = site.one, free_port(), f"{site.folder}/public.sock"
    site.listen = ["127.0.0.1:0", f"127.0.0.1:{port}", f"unix:{path}"]
    assert site.reload(site.header() + site.pages("/one")).status_code == 200
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
        assert client.get("http://a/one").status_code == 200
    kept = httpx.Client(trust_env=False)
    assert kept.get(f"http://127.0.0.1:{port}/one").status_code == 200
    assert status(one.url + "/one") == 200

    site.listen = ["127.0.0.1:0"]
    assert site.reload(site.header() + site.pages("/two")).status_code == 200
    assert status(one.url + "/two") == 200, "the first address is the same socket still"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/two", trust_env=False)
    assert kept.get(f"http://127.0.0.1:{port}/two").status_code == 200, "connections stay"
    kept.close()
    until(lambda: not os.path.exists(path), "the socket's file is removed")


def test_requests_under_way_finish_on_the_old_one(site, origin):
    one = site.one
    release = threading.Event()

    def slow(request, *_):
        release.wait(20)
        return {"body": {"n": "old"}}

    origin.serves("/a", slow)
    got = []
    with httpx.Client(trust_env=False, timeout=30) as kept:
        client = threading.Thread(target=lambda: got.append(kept.get(one.url + "/one")))
        client.start()
        until(lambda: len(origin.requests) == 1, "the call")
        before = threads(one)
        assert site.reload(site.header() + site.pages("/two")).status_code == 200
        assert status(one.url + "/one") == 404
        assert not got
        release.set()
        client.join()
        assert got[0].status_code == 200 and got[0].json()["data"] == {"shop": {"n": "old"}}
        assert kept.get(one.url + "/two").status_code == 200, "on the same connection"
    until(lambda: threads(one) <= before, "the old one's threads are gone")


def test_under_load_nothing_fails(site):
    """Pages over kept and new connections while the configuration changes again and again."""
    one, over, failures, served = site.one, threading.Event(), [], []
    rounds = 8 if SANITIZED else 25

    def ask(kept):
        client = httpx.Client(trust_env=False, timeout=30)
        while not over.is_set():
            try:
                answer = client.get(one.url + "/one")
                if answer.status_code != 200:
                    failures.append(answer.status_code)
                served.append(1)
            except httpx.HTTPError as error:
                failures.append(repr(error))
            if not kept:
                client.close()
                client = httpx.Client(trust_env=False, timeout=30)
        client.close()

    clients = [threading.Thread(target=ask, args=(i % 2 == 0,)) for i in range(6)]
    for client in clients:
        client.start()
    sizes = []
    for i in range(rounds):
        answer = site.reload(site.header() + site.pages("/one", more=f'timeout = "{i + 5000}ms"'))
        assert answer.status_code == 200 and answer.json()["generation"] == i + 2
        sizes.append((one.open_files(), threads(one)))
    over.set()
    for client in clients:
        client.join()
    assert not failures, failures[:5]
    assert len(served) > rounds
    until(lambda: threads(one) <= sizes[0][1] + 4, "the old ones' threads are gone")
    until(lambda: one.open_files() <= sizes[0][0] + 16, "the old ones' descriptors are gone")
    assert len(one.access(len(served))) >= len(served), "each has its line in the one log"


def test_reloads_at_once_are_all_answered(site):
    answers = []
    site.write(site.header() + site.pages("/two"))
    clients = [threading.Thread(target=lambda: answers.append(site.reload())) for _ in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [answer.status_code for answer in answers] == [200] * 8
    assert max(answer.json()["generation"] for answer in answers) <= 9


def test_an_upload_goes_on_across_a_reload(gateway, origin, tmp_path):
    site = Site.__new__(Site)
    site.origin, site.folder, site.listen = origin, tmp_path, ["127.0.0.1:0"]
    uploads = f"""
[data]
dir = "{tmp_path}/data"
[uploads.main]
path = "/upload"
dir = "{tmp_path}/files"
auth = "public"
"""
    site.one = one = gateway(site.pages("/one", more=uploads), header=site.header())
    bytes_sent = b"0123456789abcdef" * 4096
    with socket.create_connection(one.host_port) as client:
        client.sendall(b"PUT /upload/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
                       % len(bytes_sent))
        client.sendall(bytes_sent[:30000])
        assert site.reload(site.header() + site.pages("/two", more=uploads)).status_code == 200
        assert status(one.url + "/two") == 200
        client.sendall(bytes_sent[30000:])
        client.settimeout(30)
        head = client.recv(65536)
        assert b" 201 " in head.split(b"\r\n")[0], head
    # a resumable one that began before and ends after
    tus = {"Tus-Resumable": "1.0.0"}
    with httpx.Client(trust_env=False, timeout=30) as client:
        made = client.post(one.url + "/upload", headers={**tus, "Upload-Length": "6"})
        assert made.status_code == 201
        place = httpx.URL(one.url).join(made.headers["location"])
        part = {**tus, "Content-Type": "application/offset+octet-stream"}
        assert client.patch(place, headers={**part, "Upload-Offset": "0"},
                            content=b"abc").status_code == 204
        assert site.reload(site.header() + site.pages("/three", more=uploads)).status_code == 200
        assert client.head(place, headers=tus).headers["upload-offset"] == "3"
        assert client.patch(place, headers={**part, "Upload-Offset": "3"},
                            content=b"def").status_code == 204
    found = [path.read_bytes() for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert bytes_sent in found and b"abcdef" in found


def test_what_needs_a_restart_is_said(site):
    text = (site.header() + site.pages("/two")).replace("workers = 2", "workers = 3")
    answer = site.reload(text)
    assert answer.status_code == 200
    assert "takes effect when the gateway is started again" in answer.json()["warnings"]
    assert "gateway.toml:4:" in answer.json()["warnings"]
    assert status(site.one.url + "/two") == 200


def test_the_access_log_can_move(site):
    one, path = site.one, site.folder / "other.log"
    assert status(one.url + "/one") == 200
    assert site.reload(site.header(access=path) + site.pages("/two")).status_code == 200
    assert status(one.url + "/two") == 200
    until(lambda: path.exists() and "/two" in path.read_text(), "the line")
    assert [line["path"] for line in one.access(1)] == ["/one"]


def test_numbers_go_on_and_http2_connections_stay(site):
    one = site.one

    async def ask():
        async with httpx.AsyncClient(http2=True, http1=False, trust_env=False) as client:
            assert (await client.get(one.url + "/one")).http_version == "HTTP/2"
            loop = asyncio.get_running_loop()
            text = site.header() + site.pages("/two")
            answer = await loop.run_in_executor(None, lambda: site.reload(text))
            assert answer.status_code == 200
            assert (await client.get(one.url + "/one")).status_code == 404
            assert (await client.get(one.url + "/two")).status_code == 200

    asyncio.run(ask())
    numbers = httpx.get(one.admin + "/metrics", trust_env=False).text
    for path in ["/one", "/two"]:
        assert f'http_route="{path}"' in numbers


def test_watch_reloads_when_files_change(gateway, origin, tmp_path):
    site = Site(gateway, origin, tmp_path, templates={"sub/page.html": "old {{shop.n}}"},
                arguments=["--watch"])
    one = site.one
    site.write(site.header() + site.pages("/two").replace(
        "deadline =", 'template = "sub/page.html"\ndeadline ='))
    until(lambda: status(one.url + "/two") == 200, "the new page")
    assert httpx.get(one.url + "/two", trust_env=False).text == "old 1"
    (one.folder / "templates" / "sub" / "page.html").write_text("new {{shop.n}}")
    until(lambda: httpx.get(one.url + "/two", trust_env=False).text == "new 1", "the new template")
    (one.folder / "templates" / "sub" / "page.html").write_text("{{#broken}}")
    until(lambda: site.events("configuration not reloaded: the old one stays"), "the error")
    assert httpx.get(one.url + "/two", trust_env=False).text == "new 1"


def test_a_drain_waits_for_load_balancers_first(gateway, origin, tmp_path):
    site = Site.__new__(Site)
    site.origin, site.folder, site.listen = origin, tmp_path, ["127.0.0.1:0"]
    site.one = one = gateway(site.pages("/one"), header=site.header(server='drain_delay = "1500ms"'))
    one.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    until(lambda: status(one.admin + "/readyz") == 503, "not ready")
    assert status(one.url + "/one") == 200, "still accepting, on a new connection"
    assert site.reload().status_code == 503
    assert one.process.wait(20) == 0
    assert time.monotonic() - began >= 1.4


def test_a_second_signal_ends_the_delay(gateway, origin, tmp_path):
    site = Site.__new__(Site)
    site.origin, site.folder, site.listen = origin, tmp_path, ["127.0.0.1:0"]
    site.one = one = gateway(site.pages("/one"), header=site.header(server='drain_delay = "60s"'))
    one.process.send_signal(signal.SIGTERM)
    until(lambda: site.events("draining"), "the drain")
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(20) == 0
