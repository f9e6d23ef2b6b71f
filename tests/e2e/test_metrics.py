"""GET /metrics as promtool, Prometheus and people read it."""

import asyncio
import pathlib
import re
import socket
import subprocess
import threading
import time

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
    # the last failure of all may have opened it: then nobody was refused yet
    assert sample(text, "gw_circuit_state", upstream="lost") in ((2,) if lost[1] or refused[1] else (0, 2))
    assert sample(text, "gw_circuit_state", upstream="shop") == 0
    assert sample(text, "gw_upstream_inflight", upstream="shop") == 0
    assert sample(text, "gw_cache_requests_total", result="miss") == 1
    assert sample(text, "gw_cache_bytes") > 0
    assert sample(text, "gw_build_info") == 1
    assert sample(text, "gw_metrics_dropped_total") == 0
    assert 1e6 < sample(text, "process_resident_memory_bytes") < 1e9


def test_attempts_are_counted_by_how_they_ended(gateway, origin):
    one = start(gateway, origin)
    traffic(one, origin)
    port = origin.url.rsplit(":", 1)[1]
    attempts = "http_client_request_duration_seconds_count"
    until(lambda: sample(scrape(one), attempts, upstream="shop", server_address="127.0.0.1", server_port=port,
                         http_request_method="GET", http_response_status_code="200") == 23, "all attempts' ends")
    text = scrape(one)  # 21 of pages, one of the kept page, one of the route
    assert sample(text, attempts, upstream="shop", http_request_method="POST", http_response_status_code="200") == 1
    assert sample(text, attempts, upstream="shop") == 24
    refused = sample(text, attempts, upstream="lost", error_type="connection_refused", http_response_status_code="")
    assert refused == sample(text, attempts, upstream="lost") > 0
    assert sample(text, "http_client_open_connections", upstream="shop", http_connection_state="active") == 0
    assert sample(text, "http_client_open_connections", upstream="shop", http_connection_state="idle") > 0
    assert sample(text, "http_client_open_connections", upstream="lost") == 0
    assert sample(text, "http_server_active_requests", http_request_method="GET", url_scheme="http") == 0
    if sample(text, "gw_circuit_state", upstream="lost") == 2:
        assert sample(text, "gw_circuit_transitions_total", upstream="lost", to="open") == 1
    assert sample(text, "gw_circuit_transitions_total", upstream="shop") == 0


def test_a_loop_says_how_long_its_turns_are(gateway, origin):
    one = start(gateway, origin)
    traffic(one, origin)
    text = scrape(one)
    turns = {loop: sample(text, "gw_loop_lag_seconds_count", loop=loop) for loop in ("0", "1")}
    assert all(turns.values()) and sample(text, "gw_loop_lag_seconds_count") == sum(turns.values()) > 20
    assert 0 < sample(text, "gw_loop_lag_seconds_sum") < 60


def test_the_configuration_has_its_numbers(gateway, origin):
    before = time.time()
    text = scrape(start(gateway, origin))
    assert sample(text, "gw_config_generation") == 1
    assert sample(text, "gw_config_last_reload_successful") == 1
    assert before - 1 <= sample(text, "gw_config_last_reload_success_timestamp_seconds") <= time.time() + 1


def test_what_waits_is_seen_and_what_it_waited(gateway, origin):
    go = threading.Event()
    origin.serves("/a", {"until": go})
    one = gateway(f"""
[upstreams.shop]
url = "{origin.url}"
max_inflight = 1
queue_timeout = "20s"
timeout = "20s"
[pages.home]
path = "/home"
deadline = "20s"
[pages.home.parts.shop]
path = "/a"
""")
    async def all_of_it():
        async with httpx.AsyncClient(trust_env=False, timeout=30, base_url=one.url) as client:
            jobs = [asyncio.ensure_future(client.get("/home")) for _ in range(4)]
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, until, lambda: sample(scrape(one), "gw_upstream_queue_depth") == 3)
            text = scrape(one)
            go.set()
            await asyncio.gather(*jobs)
            return text

    text = asyncio.run(all_of_it())
    assert sample(text, "http_server_active_requests", http_request_method="GET") == 4
    assert sample(text, "http_client_open_connections", upstream="shop", http_connection_state="active") == 1
    assert sample(text, "gw_upstream_queue_seconds_count", upstream="shop") is None
    text = scrape(one)
    assert sample(text, "gw_upstream_queue_seconds_count", upstream="shop") == 3
    assert sample(text, "gw_upstream_queue_seconds_sum", upstream="shop") > 0
    assert sample(text, "gw_upstream_queue_depth", upstream="shop") == 0
    until(lambda: sample(scrape(one), "http_server_active_requests", http_request_method="GET") == 0, "the last one's end")


