"""Traces: what upstreams are told, what a collector gets, and what happens while it takes nothing."""

import re
import socket
import time

import httpx
import pytest

from conftest import HEADER, free_port
from collector import CLIENT, INTERNAL, SERVER, Collector
from gateway import command, until
from scripted import Origin

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, CALLER = PARENT.split("-")[1:3]


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/promo", {"body": {"title": "Sale"}})
    one.serves("/recco", {"body": {"items": [1, 2]}})
    yield one
    one.stop()


@pytest.fixture
def collector():
    running = []

    def start(answer=None):
        running.append(Collector(answer).start())
        return running[-1]

    yield start
    for one in running:
        one.stop()


def config(origin, traces="enabled = true", upstream="", page="", more=""):
    return f"""
[traces]
{traces}
[upstreams.shop]
url = "{origin.url}"
{upstream}
[pages.home]
path = "/shop/{{id}}"
template = "home.html"
{page}
[pages.home.parts.promo]
upstream = "shop"
path = "/promo"
[pages.home.parts.recco]
upstream = "shop"
path = "/recco?user={{path.id}}"
[routes.shop]
path = "/through"
upstream = "shop"
to = "/"
{more}
"""


TEMPLATES = {"home.html": "<h1>{{promo.title}}</h1>{{#recco.items}}<li>{{.}}{{/recco.items}}"}


def ask(one, path="/shop/7", method="GET", **options):
    return httpx.request(method, one.url + path, trust_env=False, timeout=60, **options)


def traced(origin, start=0):
    """traceparent of each request that came, taken apart."""
    return [fields["traceparent"].split("-") for _, fields in origin.heads[start:]]


# -- the context ------------------------------------------------------------------------------


def test_off_headers_go_as_forward_headers_says(gateway, origin):
    one = gateway(config(origin, ""), TEMPLATES)
    ask(one, headers={"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2"})
    ask(one)
    for _, fields in origin.heads:
        assert not {"tracestate", "baggage"} & set(fields)
    assert [fields.get("traceparent") for _, fields in origin.heads] == [PARENT] * 2 + [None] * 2
    assert "trace_id" not in one.access()[0]


def test_each_call_is_told_of_the_clients_trace(gateway, origin):
    one = gateway(config(origin), TEMPLATES)
    answer = ask(one, headers={"traceparent": PARENT, "tracestate": "rojo=00f067aa0ba902b7,a@b=c",
                               "baggage": "user=7;private, plan=pro"})
    ask(one, "/through/promo", headers={"traceparent": PARENT, "tracestate": "rojo=1",
                                        "baggage": "a=b"})
    assert not {"traceparent", "tracestate", "baggage"} & set(answer.headers)  # nothing is echoed
    assert len(origin.heads) == 3
    spans = set()
    for version, trace, span, flags in traced(origin):
        assert (version, trace) == ("00", TRACE) and span != CALLER
        assert re.fullmatch("[0-9a-f]{16}", span) and flags in ("00", "01")
        spans.add(span)
    assert len(spans) == 3
    for _, fields in origin.heads[:2]:
        assert fields["tracestate"] == "rojo=00f067aa0ba902b7,a@b=c"
        assert fields["baggage"] == "user=7;private, plan=pro"
    assert origin.heads[2][1]["tracestate"] == "rojo=1" and origin.heads[2][1]["baggage"] == "a=b"
    assert {record["trace_id"] for record in one.access(2)} == {TRACE}


@pytest.mark.parametrize("parent", [
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    "", "garbage",
])
def test_what_is_malformed_begins_a_new_trace(gateway, origin, parent):
    one = gateway(config(origin), TEMPLATES)
    for path in ("/shop/7", "/through/promo"):
        ask(one, path, headers={"traceparent": parent, "tracestate": "rojo=1", "baggage": "a=b"})
    of_page, of_route = {t[1] for t in traced(origin)[:2]}, {t[1] for t in traced(origin)[2:]}
    assert len(of_page) == 1 and len(of_route) == 1 and of_page != of_route
    assert TRACE not in of_page | of_route
    for _, fields in origin.heads:
        assert "tracestate" not in fields  # it belonged to the trace that isn't gone on with
        assert fields["baggage"] == "a=b"


def test_two_parents_are_none_and_later_versions_are_read(gateway, origin):
    one = gateway(config(origin), TEMPLATES)
    ask(one, headers=[("traceparent", PARENT), ("traceparent", PARENT)])
    ask(one, headers={"traceparent": PARENT.replace("00-", "cc-", 1) + "-more"})
    found = traced(origin)
    assert TRACE not in {found[0][1], found[1][1]} and {t[1] for t in found[2:]} == {TRACE}
    assert {t[0] for t in found} == {"00"}


