"""The access log as other programs read it, and the log of slow requests."""

import json
import re
import socket

import httpx
import pytest

from gateway import command, until
from scripted import Origin

COMBINED = re.compile(
    r'(?P<host>\S+) (?P<ident>\S+) (?P<user>\S+) \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
    r'"(?P<request>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+|-) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"')


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1}})
    yield one
    one.stop()


def start(gateway, origin, log, more="", control=""):
    return gateway(f"""
[upstreams.shop]
url = "{origin.url}"
timeout = "20s"
[pages.home]
path = "/"
deadline = "20s"
[pages.home.parts.shop]
path = "/a"
{more}
[routes.rest]
path = "/rest"
upstream = "shop"
""", header=f"""
[server]
listen = ["127.0.0.1:0"]
workers = 2
[admin]
listen = "127.0.0.1:0"
control = "{control}"
[log]
{log}
""")


def test_the_combined_format(gateway, origin):
    one = start(gateway, origin, 'format = "json"\naccess_format = "combined"')
    httpx.get(one.url + "/?a=b%20c", headers={"User-Agent": 'a " b', "Referer": "http://x/"}, trust_env=False)
    httpx.get(one.url + "/none", headers={"User-Agent": 'x" 200 1 "-" "'}, trust_env=False)
    with socket.create_connection(one.host_port) as client:
        client.sendall(b"GET /bad\xff HTTP/1.1\r\nHost: a\r\nReferer: \\\x1b[2J\r\nConnection: close\r\n\r\n")
        while client.recv(4096):
            pass
    lines = until(lambda: (text := (one.folder / "stdout").read_text(errors="strict").splitlines())[2:] and text, "three lines")
    found = [COMBINED.fullmatch(line) for line in lines]
    assert len(lines) == 3 and all(found), lines
    found.sort(key=lambda one: ["200", "404", "400"].index(one["status"]))  # of two loops' lines either may come first
    assert found[0]["request"] == "GET /?a=b%20c HTTP/1.1" and found[0]["host"] == "127.0.0.1"
    assert (found[0]["agent"], found[0]["referer"], found[0]["user"]) == (r"a \x22 b", "http://x/", "-")
    assert found[0]["status"] == "200" and int(found[0]["bytes"]) > 10 and found[0]["time"].endswith("+0000")
    assert (found[1]["status"], found[1]["agent"]) == ("404", r"x\x22 200 1 \x22-\x22 \x22")
    assert r"\xFF" in found[2]["request"] and "\x1b" not in "".join(lines)
    for line in one.log().splitlines():
        json.loads(line)  # the other log stays as it is


def test_a_format_that_is_none(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text('[log]\naccess_format = "combine"\n')
    done = command("check", "-c", file)
    assert done.returncode == 78 and re.search(r':2:\d+: .*access_format.*"combined"', done.stderr), done.stderr


def slow_lines(one):
    return [json.loads(line) for line in one.log().splitlines() if '"slow request"' in line]


MORE = """
[pages.quick]
path = "/quick"
[pages.quick.parts.shop]
path = "/a"
[pages.home.parts.late]
upstream = "shop"
path = "/late?n={shop.n}"
[pages.home.parts.never]
upstream = "shop"
path = "/never"
"""


def test_a_slow_page_tells_what_its_parts_waited_for(gateway, origin):
    origin.serves("/late", {"after": 0.4, "body": {}})
    origin.serves("/never", {"after": 30})
    one = start(gateway, origin, 'format = "json"\nslow = "300ms"\naccess = "off"', MORE)
    httpx.get(one.url + "/quick", trust_env=False)
    with httpx.Client(trust_env=False, timeout=60) as client:
        answer = client.get(one.url + "/rest/x")  # 404, at once
        assert answer.status_code == 404
        with pytest.raises(httpx.ReadTimeout):
            client.get(one.url + "/?secret=1", timeout=1.5)  # the client leaves: the last part never comes
    told = until(lambda: slow_lines(one), "a slow request")
    assert len(told) == 1
    line = told[0]
    assert (line["level"], line["msg"], line["route"], line["status"], line["flags"]) == ("warn", "slow request", "home", 499, "DC")
    assert line["ms"] > 1000 and "reply_ms" not in line
    shop, late, never = line["parts"]
    assert shop["state"] == "ok" and shop["begin"] == 0 and shop["first_byte"] > 0
    assert abs(sum(shop.get(phase, 0) for phase in ("queue", "dns", "connect", "tls", "first_byte", "receive"))
               + shop.get("earlier", 0) + shop["begin"] - shop["ms"]) < 0.1
    assert late["state"] == "ok" and late["begin"] >= shop["ms"] - 0.1 and late["first_byte"] > 350
    assert late["ms"] >= late["begin"] + late["first_byte"]
    assert never["state"] == "skipped" and never["first_byte"] > 900, "it was waiting for the answer when it was cut"


def test_a_slow_route(gateway, origin):
    origin.serves("/rest/late", {"after": 0.5, "body": b"x"})
    one = start(gateway, origin, 'slow = "300ms"')
    httpx.get(one.url + "/rest/late", trust_env=False, timeout=20)
    line = until(lambda: [line for line in one.log().splitlines() if "slow request" in line], "a slow request")[0]
    fields = dict(re.findall(r'(\S+?)=("(?:[^"\\]|\\.)*"|\S*)', line))
    assert fields["level"] == "warn" and fields["msg"] == '"slow request"' and fields["path"] == "/rest/late"
    assert float(fields["part.shop.first_byte"]) > 450 and float(fields["reply_ms"]) > 450
    assert float(fields["ms"]) >= float(fields["reply_ms"])


def test_at_level_error_nobody_is_told(gateway, origin, tmp_path):
    origin.serves("/a", {"after": 0.1, "body": {}})
    one = start(gateway, origin, 'slow = "1ms"\nformat = "json"', control=f"unix:{tmp_path}/control.sock")

    def ask(name):
        httpx.get(one.url + "/", trust_env=False, timeout=20, headers={"X-Request-Id": name})

    ask("first")
    until(lambda: len(slow_lines(one)) == 1, "the line")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "control.sock")), base_url="http://gateway") as control:
        control.post("/log", params={"level": "error"})
        ask("second")
        one.access(2)
        control.post("/log", params={"level": "warn"})
        ask("third")
    until(lambda: len(slow_lines(one)) == 2, "the third one's line")
    assert [line["id"] for line in slow_lines(one)] == ["first", "third"]
    assert "\ngw_slow_log_dropped_total 0\n" in httpx.get(one.admin + "/metrics", trust_env=False).text
