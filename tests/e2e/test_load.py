"""Many clients at once, slow upstreams, clients that leave: bounded and even-handed."""

import asyncio
import socket

import httpx

from gateway import SANITIZED, until

CONFIG = """
[upstreams.u]
url = "{url}"
max_inflight = 4000
max_queue = 4000
timeout = "20s"
[pages.home]
path = "/"
deadline = "25s"
[pages.home.parts.first]
upstream = "u"
path = "/late/{delay}"
[pages.home.parts.second]
upstream = "u"
path = "/late/{delay}?second"
[pages.fast]
path = "/fast"
[pages.fast.parts.u]
path = "/ok"
"""

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def fetch(address):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST)
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_thousand_pages_at_once_on_a_slow_upstream(gateway, faults):
    pages = 300 if SANITIZED else 1000
    one = gateway(CONFIG.format(url=faults.url, delay=2))
    for _ in range(3):
        await asyncio.to_thread(httpx.get, one.url + "/fast")
    rest = one.status("RssAnon")
    waiting = [asyncio.create_task(fetch(one.host_port)) for _ in range(pages)]
    peak = rest
    while not all(task.done() for task in waiting):
        await asyncio.sleep(0.05)  # between two looks at the memory
        peak = max(peak, one.status("RssAnon"))
    answers = [task.result() for task in waiting]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    assert all(b'"completed":true' in answer for answer in answers)
    records = one.access(pages, lambda record: record["path"] == "/")
    assert {part["state"] for record in records for part in record["parts"]} == {"ok"}
    if not SANITIZED:
        assert (peak - rest) / pages < 48, "KiB a page in flight"
        assert rest < 8192, "KiB of anonymous memory at rest"


def test_a_slow_upstream_does_not_slow_other_pages(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, delay=5))
    clients = []
    for _ in range(50):
        client = socket.create_connection(one.host_port)
        client.sendall(REQUEST)
        clients.append(client)
    until(lambda: len(faults.requests) >= 100, "the slow calls")
    for _ in range(20):
        assert httpx.get(one.url + "/fast").status_code == 200
    fast = one.access(20, lambda record: record["path"] == "/fast")
    assert max(record["ms"] for record in fast) < 2000
    for client in clients:
        client.close()
    assert {r["status"] for r in one.access(50, lambda record: record["path"] == "/")} == {499}


def test_clients_that_leave_free_what_they_held(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, delay=20))

    def wave():
        asked = len(faults.requests)
        clients = []
        for _ in range(100):
            client = socket.create_connection(one.host_port)
            client.sendall(REQUEST)
            clients.append(client)
        until(lambda: len(faults.requests) == asked + 200, "the calls")
        for client in clients:
            client.close()
        until(lambda: faults.open == 0, "the end of the calls")

    wave()
    files, memory = one.open_files(), one.status("RssAnon")
    for _ in range(4):
        wave()
    assert one.open_files() <= files + 2
    if not SANITIZED:
        assert one.status("RssAnon") <= memory + 2048


def test_slots_are_counted_in_the_whole_process(gateway, faults):
    header = ('[server]\nlisten = ["127.0.0.1:0"]\nworkers = 3\n[admin]\nlisten = ""\ncontrol = ""\n'
              '[log]\nformat = "json"\n')
    text = CONFIG.format(url=faults.url, delay=0.1).replace(
        "max_inflight = 4000", "max_inflight = 2\nqueue_timeout = \"20s\"")
    one = gateway(text, header=header)
    clients = []
    for _ in range(12):
        client = socket.create_connection(one.host_port)
        client.sendall(REQUEST)
        clients.append(client)
    done = 0
    for client in clients:
        client.settimeout(30)
        while chunk := client.recv(65536):
            done += chunk.count(b'"completed":true')
    assert done == 12
    assert faults.busy_peak <= 2
    assert len(faults.requests) == 24
