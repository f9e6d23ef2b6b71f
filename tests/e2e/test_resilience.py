"""Calls that fail, lag or lead nowhere, at real servers behind a proxy that spoils what passes: what is
asked again, what is asked twice, what isn't asked any more, and what an upstream sees of it."""

import concurrent.futures
import itertools
import json
import re
import time

import httpx
import pytest

from fault_proxy import REFUSED, Fault
from gateway import SANITIZED, until

SLACK = 3 if SANITIZED else 0.7  # seconds that a loaded machine may add

FILES = {"ok.json": {"a": 1, "text": "x" * 400}}
EXTRA = """
location = /503 { add_header Retry-After $arg_after always; return 503 '{"no":1}'; }
location = /post { return 200 '{"done":true}'; }
location = /left { return 200 '{"ms":"$http_x_deadline_ms"}'; }
"""
QUIET = "[upstreams.shop.breaker]\nerror_share = 0\nconsecutive = 0\n"


def page(url, keys="", tables=QUIET, part='path = "/ok.json"', deadline="10s", timeout="5s"):
    """A page of one part. keys: of its upstream; tables: what follows them."""
    return f"""
[upstreams.shop]
url = "{url}"
timeout = "{timeout}"
{keys}
{tables}
[pages.home]
path = "/"
deadline = "{deadline}"
[pages.home.parts.shop]
{part}
"""


def retry(keys):
    return QUIET + f"[upstreams.shop.retry]\n{keys}\n"


def hedge(keys):
    return QUIET + f"[upstreams.shop.hedge]\n{keys}\n"


def ask(one, **options):
    """The part as the page as JSON tells of it, and how long the page took."""
    began = time.monotonic()
    answer = httpx.get(one.url, timeout=60, headers={"Accept": "application/json"}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["meta"]["parts"]["shop"], time.monotonic() - began


def ask_many(one, count, at_once=10):
    with concurrent.futures.ThreadPoolExecutor(at_once) as threads, httpx.Client(timeout=60) as client:
        answers = threads.map(lambda _: client.get(one.url).json(), range(count))
        return [answer["meta"]["parts"]["shop"] for answer in answers]


def seen(one, name="shop"):
    """What GET /upstreams tells of it."""
    listed = httpx.get(one.admin + "/upstreams", timeout=15).json()["upstreams"]
    return next(upstream for upstream in listed if upstream["name"] == name)


@pytest.fixture
def shop(nginx, fault_proxy):
    """A server and the proxy before it."""
    server = nginx(FILES, EXTRA)
    proxy = fault_proxy(server.port)
    proxy.server = server
    return proxy


@pytest.fixture
def broken(nginx):
    """A server that answers everything with 503; its Retry-After is the URL's `after`."""
    return nginx({}, "location / { add_header Retry-After $arg_after always; return 503 '{\"no\":1}'; }")


# -- retries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind,on", [("reset", "reset"), ("cut", "reset"), ("blackhole", "timeout"),
                                     ("drip", "timeout")])
def test_a_spoilt_answer_is_asked_for_again(gateway, shop, kind, on):
    for words, good in ([on], True), (["connect", "502"], False):
        shop.faults = [Fault(kind, seconds=60, times=1)]
        one = gateway(page(shop.url, tables=retry(f"attempts = 3\non = {json.dumps(words)}"), timeout="300ms"))
        before, passed = shop.asked, shop.passed
        part, _ = ask(one)
        assert shop.spoilt[kind] == (1 if good else 2), "the first call was"
        assert part["attempts"] == shop.asked - before == (2 if good else 1)
        assert shop.passed - passed == (1 if good else 0)
        assert part["state"] == ("ok" if good else "timeout" if on == "timeout" else "error")
        record = one.access()[0]["parts"][0]
        assert (record["state"], record["attempts"]) == (part["state"], part["attempts"])
        assert seen(one)["last_10s"]["retries"] == (1 if good else 0)
        assert seen(one)["last_10s"]["calls"] == 1


