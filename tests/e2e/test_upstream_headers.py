"""What of a request goes upstream: an explicit list, rightly extended, and nothing else."""

import httpx

CONFIG = """
[upstreams.u]
url = "{url}"
{more}
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/head"
"""


def sent(one, headers=None, **options):
    data = httpx.get(one.url, headers=headers, **options).json()["data"]["u"]
    pairs = [line.split(": ", 1) for line in data["headers"]]
    return {name.lower(): value for name, value in pairs}


def test_nothing_leaks_by_default(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, more=""))
    got = sent(one, {
        "Cookie": "session=1", "Authorization": "Bearer x", "X-Internal": "1", "Referer": "http://r/",
        "Accept-Language": "de", "X-Request-Id": "r-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    })
    assert got["accept-language"] == "de"
    assert got["x-request-id"] == "r-1"
    assert got["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert got["host"] == faults.url.removeprefix("http://")
    for name in ("cookie", "authorization", "x-internal", "referer", "user-agent"):
        assert name not in got or (name == "user-agent" and "gateway" in got[name])


def test_forwarding_begins_anew_for_an_untrusted_client(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, more=""))
    got = sent(one, {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6",
                     "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "Host": "shop.example"})
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-host"] == "shop.example"
    assert got["x-forwarded-proto"] == "http"
    assert got["forwarded"] == "for=127.0.0.1;proto=http;host=shop.example"
    assert one.access(1)[0]["client"] == "127.0.0.1"


def test_forwarding_is_extended_for_a_trusted_proxy(gateway, faults):
    header = ('[server]\nlisten = ["127.0.0.1:0"]\nworkers = 1\ntrusted_proxies = ["127.0.0.0/8"]\n'
              '[admin]\nlisten = ""\ncontrol = ""\n[log]\nformat = "json"\n')
    one = gateway(CONFIG.format(url=faults.url, more=""), header=header)
    got = sent(one, {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https",
                     "Forwarded": "for=203.0.113.9;proto=https"})
    assert got["x-forwarded-for"] == "6.6.6.6, 203.0.113.9, 127.0.0.1"
    assert got["x-forwarded-proto"] == "https"
    assert got["forwarded"].startswith("for=203.0.113.9;proto=https, for=127.0.0.1")
    assert one.access(1)[0]["client"] == "203.0.113.9"


def test_a_trusted_proxy_s_one_chain_stays_the_only_one(gateway, faults):
    header = ('[server]\nlisten = ["127.0.0.1:0"]\nworkers = 1\ntrusted_proxies = ["127.0.0.1"]\n'
              '[admin]\nlisten = ""\ncontrol = ""\n[log]\nformat = "json"\n')
    one = gateway(CONFIG.format(url=faults.url, more=""), header=header)
    got = sent(one, {"X-Forwarded-For": "203.0.113.9"})
    assert got["x-forwarded-for"] == "203.0.113.9, 127.0.0.1" and "forwarded" not in got
    got = sent(one, {"Forwarded": "for=203.0.113.9"})
    assert got["forwarded"].startswith("for=203.0.113.9, for=127.0.0.1") and "x-forwarded-for" not in got
    got = sent(one)
    assert got["forwarded"].startswith("for=127.0.0.1") and got["x-forwarded-for"] == "127.0.0.1"


def test_set_headers_and_a_list_of_ones_own(gateway, faults):
    more = ('forward_headers = ["Cookie"]\n[upstreams.u.set_headers]\n'
            'Authorization = "Bearer ${UP_TOKEN}"\nX-Api = "2"\n')
    one = gateway(CONFIG.format(url=faults.url, more=more), env={"UP_TOKEN": "s3cret-token"})
    got = sent(one, {"Cookie": "a=1", "Accept-Language": "de"})
    assert got["authorization"] == "Bearer s3cret-token"
    assert got["x-api"] == "2" and got["cookie"] == "a=1"
    assert "accept-language" not in got and "x-forwarded-for" not in got
    one.access(1)
    assert "s3cret" not in one.log() + (one.folder / "stdout").read_text()


def test_what_the_client_meant_for_one_connection_stays(gateway, faults):
    one = gateway(CONFIG.format(url=faults.url, more='forward_headers = ["X-One", "X-Two"]'))
    got = sent(one, {"X-One": "1", "X-Two": "2", "Connection": "keep-alive, x-one"})
    assert "x-one" not in got and got["x-two"] == "2"
