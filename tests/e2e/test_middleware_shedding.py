"""[shedding.NAME]: a loop that has too much to do turns some requests away, so that others don't wait; one that
hasn't, nobody."""

import asyncio
import json
import re

import httpx

from conftest import free_port
from gateway import until

HEADER = """
[server]
listen = ["127.0.0.1:0"]
workers = 1
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
format = "json"
"""
ITEMS = {"items": [{"id": n, "name": f"Product {n} & more"} for n in range(10000)]}
CONNECTIONS = 80


def start(gateway, section):
    """Pages that are nothing but work for the loop: their data stands in the configuration's folder."""
    return gateway(f"""
{section}
[upstreams.nobody]
url = "http://127.0.0.1:{free_port()}"
[pages.heavy]
path = "/heavy"
template = "page.html"
deadline = "30s"
middleware = ["shedding.site"]
[pages.heavy.parts.shop]
upstream = "nobody"
path = "/"
[pages.heavy.parts.shop.fallback]
static_file = "templates/items.json"
[static.free]
path = "/free"
dir = "templates"
""", {"page.html": "{{#shop.items}}<p>{{id}} {{name}}</p>{{/shop.items}}", "items.json": json.dumps(ITEMS)},
                   header=HEADER)


def load(one, seconds):
    """HEADs on many connections, each answer followed by the next; statuses, and the answers' heads of one kind."""
    answers = []

    async def client(end):
        reader, writer = await asyncio.open_connection(*one.host_port)
        while asyncio.get_running_loop().time() < end:
            writer.write(b"HEAD /heavy HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n")
            answers.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.close()

    async def clients():
        end = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(client(end) for _ in range(CONNECTIONS)))

    asyncio.run(clients())
    return [int(answer[9:12]) for answer in answers], [a for a in answers if a.startswith("HTTP/1.1 503")]


def shed(one):
    text = httpx.get(one.admin + "/metrics", trust_env=False).text
    return int(re.search(r'^gw_shed_total\{middleware="shedding.site"\} (\d+)$', text, re.M)[1])


def ask(one, path):
    return httpx.get(one.url + path, trust_env=False, verify=False, timeout=30)


def test_who_comes_when_there_is_too_much_to_do_is_turned_away(gateway):
    one = start(gateway, '[shedding.site]\ntarget = "5ms"\ninterval = "20ms"\nkeep = 20')
    assert ask(one, "/heavy").status_code == 200 and shed(one) == 0
    statuses, refused = load(one, 2)
    assert set(statuses) == {200, 503} and statuses.count(200) >= len(statuses) // 8
    assert all("\r\nretry-after: 1\r\n" in head for head in refused)
    assert shed(one) == len(refused)
    assert {r["flags"] for r in one.access(len(refused), lambda r: r["status"] == 503)} == {"UO"}
    assert "turning requests away" in one.log()
    # when the load is gone so is the trouble
    until(lambda: all(ask(one, "/heavy").status_code == 200 for _ in range(3)), "an end of it")


def test_what_is_kept_or_has_no_list_is_served(gateway):
    one = start(gateway, '[shedding.site]\ntarget = "5ms"\ninterval = "20ms"\nkeep = 100')
    statuses, _ = load(one, 1)
    assert set(statuses) == {200} and shed(one) == 0


def test_work_that_is_done_in_time_is_not_turned_away(gateway):
    one = start(gateway, '[shedding.site]\ntarget = "10s"\ninterval = "20ms"\nkeep = 0')
    statuses, _ = load(one, 1)
    assert set(statuses) == {200} and shed(one) == 0
