"""TLS listeners: who gets which certificate, what is refused, what is resumed, who the client is, and
certificates that change while it runs."""

import base64
import contextlib
import json
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import httpx
import pytest

from certificates import Authority, openssl
from gateway import command, until

RSA = ["-newkey", "rsa:2048", "-nodes"]

HEADER = """
[server]
listen = ["127.0.0.1:0"{more}]
listen_tls = ["127.0.0.1:0"]
workers = 2
{server}
[admin]
listen = "127.0.0.1:0"
control = "{control}"
[log]
format = "json"
"""

PAGE = """
[upstreams.u]
url = "{url}"
forward_headers = ["Client-Cert", "Client-Cert-Chain", "X-Forwarded-Proto", "Forwarded"]
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok"
[routes.r]
path = "/r"
upstream = "u"
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    ca = Authority(tmp_path_factory.mktemp("keys"))
    ca.sign("shop", hosts=["localhost", "shop.example", "www.shop.example"])
    ca.sign("wild", hosts=["*.wild.example", "www.shop.example"], new_key=RSA)
    ca.sign("ada")
    Authority(ca.folder, "other").sign("eve")
    return ca


@pytest.fixture
def serve(gateway, faults, keys, tmp_path):
    """serve(tls keys, server keys): shop's certificate stands first in the file, so it is the default."""

    def start(tls="", server="", more="", control=""):
        certificates = "".join(
            f'[tls.certificates.{name}]\ncertificate = "{keys.folder}/{file}.pem"\nkey = "{keys.folder}/{file}.key"\n'
            for name, file in (("z-first", "shop"), ("a-second", "wild")))
        return gateway(PAGE.format(url=faults.url) + f"[tls]\n{tls}\n" + certificates,
                       header=HEADER.format(server=server, more=more, control=control))

    return start


def curl(one, keys, *arguments, host="shop.example", path="/", check=True):
    port = one.tls_ports[0]
    done = subprocess.run(
        ["curl", "-sS", "-i", "--noproxy", "*", "--cacert", keys.pem, "-m", "20", "--resolve",
         f"{host}:{port}:127.0.0.1", *arguments, f"https://{host}:{port}{path}"],
        capture_output=True, timeout=30, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def context(keys, alpn=("http/1.1",), version=None, client=None):
    made = ssl.create_default_context(cafile=keys.pem)
    made.set_alpn_protocols(list(alpn))
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if client is not None:
        made.load_cert_chain(keys.folder / f"{client}.pem", keys.folder / f"{client}.key")
    return made


def connect(one, ctx, host="localhost", session=None):
    raw = socket.create_connection(("127.0.0.1", one.tls_ports[0]), timeout=15)
    return ctx.wrap_socket(raw, server_hostname=host, session=session)


def ask(sock, head=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
    """One request; the whole answer when it has a length."""
    sock.sendall(head)
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = sock.recv(65536)
        if not more:
            return answer
        answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def metric(one, name):
    return float(re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(one.admin + "/metrics").text, re.M)[1])


def names_of(one, ctx, host):
    """The names in the certificate that is shown to who asks for that host (None = no SNI)."""
    ctx.check_hostname = False
    with connect(one, ctx, host) as sock:
        return {value for kind, value in sock.getpeercert()["subjectAltName"]}


# -- certificates by name --


def test_the_name_picks_the_certificate(serve, keys):
    one = serve()
    shop, wild = {"localhost", "shop.example", "www.shop.example"}, {"*.wild.example", "www.shop.example"}
    for host, names in (("shop.example", shop), ("SHOP.example", shop), ("www.shop.example", shop),
                        ("a.wild.example", wild), ("a.b.wild.example", shop), ("wild.example", shop),
                        ("nobody.example", shop), (None, shop)):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert names_of(one, context(keys, version=version), host) == names, host
    for host in ("shop.example", "x.wild.example"):
        assert curl(one, keys, host=host).stdout.startswith(b"HTTP/2 200"), "and curl finds them good"


def test_what_it_has_is_in_log_and_metrics(serve, keys):
    one = serve()
    lines = [json.loads(line) for line in one.log().splitlines()]
    lines = [line for line in lines if line["msg"] == "certificate"]
    assert [line["name"] for line in lines] == ["z-first", "a-second"]
    assert lines[0]["hosts"] == "localhost shop.example www.shop.example"
    end = metric(one, 'gw_tls_certificate_expiry_timestamp_seconds{name="a-second"}')
    assert 86400 < end - time.time() < 3 * 86400
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end)) == lines[1]["expires"]


# -- what is spoken --