@pytest.mark.parametrize("words,good", [(["503"], True), (["429", "502"], False)])
def test_listed_statuses_are_asked_for_again(gateway, shop, broken, words, good):
    shop.faults = [Fault("elsewhere", port=broken.port, times=1)]
    one = gateway(page(shop.url, tables=retry(f"attempts = 2\non = {json.dumps(words)}")))
    part, _ = ask(one)
    assert (part["state"], part["status"]) == (("ok", 200) if good else ("error", 503))
    assert shop.asked == part["attempts"] == (2 if good else 1)


def test_a_server_that_restarts_costs_no_page(gateway, shop):
    one = gateway(page(shop.url, tables=retry('attempts = 10\nbackoff = "400ms"\nmax_backoff = "400ms"')))
    assert ask(one)[0]["state"] == "ok"
    shop.follow([(0.3, REFUSED), (60, [])])
    part, _ = ask(one)
    assert part["state"] == "ok" and part["attempts"] >= 2
    assert shop.passed == 2


def test_a_failed_connection_is_tried_at_the_next_address_at_once(gateway, shop, fault_proxy):
    other = fault_proxy(shop.server.port)
    other.refuse()
    keys = f'addresses = ["{other.address}", "{shop.address}"]'
    for words, asked in (["connect"], 4), (["reset"], 2):
        one = gateway(page("http://shop.internal", keys,
                           retry(f'on = {json.dumps(words)}\nbackoff = "1h"\nmax_backoff = "1h"')))
        before = shop.asked
        parts = [ask(one)[0] for _ in range(4)]
        assert shop.asked - before == asked, "of four pages two begin at the address that is away"
        assert sorted(part["attempts"] for part in parts) == ([1, 1, 2, 2] if asked == 4 else [1] * 4)


@pytest.mark.parametrize("kind", ["reset", "cut", "blackhole", "elsewhere"])
@pytest.mark.parametrize("idempotent", [False, True])
def test_a_post_is_made_once_unless_it_is_idempotent(gateway, shop, broken, kind, idempotent):
    shop.faults = [Fault(kind, times=1, port=broken.port)]
    part = 'path = "/post"\nmethod = "POST"\nbody = \'{"order": "{query.order}"}\'\n'
    part += f"idempotent = {str(idempotent).lower()}"
    one = gateway(page(shop.url, tables=retry('attempts = 3\non = ["connect", "reset", "timeout", "503"]')
                       + '[upstreams.shop.hedge]\nafter = "100ms"', part=part, timeout="400ms"))
    found, _ = ask(one, params={"order": "7"})
    assert shop.asked == found["attempts"] == (2 if idempotent else 1)
    assert (found["state"] == "ok") is idempotent
    assert {body for _, _, body in shop.requests} == {b'{"order": "7"}'}


def test_retry_after_is_waited_for_or_nothing_is_asked(gateway, shop, broken):
    tables = retry('attempts = 3\non = ["503"]\nbackoff = "1ms"')
    one = gateway(page(shop.url, tables=tables, part='path = "/ok.json?after=1"', deadline="8s"))
    shop.faults = [Fault("elsewhere", port=broken.port, times=1)]
    part, _ = ask(one)
    assert (part["state"], part["attempts"]) == ("ok", 2)
    (first, _, _), (second, _, _) = shop.requests
    assert 0.95 <= second - first < 1 + SLACK
    one = gateway(page(shop.url, tables=tables, part='path = "/ok.json?after=60"', deadline="8s"))
    shop.faults = [Fault("elsewhere", port=broken.port)]
    part, took = ask(one)
    assert (part["state"], part["status"], part["attempts"]) == ("error", 503, 1)
    assert took < 1 + SLACK


