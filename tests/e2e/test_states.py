"""What became of each part is one word, and the same one in the template, in JSON, in the access log, in
Proxy-Status, in Server-Timing and in `explain --run`."""

import json
import re

import httpx
import pytest

from fault_proxy import Fault
from gateway import command, until

HEADER = """
[server]
listen = ["127.0.0.1:0"]
workers = 1
server_timing = true
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
format = "json"
"""

WORDS = ["ok", "fallback", "static", "timeout", "error", "open", "shed", "skipped"]

UPSTREAM = """
[upstreams.{name}]
url = "{url}"
timeout = "{timeout}"
{more}
[upstreams.{name}.breaker]
error_share = 0
consecutive = {consecutive}
open_for = "1h"
"""

FILES = {"ok.json": {"a": 1, "none": None}, "popular.json": {"p": 1}, "list.json": [{"id": 1}, {"id": 2}]}
EXTRA = "location = /503 { return 503 '{}'; } location = /slow.json { limit_rate 600; }"


def upstream(name, url, timeout="5s", more="", consecutive=0):
    return UPSTREAM.format(name=name, url=url, timeout=timeout, more=more, consecutive=int(consecutive))


def page(*parts):
    """parts: (name, keys[, fallback])"""
    text = '[pages.home]\npath = "/"\ntemplate = "home.html"\ndeadline = "20s"\n'
    for name, keys, *fallback in parts:
        text += f"[pages.home.parts.{name}]\n{keys}\n"
        for keys in fallback:
            text += f"[pages.home.parts.{name}.fallback]\n{keys}\n"
    return text


def template(names):
    flags = "".join(f"{{{{#parts.NAME.is.{word}}}}}{word} {{{{/parts.NAME.is.{word}}}}}" for word in WORDS)
    return "".join(f"<p>{name} {{{{parts.{name}.state}}}} {flags.replace('NAME', name)}</p>\n" for name in names)