@pytest.mark.parametrize("state,baggage", [
    ("no-value", "no value"), ("a=1,a=2", "a=\\"), ("A=1", "=1"),
    (",".join(f"k{i}=v" for i in range(33)), ",".join(f"k{i}=v" for i in range(65))),
    ("a=" + "x" * 257, "a=" + "x" * 8192),
])
def test_lists_that_are_malformed_or_too_long_are_dropped(gateway, origin, state, baggage):
    one = gateway(config(origin), TEMPLATES)
    for path in ("/shop/7", "/through/promo"):
        ask(one, path, headers={"traceparent": PARENT, "tracestate": state, "baggage": baggage})
    assert len(origin.heads) == 3
    for _, fields in origin.heads:
        assert fields["traceparent"].split("-")[1] == TRACE
        assert "tracestate" not in fields and "baggage" not in fields


def test_lines_of_a_list_are_joined(gateway, origin):
    one = gateway(config(origin), TEMPLATES)
    ask(one, headers=[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")])
    assert origin.heads[0][1]["tracestate"].replace(" ", "") == "a=1,b=2"


def test_propagators_none(gateway, origin, collector):
    there = collector()
    one = gateway(config(origin, f'endpoint = "{there.url}"\npropagators = "none"'), TEMPLATES)
    ask(one, headers={"traceparent": PARENT, "baggage": "a=b"})
    for _, fields in origin.heads:  # a header that is forwarded like any other, and one that isn't
        assert fields["traceparent"] == PARENT and "baggage" not in fields
    root = there.trace()[0]
    assert root.trace != TRACE and root.parent == ""
    ask(one, "/through/promo", headers={"traceparent": PARENT})
    assert origin.heads[-1][1]["traceparent"] == PARENT


def test_a_problem_names_the_trace(gateway, origin):
    one = gateway(config(origin), TEMPLATES)
    answer = ask(one, "/nowhere", headers={"traceparent": PARENT, "accept": "application/json"})
    assert answer.json()["trace_id"] == TRACE


# -- spans ------------------------------------------------------------------------------------


def test_a_page_as_spans(gateway, origin, collector):
    there = collector()
    one = gateway(config(origin, f"""
endpoint = "{there.url}"
service_name = "front"
resource_attributes = "deployment.environment.name=prod,team=a%20b"
[traces.headers]
X-Tenant = "seven"
"""), TEMPLATES)
    answer = ask(one, "/shop/7?x=1&sig=secret", headers={
        "traceparent": PARENT, "host": "shop.example:8443", "user-agent": b"it's \"me\"\\\t\xe4"})
    assert answer.status_code == 200
    spans = until(lambda: len(there.spans) == 6 and there.trace(), "six spans")
    root = spans[0]
    assert {span.trace for span in spans} == {TRACE}
    assert (root.name, root.kind, root.parent) == ("GET /shop/{id}", SERVER, CALLER)
    assert root.attributes == {
        "http.request.method": "GET", "http.route": "/shop/{id}", "url.scheme": "http",
        "url.path": "/shop/7", "url.query": "x=1&sig=REDACTED", "server.address": "shop.example",
        "server.port": 8443, "client.address": "127.0.0.1", "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1", "user_agent.original": "it's \"me\"\\\t\ufffd",
        "http.response.status_code": 200, "gw.request_id": answer.headers["x-request-id"],
        "http.response.body.size": len(answer.content)}
    parts = {span.name: span for span in spans if span.name.startswith("part ")}
    assert set(parts) == {"part promo", "part recco"}
    for part in parts.values():
        assert part.parent == root.id and part.kind == INTERNAL
        assert part["gw.part.state"] == "ok" and part["gw.part.attempts"] == 1
    render, = [span for span in spans if span.name == "render"]
    assert render.parent == root.id and render.begin >= max(p.end for p in parts.values())
    calls = {span.parent: span for span in spans if span.kind == CLIENT}
    told = {t[2] for t in traced(origin)}
    assert {span.id for span in calls.values()} == told
    recco = calls[parts["part recco"].id]
    host, port = origin.url[7:].split(":")
    assert recco.name == "GET" and recco.attributes == {
        "http.request.method": "GET", "url.full": f"{origin.url}/recco?user=7",
        "server.address": host, "server.port": int(port), "network.peer.address": "127.0.0.1",
        "gw.upstream": "shop", "http.response.status_code": 200}
    resource = there.resources[0]
    assert resource["service.name"] == "front" and resource["team"] == "a b"
    assert resource["deployment.environment.name"] == "prod" and resource["service.version"]
    assert there.heads[0]["X-Tenant"] == "seven"


def test_retries_failures_and_the_queue(gateway, origin, collector):
    there = collector()
    origin.serves("/promo", {"status": 503}, {"body": {}})
    origin.serves("/recco", {"status": 404, "after": 0.15})
    one = gateway(config(origin, f'endpoint = "{there.url}"', """
max_inflight = 1
queue_timeout = "5s"
[upstreams.shop.retry]
attempts = 3
budget_floor = 100
"""), TEMPLATES)
    assert ask(one).status_code == 200
    spans = until(lambda: len(there.spans) >= 8 and there.trace(), "eight spans")
    parts = {span["gw.part"]: span for span in spans if span.get("gw.part")}
    attempts = {name: [span for span in spans if span.kind == CLIENT and span.parent == part.id]
                for name, part in parts.items()}
    first, second = attempts["promo"]
    assert first["http.response.status_code"] == 503 and first["error.type"] == "503"
    assert first.get("http.request.resend_count") is None
    assert second["http.request.resend_count"] == 1 and second.get("error.type") is None
    assert parts["promo"]["gw.part.attempts"] == 2 and parts["promo"].get("error.type") is None
    missing, = attempts["recco"]
    assert missing["http.response.status_code"] == 404 and missing["error.type"] == "404"
    assert missing.end - missing.begin >= 140_000_000
    waits = [span for span in spans if span.name == "queue"]
    assert waits and all(span["gw.upstream"] == "shop" for span in waits)
    assert {span.parent for span in waits} <= {part.id for part in parts.values()}
    assert parts["recco"]["gw.part.state"] == "error"


def test_timeouts_refusals_and_who_leaves(gateway, origin, collector):
    there = collector()
    origin.serves("/promo", {"after": 5})
    origin.serves("/recco", {"after": 5})
    one = gateway(config(origin, f'endpoint = "{there.url}"', "", 'deadline = "300ms"', f"""
[upstreams.nobody]
url = "http://127.0.0.1:{free_port()}"
[routes.nobody]
path = "/nobody"
upstream = "nobody"
"""), TEMPLATES)
    assert ask(one).status_code == 200
    assert ask(one, "/nobody").status_code == 502
    with pytest.raises(httpx.TimeoutException):
        httpx.get(one.url + "/through/promo", timeout=0.3, trust_env=False)
    servers = there.wait(3, lambda span: span.kind == SERVER)
    calls = there.wait(4, lambda span: span.kind == CLIENT)
    assert [span.get("error.type") for span in servers] == [None, "502", "499"]
    assert servers[2].get("http.response.status_code") is None
    errors = [span["error.type"] for span in calls]
    assert sorted(errors) == ["cancelled", "connection_refused",
                              "http_response_timeout", "http_response_timeout"]
    refused, = [span for span in calls if span["error.type"] == "connection_refused"]
    assert "refused" in refused.status["message"]


def test_a_streamed_page_and_json(gateway, origin, collector):
    there = collector()
    origin.serves("/recco", {"body": {"items": [1]}, "after": 0.3})
    one = gateway(config(origin, f'endpoint = "{there.url}"', "", "stream = true"), TEMPLATES)
    assert "<li>1" in ask(one).text
    assert ask(one, headers={"accept": "application/json"}).json()["data"]["recco"]
    renders = there.wait(3, lambda span: span.name == "render")
    assert len({span.trace for span in renders}) == 2


def test_methods_that_nobody_knows(gateway, origin, collector):
    there = collector()
    origin.serves("/promo", {"body": b"x"})
    one = gateway(config(origin, f'endpoint = "{there.url}"'), TEMPLATES)
    ask(one, "/through/promo", "BREW")
    root = there.wait(1, lambda span: span.kind == SERVER)[0]
    assert root.name == "HTTP /through" or root.name.startswith("HTTP ")
    assert root["http.request.method"] == "_OTHER"
    assert root["http.request.method_original"] == "BREW"


def test_a_service_that_says_who_may_and_a_time_stamp_authority_are_told_too(
        gateway, origin, collector, tmp_path):
    there = collector()
    origin.serves("/auth", {"status": 204})
    origin.serves("/tsa", {"status": 500})
    done = command("keygen", "--name", "School", "--out", tmp_path / "key")
    assert done.returncode == 0, done.stderr
    one = gateway(config(origin, f'endpoint = "{there.url}"', more=f"""
middleware = ["forward_auth.sso"]
[forward_auth.sso]
upstream = "shop"
path = "/auth"
[certificates.main]
path = "/certificate"
template = "course.svg"
open = true
rate_limit = ""
register = false
[certificates.main.sign]
key = "{tmp_path}/key.key.pem"
certificate = "{tmp_path}/key.cert.pem"
timestamp = "shop"
timestamp_path = "/tsa"
"""), {**TEMPLATES, "course.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
                                '<text>{{name}}</text></svg>'})
    assert ask(one, "/through/promo", headers={"traceparent": PARENT}).status_code == 200
    assert ask(one, "/certificate?name=Ada", headers={"traceparent": PARENT}).status_code == 502
    asked = {path: fields["traceparent"].split("-") for path, fields in origin.heads}
    assert {"/auth", "/promo", "/tsa"} <= set(asked)
    assert {parts[1] for parts in asked.values()} == {TRACE}
    calls = there.wait(3, lambda span: span.kind == CLIENT)
    assert {span.id for span in calls} == {parts[2] for parts in asked.values()}


# -- sampling ---------------------------------------------------------------------------------


def sampled(one, origin, times=1, **headers):
    start = len(origin.heads)
    for _ in range(times):
        ask(one, "/through/promo", headers=headers)
    return [t[3] for t in traced(origin, start)]


@pytest.mark.parametrize("sampler,trusted,stranger", [
    ("always_on", ["01", "01", "01"], ["01", "01", "01"]),
    ("always_off", ["00", "00", "00"], ["00", "00", "00"]),
    ("parentbased_always_on", ["01", "01", "00"], ["01", "01", "01"]),
    ("parentbased_always_off", ["00", "01", "00"], ["00", "00", "00"]),
])
def test_only_a_trusted_proxy_decides(gateway, origin, sampler, trusted, stranger):
    no = PARENT[:-1] + "0"
    for proxies, expected in (('trusted_proxies = ["127.0.0.1"]', trusted), ("", stranger)):
        one = gateway(config(origin, f'enabled = true\nsampler = "{sampler}"'), TEMPLATES,
                      HEADER.replace("workers = 1", f"workers = 1\n{proxies}"))
        assert sampled(one, origin) + sampled(one, origin, traceparent=PARENT) + \
            sampled(one, origin, traceparent=no) == expected


def test_a_share(gateway, origin, collector):
    there = collector()
    one = gateway(config(origin, f"""
endpoint = "{there.url}"
sampler = "traceidratio"
sampler_arg = "0.25"
"""), TEMPLATES)
    flags = sampled(one, origin, 400)
    share = flags.count("01")
    assert 55 <= share <= 150  # 100; five standard deviations
    there.wait(share, lambda span: span.kind == SERVER)
    time.sleep(1.5)  # a batch more, if there were one
    assert sum(span.kind == SERVER for span in there.spans) == share


# -- the environment --------------------------------------------------------------------------


def test_the_environment_says_what_the_file_does_not(gateway, origin, collector):
    there = collector()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": there.url + "/prefix/", "OTEL_SERVICE_NAME": "envy",
           "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,cloud.region=x",
           "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.0",
           "OTEL_PROPAGATORS": "tracecontext"}
    one = gateway(config(origin, ""), TEMPLATES, env=env)
    ask(one, headers={"traceparent": PARENT, "baggage": "a=b"})
    assert there.trace()[0].trace == TRACE
    assert there.resources[0]["service.name"] == "envy"
    assert there.resources[0]["cloud.region"] == "x"
    assert "baggage" not in origin.heads[0][1]
    silent = gateway(config(origin, 'endpoint = ""'), TEMPLATES, env=env)
    ask(silent)
    assert "traceparent" not in origin.heads[-1][1]


@pytest.mark.parametrize("line,message", [
    ('sampler = "always"', 'sampler: expected "always_on"'),
    ('sampler_arg = "2"', "sampler_arg: expected a share of 0 to 1"),
    ('resource_attributes = "a"', "resource_attributes: \"a\": expected"),
    ('resource_attributes = "a=%zz"', "resource_attributes: \"a=%zz\": expected"),
    ('endpoint = "collector:4318"', "the URL can't be used"),
    ('service_name = ""', "service_name"),
])
def test_what_is_wrong_is_said_where(tmp_path, line, message):
    file = tmp_path / "gateway.toml"
    file.write_text("[traces]\nenabled = true\n" + line + "\n")
    done = command("check", "-c", file)
    assert done.returncode == 78
    assert f"gateway.toml:3:" in done.stderr and message in done.stderr, done.stderr


def test_a_propagator_that_is_not_known_is_told(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text('[traces]\nenabled = true\npropagators = "tracecontext,b3"\n')
    done = command("check", "-c", file)
    assert done.returncode == 0 and '"b3" isn\'t known here' in done.stderr


# -- the collector ----------------------------------------------------------------------------


def outcomes(one):
    text = httpx.get(one.admin + "/metrics", trust_env=False).text
    return {kind: int(n) for kind, n in
            re.findall(r'^gw_trace_spans_total\{outcome="(\w+)"\} (\d+)', text, re.M)}


def test_a_collector_that_is_away_costs_no_request(gateway, origin):
    one = gateway(config(origin, f'endpoint = "http://127.0.0.1:{free_port()}"'), TEMPLATES)
    for _ in range(10):
        assert ask(one).status_code == 200
    until(lambda: outcomes(one).get("failed", 0) >= 60, "the spans' loss")
    assert "spans were lost" in one.log()


def test_a_collector_that_never_answers_holds_nothing_up(gateway, origin):
    """Its backlog takes connections that nobody reads; what has no room is dropped and counted."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = gateway(config(origin, f'endpoint = "http://127.0.0.1:{silent.getsockname()[1]}"'),
                      TEMPLATES)
        agent = "x" * 2000
        with httpx.Client(trust_env=False, timeout=60) as client:
            began = time.monotonic()
            while "dropped" not in outcomes(one):
                for _ in range(50):
                    client.get(one.url + "/shop/7", headers={"user-agent": agent})
                assert time.monotonic() < began + 60
        assert one.status("VmRSS") < 200_000
        began = time.monotonic()
        assert one.terminate() == 0
        assert time.monotonic() - began < 10


def test_refused_batches_are_lost_and_parts_of_batches(gateway, origin, collector):
    there = collector(lambda n, body: [
        400, (200, b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no"}}')][min(n, 1)])
    one = gateway(config(origin, f'endpoint = "{there.url}"'), TEMPLATES)
    ask(one)
    until(lambda: outcomes(one).get("failed") == 6, "the loss of a batch")
    ask(one)
    until(lambda: outcomes(one) == {"failed": 6, "rejected": 2, "exported": 4}, "the counting")


def test_a_batch_is_sent_again_where_the_collector_says_so(gateway, origin, collector):
    there = collector(lambda n, body: 503 if n == 0 else 200)
    one = gateway(config(origin, f'endpoint = "{there.url}"'), TEMPLATES)
    ask(one)
    until(lambda: outcomes(one) == {"exported": 6}, "the second try")


def test_the_end_takes_the_last_spans_along(gateway, origin, collector):
    there = collector()
    one = gateway(config(origin, f'endpoint = "{there.url}"'), TEMPLATES)
    ask(one)
    assert one.terminate() == 0
    assert len(there.spans) == 6


def test_a_reload_changes_it_and_loses_nothing(gateway, origin, collector):
    there, other = collector(), collector()
    one = gateway(config(origin, f'endpoint = "{there.url}"'), TEMPLATES)
    ask(one)
    text = one.config.read_text()

    def reload(before, after):
        count = one.log().count('"configuration reloaded"')
        one.config.write_text(one.config.read_text().replace(before, after))
        one.process.send_signal(1)
        until(lambda: one.log().count('"configuration reloaded"') > count, "the reload")

    assert text
    reload(there.url, other.url)
    ask(one)
    until(lambda: len(there.spans) + len(other.spans) == 12, "all spans")
    assert other.spans
    reload(f'endpoint = "{other.url}"', "")
    ask(one)
    assert "traceparent" not in origin.heads[-1][1]


def test_many_requests_come_in_many_batches(gateway, origin, collector):
    there = collector()
    one = gateway(config(origin, f'endpoint = "{there.url}"'), TEMPLATES)
    with httpx.Client(trust_env=False, timeout=60) as client:
        for _ in range(300):
            client.get(one.url + "/shop/7")
    until(lambda: len(there.spans) == 1800, "1,800 spans")
    assert len(there.batches) > 1
    assert outcomes(one) == {"exported": 1800}
