"""Several addresses of an upstream, each a real nginx: shared out, put aside, checked, looked up."""

import concurrent.futures
import re

import httpx
import pytest

from conftest import free_port
from gateway import command, until
from test_upstream_tls import keys  # noqa: F401 (a fixture)

CONFIG = """
[upstreams.promo]
url = "{url}"
{more}
[pages.home]
path = "/"
[pages.home.parts.promo]
path = "/ok.json"
"""

FILES = {"ok.json": {"a": 1}}
HEALTH = """location = /healthz {
    if (-f $document_root/down) { return 503; }
    return 204;
}"""


def listed(servers, weights=None):
    addresses = [server.address for server in servers]
    if weights is not None:
        addresses = [f"{a} weight={w}" for a, w in zip(addresses, weights)]
    return f"addresses = {addresses}".replace("'", '"')


@pytest.fixture
def servers(nginx):
    """servers(3): that many nginx at one port of 127.0.0.1, 127.0.0.2, …"""

    def start(count, extra="", listen="listen {address};", files=FILES):
        port = free_port()
        found = []
        for i in range(count):
            address = f"127.0.0.{i + 1}:{port}"
            one = nginx(files, extra, listen=listen.format(address=address))
            one.address, one.port = address, port
            found.append(one)
        return found

    return start


def pages(one, count, at_once=1):
    """How many of so many pages came whole."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as threads, httpx.Client(timeout=30) as client:
        states = list(
            threads.map(
                lambda _: client.get(one.url).json()["meta"]["parts"]["promo"]["state"], range(count)
            )
        )
    return states.count("ok")


def answered(server, uri="/ok.json"):
    return sum(record["uri"] == uri for record in server.requests())


def told(one, message, server):
    """The log's lines with that message about that server."""
    return re.findall(rf'"msg":"{message}"[^\n]*"address":"{re.escape(server.address)}"', one.log())


def test_weights_share_the_calls_out(gateway, servers):
    three = servers(3)
    one = gateway(CONFIG.format(url="http://promo.internal", more=listed(three, [3, 2, 1])))
    assert pages(one, 60) == 60
    for server, share in zip(three, [30, 20, 10]):
        server.requests(share)
        assert answered(server) == share
        assert {record["host"] for record in server.requests()} == {"promo.internal"}


def test_the_least_busy_one_gets_the_next_call(gateway, servers):
    fast, slow = servers(1)[0], servers(1, extra="limit_rate 6k;", files={"ok.json": {"a": "x" * 9000}})[0]
    more = listed([fast, slow]) + '\nbalance = "least_inflight"\ntimeout = "10s"'
    one = gateway(CONFIG.format(url="http://promo.internal", more=more))
    assert pages(one, 80, at_once=8) == 80
    fast.requests(1)
    assert answered(fast) + answered(slow) == 80
    assert answered(slow) <= 25  # round-robin would give it 40


def test_an_address_that_is_down_costs_no_page_and_comes_back(gateway, servers):
    three = servers(3)
    more = listed(three) + '\n[upstreams.promo.ejection]\nconsecutive = 2\nfor = "1500ms"'
    one = gateway(CONFIG.format(url="http://promo.internal", more=more))
    assert pages(one, 6) == 6
    three[1].stop()
    assert pages(one, 30) == 30
    assert len(told(one, "address ejected", three[1])) == 1
    before = answered(three[1])
    three[1].start()
    until(lambda: pages(one, 3) == 3 and answered(three[1]) > before, "its return", seconds=20)
    assert len(told(one, "address used again", three[1])) == 1
    assert not told(one, "address ejected", three[0]) and not told(one, "address ejected", three[2])


def test_a_page_whose_addresses_are_all_down_says_so_and_recovers(gateway, servers):
    two = servers(2)
    more = listed(two) + (
        '\n[upstreams.promo.ejection]\nconsecutive = 1\nfor = "200ms"\nmax_share = 100'
        "\n[upstreams.promo.breaker]\nerror_share = 0\nconsecutive = 0"
    )
    one = gateway(CONFIG.format(url="http://promo.internal", more=more))
    for server in two:
        server.stop()
    for _ in range(5):
        part = httpx.get(one.url, timeout=20).json()["meta"]["parts"]["promo"]
        assert (part["state"], part["error"]) == ("error", "connection_refused")
    two[0].start()
    until(lambda: pages(one, 5) == 5, "the return")


def test_a_name_stands_for_all_its_addresses_and_is_followed(gateway, servers, tmp_path):
    three = servers(3)
    zone = tmp_path / "zone"
    zone.write_text("promo.zone 127.0.0.1 127.0.0.2\n")
    one = gateway(
        CONFIG.format(url=f"http://promo.zone:{three[0].port}", more='resolve_every = "50ms"'),
        preload="zone_names.so",
        env={"ZONE_NAMES": str(zone)},
    )
    assert pages(one, 20) == 20
    for server in three[:2]:
        server.requests(10)
        assert answered(server) == 10
    (tmp_path / "new").write_text("promo.zone 127.0.0.3\n")
    (tmp_path / "new").replace(zone)
    until(lambda: pages(one, 1) == 1 and answered(three[2]) > 0, "the third's turn")
    before = [answered(server) for server in three]
    assert pages(one, 10) == 10
    three[2].requests(before[2] + 10)
    assert [answered(server) for server in three[:2]] == before[:2]


