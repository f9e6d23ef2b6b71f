"""Pages while their upstreams flap at random: each is whole or says what it lacks, in time, and nothing is left
behind. SOAK_SECONDS (50) is how long; SOAK_SEED repeats a run."""

import collections
import json
import os
import random
import re
import socket
import statistics
import threading
import time

import httpx

from fault_proxy import REFUSED, Fault
from gateway import SANITIZED, until

SECONDS = float(os.environ.get("SOAK_SECONDS", "50"))
SEED = int(os.environ.get("SOAK_SEED", "7"))
CLIENTS = 10
DEADLINE = 0.8
SLACK = 4 if SANITIZED else 1.2  # of a loaded machine
STATES = {"ok", "fallback", "static", "timeout", "error", "open", "shed", "skipped"}
RETRIES, HEDGES = (2, 1), (2, 1)  # percent, floor a second: less than would be wanted

CONFIG = f"""
[upstreams.shop]
url = "http://shop.internal"
addresses = ["{{shop1}}", "{{shop2}} weight=2"]
timeout = "300ms"
connect_timeout = "200ms"
max_idle = 8
max_inflight = 48
max_queue = 16
queue_timeout = "100ms"
deadline_header = "X-Deadline-Ms"
[upstreams.shop.retry]
attempts = 3
on = ["connect", "reset", "timeout", "503"]
backoff = "10ms"
budget = {RETRIES[0]}
budget_floor = {RETRIES[1]}
[upstreams.shop.hedge]
after = "60ms"
budget = {HEDGES[0]}
budget_floor = {HEDGES[1]}
[upstreams.shop.breaker]
open_for = "400ms"
[upstreams.shop.ejection]
for = "300ms"
[upstreams.shop.health]
path = "/healthy.json"
interval = "200ms"
timeout = "100ms"

[upstreams.stock]
url = "http://{{stock}}"
timeout = "250ms"
max_idle = 8
max_inflight = 12
max_queue = 12
queue_timeout = "50ms"
[upstreams.stock.retry]
attempts = 2
budget = {RETRIES[0]}
budget_floor = {RETRIES[1]}
[upstreams.stock.hedge]
after = "p95"
budget = {HEDGES[0]}
budget_floor = {HEDGES[1]}
[upstreams.stock.breaker]
consecutive = 8
open_for = "300ms"
probes = 2

[upstreams.spare]
url = "{{spare}}"

[pages.home]
path = "/"
template = "home.html"
deadline = "{int(1000 * DEADLINE)}ms"
[pages.home.parts.promo]
upstream = "shop"
path = "/promo.json"
[pages.home.parts.promo.fallback]
upstream = "spare"
path = "/popular.json"
[pages.home.parts.recco]
upstream = "shop"
path = "/recco.json?kind={{{{promo.kind}}}}"
[pages.home.parts.recco.fallback]
static = {{{{ items = [] }}}}
[pages.home.parts.stock]
each = "recco.items"
path = "/stock/{{{{item.id}}}}.json"
into = "stock"
concurrency = 2
[pages.home.parts.prices]
upstream = "shop"
each = "recco.items"
batch = 3
method = "POST"
idempotent = true
path = "/prices"
body = '{{{{"ids": "{{{{item.id}}}}"}}}}'
into = "price"
[pages.home.parts.order]
upstream = "shop"
method = "POST"
path = "/order"
body = '{{{{"kind": "{{{{promo.kind}}}}"}}}}'
[pages.home.parts.also]
upstream = "stock"
path = "/also.json"
when = "promo.kind && !query.plain"

[pages.product]
path = "/product"
deadline = "{int(1000 * DEADLINE)}ms"
[pages.product.parts.product]
upstream = "shop"
path = "/product.json"
need = "required"
[pages.product.parts.left]
upstream = "stock"
path = "/stock/{{{{product.id}}}}.json"
"""

PARTS = {"/": ["promo", "recco", "stock", "prices", "order", "also"], "/product": ["product", "left"]}
TEMPLATE = "{{#recco.items}}{{id}} {{/recco.items}}" + " ".join(f"{{{{parts.{name}.state}}}}" for name in PARTS["/"])
FILES = {
    "promo.json": {"kind": "hats"}, "popular.json": {"kind": "caps"}, "product.json": {"id": 1}, "also.json": [],
    "recco.json": {"items": [{"id": n} for n in range(5)]}, "healthy.json": {},
    **{f"stock/{n}.json": {"left": n} for n in range(5)},
}
EXTRA = """
location = /prices { return 200 '{"0":{"p":1},"1":{"p":2},"2":{"p":3},"3":{"p":4},"4":{"p":5}}'; }
location = /order { return 200 '{"order":1}'; }
"""


