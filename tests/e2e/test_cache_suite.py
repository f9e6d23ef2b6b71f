"""The public HTTP cache tests (npm: http-cache-tests) through a route whose answers are kept."""

import json
import os
import pathlib
import subprocess

import httpx
import pytest

from conftest import free_port
from gateway import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "build/clients"
SUITE = CLIENTS / "node_modules/http-cache-tests"

# What the suite requires and we do otherwise, each with the reason.
AGE = "RFC 9111 section 5.1: of a list of ages the first counts"
CLOSED = "our 502 for an upstream that hangs up doesn't count as an answer there; nothing stale is served"
COOKIE = "what sets a cookie is never kept"
OTHERWISE = {
    "age-parse-prefix-twoline": AGE,
    "age-parse-dup-0": AGE,
    "age-parse-dup-0-twoline": AGE,
    "age-parse-dup-old": AGE,
    "stale-close-must-revalidate": CLOSED,
    "stale-close-proxy-revalidate": CLOSED,
    "stale-close-no-cache": CLOSED,
    "stale-close-s-maxage=2": CLOSED,
    "headers-store-Set-Cookie": COOKIE,
    "304-etag-update-response-Set-Cookie": COOKIE,
    "headers-store-Transfer-Encoding": "an unknown Transfer-Encoding is a 502",
    "304-etag-update-response-Content-MD5": "Content-MD5 is no field of RFC 9110",
    "304-etag-update-response-ETag": "a 304 with another ETag is about another answer: it is asked for again",
    "partial-use-headers": "206 isn't kept",
}


@pytest.fixture
def origin(tmp_path):
    subprocess.run([ROOT / "tests/clients/install"], check=True)
    port = free_port()
    env = {**os.environ, "npm_config_pidfile": str(tmp_path / "pid"), "npm_config_port": str(port),
           "npm_config_protocol": "http"}
    server = subprocess.Popen(["node", "server/server.mjs"], cwd=SUITE, env=env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def is_there():
        try:
            return httpx.get(url + "/", trust_env=False).status_code
        except httpx.TransportError:
            return None

    until(is_there, "the suite's server")
    yield url
    server.kill()
    server.wait()


def test_the_public_cache_tests(gateway, origin):
    one = gateway(f"""
[upstreams.origin]
url = "{origin}"
timeout = "10s"
breaker.error_share = 0
breaker.consecutive = 0
retry.attempts = 1
[routes.origin]
path = "/"
[routes.origin.cache]
enabled = true
""")
    done = subprocess.run(["node", "--no-warnings", CLIENTS / "cache-tests.mjs", one.url],
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    tests = json.loads(done.stdout)
    required = {name: test for name, test in tests.items() if test["kind"] == "required"}
    failed = {name: (test["name"], test["result"]) for name, test in required.items() if test["result"] is not True}
    optimal = [test["result"] is True for test in tests.values() if test["kind"] == "optimal"]
    assert len(required) > 150
    unlike = {name: failed.get(name) for name in failed.keys() ^ OTHERWISE.keys()}
    assert not unlike, json.dumps(unlike, indent=1)
    assert sum(optimal) >= 60, (sum(optimal), len(optimal))
