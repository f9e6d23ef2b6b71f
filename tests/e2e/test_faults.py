"""What each fault of an upstream becomes: one state, one token, one status, in every place."""

import httpx
import pytest

from conftest import free_port
from gateway import SANITIZED, until


def config(url, path, need="optional", more="", part=""):
    return f"""
[upstreams.u]
url = "{url}"
timeout = "700ms"
connect_timeout = "400ms"
max_body = "64KiB"
{more}
[upstreams.good]
url = "{url}"
[pages.home]
path = "/"
deadline = "10s"
[pages.home.parts.good]
path = "/ok"
[pages.home.parts.bad]
upstream = "u"
path = "{path}"
need = "{need}"
{part}
"""


# behaviour, state, error token (None = by status alone), upstream's status, page's status if required
OUTCOMES = [
    ("/late/5", "timeout", "http_response_timeout", 0, 504),
    ("/drip", "timeout", "http_response_timeout", 200, 504),
    ("/status/500", "error", None, 500, 502),
    ("/status/404", "error", None, 404, 502),
    ("/status/429", "error", None, 429, 502),
    ("/redirect", "error", None, 302, 502),
    ("/empty", "error", "http_protocol_error", 200, 502),
    ("/not-json", "error", "http_protocol_error", 200, 502),
    ("/invalid-json", "error", "http_protocol_error", 200, 502),
    ("/bad-utf8", "error", "http_protocol_error", 200, 502),
    ("/deep", "error", "http_response_body_size", 200, 502),
    ("/wrong-type", "error", "http_protocol_error", 200, 502),
    ("/cut", "error", "http_response_incomplete", 200, 502),
    ("/cut-chunked", "error", "http_response_incomplete", 200, 502),
    ("/closed", "error", "connection_terminated", 0, 502),
    ("/reset", "error", "connection_terminated", 0, 502),
    ("/garbage", "error", "http_protocol_error", 0, 502),
    ("/endless", "error", "http_response_body_size", 200, 502),
    ("/large/100000", "error", "http_response_body_size", 200, 502),
    ("/claims-large", "error", "http_response_body_size", 200, 502),
    ("/bomb", "error", "http_response_body_size", 200, 502),
    ("/bad-gzip", "error", "http_response_content_coding", 200, 502),
    ("/gzip-and-more", "error", "http_response_content_coding", 200, 502),
    ("/endless-interim", "error", "http_response_header_section_size", 100, 502),
    ("/header-bomb", "error", "http_response_header_section_size", None, 502),
]


@pytest.mark.parametrize("path,state,token,status,required", OUTCOMES, ids=[o[0] for o in OUTCOMES])
def test_an_optional_part_fails_alone(gateway, faults, path, state, token, status, required):
    one = gateway(config(faults.url, path))
    page = httpx.get(one.url, timeout=20)
    assert page.status_code == 200
    assert page.json()["data"]["bad"] is None
    assert page.json()["data"]["good"]["items"] == [1, 2, 3]
    meta = page.json()["meta"]
    assert meta["completed"] is False
    assert meta["parts"]["good"]["state"] == "ok"
    bad = meta["parts"]["bad"]
    assert bad["state"] == state
    assert bad.get("error") == token
    if status is not None:
        assert bad.get("status", 0) == status
    assert page.headers["x-page-completed"] == "false"
    assert page.headers["cache-control"] == "no-store"
    proxy = page.headers["proxy-status"]
    assert proxy.startswith('gateway; next-hop="u"')
    assert (f"error={token}" if token else f"received-status={status}") in proxy
    record = one.access(1)[0]
    assert record["status"] == 200
    logged = {part["name"]: part for part in record["parts"]}
    assert logged["bad"]["state"] == state and logged["good"]["state"] == "ok"
    assert logged["bad"].get("error") == token


@pytest.mark.parametrize("path,state,token,status,required", OUTCOMES, ids=[o[0] for o in OUTCOMES])
def test_a_required_part_decides_the_status(gateway, faults, path, state, token, status, required):
    one = gateway(config(faults.url, path, need="required"))
    page = httpx.get(one.url, timeout=20, headers={"Accept": "application/json"})
    assert page.status_code == required
    assert page.headers["content-type"] == "application/problem+json"
    problem = page.json()
    assert problem["status"] == required
    assert problem["request_id"] == page.headers["x-request-id"]
    bad = next(part for part in problem["parts"] if part["name"] == "bad")
    assert bad["required"] is True and bad["state"] == state
    assert one.access(1)[0]["status"] == required


@pytest.mark.parametrize("accept", [None, "*/*", "text/html"])
def test_a_page_without_a_template_fails_as_json_whoever_asks(gateway, faults, accept):
    one = gateway(config(faults.url, "/status/503", need="required"))
    with httpx.Client() as client:
        del client.headers["Accept"]
        page = client.get(one.url, headers={"Accept": accept} if accept else None)
        nowhere = client.get(one.url + "/nowhere")
    assert page.status_code == 502
    assert page.headers["content-type"] == "application/problem+json"
    assert page.json()["parts"][0]["name"] == "bad"
    assert nowhere.headers["content-type"].startswith("text/html"), "no page, no page's choice"