def test_retries_keep_to_their_budget(gateway, shop):
    shop.faults = [Fault("reset")]
    one = gateway(page(shop.url, tables=retry('attempts = 3\nbackoff = "1ms"\nbudget = 20\nbudget_floor = 0')))
    began = time.monotonic()
    parts = ask_many(one, 100)
    assert {part["state"] for part in parts} == {"error"}
    assert 100 + 10 <= shop.asked <= 100 + 20
    assert sum(part["attempts"] for part in parts) == shop.asked
    if time.monotonic() - began < 9:  # else the window has moved on
        counts = seen(one)["last_10s"]
        assert counts["calls"] == 100 and counts["retries"] == shop.asked - 100
        assert counts["retries_denied"] >= 80
        assert counts["failures"] == shop.asked


def test_retries_end_with_the_page(gateway, shop):
    shop.faults = [Fault("blackhole")]
    one = gateway(page(shop.url, tables=retry('attempts = 10\non = ["timeout"]\nbackoff = "1ms"\nbudget_floor = 100'),
                       deadline="700ms", timeout="200ms"))
    for _ in range(3):
        part, took = ask(one)
        assert part["state"] == "timeout" and part["error"] == "http_response_timeout"
        assert 2 <= part["attempts"] <= 4
        assert 0.2 < took < 0.7 + SLACK
    until(lambda: shop.busy == 0, "the calls' end")


def test_no_retry_begins_that_can_not_end_in_time(gateway, shop):
    shop.faults = [Fault("delay", 0.4)]
    one = gateway(page(shop.url, tables=retry('attempts = 3\non = ["timeout"]\nbackoff = "1ms"'),
                       deadline="900ms", timeout="700ms"))
    assert {part["state"] for part in ask_many(one, 30, at_once=30)} == {"ok"}
    assert seen(one)["latency_ms"]["p50"] > 390
    before = shop.asked
    shop.faults = [Fault("blackhole")]
    part, took = ask(one)
    assert (part["state"], part["attempts"]) == ("timeout", 1)
    assert shop.asked == before + 1
    assert took < 0.7 + SLACK


# -- hedging ---------------------------------------------------------------------------------------


def test_a_second_call_overtakes_the_first(gateway, shop):
    shop.faults = [Fault("delay", 20, times=1)]
    one = gateway(page(shop.url, tables=hedge('after = "50ms"'), timeout="30s", deadline="30s"))
    part, took = ask(one)
    assert (part["state"], part["attempts"]) == ("ok", 2)
    assert 0.05 <= took < 1 + SLACK
    until(lambda: shop.abandoned == 1 and shop.busy == 0, "the loser's cancelling, as its upstream sees it")
    counts = seen(one)["last_10s"]
    assert (counts["calls"], counts["hedges"], counts["hedges_won"]) == (1, 1, 1)
    assert counts["failures"] == 0, "the loser did nothing wrong"
    part, _ = ask(one)
    assert (part["state"], part["attempts"]) == ("ok", 1), "an answer in time is not hedged"
    assert shop.asked == 3


def test_the_first_good_answer_wins_not_the_first(gateway, shop, broken):
    shop.faults = [Fault("delay", 0.5, times=1), Fault("elsewhere", port=broken.port, times=1)]
    one = gateway(page(shop.url, tables=hedge('after = "100ms"')))
    part, took = ask(one)
    assert (part["state"], part["status"], part["attempts"]) == ("ok", 200, 2)
    assert took >= 0.5 and shop.abandoned == 0
    assert seen(one)["last_10s"]["hedges_won"] == 0


def test_of_two_failures_the_answer_is_told(gateway, shop, broken):
    shop.faults = [Fault("blackhole", times=1), Fault("elsewhere", port=broken.port, times=1)]
    one = gateway(page(shop.url, tables=hedge('after = "50ms"'), timeout="400ms"))
    part, _ = ask(one)
    assert (part["state"], part["status"], part["attempts"]) == ("error", 503, 2)