@pytest.mark.parametrize("arguments, version, protocol", [
    (["--http1.1", "--tlsv1.2", "--tls-max", "1.2"], "TLSv1.2", b"HTTP/1.1 200"),
    (["--http1.1", "--tlsv1.3"], "TLSv1.3", b"HTTP/1.1 200"),
    (["--http2", "--tlsv1.2", "--tls-max", "1.2"], "TLSv1.2", b"HTTP/2 200"),
    (["--http2", "--tlsv1.3"], "TLSv1.3", b"HTTP/2 200"),
    (["--no-alpn", "--http1.1"], "TLSv1.3", b"HTTP/1.1 200"),
])
def test_a_page_by_version_and_protocol(serve, keys, arguments, version, protocol):
    one = serve()
    done = curl(one, keys, "-v", *arguments)
    assert done.stdout.startswith(protocol)
    assert f"SSL connection using {version}".encode() in done.stderr
    record = one.access()[0]
    assert record["protocol"] == protocol.split()[0].decode() and record["status"] == 200
    assert b"strict-transport-security" not in done.stdout


def test_httpx_takes_both_protocols(serve, keys):
    one = serve()
    for http2, version in ((True, "HTTP/2"), (False, "HTTP/1.1")):
        with httpx.Client(verify=str(keys.pem), http2=http2, trust_env=False) as client:
            for _ in range(3):
                answer = client.get(f"https://localhost:{one.tls_ports[0]}/")
                assert answer.status_code == 200 and answer.http_version == version


def test_the_scheme_is_https(serve, keys, faults):
    one = serve()
    for path in ("/", "/r/ok"):
        for arguments in (["--http1.1"], ["--http2"]):
            curl(one, keys, *arguments, path=path)
            head = faults.requests[-1][1].lower()
            assert "x-forwarded-proto: https" in head and "proto=https" in head, head
    httpx.get(one.url)
    assert "x-forwarded-proto: http\r" in faults.requests[-1][1].lower()
    # A head that ends amid the request is logged, too: counted by scheme.
    with connect(one, context(keys)) as sock:
        sock.sendall(b"GET /cut HTTP/1.1\r\nHos")
    one.access(6)
    metrics = httpx.get(one.admin + "/metrics").text
    assert re.search(r'^http_server_request_duration_seconds_count\{[^}]*url_scheme="https"', metrics, re.M)


REFUSED = [
    ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
    ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
    ("-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:AES128-GCM-SHA256"),  # no forward secrecy
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA"),  # CBC
    ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"),
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM"),
    ("-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"),
    ("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"),
    ("-curves", "P-521"),
    ("-curves", "X448"),
    ("-alpn", "spdy/3"),
]
TAKEN = [
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-servername", "a.wild.example"),
    ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
    ("-curves", "P-384"),
    ("-curves", "P-256"),
    ("-alpn", "h2"),
]


def s_client(one, *arguments, send=b""):
    return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{one.tls_ports[0]}", *arguments],
                          input=send, capture_output=True, timeout=30, check=False)


def test_old_protocols_and_weak_ciphers_are_refused(serve):
    one = serve()
    for arguments in TAKEN:
        assert s_client(one, *arguments).returncode == 0, arguments
    for arguments in REFUSED:
        done = s_client(one, *arguments)
        assert done.returncode != 0 and b"alert" in done.stderr, (arguments, done.stderr)
    # The server's order counts, but for clients without AES in hardware, who put ChaCha20 first.
    both = s_client(one, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
    assert b"Cipher is ECDHE-ECDSA-AES128-GCM-SHA256" in both.stdout
    assert b"Compression: NONE" in both.stdout
    done = s_client(one, "-tls1_2", send=b"R\n")  # asks for a renegotiation
    assert b"no renegotiation" in done.stderr, done.stderr
    assert metric(one, 'gw_tls_handshakes_total{result="failed"}') == len(REFUSED)


def test_tls_1_3_alone(serve, keys):
    one = serve('min_version = "1.3"')
    assert curl(one, keys, "--tlsv1.3").returncode == 0
    assert curl(one, keys, "--tls-max", "1.2", check=False).returncode == 35


# -- who doesn't speak TLS --


def test_garbage_and_plain_http_are_turned_away(serve, keys):
    one = serve()
    numbers = random.Random(7)
    address = ("127.0.0.1", one.tls_ports[0])
    for n in (1, 5, 100, 70000):
        with socket.create_connection(address, timeout=15) as sock:
            try:
                sock.sendall(b"\x16\x03\x01" + numbers.randbytes(n))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            except OSError:
                pass  # it may be closed before all is sent
    with socket.create_connection(address, timeout=15) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while more := sock.recv(4096):
            answer += more
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"This port speaks TLS: use https://.\n")
    with connect(one, context(keys)) as sock, socket.socket(fileno=socket.dup(sock.fileno())) as raw:
        raw.settimeout(15)
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")  # once TLS is spoken
        with contextlib.suppress(ConnectionError):
            while raw.recv(4096):
                pass
    assert curl(one, keys).returncode == 0
    assert metric(one, 'gw_tls_handshakes_total{result="failed"}') == 5