def test_good_answers_in_odd_shapes(gateway, faults):
    for path, data in (("/gzip", [1, 2, 3]), ("/trailers", [1, 2, 3]),
                       ("/interim", [1, 2, 3]), ("/no-content", None), ("/json/%5B7%5D", [7])):
        page = httpx.get(gateway(config(faults.url, path)).url)
        got = page.json()["data"]["bad"]
        assert (got["items"] if isinstance(got, dict) else got) == data
        assert page.json()["meta"]["parts"]["bad"]["state"] == "ok"
        assert page.headers["x-page-completed"] == "true"


def test_refused_connection(gateway, faults):
    text = config(faults.url, "/ok").replace(faults.url, f"http://127.0.0.1:{free_port()}", 1)
    page = httpx.get(gateway(text).url)
    assert page.status_code == 200
    assert page.json()["meta"]["parts"]["bad"]["error"] == "connection_refused"


def test_unknown_host(gateway, faults):
    text = config(faults.url, "/ok").replace(faults.url, "http://nowhere.invalid", 1)
    page = httpx.get(gateway(text).url, timeout=20)
    bad = page.json()["meta"]["parts"]["bad"]
    assert (bad["state"], bad["error"]) in (("error", "dns_error"), ("timeout", "dns_timeout"))


def test_the_error_page_is_html_for_browsers_and_names_the_part(gateway, faults):
    template = {"error.html": "<h1>{{status}} {{title}}</h1>{{#parts}}{{name}}={{state}} {{/parts}}",
                "index.html": "x"}
    header = (
        '[server]\nlisten = ["127.0.0.1:0"]\nworkers = 1\nerror_template = "error.html"\n'
        '[admin]\nlisten = ""\ncontrol = ""\n[log]\nformat = "json"\n'
    )
    text = config(faults.url, "/status/503", need="required").replace(
        'path = "/"\n', 'path = "/"\ntemplate = "index.html"\n', 1)
    page = httpx.get(gateway(text, template, header=header).url, headers={"Accept": "text/html"})
    assert page.status_code == 502
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>502 " in page.text and "bad=error" in page.text
    missing = httpx.get(gateway(text, template).url + "/nowhere", headers={"Accept": "text/html"})
    assert missing.status_code == 404 and "404" in missing.text


def test_the_deadline_cuts_what_still_runs(gateway, faults):
    text = config(faults.url, "/late/8", more="").replace('"10s"', '"300ms"').replace(
        'timeout = "700ms"', 'timeout = "5s"')
    one = gateway(text)
    page = httpx.get(one.url, timeout=20)
    assert page.status_code == 200
    assert page.json()["meta"]["parts"]["bad"]["state"] == "timeout"
    assert page.json()["meta"]["parts"]["good"]["state"] == "ok"
    assert 300 <= one.access(1)[0]["ms"] < (5000 if SANITIZED else 2000)
    until(lambda: faults.aborted == 1, "the end of the call that was given up")


def test_a_full_queue_sheds(gateway, faults):
    text = f"""
[upstreams.u]
url = "{faults.url}"
max_inflight = 1
max_queue = 1
queue_timeout = "5s"
timeout = "5s"
[pages.home]
path = "/"
deadline = "9s"
[pages.home.parts.a]
upstream = "u"
path = "/late/0.5"
[pages.home.parts.b]
upstream = "u"
path = "/ok"
[pages.home.parts.c]
upstream = "u"
path = "/ok?another"
"""
    one = gateway(text)
    parts = httpx.get(one.url, timeout=20).json()["meta"]["parts"]
    assert [parts[name]["state"] for name in "abc"] == ["ok", "ok", "shed"]
    assert parts["c"]["error"] == "connection_limit_reached"
    required = gateway(text.replace('path = "/ok', 'need = "required"\npath = "/ok'))
    page = httpx.get(required.url, timeout=20)
    assert page.status_code == 503
    assert int(page.headers["retry-after"]) >= 1


def test_waiting_in_the_queue_has_an_end(gateway, faults):
    text = f"""
[upstreams.u]
url = "{faults.url}"
max_inflight = 1
queue_timeout = "150ms"
timeout = "5s"
[pages.home]
path = "/"
deadline = "9s"
[pages.home.parts.a]
upstream = "u"
path = "/late/1"
[pages.home.parts.b]
upstream = "u"
path = "/ok"
"""
    parts = httpx.get(gateway(text).url, timeout=20).json()["meta"]["parts"]
    assert parts["a"]["state"] == "ok"
    assert parts["b"]["state"] == "shed"


def test_a_faulty_upstream_leaves_nothing_behind(gateway, faults):
    """Every fault many times: descriptors and memory stay where they were."""
    paths = ["/cut", "/reset", "/garbage", "/endless", "/closed", "/bomb", "/status/500", "/bad-gzip"]
    pages = "".join(
        f'[pages.p{n}]\npath = "{path}"\n[pages.p{n}.parts.u]\npath = "{path}"\n'
        for n, path in enumerate(paths)
    )
    one = gateway(f'[upstreams.u]\nurl = "{faults.url}"\nmax_body = "64KiB"\n{pages}')
    with httpx.Client(timeout=20) as client:
        for _ in range(3):
            for path in paths:
                assert client.get(one.url + path).status_code == 200
        files, memory = one.open_files(), one.status("RssAnon")
        for _ in range(20):
            for path in paths:
                assert client.get(one.url + path).status_code == 200
        assert one.open_files() <= files + 4
        if not SANITIZED:
            assert one.status("RssAnon") < memory + 2048
