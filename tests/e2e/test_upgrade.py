"""A new binary takes the old one's place, and sockets that somebody else opened."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest

import gateway as tools
from conftest import free_port
from gateway import SANITIZED, until
from scripted import Origin


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1}})
    yield one
    one.stop()


def config(origin, folder, listen, workers=2, delay="0s"):
    return f"""
[server]
listen = {json.dumps(listen)}
workers = {workers}
drain_delay = "{delay}"
[admin]
listen = "127.0.0.1:{free_port()}"
control = "unix:{folder}/control.sock"
[log]
format = "json"
""", f"""
[upstreams.shop]
url = "{origin.url}"
timeout = "20s"
[pages.home]
path = "/"
deadline = "20s"
[pages.home.parts.shop]
path = "/a"
"""


def events(one, message):
    lines = [json.loads(line) for line in one.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["msg"] == message]


def gone(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return text.rpartition(")")[2].split()[0] == "Z"  # nobody asks how it ended


class Upgraded:
    """The process that took over, ended at last."""

    def __init__(self, one):
        self.one, self.pid = one, one.process.pid

    def upgrade(self):
        before = len(events(self.one, "ready"))
        os.kill(self.pid, signal.SIGUSR2)
        until(lambda: len(events(self.one, "ready")) > before, "the new one", 30)
        old, self.pid = self.pid, events(self.one, "upgrading: the new binary starts")[-1]["pid"]
        return old

    def stop(self):
        if self.pid != self.one.process.pid and not gone(self.pid):
            os.kill(self.pid, signal.SIGTERM)
            until(lambda: gone(self.pid), "its end", 30)


def ask(url, over, failures, served, kept):
    client = httpx.Client(trust_env=False, timeout=30)
    while not over.is_set():
        try:
            answer = client.get(url)
            if answer.status_code != 200:
                failures.append(answer.status_code)
            served.append(1)
            if not kept or answer.headers.get("connection") == "close":
                client.close()
                client = httpx.Client(trust_env=False, timeout=30)
        except httpx.HTTPError as error:
            failures.append(repr(error))
    client.close()


def test_no_connection_is_refused(gateway, origin, tmp_path):
    """New connections under load while binaries follow each other; other numbers of workers too."""
    listen = [f"127.0.0.1:{free_port()}", f"unix:{tmp_path}/public.sock"]
    header, pages = config(origin, tmp_path, listen)
    one = gateway(pages, header=header)
    chain = Upgraded(one)
    over, failures, served = threading.Event(), [], []
    clients = [threading.Thread(target=ask, args=(one.url + "/", over, failures, served, False))
               for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for workers in [3, 1, 2]:
            one.config.write_text(header.replace("workers = 2", f"workers = {workers}") + pages)
            old = chain.upgrade()
            if old == one.process.pid:
                assert one.process.wait(30) == 0
            until(lambda: gone(old), "the old one's end", 30)
            enough = len(served) + 20
            until(lambda: len(served) > enough, "more pages", 30)
            with httpx.Client(transport=httpx.HTTPTransport(uds=f"{tmp_path}/public.sock")) as local:
                assert local.get("http://a/").status_code == 200
            assert httpx.get(one.admin + "/readyz", trust_env=False).status_code == 200
            with httpx.Client(transport=httpx.HTTPTransport(uds=f"{tmp_path}/control.sock")) as local:
                assert local.get("http://a/log").status_code == 200
    finally:
        over.set()
        for client in clients:
            client.join()
        chain.stop()
    assert not failures, failures[:5]
    assert not os.path.exists(f"{tmp_path}/public.sock"), "the last one removes its file"


def test_requests_under_way_finish_in_the_old_process(gateway, origin, tmp_path):
    release, got = threading.Event(), []

    def slow(*_):
        release.wait(20)
        return {"body": {"n": "old"}}

    origin.serves("/a", slow)
    header, pages = config(origin, tmp_path, [f"127.0.0.1:{free_port()}"])
    one = gateway(pages, header=header)
    chain = Upgraded(one)
    client = threading.Thread(
        target=lambda: got.append(httpx.get(one.url + "/", trust_env=False, timeout=30)))
    client.start()
    until(lambda: len(origin.requests) == 1, "the call")
    chain.upgrade()
    try:
        assert one.process.poll() is None and not got
        release.set()
        client.join()
        assert got[0].status_code == 200 and got[0].json()["data"] == {"shop": {"n": "old"}}
        assert one.process.wait(30) == 0
    finally:
        chain.stop()


def test_a_new_binary_that_fails_changes_nothing(gateway, origin, tmp_path):
    header, pages = config(origin, tmp_path, [f"127.0.0.1:{free_port()}"])
    one = gateway(pages, header=header)
    one.config.write_text("broken")
    one.process.send_signal(signal.SIGUSR2)
    message = "the new binary ended before it served: this one goes on"
    (event,) = until(lambda: events(one, message), "the failure", 30)
    assert event["exit"] == 78
    assert httpx.get(one.url + "/", trust_env=False).status_code == 200
    one.config.write_text(header + pages)
    chain = Upgraded(one)
    chain.upgrade()
    try:
        assert one.process.wait(30) == 0
        assert httpx.get(one.url + "/", trust_env=False).status_code == 200
    finally:
        chain.stop()


@pytest.mark.parametrize("workers", [1, 3])
def test_sockets_of_systemd_are_taken(origin, tmp_path, workers):
    """As `systemd.socket` hands them over: connections wait while nobody runs."""
    listening = socket.create_server(("127.0.0.1", 0))
    other = socket.create_server(("127.0.0.1", 0))
    local = socket.socket(socket.AF_UNIX)
    local.bind(f"{tmp_path}/public.sock")
    local.listen()
    port = listening.getsockname()[1]
    header, pages = config(origin, tmp_path,
                           [f"127.0.0.1:{port}", f"unix:{tmp_path}/public.sock"], workers)
    (tmp_path / "gateway.toml").write_text(header + pages)
    early = socket.create_connection(("127.0.0.1", port))
    early.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

    def place():
        for fd, one in zip((220, 221, 222), (listening, other, local)):
            os.dup2(one.fileno(), fd)
        for fd in (3, 4, 5):
            os.dup2(fd + 217, fd)

    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(f"{tmp_path}/notify")
    manager.settimeout(30)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", f"LISTEN_FDS=3 LISTEN_PID=$$ exec {tools.BINARY} run -c gateway.toml"],
            cwd=tmp_path, stdout=log, stderr=log, preexec_fn=place, close_fds=False,
            env={**tools.ENVIRONMENT, "NOTIFY_SOCKET": f"{tmp_path}/notify"})
    try:
        assert manager.recv(100) == f"READY=1\nMAINPID={process.pid}".encode()
        assert b" 200 " in early.recv(65536).split(b"\r\n")[0]
        for _ in range(8):
            assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200
        with httpx.Client(transport=httpx.HTTPTransport(uds=f"{tmp_path}/public.sock")) as client:
            assert client.get("http://a/").status_code == 200
        text = (tmp_path / "log").read_text()
        assert "closed an inherited socket that the configuration doesn't name" in text
        assert text.count('"inherited":"true"') == 2 or text.count('"inherited":true') == 2, text
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert manager.recv(100) == b"STOPPING=1"
    for one in (listening, other, local, early, manager):
        one.close()
