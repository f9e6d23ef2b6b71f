"""https upstreams: verified, or an error; client certificates; versions. And unix sockets."""

import subprocess

import httpx
import pytest

from conftest import free_port

CONFIG = """
[upstreams.u]
url = "{url}"
[upstreams.u.tls]
{tls}
[pages.home]
path = "/"
[pages.home.parts.u]
path = "/ok.json"
"""

SERVER = """listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key; {more}"""


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A CA, a server certificate for localhost, a client certificate."""
    folder = tmp_path_factory.mktemp("keys")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj",
            "/CN=Test CA", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name, subject in (("server", "/CN=localhost"), ("client", "/CN=gateway")):
        openssl(folder, "req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "names")
    return folder


def part_of(one):
    return httpx.get(one.url, timeout=20).json()["meta"]["parts"]["u"]


def serve(nginx, keys, more=""):
    port = free_port()
    nginx({"ok.json": {"a": 1}}, listen=SERVER.format(port=port, folder=keys, more=more))
    return port


def test_a_certificate_of_a_known_authority_is_accepted(gateway, nginx, keys):
    port = serve(nginx, keys)
    tls = f'ca_file = "{keys}/ca.pem"'
    one = gateway(CONFIG.format(url=f"https://localhost:{port}", tls=tls))
    assert part_of(one)["state"] == "ok"


def test_an_unknown_authority_or_another_name_is_refused(gateway, nginx, keys):
    port = serve(nginx, keys)
    unknown = gateway(CONFIG.format(url=f"https://localhost:{port}", tls=""))
    tls = f'ca_file = "{keys}/ca.pem"'
    misnamed = gateway(CONFIG.format(url=f"https://127.0.0.1:{port}", tls=tls))
    for one in (unknown, misnamed):
        part = part_of(one)
        assert (part["state"], part["error"]) == ("error", "tls_certificate_error")


def test_a_client_certificate_is_shown_when_asked_for(gateway, nginx, keys):
    port = serve(nginx, keys, f"ssl_client_certificate {keys}/ca.pem; ssl_verify_client on;")
    ca = f'ca_file = "{keys}/ca.pem"\n'
    both = ca + f'cert_file = "{keys}/client.pem"\nkey_file = "{keys}/client.key"'
    url = f"https://localhost:{port}"
    assert part_of(gateway(CONFIG.format(url=url, tls=both)))["state"] == "ok"
    assert part_of(gateway(CONFIG.format(url=url, tls=ca)))["state"] == "error"


def test_an_old_protocol_is_refused(gateway, nginx, keys):
    port = serve(nginx, keys, "ssl_protocols TLSv1.2;")
    tls = f'ca_file = "{keys}/ca.pem"\nmin_version = "1.3"'
    part = part_of(gateway(CONFIG.format(url=f"https://localhost:{port}", tls=tls)))
    assert part["state"] == "error"
    assert part["error"] in ("tls_alert_received", "tls_protocol_error")


def test_a_service_on_a_unix_socket(gateway, nginx, tmp_path):
    nginx({"ok.json": {"a": 1}}, listen=f"listen unix:{tmp_path}/service.sock;")
    text = CONFIG.format(url=f"unix:{tmp_path}/service.sock", tls="").replace("[upstreams.u.tls]", "")
    page = httpx.get(gateway(text).url)
    assert page.json()["data"]["u"] == {"a": 1}
