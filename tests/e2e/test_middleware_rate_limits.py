"""[rate_limits.NAME]: how often one client may ask, and who counts as one."""

import httpx
import pytest

from gateway import command

HEADER = """
[server]
listen = ["127.0.0.1:0"]
workers = 2
trusted_proxies = ["127.0.0.0/8"]
[admin]
listen = ""
control = ""
[log]
format = "json"
"""


def start(gateway, sections, middleware='["rate_limits.one"]'):
    return gateway(f"""
{sections}
[static.files]
path = "/files"
dir = "templates"
middleware = {middleware}
[static.free]
path = "/free"
dir = "templates"
""", {"a.txt": "a"}, header=HEADER)


def ask(one, path="/files/a.txt", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(one.url + path, headers={"Accept": "application/json", **names}, trust_env=False, verify=False)


def statuses(one, count, **headers):
    return [ask(one, **headers).status_code for _ in range(count)]


def test_a_client_is_refused_when_its_quota_is_used(gateway):
    one = start(gateway, '[rate_limits.one]\nrate = "3/h"')
    answers = [ask(one, X_Forwarded_For="192.0.2.1") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert [a.headers["ratelimit"] for a in answers] == [f'"one";r={r};t=1200' for r in (2, 1, 0, 0)]
    assert {a.headers["ratelimit-policy"] for a in answers} == {'"one";q=3;w=3600'}
    refused = answers[3]
    assert refused.headers["retry-after"] == "1200" and refused.json()["type"] == "/problems/too-many-requests"
    assert "retry-after" not in answers[2].headers
    # others, and what has no list, are not concerned
    assert statuses(one, 2, X_Forwarded_For="192.0.2.2") == [200, 200]
    assert "ratelimit" not in ask(one, "/free/a.txt", X_Forwarded_For="192.0.2.1").headers
    assert [r["flags"] for r in one.access(1, lambda r: r["status"] == 429)] == ["RL"]


@pytest.mark.parametrize("by, fields", [
    ("header:X-Api-Key", lambda who: {"x_api_key": who}),
    ("cookie:sid", lambda who: {"Cookie": f"a=b; sid={who}; sidx=1"})])
def test_a_client_may_be_known_by_what_it_sends(gateway, by, fields):
    one = start(gateway, f'[rate_limits.one]\nrate = "2/h"\nby = "{by}"')
    assert statuses(one, 3, **fields("ada"), X_Forwarded_For="192.0.2.1") == [200, 200, 429]
    assert statuses(one, 1, **fields("ada"), X_Forwarded_For="192.0.2.2") == [429]
    assert statuses(one, 3, **fields("bob"), X_Forwarded_For="192.0.2.1") == [200, 200, 429]
    # who sends none counts by address
    assert statuses(one, 3, X_Forwarded_For="192.0.2.1") == [200, 200, 429]
    assert statuses(one, 1, X_Forwarded_For="192.0.2.2") == [200]
    assert statuses(one, 1, **fields(""), X_Forwarded_For="192.0.2.1") == [429]


def test_bursts_may_be_larger_or_smaller(gateway):
    one = start(gateway, '[rate_limits.one]\nrate = "1/h"\nburst = 3')
    assert statuses(one, 4) == [200, 200, 200, 429]
    assert ask(one).headers["ratelimit-policy"] == '"one";q=1;w=3600'
    one = start(gateway, '[rate_limits.one]\nrate = "3600/h"\nburst = 1')
    answers = [ask(one) for _ in range(20)]
    assert 429 in {a.status_code for a in answers} and answers[0].headers["ratelimit"] == '"one";r=0;t=1'


def test_several_limits_of_a_list_are_all_told(gateway):
    one = start(gateway, '[rate_limits.one]\nrate = "2/h"\n[rate_limits.all-day]\nrate = "10/d"',
                '["rate_limits.one", "rate_limits.all-day"]')
    answer = ask(one)
    assert answer.headers["ratelimit-policy"] == '"one";q=2;w=3600, "all-day";q=10;w=86400'
    assert answer.headers["ratelimit"] == '"one";r=1;t=1800, "all-day";r=9;t=8640'
    assert statuses(one, 2) == [200, 429]
    # what the first refuses costs nothing with the second
    assert ask(one, X_Forwarded_For="192.0.2.1").headers["ratelimit"].endswith('"all-day";r=9;t=8640')


def test_mistakes_are_told_where_they_stand(tmp_path):
    (tmp_path / "config.toml").write_text("""[rate_limits.a]
rate = "often"
by = "header:"
[rate_limits.b]
rate = "1/s"
by = "ip"
burst = 1000001
[rate_limits.c]
""")
    done = command("check", "-c", tmp_path / "config.toml")
    assert done.returncode == 78
    errors = [line.partition("config.toml:")[2] for line in done.stderr.splitlines()]
    expected = 'by: expected "address", "user", "header:NAME" or "cookie:NAME", got'
    assert errors == [
        '2:8: error: "often" is no rate; expected a number from 1 to 1000000 and /s, /m, /h or /d, like "30/m"',
        f'3:6: error: {expected} "header:"',
        f'6:6: error: {expected} "ip"',
        "7:9: error: burst: out of range: expected 0 to 1000000, got integer 1000001",
        '8:1: error: missing key "rate": requests of one client: "100/s", "30/m", "1000/h", "5000/d"',
    ]