def test_names_and_addresses_stand_side_by_side(gateway, servers, tmp_path):
    three = servers(3)
    zone = tmp_path / "zone"
    zone.write_text("spare.zone 127.0.0.2 127.0.0.3\n")
    more = f'addresses = ["{three[0].address} weight=2", "spare.zone:{three[0].port}"]'
    one = gateway(
        CONFIG.format(url="http://promo.internal", more=more),
        preload="zone_names.so",
        env={"ZONE_NAMES": str(zone)},
    )
    until(lambda: pages(one, 4) == 4 and answered(three[1]) > 0, "the name")
    before = [answered(server) for server in three]
    assert pages(one, 40) == 40
    three[2].requests(before[2] + 10)
    shares = [answered(server) - then for server, then in zip(three, before)]
    assert shares == [20, 10, 10]


def test_the_certificate_is_the_urls_at_each_address(gateway, servers, keys):  # noqa: F811
    tls = f"""listen {{address}} ssl;
    ssl_certificate {keys}/server.pem; ssl_certificate_key {keys}/server.key;"""
    two = servers(2, listen=tls)
    for host, state in (("localhost", "ok"), ("promo.internal", "error")):
        more = listed(two) + f'\n[upstreams.promo.tls]\nca_file = "{keys}/ca.pem"'
        one = gateway(CONFIG.format(url=f"https://{host}:{two[0].port}", more=more))
        parts = [httpx.get(one.url).json()["meta"]["parts"]["promo"] for _ in range(10)]
        assert {part["state"] for part in parts} == {state}
        if state == "error":
            assert {part["error"] for part in parts} == {"tls_certificate_error"}
    for server in two:
        server.requests(5)
        assert answered(server) == 5


def test_checks_put_an_address_aside_and_back(gateway, servers):
    two = servers(2, extra=HEALTH)
    more = listed(two) + (
        '\n[upstreams.promo.health]\npath = "/healthz"\ninterval = "50ms"\ntimeout = "50ms"'
    )
    one = gateway(CONFIG.format(url="http://promo.internal", more=more))
    until(lambda: all(answered(server, "/healthz") >= 3 for server in two), "checks")
    assert pages(one, 10) == 10
    assert not told(one, "address unhealthy", two[1])

    down = two[1].folder / "www" / "down"
    down.write_text("")
    until(lambda: told(one, "address unhealthy", two[1]), "its being put aside")
    before = answered(two[1])
    assert pages(one, 20) == 20
    assert answered(two[1]) == before

    down.unlink()
    until(lambda: told(one, "address healthy", two[1]), "its return")
    assert pages(one, 20) == 20
    until(lambda: answered(two[1]) > before, "a call")
    assert len(told(one, "address unhealthy", two[1])) == 1
    assert not told(one, "address unhealthy", two[0])


def test_a_single_address_is_checked_told_and_still_used(gateway, servers):
    server = servers(1, extra=HEALTH)[0]
    more = '[upstreams.promo.health]\npath = "/healthz"\ninterval = "50ms"\ntimeout = "50ms"'
    one = gateway(CONFIG.format(url=f"http://{server.address}", more=more))
    (server.folder / "www" / "down").write_text("")
    until(lambda: told(one, "address unhealthy", server), "the bad news")
    assert pages(one, 5) == 5


def test_addresses_are_seen_on_the_admin_listener(gateway, servers):
    two = servers(2, extra=HEALTH)
    more = listed(two, [2, 1]) + (
        '\n[upstreams.promo.health]\npath = "/healthz"\ninterval = "50ms"\ntimeout = "50ms"'
        "\n[upstreams.promo.ejection]\nconsecutive = 2"
    )
    one = gateway(CONFIG.format(url="http://promo.internal", more=more))

    def seen():
        (promo,) = httpx.get(one.admin + "/upstreams").json()["upstreams"]
        return promo

    until(lambda: {a["health"] for a in seen()["addresses"]} == {"healthy"}, "health")
    assert pages(one, 30) == 30
    promo = seen()
    assert (promo["name"], promo["url"]) == ("promo", "http://promo.internal")
    assert promo["last_10s"]["calls"] == 30 and promo["last_10s"]["failures"] == 0
    assert promo["breaker"] == {"state": "closed", "opened": 0, "retry_in_ms": None}
    assert 0 < promo["latency_ms"]["p50"] <= promo["latency_ms"]["p99"]
    assert [a["address"] for a in promo["addresses"]] == [server.address for server in two]
    assert [a["weight"] for a in promo["addresses"]] == [2, 1]
    assert {a["inflight"] for a in promo["addresses"]} == {0} and promo["inflight"] == 0
    two[1].stop()
    assert pages(one, 15) == 15
    until(lambda: seen()["addresses"][1]["health"] == "unhealthy", "the checks' verdict")
    assert seen()["addresses"][0]["health"] == "healthy"
    gone = seen()["addresses"][1]
    assert gone["ejections"] in (0, 1)  # calls and checks may both have been first
    assert (gone["ejected_for_ms"] is not None) == (gone["ejections"] == 1)


@pytest.mark.parametrize(
    "more, error",
    [
        ('addresses = ["a:80 weight=0", "b:80 weight=0"]', "4:13: error: all weights are 0"),
        ('addresses = ["a:80", "b"]', '4:22: error: "b": a port is missing'),
        ('[upstreams.promo.health]\npath = "/"\ninterval = "1s"\ntimeout = "2s"', "7:11: error: a check's"),
    ],
)
def test_what_can_not_work_is_told_with_its_place(tmp_path, more, error):
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(url="http://promo.internal", more=more))
    (tmp_path / "templates").mkdir()
    result = command("check", "-c", config)
    assert result.returncode != 0
    assert f"gateway.toml:{error}" in result.stderr + result.stdout