def weather(seed, broken):
    """What becomes of an upstream, without end: fair half of the time, then any of what can befall it."""
    chance = random.Random(seed)
    moods = [
        lambda: [Fault("delay", chance.uniform(0.02, 0.5), share=chance.uniform(0.05, 1))],
        lambda: [Fault("reset", share=chance.uniform(0.1, 1))],
        lambda: [Fault("blackhole", share=chance.uniform(0.1, 0.8))],
        lambda: [Fault("cut", share=0.3), Fault("reset", share=0.3, per="connection")],
        lambda: [Fault("drip", chance.uniform(0.05, 0.6), share=0.5)],
        lambda: [Fault("elsewhere", port=broken, share=chance.uniform(0.2, 1))],
        lambda: REFUSED,
    ]
    while True:
        yield chance.uniform(0.2, 1), []
        yield chance.uniform(0.2, 1), chance.choice(moods)()


class Visitors:
    """Clients that ask for one page after the other, look at each and think a moment; some leave early."""

    def __init__(self, url, host_port, seconds):
        self.url, self.host_port, self.ends = url, host_port, time.monotonic() + seconds
        self.lock = threading.Lock()
        self.asked = collections.Counter()  # pages, by path
        self.left = 0  # pages that nobody waited for
        self.slowest = 0
        self.wrong = []
        self.threads = [threading.Thread(target=self.visit, args=(n,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def visit(self, number):
        chance = random.Random(f"{SEED}/{number}")
        try:
            with httpx.Client(timeout=60) as client:
                while time.monotonic() < self.ends:
                    path = chance.choice(["/", "/", "/?plain=1", "/product"])
                    with self.lock:
                        self.asked[path.partition("?")[0]] += 1
                    if chance.random() < 0.05:
                        self.leave(path, chance.uniform(0, 0.3))
                    else:
                        self.read(client, path, chance.random() < 0.7)
                    time.sleep(chance.uniform(0, 0.3))  # think
        except Exception as error:  # told by join()
            self.wrong.append(repr(error))

    def leave(self, path, seconds):
        with socket.create_connection(self.host_port) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            client.settimeout(seconds)
            try:
                client.recv(1)  # it leaves at the first byte at the latest
            except TimeoutError:
                pass
        with self.lock:
            self.left += 1

    def read(self, client, path, as_json):
        began = time.monotonic()
        answer = client.get(self.url + path, headers={"Accept": "application/json" if as_json else "text/html"})
        took = time.monotonic() - began
        self.slowest = max(took, self.slowest)
        if path == "/product" and answer.status_code in (502, 503, 504):
            assert answer.json()["parts"][0]["name"] == "product", answer.text
            return
        assert answer.status_code == 200, answer.text
        if as_json or path == "/product":
            self.look(path.partition("?")[0], answer)

    def look(self, path, answer):
        page = answer.json()
        parts = page["meta"]["parts"]
        assert list(parts) == PARTS[path]
        whole = all(part["state"] == "ok" or part.get("because") == "when" for part in parts.values())
        assert page["meta"]["completed"] is whole and answer.headers["x-page-completed"] == str(whole).lower()
        if path == "/":
            items = page["data"]["recco"]["items"]
            assert items == [] if parts["recco"]["state"] == "static" else [i["id"] for i in items] == list(range(5))
            for item in items:  # what came, came to whom it belongs
                assert item.get("stock") in (None, {"left": item["id"]}), items
                assert item.get("price") in (None, {"p": item["id"] + 1}), items

    def join(self):
        for thread in self.threads:
            thread.join(SECONDS + 120)
        assert self.wrong == []


def watch(one, visitors):
    """Memory and descriptors, until the visitors are gone: [(seconds, KiB, descriptors)], and what was seen upstream."""
    samples, seen = [], collections.Counter()
    began = time.monotonic()
    while any(thread.is_alive() for thread in visitors.threads):
        samples.append((time.monotonic() - began, one.status("RssAnon"), one.open_files()))
        for upstream in httpx.get(one.admin + "/upstreams", timeout=15).json()["upstreams"]:
            name = upstream["name"]
            for key, value in upstream["last_10s"].items():
                seen[name, key] = max(value, seen[name, key])
            seen[name, "opened"] = upstream["breaker"]["opened"]
            seen[name, "ejections"] = max(seen[name, "ejections"], *(a["ejections"] for a in upstream["addresses"]))
        time.sleep(0.3)  # between two looks
    return samples, seen


def is_flat(samples, column, allowed):
    """The last third is no higher than the third before it; the first is for warming up."""
    ends = samples[-1][0]
    middle = [s[column] for s in samples if ends / 3 < s[0] <= ends * 2 / 3]
    last = [s[column] for s in samples if s[0] > ends * 2 / 3]
    assert statistics.median(last) <= statistics.median(middle) + allowed, (middle, last)
    assert max(last) <= max(middle) + 2 * allowed, (middle, last)


# The upstream of each part's own calls, and how many of them there are at most.
CALLS = {"shop": {"promo": 1, "recco": 1, "prices": 2, "order": 1, "product": 1}, "stock": {"stock": 5, "also": 1, "left": 1}}


def calls_and_attempts(records, upstream):
    """Calls that reached for it, and attempts of them, as the log tells. Of several calls some may not have been
    made while others were tried twice; those retries can't be told."""
    calls = attempts = 0
    for record in records:
        for part in record["parts"]:
            most = CALLS[upstream].get(part["name"], 0)
            if most != 0:
                made = part.get("attempts", 0) - (part["state"] == "fallback")  # the last one went to the spare
                attempts += made
                calls += min(made, most)
    return calls, attempts


def allowed(calls, seconds):
    """Retries and hedges that so many calls may come with. Budgets hold for any ten seconds; calls that stood when
    they were granted may have left the window before the next ones come, hence the half more."""
    return sum(1.5 * percent / 100 * calls + 10 * floor * (seconds / 10 + 1) for percent, floor in (RETRIES, HEDGES))


def test_pages_while_their_upstreams_flap(gateway, nginx, fault_proxy):
    server = nginx(FILES, EXTRA)
    broken = nginx({}, "location / { return 503 '{}'; }")
    proxies = {name: fault_proxy(server.port, seed=f"{SEED}/{name}") for name in ("shop1", "shop2", "stock")}
    spare = nginx(FILES)
    addresses = {name: proxy.address for name, proxy in proxies.items()}
    one = gateway(CONFIG.format(spare=spare.url, **addresses), {"home.html": TEMPLATE})

    for name, proxy in proxies.items():
        proxy.follow(weather(f"{SEED}/{name}", broken.port))
    began = time.monotonic()
    visitors = Visitors(one.url, one.host_port, SECONDS)
    samples, seen = watch(one, visitors)
    visitors.join()
    seconds = time.monotonic() - began
    for proxy in proxies.values():
        proxy.steady()

    # every page was answered by its deadline, and told of each of its parts once
    pages = sum(visitors.asked.values())
    records = one.access(pages)
    assert len(records) == pages
    assert collections.Counter(record["path"].partition("?")[0] for record in records) == visitors.asked
    late = [record["ms"] for record in records if record["ms"] > 1000 * (DEADLINE + SLACK)]
    assert late == [] and visitors.slowest < DEADLINE + 2 * SLACK
    states = collections.Counter()
    for record in records:
        parts = [part["name"] for part in record["parts"]]
        assert parts == PARTS[record["path"].partition("?")[0]]
        states.update(part["state"] for part in record["parts"])
    assert sum(states.values()) == sum(count * len(PARTS[path]) for path, count in visitors.asked.items())
    assert set(states) <= STATES
    assert sum(record["status"] == 499 for record in records) <= visitors.left

    # nobody was called more often than the log tells, nor than the budgets allow
    for upstream, names in ("shop", ["shop1", "shop2"]), ("stock", ["stock"]):
        calls, attempts = calls_and_attempts(records, upstream)
        asked = sum(proxies[name].asked - proxies[name].asked_for["/healthy.json"] for name in names)
        resent = sum(proxies[name].resendable for name in names)
        print(json.dumps({upstream: calls, "attempts": attempts, "asked": asked, "resent": resent}))
        assert asked <= attempts + resent
        assert 0 < attempts - calls <= allowed(calls, seconds), (calls, attempts)
    assert sum(proxy.asked_for["/order"] for proxy in proxies.values()) <= visitors.asked["/"] + resent

    print(json.dumps({"pages": pages, **states, "slowest_ms": max(record["ms"] for record in records)}))

    # memory and descriptors are flat
    if not SANITIZED:
        is_flat(samples, 1, 1024)
    is_flat(samples, 2, 24)

    # all of it happened
    assert states["ok"] > pages, states
    for state in "fallback", "static", "error", "open", "skipped":
        assert states[state] > 0, states
    for name in "shop", "stock":
        assert seen[name, "opened"] > 0, seen
        for key in "retries", "retries_denied", "hedges", "failures":
            assert seen[name, key] > 0, (name, key, seen)
    assert seen["shop", "hedges_won"] > 0 and seen["shop", "ejections"] > 0, seen
    assert len(re.findall('"part failed"', one.log())) <= 8 * (seconds / 60 + 2), "once a minute a part"

    # and passes
    def is_whole():
        page = httpx.get(one.url, timeout=30, headers={"Accept": "application/json"}).json()
        return page["meta"]["completed"]

    until(lambda: all(is_whole() for _ in range(5)), "the end of it", seconds=30)
    upstreams = until(
        lambda: (all_of := httpx.get(one.admin + "/upstreams").json()["upstreams"])
        and all(u["inflight"] == u["queued"] == 0 and u["breaker"]["state"] == "closed" for u in all_of) and all_of,
        "rest",
    )
    assert {a["inflight"] for upstream in upstreams for a in upstream["addresses"]} == {0}
    until(lambda: all(proxy.busy == 0 for proxy in proxies.values()), "the end of all calls")