def states_everywhere(gateway, config, names):
    """Asks for the page in each way, of gateways that just began, and compares; returns states and the JSON reply."""
    templates = {"home.html": template(names)}

    def of_log(one):
        record = one.access()[0]
        return {part["name"]: part["state"] for part in record["parts"]}, record

    def of_timing(answer):
        return dict(re.findall(r'([\w-]+);dur=[\d.]+;desc="(\w+)"', answer.headers["server-timing"]))

    one = gateway(config, templates, header=HEADER)
    answer = httpx.get(one.url, timeout=60, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    states = {name: part["state"] for name, part in answer.json()["meta"]["parts"].items()}
    logged, record = of_log(one)
    assert logged == states
    assert of_timing(answer) == states
    failed = [name for name, state in states.items() if state not in ("ok", "skipped")]
    assert [(name, state) for _, _, name, state in proxy_status(answer)] == [(name, states[name]) for name in failed]
    for part in record["parts"]:
        told = answer.json()["meta"]["parts"][part["name"]]
        for key in "status", "attempts", "error":
            assert part.get(key, 0) == told.get(key, 0), (part, told)

    one = gateway(config, templates, header=HEADER)
    page = httpx.get(one.url, timeout=60, headers={"Accept": "text/html"})
    found = {name: (state, flag) for name, state, flag in re.findall(r"<p>(\w+) (\w+) (\w*) ?</p>", page.text)}
    assert found == {name: (state, state) for name, state in states.items()}, "state, and that flag alone"
    assert of_log(one)[0] == states and of_timing(page) == states
    for key in "x-page-completed", "proxy-status":
        assert page.headers.get(key) == answer.headers.get(key)

    run = command("explain", "-c", one.config, "--run", "GET", "/", cwd=one.folder)
    assert run.returncode == 0, run.stdout + run.stderr
    table = run.stdout[run.stdout.index("first byte") :]
    found = dict(re.findall(r"(?m)^  ([\w-]+) +([a-z]+) .*\|$", table))
    assert found == states, run.stdout
    return states, answer, record


def proxy_status(answer):
    """[(upstream, what, part, state)] in order"""
    member = r'gateway; next-hop="([^"]+)"; ([^;,]+); details="([^" ]+) (\w+)"'
    header = answer.headers.get("proxy-status", "")
    assert re.fullmatch(f"({member}(, )?)*", header), header
    return re.findall(member, header)


def test_every_state_is_told_with_the_same_word_everywhere(gateway, nginx, fault_proxy):
    server = nginx(FILES, EXTRA)
    swallows, resets, slow = (fault_proxy(server.port) for _ in range(3))
    swallows.faults = [Fault("blackhole")]
    resets.faults = [Fault("reset")]
    slow.faults = [Fault("delay", 0.5)]
    config = (
        upstream("good", server.url)
        + upstream("swallows", swallows.url, timeout="300ms")
        + upstream("resets", resets.url)
        + upstream("breaks", resets.url, consecutive=1)
        + upstream("narrow", slow.url, more="max_inflight = 1\nmax_queue = 0")
        + page(
            ("fine", 'upstream = "good"\npath = "/ok.json"'),
            ("other_path", 'upstream = "good"\npath = "/503"', 'path = "/popular.json"'),
            ("other_upstream", 'upstream = "resets"\npath = "/ok.json"', 'upstream = "good"\npath = "/popular.json"'),
            ("inline", 'upstream = "swallows"\npath = "/ok.json"', "static = { a = 2 }"),
            ("late", 'upstream = "swallows"\npath = "/ok.json"'),
            ("broken", 'upstream = "resets"\npath = "/ok.json?x"'),
            ("status", 'upstream = "good"\npath = "/503?x"'),
            ("opens", 'upstream = "breaks"\npath = "/ok.json"', "static = { a = 0 }"),
            ("refused", 'upstream = "breaks"\npath = "/ok.json?{opens.a}"'),
            ("through", 'upstream = "narrow"\npath = "/ok.json"'),
            ("crowded_out", 'upstream = "narrow"\npath = "/popular.json"'),
            ("list", 'upstream = "good"\npath = "/list.json"'),
            ("each", 'upstream = "good"\npath = "/ok.json?{item.id}"\neach = "list"\nmax_items = 1'),
            ("unwanted", 'upstream = "good"\npath = "/ok.json"\nwhen = "query.debug"'),
            ("bereft", 'upstream = "good"\npath = "/ok.json?{late.id}"'),
            ("heir", 'upstream = "good"\npath = "/ok.json?{inline.a}"'),
        )
    )
    expected = {
        "fine": "ok", "other_path": "fallback", "other_upstream": "fallback", "inline": "static", "late": "timeout",
        "broken": "error", "status": "error", "opens": "static", "refused": "open", "through": "ok",
        "crowded_out": "shed", "list": "ok", "each": "shed", "unwanted": "skipped", "bereft": "skipped", "heir": "ok",
    }
    states, answer, record = states_everywhere(gateway, config, list(expected))
    assert states == expected
    assert set(states.values()) == set(WORDS)
    assert [(hop, what) for hop, what, _, _ in proxy_status(answer)] == [
        ("good", "received-status=503"), ("resets", "error=connection_terminated"),
        ("swallows", "error=http_response_timeout"), ("swallows", "error=http_response_timeout"),
        ("resets", "error=connection_terminated"), ("good", "received-status=503"),
        ("breaks", "error=connection_terminated"), ("breaks", "error=destination_unavailable"),
        ("narrow", "error=connection_limit_reached"), ("good", "error=connection_limit_reached"),
    ]
    parts = answer.json()["meta"]["parts"]
    assert parts["bereft"]["because"] == "late" and parts["unwanted"]["because"] == "when"
    assert parts["refused"]["attempts"] == parts["crowded_out"]["attempts"] == 0
    data = answer.json()["data"]
    assert data["inline"] == {"a": 2} and data["other_path"] == data["other_upstream"] == {"p": 1}
    assert [name for name, value in data.items() if value is None] == [
        "late", "broken", "status", "refused", "crowded_out", "unwanted", "bereft"]
    assert answer.headers["x-page-completed"] == "false" and answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("state,flags", [("timeout", "UT"), ("error", "UF"), ("reset", "UC"), ("open", "UO"), ("shed", "UO")])
def test_the_access_log_flags_why(gateway, nginx, fault_proxy, state, flags):
    server = nginx(FILES)
    proxy = fault_proxy(server.port)
    if state == "error":
        proxy.refuse()
    else:
        proxy.faults = [Fault("reset" if state in ("reset", "open") else "blackhole")]
    config = upstream("u", proxy.url, "200ms", consecutive=state == "open") + upstream("good", server.url)
    if state == "shed":
        parts = [("part", 'upstream = "good"\neach = "list"\nmax_items = 1\npath = "/ok.json?{item.id}"'),
                 ("list", 'upstream = "good"\npath = "/list.json"')]
    else:
        parts = [("part", 'upstream = "u"\npath = "/ok.json"')]
    one = gateway(config + page(*parts), {"home.html": "x"})
    if state == "open":
        httpx.get(one.url, timeout=30)
    httpx.get(one.url, timeout=30)
    record = one.access(2 if state == "open" else 1)[-1]
    assert record["flags"] == flags
    assert record["parts"][0]["state"] == {"reset": "error"}.get(state, state)


# -- the ladder, rung by rung ------------------------------------------------------------------------

# which of the three servers work: the part's own, its fallback's, and whether there is static data
RUNGS = [
    (True, True, True, "ok", {"a": 1, "none": None}, True),
    (False, True, True, "fallback", {"p": 1}, False),
    (False, False, True, "static", {"s": [1]}, False),
    (False, False, False, "error", None, False),
]


@pytest.mark.parametrize("place", ["inline", "file"])
@pytest.mark.parametrize("own,other,static,state,data,complete", RUNGS, ids=[rung[3] for rung in RUNGS])
def test_the_first_rung_that_holds_is_the_parts(
    gateway, nginx, fault_proxy, tmp_path, place, own, other, static, state, data, complete
):
    server = nginx(FILES)
    first, second = fault_proxy(server.port), fault_proxy(server.port)
    if not own:
        first.faults = [Fault("reset")]
    if not other:
        second.faults = [Fault("blackhole")]
    keys = 'upstream = "second"\npath = "/popular.json"\n'
    if static:
        (tmp_path / "static.json").write_text('{"s": [1]}')
        keys += "static = { s = [1] }" if place == "inline" else f'static_file = "{tmp_path}/static.json"'
    config = upstream("first", first.url) + upstream("second", second.url, timeout="200ms")
    config += page(("part", 'upstream = "first"\npath = "/ok.json"', keys))
    states, answer, record = states_everywhere(gateway, config, ["part"])
    assert states == {"part": state}
    assert answer.json()["data"] == {"part": data}
    told = answer.json()["meta"]["parts"]["part"]
    assert told["attempts"] == 1 + (not own), "each call of the ladder is counted"
    assert first.asked == 3 and second.asked == (0 if own else 3), "JSON, HTML, explain"
    assert (answer.headers["x-page-completed"] == "true") is complete
    assert proxy_status(answer) == ([] if own else [("first", "error=connection_terminated", "part", state)])


def test_a_fallback_goes_back_when_its_upstream_does(gateway, nginx, fault_proxy):
    """The state is each page's own, not the upstream's."""
    server = nginx(FILES)
    proxy = fault_proxy(server.port)
    config = upstream("u", proxy.url) + page(("part", 'upstream = "u"\npath = "/ok.json"', "static = [1]"))
    one = gateway(config, {"home.html": "{{parts.part.state}}"})
    states = []
    for faults in [], [Fault("cut")], []:
        proxy.faults = faults
        states.append(httpx.get(one.url, timeout=30).text)
    assert states == ["ok", "static", "ok"]
    assert [record["parts"][0]["state"] for record in one.access(3)] == states


def test_counts_of_upstreams_add_up_with_what_pages_tell(gateway, nginx, fault_proxy):
    server = nginx(FILES)
    proxy = fault_proxy(server.port)
    proxy.faults = [Fault("cut", share=0.25)]
    more = "[upstreams.u.retry]\nattempts = 2\nbackoff = \"1ms\"\nbudget = 100\n"
    config = upstream("u", proxy.url) + more + page(("part", 'upstream = "u"\npath = "/ok.json"'))
    one = gateway(config, {"home.html": "x"})
    for _ in range(40):
        httpx.get(one.url, timeout=30)
    parts = [record["parts"][0] for record in one.access(40)]
    assert sum(part["attempts"] for part in parts) == proxy.asked > 40
    assert {part["state"] for part in parts} == {"ok"}, "each second attempt passed"
    told = json.loads(httpx.get(one.admin + "/upstreams").text)["upstreams"][0]
    assert told["name"] == "u" and told["inflight"] == told["queued"] == 0
    counts = told["last_10s"]
    assert (counts["calls"], counts["retries"], counts["failures"]) == (40, proxy.asked - 40, proxy.spoilt["cut"])
    until(lambda: proxy.busy == 0, "the end of all calls")
