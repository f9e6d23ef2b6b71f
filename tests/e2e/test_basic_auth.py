"""Names and passwords: who is let in, what upstreams see of it, and what a flood of wrong ones does."""

import base64
import concurrent.futures
import os
import subprocess

import httpx
import pytest

from gateway import BINARY
from scripted import Origin


def hashed(password, kind="-6", salt="pepper"):
    """As an operator makes it."""
    done = subprocess.run(["openssl", "passwd", kind, "-salt", salt, password],
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


ADA = hashed("open sesame")
SLOW = hashed("slow", salt="rounds=400000$pepper")  # some 80 ms


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/x", {"headers": [("Cache-Control", "public, max-age=60, s-maxage=60")]})
    one.serves("/page", {"body": {"n": 1}})
    yield one
    one.stop()


def start(gateway, origin, section="", users='ada = "${ADA}"', more="", **options):
    return gateway(f"""
[upstreams.shop]
url = "{origin.url}"
forward_headers = ["Authorization", "X-User"]
[basic_auth.staff]
{section}
[basic_auth.staff.users]
{users}
[routes.shop]
path = "/"
middleware = ["basic_auth.staff"]
[pages.page]
path = "/page"
middleware = ["basic_auth.staff"]
[pages.page.parts.shop]
path = "/page"
[pages.open]
path = "/open"
[pages.open.parts.shop]
path = "/page"
{more}
""", env={"ADA": ADA, "SLOW": SLOW}, **options)


def client(**options):
    return httpx.Client(trust_env=False, timeout=60, **options)


def test_who_has_the_password_is_let_in(gateway, origin):
    one = start(gateway, origin, 'realm = "The \\"staff\\""')
    with client() as http:
        answer = http.get(one.url + "/x")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == \
            'Basic realm="The \\"staff\\"", charset="UTF-8"'
        assert answer.headers["cache-control"] == "no-store"
        for wrong in [("ada", "open sesame "), ("ada", ""), ("Ada", "open sesame"), ("eve", "x"),
                      ("", "")]:
            answer = http.get(one.url + "/x", auth=wrong)
            assert answer.status_code == 401, wrong
            assert "www-authenticate" in answer.headers
        assert origin.heads == []
        for path in ["/x", "/page", "/x", "/page"]:
            answer = http.get(one.url + path, auth=("ada", "open sesame"))
            assert answer.status_code == 200
        assert http.get(one.url + "/open").status_code == 200
        # The password is for us alone.
        assert all("authorization" not in fields for _, fields in origin.heads)
    lines = one.access(11)
    assert [line.get("user") for line in lines] == [None] * 6 + ["basic:ada"] * 4 + [None]


def test_curl_and_http2_are_let_in(gateway, origin):
    one = start(gateway, origin)
    for more in [[], ["--http2-prior-knowledge"]]:
        done = subprocess.run(["curl", "-sS", "--noproxy", "*", *more, "-u", "ada:open sesame", "-o",
                               "/dev/null", "-w", "%{http_code}", one.url + "/x"],
                              capture_output=True, text=True)
        assert done.stdout == "200", done


def test_what_upstreams_see_of_a_user(gateway, origin):
    one = start(gateway, origin, 'user_header = "X-User"\nforward = true')
    with client() as http:
        spoofed = {"X-User": "root", "X_User": "root", "Connection": "close, X-User"}
        for path in ["/x", "/page"]:
            assert http.get(one.url + path, auth=("ada", "open sesame"),
                            headers=spoofed).status_code == 200
        for _, fields in origin.heads:
            assert fields["x-user"] == "ada"
            assert "x_user" not in fields
            assert fields["authorization"].startswith("Basic ")


def test_caches_outside_keep_it_for_one_client_only(gateway, origin):
    one = start(gateway, origin, more='[static.files]\npath = "/files"\ndir = "."\nmax_age = "60s"\n'
                                      'middleware = ["basic_auth.staff"]')
    with client(auth=("ada", "open sesame")) as http:
        for path in ["/x", "/page", "/files/gateway.toml"]:
            answer = http.get(one.url + path)
            assert answer.status_code == 200
            told = answer.headers["cache-control"]
            assert "private" in told and "public" not in told and "s-maxage" not in told, told
        assert "max-age=60" in http.get(one.url + "/files/gateway.toml").headers["cache-control"]


def test_requests_that_make_two_of_it_are_refused(gateway, origin):
    one = start(gateway, origin)
    good = base64.b64encode(b"ada:open sesame").decode()
    with client() as http:
        for headers in [[("Authorization", f"Basic {good}"), ("Authorization", f"Basic {good}")],
                        [("Authorization", f"Basic {good}, Basic {good}")],
                        [("Authorization", f"Bearer {good}")],
                        [("Authorization", f"Basic {good[:-1]}")],
                        [("Authorization", "Basic " + "A" * 8000)]]:
            assert http.get(one.url + "/x", headers=headers).status_code == 401, headers
    assert origin.heads == []


def test_a_body_arrives_after_the_password_was_checked(gateway, origin):
    one = start(gateway, origin)
    with client() as http:
        for _ in range(2):
            answer = http.post(one.url + "/x", content=b"y" * 300_000, auth=("ada", "open sesame"))
            assert answer.status_code == 200
        answer = http.post(one.url + "/x", content=b"y" * 3_000_000, auth=("ada", "no"))
        assert answer.status_code == 401
    assert [fields["content-length"] for _, fields in origin.heads] == ["300000"] * 2


def processor_seconds(one):
    fields = open(f"/proc/{one.process.pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_page_s_first_load_asks_once(gateway, origin):
    """As many requests at once as a page has pictures: none is refused, and the password is checked
    once for all of them, and not again."""
    one = start(gateway, origin, users='ada = "${SLOW}"')
    with client() as http, concurrent.futures.ThreadPoolExecutor(24) as pool:
        before = processor_seconds(one)
        for number in range(4):
            assert http.get(one.url + "/x", auth=("ada", f"{number}")).status_code == 401
        each = (processor_seconds(one) - before) / 4
        before = processor_seconds(one)
        answers = list(pool.map(
            lambda _: http.get(one.url + "/x", auth=("ada", "slow")).status_code, range(24)))
        assert answers == [200] * 24
        for _ in range(24):
            assert http.get(one.url + "/x", auth=("ada", "slow")).status_code == 200
        assert processor_seconds(one) - before < 16 * each


def test_a_flood_of_wrong_passwords_leaves_room_for_others(gateway, origin):
    one = start(gateway, origin, users='ada = "${SLOW}"', header="""
[server]
listen = ["127.0.0.1:0"]
workers = 1
trusted_proxies = ["127.0.0.1"]
[admin]
listen = ""
control = ""
""")
    limits = httpx.Limits(max_connections=60)
    with client(limits=limits) as http, concurrent.futures.ThreadPoolExecutor(40) as pool:
        def ask(number):
            return http.get(one.url + "/x", auth=("ada", f"wrong {number}"),
                            headers={"X-Forwarded-For": "192.0.2.1"})
        flood = [pool.submit(ask, number) for number in range(40)]
        good = http.get(one.url + "/x", auth=("ada", "slow"),
                        headers={"X-Forwarded-For": "192.0.2.2"})
        assert good.status_code == 200
        answers = [one_of.result() for one_of in flood]
    statuses = {answer.status_code for answer in answers}
    assert statuses == {401, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"


def test_a_client_that_leaves_while_it_is_checked_is_no_trouble(gateway, origin):
    one = start(gateway, origin, users='ada = "${SLOW}"')
    for number in range(3):
        with pytest.raises(httpx.TimeoutException):
            httpx.get(one.url + "/x", auth=("ada", f"{number}"), timeout=0.02, trust_env=False)
    with client() as http:
        assert http.get(one.url + "/x", auth=("ada", "slow")).status_code == 200


def test_a_file_as_htpasswd_writes_it(gateway, origin, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"# staff\nada:{ADA}\nzoë:{hashed('ü', '-5')}\n")
    one = start(gateway, origin, f'users_file = "{users}"', users="")
    with client() as http:
        assert http.get(one.url + "/x", auth=("ada", "open sesame")).status_code == 200
        both = base64.b64encode("zoë:ü".encode()).decode()
        headers = {"Authorization": f"Basic {both}"}
        assert http.get(one.url + "/x", headers=headers).status_code == 200


def test_what_is_wrong_is_told_where_it_stands(tmp_path):
    config = tmp_path / "config.toml"
    (tmp_path / "users").write_text("ada:secret\n")
    config.write_text("""[basic_auth.a]
user_header = "Host"
users_file = "users"
[basic_auth.b]
[basic_auth.c]
users_file = "nowhere"
[basic_auth.c.users]
ada = "$6$literal"
"b:c" = "${HASH}"
""")
    done = subprocess.run([BINARY, "check", "-c", config], capture_output=True, text=True,
                          env={"HASH": ADA})
    assert done.returncode == 78
    for line in ["config.toml:2:15: error: Host: not the name of a header that may be set",
                 "users:1:5: error: ada: the hash is not a SHA-2 hash",
                 "config.toml:4:13: error: nobody is let in",
                 "config.toml:6:14: error: users_file: ",
                 "config.toml:8:7: error: ada: a secret may not stand in the file",
                 "config.toml:9:1: error: a user's name can't hold a colon"]:
        assert line in done.stderr, done.stderr
    assert "literal" not in done.stderr
