"""What lists of middleware mean: order, whose they are, names that aren't there."""

import subprocess

import httpx
import pytest

from gateway import BINARY
from scripted import Origin


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1}})
    one.serves("/shop/x", {"body": {"n": 2}, "headers": [("X-Frame-Options", "DENY")]})
    yield one
    one.stop()


SECTIONS = """
[security_headers.site]
csp = "default-src 'self'"
permissions_policy = "camera=()"
opener_policy = ""
[security_headers.inner]
referrer_policy = "no-referrer"
frame_options = ""
"""


def start(gateway, origin, server="", page="", route=""):
    return gateway(f"""
{SECTIONS}
[upstreams.shop]
url = "{origin.url}"
[pages.home]
path = "/"
{page}
[pages.home.parts.shop]
path = "/a"
[routes.shop]
path = "/shop"
{route}
""", header=f"""
[server]
listen = ["127.0.0.1:0"]
{server}
[admin]
listen = ""
control = ""
[log]
access = "off"
""")


def test_the_server_s_list_is_passed_by_all(gateway, origin):
    one = start(gateway, origin, server='middleware = ["security_headers.site"]')
    with httpx.Client(trust_env=False) as client:
        for path, status in [("/", 200), ("/nowhere", 404), ("/%00", 400), ("/shop/x", 200)]:
            answer = client.get(one.url + path)
            assert answer.status_code == status
            assert answer.headers["content-security-policy"] == "default-src 'self'"
            assert answer.headers["permissions-policy"] == "camera=()"
            assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"
            assert "cross-origin-opener-policy" not in answer.headers
            frames = answer.headers.get_list("x-frame-options")
            assert frames == (["DENY"] if path == "/shop/x" else ["SAMEORIGIN"])
        assert client.post(one.url + "/").status_code == 405
        answer = client.options(one.url + "/")
        assert answer.status_code == 204 and "GET" in answer.headers["allow"]
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"


def test_a_section_s_list_is_its_own_and_what_was_set_stays(gateway, origin):
    one = start(gateway, origin, server='middleware = ["security_headers.site"]',
                page='middleware = ["security_headers.inner", "security_headers.site"]')
    with httpx.Client(trust_env=False) as client:
        answer = client.get(one.url + "/")
        # From the end of the list on: the section's speaks first.
        assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
        assert answer.headers["content-security-policy"] == "default-src 'self'"
        answer = client.get(one.url + "/shop/x")
        assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"


def test_without_a_list_nothing_is_added(gateway, origin):
    one = start(gateway, origin)
    answer = httpx.get(one.url + "/", trust_env=False)
    for name in ["content-security-policy", "referrer-policy", "x-frame-options"]:
        assert name not in answer.headers


def test_unknown_names_are_told_where_they_stand(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("""[server]
middleware = ["security_header.site", "cors"]
[security_headers.site]
[static.files]
path = "/assets"
dir = "."
middleware = ["security_headers.sight"]
""")
    done = subprocess.run([BINARY, "check", "-c", config], capture_output=True, text=True)
    assert done.returncode == 78
    assert ('config.toml:2:15: error: unknown middleware "security_header.site"; '
            'did you mean "security_headers.site"?') in done.stderr
    assert ('config.toml:2:39: error: unknown middleware "cors"; '
            'there is no section [cors]') in done.stderr
    assert ('config.toml:7:15: error: unknown middleware "security_headers.sight"; '
            'did you mean "security_headers.site"?') in done.stderr