def test_hedges_keep_to_their_budget(gateway, shop):
    shop.faults = [Fault("delay", 0.15)]
    one = gateway(page(shop.url, tables=hedge('after = "20ms"\nbudget = 10\nbudget_floor = 0')))
    began = time.monotonic()
    parts = ask_many(one, 100, at_once=20)
    assert {part["state"] for part in parts} == {"ok"}
    assert 100 + 5 <= shop.asked <= 100 + 10
    if time.monotonic() - began < 9:
        counts = seen(one)["last_10s"]
        assert counts["hedges"] == shop.asked - 100 and counts["hedges_denied"] >= 85


def test_hedging_after_what_is_usual(gateway, shop):
    one = gateway(page(shop.url, tables=hedge('after = "p95"\nbudget_floor = 10'), timeout="30s", deadline="30s"))
    shop.faults = [Fault("delay", 1, times=1)]
    part, took = ask(one)
    assert (part["attempts"], took >= 1) == (1, True), "nobody knows yet what is usual"
    shop.faults = [Fault("delay", 0.02)]
    assert {part["state"] for part in ask_many(one, 40, at_once=2)} == {"ok"}
    asked = shop.asked
    shop.faults = [Fault("delay", 20, times=1)]
    part, took = ask(one)
    assert (part["state"], part["attempts"]) == ("ok", 2)
    assert took < 1.5 + SLACK and shop.asked == asked + 2


# -- the breaker -----------------------------------------------------------------------------------

BREAKER = """
[upstreams.shop.breaker]
consecutive = {consecutive}
error_share = {share}
open_for = "{open_for}"
probes = 2
"""


def breaker(consecutive=3, share=0, open_for="1h"):
    return BREAKER.format(consecutive=consecutive, share=share, open_for=open_for)


def opened(one):
    return one.log().count("breaker opened"), one.log().count("breaker closed")


@pytest.mark.parametrize("kind", ["reset", "blackhole", "elsewhere", "cut"])
def test_failures_one_after_the_other_open_the_breaker(gateway, shop, broken, kind):
    shop.faults = [Fault(kind, port=broken.port)]
    one = gateway(page(shop.url, tables=breaker(), timeout="200ms"))
    assert seen(one)["breaker"] == {"state": "closed", "opened": 0, "retry_in_ms": None}
    states = [ask(one)[0]["state"] for _ in range(6)]
    assert states == ["timeout" if kind == "blackhole" else "error"] * 3 + ["open"] * 3
    assert shop.asked == 3
    told = seen(one)["breaker"]
    assert (told["state"], told["opened"]) == ("open", 1)
    ready = httpx.get(one.admin + "/readyz?verbose", timeout=15).json()
    assert ready["status"] == "warn" and ready["checks"]["shop:breaker"][0]["observedValue"] == "open"
    assert 3_500_000 < told["retry_in_ms"] <= 1.1 * 3_600_000
    assert opened(one) == (1, 0)


def test_answers_that_make_no_sense_or_are_refused_leave_it_closed(gateway, nginx):
    server = nginx({"html": b"<p>"}, "location = /404 { return 404; } location = /html { default_type text/html; }")
    for path in "/404", "/html":
        one = gateway(page(server.url, tables=breaker(consecutive=2), part=f'path = "{path}"'))
        assert [ask(one)[0]["state"] for _ in range(4)] == ["error"] * 4
        assert seen(one)["breaker"]["state"] == "closed"


def test_a_share_of_failures_opens_it_once_there_are_enough_calls(gateway, shop):
    shop.faults = [Fault("cut", share=0.5)]
    one = gateway(page(shop.url, tables=breaker(consecutive=0, share=50)))
    states = [ask(one)[0]["state"] for _ in range(25)]
    assert states[:20] == ["error", "ok"] * 10, "with fewer than 20 calls a share proves nothing"
    assert set(states[21:]) == {"open"}
    assert shop.asked == states.index("open") <= 21