def test_retries_and_hedges_are_counted(gateway, origin):
    one = gateway(f"""
[upstreams.shop]
url = "{origin.url}"
timeout = "20s"
[upstreams.shop.retry]
attempts = 2
on = ["reset", "503"]
backoff = "1ms"
budget = 0
budget_floor = 1
[upstreams.shop.breaker]
consecutive = 0
error_share = 0
[upstreams.slow]
url = "{origin.url}"
timeout = "20s"
[upstreams.slow.hedge]
after = "100ms"
budget_floor = 10
[pages.again]
path = "/again"
deadline = "20s"
[pages.again.parts.shop]
path = "/a"
[pages.twice]
path = "/twice"
deadline = "20s"
[pages.twice.parts.slow]
path = "/b"
""")
    origin.serves("/a", {"status": 503}, {"body": {}})
    origin.serves("/b", {"after": 10}, {"body": {}})
    assert httpx.get(one.url + "/again", trust_env=False).json()["data"]["shop"] == {}
    httpx.get(one.url + "/twice", trust_env=False, timeout=20)
    origin.serves("/a", {"status": 503})
    for _ in range(15):  # more than a second's and the window's ten may do
        httpx.get(one.url + "/again", trust_env=False)
    text = scrape(one)
    made = sample(text, "gw_retries_total", upstream="shop", reason="503")
    denied = sample(text, "gw_retries_denied_total", upstream="shop")
    assert 1 < made <= 11 and made + denied == 16
    assert sample(text, "gw_retries_total") == made
    assert sample(text, "gw_hedges_total", upstream="slow", winner="hedge") == 1
    attempts = "http_client_request_duration_seconds_count"
    assert sample(text, attempts, upstream="slow", error_type="cancelled") == 1
    assert sample(text, attempts, upstream="slow", http_response_status_code="200") == 1
    assert sample(text, attempts, upstream="shop", http_response_status_code="503", error_type="503") == 15 + made


def test_uploads_and_downloads_are_counted(gateway):
    one = gateway("""
[uploads.main]
path = "/upload"
dir = "up"
auth = "public"
max_size = "1MiB"
[downloads.main]
path = "/files"
from = "main"
auth = "public"
""")
    tus = {"Tus-Resumable": "1.0.0"}
    stream = {**tus, "Content-Type": "application/offset+octet-stream"}
    with httpx.Client(trust_env=False, timeout=20, base_url=one.url, headers={"Accept": "application/json"}) as client:
        sent = client.post("/upload", files={"file": ("a.txt", b"x" * 1000)})
        assert sent.status_code == 201
        assert client.put("/upload/b.txt", content=b"y" * 2000).status_code == 201
        assert client.put("/upload/c.txt", content=b"z" * (2 << 20)).status_code == 413
        assert client.put("/upload/d.txt", content=b"z", headers={"Content-Digest": f"sha-256=:{'A' * 43}=:"}).status_code == 400
        at = client.post("/upload", headers={**tus, "Upload-Length": "10"}).headers["location"]
        assert client.patch(at, headers={**stream, "Upload-Offset": "0"}, content=b"12345").status_code == 204
        assert client.patch(at, headers={**stream, "Upload-Offset": "3"}, content=b"12345").status_code == 409
        assert client.patch(at, headers={**stream, "Upload-Offset": "5"}, content=b"67890").status_code == 204
        gone = client.post("/upload", headers={**tus, "Upload-Length": "10"}).headers["location"]
        assert client.delete(gone, headers=tus).status_code == 204
        held = client.post("/upload", headers={**tus, "Upload-Length": "1000"}).headers["location"]
        assert len(client.get(sent.json()["files"][0]["url"]).content) == 1000
        assert client.get("/files/none").status_code == 404
    with socket.create_connection(one.host_port) as leaver:
        leaver.sendall(f"PATCH {held} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
                       "Content-Type: application/offset+octet-stream\r\nContent-Length: 1000\r\n\r\nabc".encode())
        until(lambda: sample(scrape(one), "gw_uploads_active", upload="main") == 1, "the last one's begin")
        bytes_then = sample(scrape(one), "gw_upload_bytes_total", upload="main")
    uploads = "gw_uploads_total"
    until(lambda: sample(scrape(one), uploads, result="left") == 1, "the last one's end")
    until(lambda: sample(scrape(one), "gw_uploads_active", upload="main") == 0, "the last one's end")
    text = scrape(one)
    told = {result: sample(text, uploads, upload="main", result=result)
            for result in ("finished", "refused", "created", "terminated", "left", "failed")}
    assert told == {"finished": 3, "refused": 3, "created": 3, "terminated": 1, "left": 1, "failed": None}
    assert 3011 <= bytes_then <= sample(text, "gw_upload_bytes_total", upload="main") < 3500
    assert sample(text, "gw_upload_stored_bytes", upload="main") >= 3010
    assert sample(text, "gw_download_bytes_total", download="main") >= 1000
    assert sample(text, "gw_offload_threads", pool="disk") == 4
    assert sample(text, "gw_offload_refused_total") == sample(text, "gw_offload_queue_depth") == 0


