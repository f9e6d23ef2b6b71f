"""Starting, being asked how it is, leaving."""

import json
import signal
import socket
import stat
import subprocess
import threading

import httpx

from conftest import HEADER, free_port
from gateway import BINARY, ENVIRONMENT, until

CONFIG = """
[upstreams.u]
url = "{url}"
timeout = "9s"
[pages.home]
path = "/"
deadline = "10s"
[pages.home.parts.u]
path = "/late/{delay}"
"""


def test_admin_listener_reads_only(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, delay=0))
    assert httpx.get(one.admin + "/livez").status_code == 200
    assert httpx.get(one.admin + "/readyz").status_code == 200
    health = httpx.get(one.admin + "/readyz", headers={"Accept": "application/health+json"})
    assert health.headers["content-type"] == "application/health+json"
    assert health.json()["status"] == "pass"
    assert httpx.post(one.admin + "/drain").status_code in (404, 405)
    assert httpx.post(one.admin + "/livez").status_code == 405
    assert httpx.get(one.admin + "/").status_code == 404
    assert httpx.get(one.url + "/livez").status_code == 404, "not on the public listener"


def test_sigterm_finishes_what_is_under_way(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, delay=1))
    got = []
    client = threading.Thread(target=lambda: got.append(httpx.get(one.url, timeout=20)))
    client.start()
    idle = socket.create_connection(one.host_port)  # kept alive, nothing asked
    until(lambda: len(faults.requests) == 1, "the call")
    one.process.send_signal(signal.SIGTERM)
    client.join()
    assert one.process.wait(15) == 0
    assert got[0].status_code == 200 and got[0].json()["meta"]["completed"] is True
    assert got[0].headers["connection"] == "close"
    events = {event["msg"]: event for event in map(json.loads, one.log().splitlines())}
    assert events["draining"]["timeout_ms"] == 10000
    assert "stopped" in events
    assert idle.recv(1) == b""
    idle.close()


def test_a_second_signal_stops_now(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, delay=8))
    client = socket.create_connection(one.host_port)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: len(faults.requests) == 1, "the call")
    one.process.send_signal(signal.SIGTERM)
    until(lambda: 'msg="draining"' in one.log() or '"draining"' in one.log(), "the drain")
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(5) == 0
    client.close()


def test_drain_timeout_bounds_the_wait(gateway, faults):
    header = HEADER.replace("workers = 1", 'workers = 1\ndrain_timeout = "300ms"')
    one = gateway(CONFIG.format(url=faults.url, delay=8), header=header)
    client = socket.create_connection(one.host_port)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    until(lambda: len(faults.requests) == 1, "the call")
    assert one.terminate(timeout=6) == 0
    client.close()


def test_the_control_socket_changes_things(gateway, faults, tmp_path):
    path = tmp_path / "run" / "control.sock"
    header = HEADER.replace('control = ""', f'control = "unix:{path}"')
    one = gateway(CONFIG.format(url=faults.url, delay=0), header=header)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        for method, target, status in [("GET", "/drain", 405), ("GET", "/nothing", 404), ("POST", "/%00", 400)]:
            refused = client.request(method, "http://control" + target, headers={"Accept": "text/html"})
            assert refused.status_code == status
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["status"] == status
        assert client.get("http://control/drain").headers["allow"] == "POST, OPTIONS"
        assert client.post("http://control/drain").status_code == 202
    assert one.process.wait(15) == 0
    assert not path.exists()


def test_an_address_in_use_exits_69(gateway, faults, tmp_path):
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        config = tmp_path / "busy.toml"
        config.write_text(
            HEADER.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
            + CONFIG.format(url=faults.url, delay=0)
        )
        done = subprocess.run([BINARY, "run", "-c", config], capture_output=True, text=True,
                              env=ENVIRONMENT, timeout=30)
    assert done.returncode == 69
    assert str(port) in done.stderr and "in use" in done.stderr


def test_all_workers_serve(gateway, faults):
    header = HEADER.replace("workers = 1", "workers = 4")
    one = gateway(CONFIG.format(url=faults.url, delay=0), header=header)
    for _ in range(40):  # a connection each: the kernel spreads them
        assert httpx.get(one.url).status_code == 200
    threads = [open(f"/proc/{one.process.pid}/task/{task}/comm").read().strip()
               for task in __import__("os").listdir(f"/proc/{one.process.pid}/task")]
    assert sorted(t for t in threads if t.startswith("gw-loop-")) == [f"gw-loop-{n}" for n in range(4)]


def test_the_access_log_can_be_logfmt_or_off(gateway, faults):
    header = HEADER.replace('format = "json"', 'format = "logfmt"')
    one = gateway(CONFIG.format(url=faults.url, delay=0), header=header)
    httpx.get(one.url + "/?a=%20b", headers={"User-Agent": 'x "y"\\'})
    line = until(lambda: (one.folder / "stdout").read_text(), "the line")
    assert line.count("\n") == 1
    assert "status=200" in line and "method=GET" in line and "u.state=ok" in line
    off = gateway(CONFIG.format(url=faults.url, delay=0), header=HEADER + 'access = "off"\n')
    assert httpx.get(off.url).status_code == 200
    off.stop()
    assert (off.folder / "stdout").read_text() == ""
