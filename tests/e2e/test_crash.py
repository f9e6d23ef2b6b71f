"""What a gateway that crashes tells of what it was serving."""

import ctypes
import pathlib
import re
import signal
import threading

import httpx
import pytest

from conftest import HEADER
from gateway import SANITIZED, Gateway, until
from scripted import Origin

pytestmark = pytest.mark.skipif(SANITIZED, reason="crashes are the sanitizer's")


@pytest.fixture
def crashing(tmp_path):
    """A gateway that is about to crash, with three requests that wait for their upstream."""
    origin = Origin().start()
    origin.serves("/a", {"after": 60})
    one = Gateway(tmp_path / "gateway", HEADER.replace("workers = 1", "workers = 2") + f"""
[upstreams.shop]
url = "{origin.url}"
timeout = "60s"
[pages.product]
path = "/product/{{id}}"
deadline = "60s"
[pages.product.parts.shop]
path = "/a"
[pages.product.parts.shop.headers]
Authorization = "Bearer {{cookie.session}}"
""").start()

    def ask(number):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{one.url}/product/secret-path?secret=query", trust_env=False, timeout=60,
                      headers={"X-Request-Id": f"waits-{number}", "Cookie": "session=secret-cookie"})

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for client in clients:
        client.start()
    until(lambda: origin.asked("/a") == 3, "all calls")
    yield one
    if one.process.poll() is None:
        one.process.kill()
        one.process.wait()
    for client in clients:
        client.join()
    origin.stop()
    one.stdout.close()
    one.stderr.close()


def thread_of(one, name):
    for task in pathlib.Path(f"/proc/{one.process.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise AssertionError(name)


def told(one, number):
    assert one.process.wait(30) == -number, "the exit status is the signal's"
    log = one.log()
    assert "secret" not in log and "Bearer" not in log
    assert re.search(r"(?m)^level=fatal msg=\"backtrace\"\n.*\[0x[0-9a-f]+\]$", log)
    version = re.search(r'msg="crashed" signal=(\w+) .*thread="([^"]*)" version="([^"]+)" time=\d+$', log, re.M)
    assert version[1] == signal.Signals(number).name and version[3]
    return version[2], re.findall(r'msg="under way" loop=(\d) id="([^"]*)" method="GET" route="([^"]*)"', log), log


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_all_that_was_under_way_is_told(crashing, number):
    crashing.process.send_signal(number)
    _, requests, log = told(crashing, number)
    assert sorted(id for _, id, _ in requests) == ["waits-0", "waits-1", "waits-2"]
    assert {route for _, _, route in requests} == {"/product/{id}"}
    assert sum(int(n) for n in re.findall(r'msg="under way" loop=\d requests=(\d+)', log)) == 3


def test_a_loop_tells_of_its_own(crashing):
    libc = ctypes.CDLL(None, use_errno=True)
    tid = thread_of(crashing, "gw-loop-1")
    assert libc.tgkill(crashing.process.pid, tid, int(signal.SIGSEGV)) == 0
    thread, requests, log = told(crashing, signal.SIGSEGV)
    assert thread == "gw-loop-1"
    assert {loop for loop, _, _ in requests} <= {"1"}
    assert f'loop=1 requests={len(requests)}' in log and "loop=0" not in log
