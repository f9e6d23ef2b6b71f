"""[access.NAME]: who may come, by the client's address."""

import socket

import httpx
import pytest

from gateway import command

SITE = """
[access.office]
{office}
[static.files]
path = "/files"
dir = "templates"
middleware = ["access.office"]
"""

HEADER = """
[server]
listen = ["127.0.0.1:0", "unix:s"]
trusted_proxies = ["127.0.0.0/8"]
[admin]
listen = ""
control = ""
[log]
format = "json"
"""


def start(gateway, office):
    return gateway(SITE.format(office=office), {"a.txt": "a"}, header=HEADER)


def status(one, client=None, path="/files/a.txt"):
    headers = {"X-Forwarded-For": client} if client else {}
    return httpx.get(one.url + path, headers=headers, trust_env=False, verify=False).status_code


def test_lists_make_exceptions_of_one_another(gateway):
    one = start(gateway, 'allow = ["10.0.0.0/8", "10.1.2.3", "2001:db8::/32"]\n'
                         'deny = ["10.1.0.0/16", "2001:db8::bad"]')
    for client, expected in [("10.0.0.1", 200), ("10.1.0.1", 403), ("10.1.2.3", 200), ("10.2.0.1", 200),
                             ("192.0.2.1", 403), ("2001:db8::1", 200), ("2001:db8::bad", 403),
                             ("10.0.0.1, 192.0.2.1", 403), ("192.0.2.1, 10.0.0.1", 200), ("unknown", 403), (None, 403)]:
        assert status(one, client) == expected, client
    # it is the section's list: elsewhere everybody may come
    assert status(one, "192.0.2.1", "/nowhere") == 404


def test_without_an_allow_list_all_but_the_denied_may_come(gateway):
    one = start(gateway, 'deny = ["192.0.2.0/24"]')
    assert [status(one, client) for client in ("192.0.2.9", "192.0.3.1", "unknown", None)] == [403, 200, 200, 200]


def test_a_refusal_is_a_problem_and_is_flagged(gateway):
    one = start(gateway, 'allow = ["192.0.2.1"]')
    answer = httpx.get(one.url + "/files/a.txt", headers={"Accept": "application/json"}, trust_env=False, verify=False)
    assert answer.status_code == 403 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/address-refused"
    assert one.access()[0]["flags"] == "AD"


@pytest.mark.parametrize("office, expected", [
    ('allow = ["unix"]', 200), ('allow = ["10.0.0.0/8"]', 403), ('deny = ["unix"]', 403), ('deny = ["10.0.0.0/8"]', 200),
    ('allow = ["unix"]\ndeny = ["unix"]', 403)])
def test_peers_of_unix_sockets_are_a_network(gateway, office, expected):
    one = start(gateway, office)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(one.folder / "s"))
        client.sendall(b"GET /files/a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.recv(12) == f"HTTP/1.1 {expected}".encode()


def test_mistakes_are_told_where_they_stand(tmp_path):
    (tmp_path / "config.toml").write_text("""[access.a]
allow = ["10.0.0.1/8", "example.org"]
deny = ["10.0.0.0/33"]
""")
    done = command("check", "-c", tmp_path / "config.toml")
    assert done.returncode == 78
    errors = [line.partition("config.toml:")[2] for line in done.stderr.splitlines()]
    assert errors == [
        '2:10: error: allow: "10.0.0.1/8": the network has bits set past its prefix',
        '2:24: error: allow: "example.org": expected an IP address, a network ("10.0.0.0/8") or "unix"',
        '3:9: error: deny: "10.0.0.0/33": the length of the network\'s prefix is out of range',
    ]