def test_single_probes_close_it_and_a_failed_one_opens_it_again(gateway, shop):
    shop.faults = [Fault("reset")]
    one = gateway(page(shop.url, tables=breaker(open_for="300ms")))
    states = [ask(one)[0]["state"] for _ in range(3)]
    assert states == ["error"] * 3 and seen(one)["breaker"]["state"] == "open"

    until(lambda: seen(one)["breaker"]["retry_in_ms"] is None, "the time to try again")
    assert shop.asked == 3
    assert ask(one)[0]["state"] == "error", "a probe, which fails"
    assert shop.asked == 4 and opened(one)[0] == 2
    assert seen(one)["breaker"]["opened"] == 2

    shop.faults = [Fault("delay", 1)]
    until(lambda: seen(one)["breaker"]["retry_in_ms"] is None, "the time to try again")
    parts = ask_many(one, 8, at_once=8)
    assert sorted(part["state"] for part in parts) == ["ok"] + ["open"] * 7, "one at a time"
    assert shop.asked == 5
    assert seen(one)["breaker"]["state"] == "half_open"
    shop.faults = []
    assert ask(one)[0]["state"] == "ok", "the second good answer of two"
    assert seen(one)["breaker"] == {"state": "closed", "opened": 2, "retry_in_ms": None}
    assert opened(one) == (2, 1)
    assert {part["state"] for part in ask_many(one, 20)} == {"ok"}


def test_an_open_breaker_of_a_required_part_says_when_to_come_back(gateway, shop):
    shop.refuse()
    one = gateway(page(shop.url, tables=breaker(consecutive=1, open_for="30s"),
                       part='path = "/ok.json"\nneed = "required"'))
    assert httpx.get(one.url, timeout=30).status_code == 502
    answer = httpx.get(one.url, timeout=30)
    assert answer.status_code == 503
    assert 25 <= int(answer.headers["retry-after"]) <= 33
    assert answer.json()["parts"][0]["state"] == "open"
    assert "error=destination_unavailable" in answer.headers["proxy-status"]
    assert one.access(2)[1]["flags"] == "UO"


def test_an_upstream_that_never_answers_opens_its_breaker_within_short_pages(gateway, shop):
    """Each call is cut by the page's deadline, after most of its own time."""
    shop.faults = [Fault("blackhole")]
    one = gateway(page(shop.url, tables=breaker(), deadline="300ms", timeout="400ms"))
    states = [ask(one)[0]["state"] for _ in range(5)]
    assert states == ["timeout"] * 3 + ["open"] * 2
    one = gateway(page(shop.url, tables=breaker(), deadline="300ms", timeout="30s"))
    states = [ask(one)[0]["state"] for _ in range(5)]
    assert states == ["timeout"] * 5, "it might have answered in its time"


# -- deadlines -------------------------------------------------------------------------------------


def test_upstreams_are_told_how_long_they_have(gateway, shop):
    keys = 'deadline_header = "X-Deadline-Ms"'
    parts = """
path = "/ok.json"
[pages.home.parts.at_once]
upstream = "shop"
path = "/left"
[pages.home.parts.late]
upstream = "shop"
path = "/left?{shop.a}"
[pages.home.parts.short]
upstream = "shop"
path = "/left?short"
timeout = "250ms"
"""
    one = gateway(page(shop.url, keys, part=parts, deadline="4s", timeout="60s"))
    shop.faults = [Fault("delay", 0.3)]
    # the parts' own delay is short of each timeout but that of `short`
    answer = httpx.get(one.url, timeout=30, headers={"X-Deadline-Ms": "999999", "Accept": "application/json"})
    sent = {head.split(" ", 2)[1]: [int(ms) for ms in re.findall(r"(?im)^x-deadline-ms: *(\d+)\r", head)]
            for _, head, _ in shop.requests}
    assert all(len(values) == 1 for values in sent.values()), sent
    assert 3500 < sent["/ok.json"][0] <= 4000 and 3500 < sent["/left"][0] <= 4000
    assert 4000 - 300 - 1000 * SLACK < sent["/left?1"][0] <= 4000 - 300
    assert 0 < sent["/left?short"][0] <= 250
    data = answer.json()["data"]
    assert data["at_once"]["ms"] == str(sent["/left"][0]), "what the upstream read"
    assert answer.json()["meta"]["parts"]["short"]["state"] == "timeout"