def test_a_handshake_has_a_limit_and_counts_as_a_connection(serve, keys):
    one = serve(server='head_timeout = "1s"\nmax_connections = 4')
    hello = ssl.MemoryBIO()
    half = context(keys).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    silent = [socket.create_connection(("127.0.0.1", one.tls_ports[0]), timeout=15) for _ in range(4)]
    silent[0].sendall(hello.read()[:60])
    start = time.monotonic()
    # All four places are taken: this one is accepted when they are given up.
    assert curl(one, keys).returncode == 0
    assert time.monotonic() - start > 0.5
    for sock in silent:
        assert sock.recv(1) == b""
        sock.close()
    assert metric(one, 'gw_tls_handshakes_total{result="timeout"}') == 4
    assert "not accepting connections for now" in one.log()


# -- sessions --


def resumed(one, ctx, session):
    with connect(one, ctx, session=session) as sock:
        assert ask(sock).startswith(b"HTTP/1.1 200")
        return sock.session_reused, sock.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_on_every_loop(serve, keys, version):
    one = serve()
    ctx = context(keys, version=version)
    again, session = resumed(one, ctx, None)
    assert not again
    for _ in range(24):  # the kernel spreads them over both loops
        again, session = resumed(one, ctx, session)
        assert again
    assert metric(one, 'gw_tls_handshakes_total{result="resumed"}') == 24
    assert metric(one, 'gw_tls_handshakes_total{result="full"}') == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_end_with_their_keys(serve, keys, version):
    one = serve('ticket_lifetime = "1s"')
    ctx = context(keys, version=version)
    _, session = resumed(one, ctx, None)
    time.sleep(2.2)  # the key that sealed it opens nothing any more
    again, session = resumed(one, ctx, session)
    assert not again


def test_without_tickets_nothing_is_resumed(serve, keys):
    one = serve("session_tickets = false")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx = context(keys, version=version)
        _, session = resumed(one, ctx, None)
        assert session is None or not session.has_ticket
        assert not resumed(one, ctx, session)[0]


# -- clients' certificates --


def der(keys, name):
    return openssl(keys.folder, "x509", "-in", f"{name}.pem", "-outform", "DER").stdout


def forwarded(faults):
    return re.findall(r"(?im)^client-cert(?:-chain)?: .*?$", faults.requests[-1][1])


@pytest.mark.parametrize("need", ["optional", "required"])
def test_clients_certificates(serve, keys, faults, need):
    one = serve(f'client_certificates = "{need}"\nclient_ca = "{keys.pem}"')
    mine = ["--cert", f"{keys.folder}/ada.pem", "--key", f"{keys.folder}/ada.key"]
    theirs = ["--cert", f"{keys.folder}/eve.pem", "--key", f"{keys.folder}/eve.key"]
    made_up = ["-H", "Client-Cert: :AAAA:", "-H", "Client-Cert-Chain: :AAAA:"]
    expected = f"client-cert: :{base64.b64encode(der(keys, 'ada')).decode()}:"
    for version in ("1.2", "1.3"):
        for path in ("/", "/r/ok"):
            curl(one, keys, "--tls-max", version, *mine, *made_up, path=path)
            sent = forwarded(faults)
            assert [line.strip().lower() for line in sent] == [expected.lower()], sent
            assert expected.split(" ")[1] in sent[0]
            without = curl(one, keys, "--tls-max", version, *made_up, path=path, check=False)
            assert (without.returncode == 0) == (need == "optional")
            assert need == "required" or forwarded(faults) == []
        assert curl(one, keys, "--tls-max", version, *theirs, check=False).returncode != 0
    # A session that is resumed is still its client's; one that began without stays without.
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx = context(keys, version=version, client="ada")
        _, session = resumed(one, ctx, None)
        assert resumed(one, ctx, session)[0]
        assert forwarded(faults) != []


