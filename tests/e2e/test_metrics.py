"""GET /metrics as promtool, Prometheus and people read it."""

import asyncio
import pathlib
import re
import subprocess

import httpx
import pytest

from conftest import free_port
from gateway import until
from scripted import Origin

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "build/prometheus"


@pytest.fixture
def origin():
    one = Origin().start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def tools():
    subprocess.run([ROOT / "tests/tools/install-prometheus"], check=True)
    return PROMETHEUS


def start(gateway, origin):
    return gateway(f"""
[upstreams.shop]
url = "{origin.url}"
[upstreams.lost]
url = "http://127.0.0.1:{free_port()}"
[pages.home]
path = "/home/{{user}}"
[pages.home.parts.shop]
path = "/a"
[pages.home.parts.lost]
path = "/b"
[pages.must]
path = "/must"
[pages.must.parts.lost]
path = "/b"
need = "required"
[pages.kept]
path = "/kept"
template = "page.html"
micro_cache = "1m"
[pages.kept.parts.shop]
path = "/kept"
[pages.kept.parts.shop.cache]
enabled = true
[routes.rest]
path = "/rest"
upstream = "shop"
""", {"page.html": "{{shop.n}}"}, header="""
[server]
listen = ["127.0.0.1:0"]
workers = 2
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
format = "json"
access = "off"
""")


def scrape(one):
    answer = httpx.get(one.admin + "/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def sample(text, name, **labels):
    """The sum of all samples of that name with these labels."""
    total, found = 0.0, False
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match and match[1] == name:
            there = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            if all(there.get(key, "") == value for key, value in labels.items()):
                total, found = total + float(match[3]), True
    return total if found else None


def traffic(one, origin):
    origin.serves("/a", {"body": {"n": 1}})
    origin.serves("/kept", {"headers": [("Cache-Control", "max-age=60")], "body": {"n": 1}})
    origin.serves("/rest/x", {"body": b"text"})

    async def all_of_it():
        async with httpx.AsyncClient(trust_env=False, timeout=20, base_url=one.url) as client:
            jobs = [client.get(f"/home/{i}") for i in range(20)]
            jobs += [client.get("/must") for _ in range(3)]
            jobs += [client.request("PURGE", f"/none/{i}") for i in range(10)]
            jobs += [client.head("/home/1"), client.post("/rest/x", content=b"abc"), client.get("/rest/x")]
            await asyncio.gather(*jobs)
            for _ in range(4):
                await client.get("/kept")

    asyncio.run(all_of_it())


def test_what_was_asked_is_counted(gateway, origin):
    one = start(gateway, origin)
    traffic(one, origin)
    requests = "http_server_request_duration_seconds_count"
    until(lambda: sample(scrape(one), requests) == 40, "the last request's end")
    text = scrape(one)
    assert sample(text, requests, http_route="/home/{user}", http_request_method="GET",
                  http_response_status_code="200", url_scheme="http", network_protocol_version="1.1") == 20
    assert sample(text, requests, http_route="/home/{user}", http_request_method="HEAD") == 1
    refused = [sample(text, requests, http_route="/must", http_response_status_code=code, error_type=code) or 0
               for code in ("502", "503")]  # 503: its breaker is open by then
    assert sum(refused) == 3
    assert sample(text, requests, http_route="", http_request_method="_OTHER", http_response_status_code="404") == 10
    assert sample(text, requests, http_route="/rest", http_response_status_code="200") == 2
    assert sample(text, "gw_page_completed_total", page="home", completed="false") == 21
    assert sample(text, "gw_page_completed_total", page="kept", completed="true") == 4
    assert sample(text, "gw_page_completed_total", page="must") is None
    assert sample(text, "gw_part_duration_seconds_count", page="home", part="shop", state="ok") == 21
    lost = [sample(text, "gw_part_duration_seconds_count", page="home", part="lost", state=state) or 0
            for state in ("error", "open")]
    assert sum(lost) == 21 and lost[0] > 0
    assert sample(text, "gw_circuit_state", upstream="lost") == (2 if lost[1] else 0)
    assert sample(text, "gw_circuit_state", upstream="shop") == 0
    assert sample(text, "gw_upstream_inflight", upstream="shop") == 0
    assert sample(text, "gw_cache_requests_total", result="miss") == 1
    assert sample(text, "gw_cache_bytes") > 0
    assert sample(text, "gw_build_info") == 1
    assert sample(text, "gw_metrics_dropped_total") == 0
    assert 1e6 < sample(text, "process_resident_memory_bytes") < 1e9


def test_buckets_never_fall(gateway, origin):
    one = start(gateway, origin)
    traffic(one, origin)
    last = {}
    for name, labels, bound, value in re.findall(r'^(\w+)_bucket\{(.*),?le="([^"]+)"\} (\d+)$', scrape(one), re.M):
        key = (name, labels)
        before = last.get(key, (float("-inf"), 0))
        assert float(bound.replace("+Inf", "inf")) > before[0] and int(value) >= before[1]
        last[key] = (float(bound.replace("+Inf", "inf")), int(value))
    assert len(last) >= 8 and all(bound == float("inf") for bound, _ in last.values())


def test_a_client_cannot_make_it_grow(gateway, origin):
    one = start(gateway, origin)
    httpx.get(one.url + "/home/1", trust_env=False)

    async def all_of_it():
        async with httpx.AsyncClient(trust_env=False, timeout=20, base_url=one.url) as client:
            for at in range(0, 500, 50):
                await asyncio.gather(*(client.request(f"M{at + i}", f"/{at + i}?{i}", headers={"Host": f"h{i}"})
                                       for i in range(50)))

    before = len(scrape(one).splitlines())
    asyncio.run(all_of_it())
    assert len(scrape(one).splitlines()) <= before + 2 * 17


def test_promtool_finds_no_fault(gateway, origin, tools):
    one = start(gateway, origin)
    traffic(one, origin)
    done = subprocess.run([tools / "promtool", "check", "metrics"], input=scrape(one), capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout == "", (done.stdout, done.stderr)


def test_prometheus_scrapes_it(gateway, origin, tools, tmp_path):
    one = start(gateway, origin)
    traffic(one, origin)
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: gateway
  static_configs: [{{targets: ["{one.admin.removeprefix('http://')}"]}}]
""")
    log = open(tmp_path / "prometheus.log", "wb")
    server = subprocess.Popen([tools / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
                               f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def ask(query):
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}, trust_env=False)
        except httpx.TransportError:
            return None
        found = answer.json().get("data", {}).get("result", []) if answer.status_code == 200 else []
        return float(found[0]["value"][1]) if found else None

    try:
        until(lambda: ask("up") == 1, "a scrape", 30)
        until(lambda: ask('sum(http_server_request_duration_seconds_count{http_route="/home/{user}"})') == 21, "the counts")
        assert ask("histogram_quantile(0.5, sum by (le) (http_server_request_duration_seconds_bucket))") > 0
        assert ask("scrape_samples_scraped") > 50
    finally:
        server.terminate()
        server.wait()
        log.close()


def test_it_is_for_the_operator_alone(gateway, origin):
    one = start(gateway, origin)
    assert httpx.get(one.url + "/metrics", trust_env=False).status_code == 404
    assert httpx.post(one.admin + "/metrics", trust_env=False).status_code == 405