def test_a_retry_is_told_what_is_left(gateway, shop):
    shop.faults = [Fault("blackhole", times=1)]
    one = gateway(page(shop.url, 'deadline_header = "X-Left"', retry('attempts = 2\non = ["timeout"]\nbackoff = "1ms"'),
                       part='path = "/left"', deadline="900ms", timeout="600ms"))
    part, took = ask(one)
    left = [int(re.search(r"(?im)^x-left: *(\d+)\r", head)[1]) for _, head, _ in shop.requests]
    assert part["state"] == "ok" and len(left) == 2
    assert 500 < left[0] <= 600 and 0 < left[1] <= 300
    assert took < 0.9 + SLACK


# -- health and flapping ---------------------------------------------------------------------------


def test_health_is_seen_and_nobodys_pages_pay_for_it(gateway, shop):
    tables = breaker(consecutive=4) + """
[upstreams.shop.health]
path = "/ok.json"
interval = "50ms"
timeout = "50ms"
healthy = 2
unhealthy = 3
"""
    one = gateway(page(shop.url, tables=tables, timeout="200ms"))

    def health():
        return seen(one)["addresses"][0]["health"]

    def readiness():
        answer = httpx.get(one.admin + "/readyz?verbose", timeout=15)
        assert answer.status_code == 200, "the gateway itself is ready"
        assert answer.headers["content-type"] == "application/health+json"
        (check,) = answer.json()["checks"]["shop:health"]
        assert check["componentId"] == shop.address
        return answer.json()["status"], check["observedValue"], check["status"]

    until(lambda: health() == "healthy", "the first check")
    assert readiness() == ("pass", "healthy", "pass")
    for spoil in ([Fault("blackhole")], [Fault("reset")], REFUSED):
        if spoil is REFUSED:
            shop.refuse()
        else:
            shop.faults = spoil
        until(lambda: health() == "unhealthy", "the bad news")
        assert readiness() == ("warn", "unhealthy", "warn")
        assert ask(one)[0]["attempts"] == 1, "the only address there is, is used all the same"
        shop.steady()
        until(lambda: health() == "healthy", "the good news")
        assert readiness() == ("pass", "healthy", "pass")
    told = seen(one)
    assert told["breaker"]["state"] == "closed" and told["breaker"]["opened"] == 0
    assert told["last_10s"]["calls"] == told["last_10s"]["failures"] == 3, "the pages' calls, not the checks"
    assert one.log().count("address unhealthy") == one.log().count("address healthy") == 3
    assert ask(one)[0]["state"] == "ok"


def test_two_servers_that_flap_in_turn_cost_no_page(gateway, shop, fault_proxy):
    other = fault_proxy(shop.server.port)
    keys = f'addresses = ["{shop.address}", "{other.address}"]'
    tables = retry('attempts = 4\nbackoff = "1ms"\nbudget = 100\nbudget_floor = 100')
    tables += "[upstreams.shop.ejection]\nconsecutive = 0\n"  # retries alone
    one = gateway(page("http://shop.internal", keys, tables))
    shop.follow(itertools.cycle([(0.4, []), (0.2, [Fault("reset")])]))
    other.follow(itertools.cycle([(0.1, []), (0.2, REFUSED), (0.3, [])]))
    ends = time.monotonic() + 3
    parts = []
    while time.monotonic() < ends:
        parts.append(ask(one)[0])
    assert shop.spoilt["reset"] > 0 and any(part["attempts"] > 1 for part in parts), "there was something to survive"
    assert {part["state"] for part in parts} == {"ok"}