def test_nobody_is_asked_and_nobody_is_believed_by_default(serve, keys, faults):
    one = serve()
    curl(one, keys, "--cert", f"{keys.folder}/eve.pem", "--key", f"{keys.folder}/eve.key")
    assert forwarded(faults) == []
    for path in ("/", "/r/ok"):
        httpx.get(one.url + path, headers={"Client-Cert": ":AAAA:", "Client-Cert-Chain": ":AAAA:"})
        assert forwarded(faults) == []


# -- cleartext --


def test_cleartext_is_sent_to_https(serve, keys, tmp_path):
    more = f', "unix:{tmp_path}/plain.sock"'
    one = serve('redirect = true\nhsts = "365d"', server='trusted_proxies = ["127.0.0.1"]', more=more)
    port = one.tls_ports[0]
    plain = httpx.Client(trust_env=False)

    def location(method, path, **headers):
        answer = plain.request(method, one.url + path, headers=headers)
        assert answer.status_code == 308 and "strict-transport-security" not in answer.headers
        return answer.headers["location"]

    assert location("GET", "/a%2Fb?x=1&y=%20", host="shop.example:8080") == f"https://shop.example:{port}/a%2Fb?x=1&y=%20"
    assert location("POST", "/", host="shop.example") == f"https://shop.example:{port}/"
    assert location("DELETE", "/nope", host="[::1]:80") == f"https://[::1]:{port}/nope"
    assert location("GET", "/", host="[::1]") == f"https://[::1]:{port}/"
    assert location("OPTIONS", "/", **{"x-forwarded-host": "a.example"}) == f"https://a.example:{port}/"
    with socket.create_connection(one.host_port, timeout=15) as sock:
        assert ask(sock, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    prior = subprocess.run(["curl", "-sSi", "--noproxy", "*", "--http2-prior-knowledge", one.url],
                           capture_output=True, check=True, timeout=30)
    assert prior.stdout.startswith(b"HTTP/2 308")
    # Who came by https already isn't sent in a circle; nor are neighbours on a unix socket.
    assert plain.get(one.url, headers={"x-forwarded-proto": "https"}).status_code == 200
    local = httpx.Client(transport=httpx.HTTPTransport(uds=f"{tmp_path}/plain.sock"))
    assert local.get("http://a/").status_code == 200
    assert httpx.get(one.admin + "/livez").status_code == 200
    for path in ("/", "/nope", "/r/ok"):
        assert curl(one, keys, path=path).stdout.lower().count(b"strict-transport-security: max-age=31536000") == 1
    fixed = serve("redirect = true\nredirect_port = 443")
    assert plain.get(fixed.url, headers={"host": "a:1"}).headers["location"] == "https://a/"


# -- certificates that change --


def test_certificates_are_read_anew(serve, keys, tmp_path):
    control = tmp_path / "control.sock"
    one = serve(control=f"unix:{control}", tls=f'client_certificates = "optional"\nclient_ca = "{keys.pem}"')
    operator = httpx.Client(transport=httpx.HTTPTransport(uds=str(control)), timeout=20)
    saved = {name: (keys.folder / name).read_bytes() for name in ("shop.pem", "shop.key")}
    ctx = context(keys)
    try:
        with connect(one, ctx) as old:
            assert ask(old).startswith(b"HTTP/1.1 200")
            before = old.getpeercert()["serialNumber"]
            keys.sign("shop", subject="new", hosts=["localhost", "new.example"])
            with connect(one, ctx) as sock:
                assert sock.getpeercert()["serialNumber"] == before, "nobody has asked yet"
            assert operator.post("http://g/tls/reload").text == "certificates reloaded\n"
            assert names_of(one, context(keys), "new.example") == {"localhost", "new.example"}
            assert ask(old).startswith(b"HTTP/1.1 200"), "who was there stays"
            _, session = resumed(one, ctx, None)
            assert operator.post("http://g/tls/reload").status_code == 200
            assert resumed(one, ctx, session)[0], "the keys of tickets stay"
        (keys.folder / "shop.key").chmod(0o644)
        assert "may read" in operator.post("http://g/tls/reload").text, "with a warning"
        (keys.folder / "shop.key").chmod(0o600)
        shutil.copy(keys.folder / "wild.key", keys.folder / "shop.key")
        refused = operator.post("http://g/tls/reload")
        assert refused.status_code == 422 and "is not the key of the certificate" in refused.json()["detail"]
        assert names_of(one, context(keys), "new.example") == {"localhost", "new.example"}
        (keys.folder / "shop.pem").unlink()
        assert "No such file" in operator.post("http://g/tls/reload").json()["detail"]
        assert curl(one, keys, host="localhost").returncode == 0
        assert one.log().count("certificates not reloaded") == 2
    finally:
        for name, content in saved.items():
            (keys.folder / name).write_bytes(content)


def test_what_is_wrong_is_told_with_its_place(keys, tmp_path):
    folder = keys.folder
    keys.sign_dated("old", "20200101000000Z", "20210203040506Z")
    keys.sign_dated("new", "20800101000000Z", "20810101000000Z")
    openssl(folder, "ec", "-in", "ada.key", "-aes128", "-passout", "pass:x", "-out", "sealed.key")
    (folder / "empty.pem").write_text("nothing here\n")
    (folder / "open.key").write_bytes((folder / "shop.key").read_bytes())
    (folder / "open.key").chmod(0o644)
    both = '[tls.certificates.a]\ncertificate = "{0}/{1}.pem"\nkey = "{0}/{2}.key"\n'

    def check(tls, certificate=None, key=None, listen='listen_tls = ["127.0.0.1:0"]'):
        text = f"[server]\n{listen}\n[tls]\n{tls}\n" + (both.format(folder, certificate, key) if certificate else "")
        (tmp_path / "g.toml").write_text(text)
        done = command("check", "-c", "g.toml", cwd=tmp_path)
        return done.returncode, done.stderr

    assert check("", "shop", "shop") == (0, "")
    for wrong, place, text in (
        (check("", None), "2:14", "listen_tls needs a certificate"),
        (check("", "shop", "wild"), "7:7", "is not the key of the certificate"),
        (check("", "shop", "none"), "7:7", "cannot be read: No such file"),
        (check("", "none", "shop"), "6:15", "cannot be read: No such file"),
        (check("", "empty", "shop"), "6:15", "holds no usable certificate"),
        (check("", "ada", "sealed"), "7:7", "needs a passphrase"),
        (check('client_certificates = "required"', "shop", "shop"), "4:23", "needs client_ca"),
        (check(f'client_certificates = "required"\nclient_ca = "{folder}/empty.pem"', "shop", "shop"), "5:13",
         "holds no usable certificate"),
        (check("redirect = true", listen=""), "4:12", "redirect needs a place to go"),
        (check('min_version = "1.1"', "shop", "shop"), "4:15", "min_version"),
        (check('ticket_lifetime = "8d"', "shop", "shop"), "4:19", "ticket_lifetime"),
    ):
        assert wrong[0] == 78 and f"g.toml:{place}: error: " in wrong[1] and text in wrong[1], wrong
        assert wrong[1].count("\n") == 1, wrong
    for warned, place, text in (
        (check("", "old", "old"), "6:15", "expired on 2021-02-03 04:05:06 UTC"),
        (check("", "new", "new"), "6:15", "is not valid before 2080-01-01 00:00:00 UTC"),
        (check("", "shop", "open"), "7:7", "every user of this machine may read"),
        (check(f'client_ca = "{folder}/ca.pem"', "shop", "shop"), "4:13", "of no use"),
        (check("", "shop", "shop", listen=""), "5:", "of no use"),
        (check('hsts = "1d"', listen=""), "4:8", "of no use"),
    ):
        assert warned[0] == 0 and f"g.toml:{place}" in warned[1] and "warning: " in warned[1] and text in warned[1], warned


def test_a_reload_of_the_configuration_keeps_connections_and_sessions(serve, keys):
    """SIGHUP reads certificates too; who is connected stays, and sessions are resumed across it."""
    one = serve()
    port = one.tls_ports[0]
    ctx = ssl.create_default_context(cafile=str(keys.pem))
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2  # where Python can offer a session again
    request = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"

    def connect(session=None):
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        return ctx.wrap_socket(plain, server_hostname="shop.example", session=session)

    def ask(sock):
        sock.sendall(request)
        return sock.recv(65536).split(b"\r\n")[0]

    shaking = socket.create_connection(("127.0.0.1", port), timeout=20)  # says nothing yet
    with connect() as kept:
        assert ask(kept) == b"HTTP/1.1 200 OK"
        for turn in range(2):
            one.process.send_signal(signal.SIGHUP)
            until(lambda: one.log().count('"configuration reloaded"') == turn + 1, "the reload")
            assert ask(kept) == b"HTTP/1.1 200 OK"
            with connect(kept.session) as again:
                assert again.session_reused and ask(again) == b"HTTP/1.1 200 OK"
        with ctx.wrap_socket(shaking, server_hostname="shop.example") as late:
            assert ask(late) == b"HTTP/1.1 200 OK"
    numbers = httpx.get(one.admin + "/metrics", trust_env=False).text
    assert 'gw_tls_handshakes_total{result="resumed"} 2' in numbers