def test_certificates_are_counted(gateway):
    one = gateway("""
[register]
url = "https://certificates.example/certificates"
[certificates.course]
path = "/certificate"
template = "certificate.svg"
open = true
""", {"certificate.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="20mm" height="10mm">'
                         '<text x="1" y="9" font-family="DejaVu Sans">{{name}}</text></svg>'})
    with httpx.Client(trust_env=False, timeout=60, base_url=one.url, headers={"Accept": "application/json"}) as client:
        pdf = client.get("/certificate?name=Ada")
        assert pdf.status_code == 200 and client.get("/certificate?name=Ada").content == pdf.content
        assert client.get("/certificate?name=Grace").status_code == 200
        assert client.get("/certificate").status_code == 400
        serial = pdf.headers["link"].split(">")[0].rsplit("/", 1)[1]
        assert client.get(f"/certificates/{serial}").json()["status"] == "valid"
        assert client.get("/certificates/" + "0" * len(serial)).status_code == 404
        verified = client.post("/certificates/verify", content=pdf.content, headers={"Content-Type": "application/pdf"})
        assert verified.json()["file"] == "unaltered", verified.text
    made = "gw_certificates_total"
    until(lambda: sample(scrape(one), made) == 4, "the last one's end")
    text = scrape(one)
    assert {result: sample(text, made, certificate="course", result=result)
            for result in ("issued", "found", "refused", "failed", "left")} == {
                "issued": 2, "found": 1, "refused": 1, "failed": None, "left": None}
    assert sample(text, "gw_certificate_drawing_seconds_count", certificate="course") == 2
    assert sample(text, "gw_certificate_drawing_seconds_sum", certificate="course") > 0
    checks = "gw_certificate_verifications_total"
    assert sample(text, checks, status="valid", file="") == 1
    assert sample(text, checks, status="valid", file="unaltered") == 1
    assert sample(text, checks, status="unknown") == 1


def test_the_documentation_has_every_metric(gateway, origin):
    shown = set(re.findall(r"^# TYPE (\w+) ", scrape(start(gateway, origin)), re.M))
    table = (ROOT / "docs/operations.md").read_text().split("| Metric |")[1].split("\n\n")[0]
    told = set()
    for line in table.splitlines()[2:]:
        told |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    assert shown == told


def test_alerts_ask_for_what_there_is(gateway, origin, tools, tmp_path):
    rules = (ROOT / "docs/operations.md").read_text().split("```yaml\ngroups:")[1].split("```")[0]
    file = tmp_path / "rules.yml"
    file.write_text("groups:" + rules)
    done = subprocess.run([tools / "promtool", "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = set(re.findall(r"^# TYPE (\w+) ", scrape(start(gateway, origin)), re.M))
    asked = set(re.findall(r"\b((?:gw|http|process)_\w+)(?=[{\[ ])", re.sub(r"#.*", "", rules)))
    asked = {name for name in asked if not name.startswith("http_response")}
    assert len(asked) > 5 and all(re.sub("_(bucket|count|sum)$", "", name) in shown for name in asked), asked - shown


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
