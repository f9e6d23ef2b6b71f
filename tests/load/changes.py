#!/usr/bin/python3
"""make load-check: wrk and h2load ask for pages while the gateway is reloaded, replaced by a new
binary, and drained and started again on sockets that stay open. Not one request may fail.

    changes.py GATEWAY [SECONDS]     of each combination of client and change
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

BINARY = pathlib.Path(sys.argv[1]).resolve()
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 6

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
workers = 2
[admin]
listen = ""
control = "unix:{folder}/control.sock"
[log]
access = "off"
format = "json"
[upstreams.shop]
url = "http://127.0.0.1:{stub}"
[pages.home]
path = "/"
template = "home.html"
[pages.home.parts.shop]
path = "/shop"
"""

STUB = """
[services.shop]
listen = "127.0.0.1:{stub}"
[[services.shop.routes]]
path = "/shop"
body = "shop.json"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Site:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port, self.stub_port = free_port(), free_port()
        (self.folder / "templates").mkdir()
        (self.folder / "templates/home.html").write_text("<p>{{shop.n}}</p>")
        self.config = CONFIG.format(port=self.port, folder=folder, stub=self.stub_port)
        (self.folder / "gateway.toml").write_text(self.config)
        self.log = open(self.folder / "log", "wb")
        self.stub = stub(self.folder, self.stub_port)
        self.socket = None
        self.pids = []

    def start(self, inherits=False):
        """The gateway; `inherits`: on a socket that this script keeps open, as systemd would."""
        before = len(self.events("ready"))
        command = [BINARY, "run", "-c", "gateway.toml"]
        place = None
        if inherits:
            if self.socket is None:
                self.socket = socket.create_server(("127.0.0.1", self.port), backlog=1024)
            command = ["sh", "-c", f"LISTEN_FDS=1 LISTEN_PID=$$ exec {BINARY} run -c gateway.toml"]
            place = self.place
        process = subprocess.Popen(command, cwd=self.folder, stdout=self.log, stderr=self.log,
                                   preexec_fn=place, close_fds=not inherits)
        self.pids.append(process.pid)
        self.wait("ready", before)
        return process

    def place(self):
        os.dup2(self.socket.fileno(), 3)
        os.set_inheritable(3, True)  # it may have been 3 before

    def events(self, message):
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        lines = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in lines if line["msg"] == message]

    def wait(self, message, before):
        end = time.monotonic() + 20
        while len(self.events(message)) <= before:
            if time.monotonic() > end:
                sys.exit(f"no {message!r}: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)


def stub(folder, port):
    (folder / "stub.toml").write_text(STUB.format(stub=port))
    (folder / "shop.json").write_text('{"n": 1}')
    process = subprocess.Popen([BINARY, "stub", "-c", "stub.toml"], cwd=folder,
                               stdout=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/shop", timeout=1).close()
            return process
        except OSError:
            time.sleep(0.05)
    sys.exit("the stub did not start")


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid):
    end = time.monotonic() + 20
    while alive(pid):
        if time.monotonic() > end:
            sys.exit(f"process {pid} did not end")
        time.sleep(0.02)


# -- what changes, again and again ----------------------------------------------------------------


def reload(site, process):
    before = len(site.events("configuration reloaded"))
    os.kill(process, signal.SIGHUP)
    site.wait("configuration reloaded", before)
    return process


def upgrade(site, process):
    before = len(site.events("ready"))
    os.kill(process, signal.SIGUSR2)
    site.wait("ready", before)
    wait_gone(process)
    return site.events("upgrading: the new binary starts")[-1]["pid"]


def drain(site, process):
    os.kill(process, signal.SIGTERM)
    wait_gone(process)
    return site.start(inherits=True).pid


# -- who asks -------------------------------------------------------------------------------------


def run_wrk(site, *options):
    command = ["wrk", "-t", "1", "-c", "32", "-d", f"{SECONDS}s", *options,
               f"http://127.0.0.1:{site.port}/"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def judge_wrk(text):
    served = int(re.search(r"(\d+) requests in", text)[1])
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failures = sum(map(int, errors.groups())) if errors else 0
    return served, failures + (int(bad[1]) if bad else 0)


def run_h2load(site, *options):
    command = ["h2load", "-t", "1", "-c", "8", "-m", "8", "-D", f"{SECONDS}", *options,
               f"http://127.0.0.1:{site.port}/"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def judge_h2load(text):
    counts = re.search(r"(\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, "
                       r"(\d+) errored, (\d+) timeout", text)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    return int(counts[4]), sum(int(counts[i]) for i in (5, 6, 7)) + int(codes[3]) + int(codes[4])


CLIENTS = [
    ("wrk, connections kept", run_wrk, judge_wrk, []),
    ("wrk, a connection each", run_wrk, judge_wrk, ["-H", "Connection: close"]),
    ("h2load, HTTP/2", run_h2load, judge_h2load, []),
]
CHANGES = [("reload", reload, False), ("upgrade", upgrade, False), ("drain and start", drain, True)]


def main():
    failed = False
    for what, change, inherits in CHANGES:
        for who, run, judge, options in CLIENTS:
            with tempfile.TemporaryDirectory() as folder:
                site = Site(folder)
                pid = site.start(inherits).pid
                client = run(site, *options)
                end, changes = time.monotonic() + SECONDS - 1, 0
                time.sleep(0.5)
                while time.monotonic() < end:
                    pid = change(site, pid)
                    changes += 1
                    time.sleep(0.2)
                text = client.communicate()[0]
                os.kill(pid, signal.SIGTERM)
                wait_gone(pid)
                site.stub.terminate()
                site.stub.wait()
                served, failures = judge(text)
                failed |= failures != 0 or served == 0 or changes == 0
                print(f"{what:16} {who:24} {changes:4} changes {served:8} pages {failures:4} failed",
                      flush=True)
    sys.exit(failed)


main()
