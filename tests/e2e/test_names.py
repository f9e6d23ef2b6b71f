"""Names are looked up off the loops: a resolver that hangs delays no other page."""

import threading

import httpx

CONFIG = """
[upstreams.slow]
url = "http://promo.slow:{port}"
timeout = "600ms"
[upstreams.named]
url = "http://localhost:{port}"
[pages.slow]
path = "/slow"
deadline = "5s"
[pages.slow.parts.slow]
path = "/ok"
[pages.named]
path = "/named"
[pages.named.parts.named]
path = "/ok"
"""


def test_an_unresponsive_resolver_delays_no_other_page(gateway, faults):
    one = gateway(CONFIG.format(port=faults.port), preload="slow_names.so")
    slow = []
    threads = [
        threading.Thread(target=lambda: slow.append(httpx.get(one.url + "/slow", timeout=30)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for _ in range(20):
        page = httpx.get(one.url + "/named", timeout=30)
        assert page.json()["meta"]["parts"]["named"]["state"] == "ok"
    for thread in threads:
        thread.join()
    parts = [page.json()["meta"]["parts"]["slow"] for page in slow]
    assert {(part["state"], part["error"]) for part in parts} == {("timeout", "dns_timeout")}
    named = one.access(20, lambda record: record["path"] == "/named")
    assert max(record["ms"] for record in named) < 500


def test_both_addresses_of_a_name_are_tried(gateway, faults):
    """localhost is ::1 and 127.0.0.1; the service listens on the second only."""
    one = gateway(CONFIG.format(port=faults.port))
    assert httpx.get(one.url + "/named").json()["meta"]["parts"]["named"]["state"] == "ok"
