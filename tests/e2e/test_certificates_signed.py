"""Certificates that are signed, and time stamps: what readers say of them, and what is issued when the
authority is away."""

import concurrent.futures
import re
import subprocess

import httpx
import pytest

from gateway import command
from pdf_judges import authority, clock  # noqa: F401  (fixtures)
from test_certificates import JSON, PLAIN, REGISTER, issued, refused, section, text_of


@pytest.fixture(params=["p256", "p384", "rsa-2048"])
def kind(request):
    return request.param


@pytest.fixture
def keys(tmp_path):
    def make(kind="p256", name="The School of Sea Lore"):
        prefix = tmp_path / kind
        done = command("keygen", "--type", kind, "--name", name, "--out", prefix)
        assert done.returncode == 0, done.stderr
        return f'''
[certificates.main.sign]
key = "{prefix}.key.pem"
certificate = "{prefix}.cert.pem"
reason = "Course completed"
location = "Harbour"
'''

    return make


def stamped(url, without="fail"):
    return f'''timestamp = "clock"
timestamp_path = "/tsa"
without_timestamp = "{without}"
[upstreams.clock]
url = "{url}"
timeout = "5s"
'''


def readers_say(pdf, tmp_path):
    path = tmp_path / "signed.pdf"
    path.write_bytes(pdf)
    assert subprocess.run(["qpdf", "--check", path], capture_output=True).returncode == 0
    return subprocess.run(["pdfsig", path], capture_output=True, text=True, timeout=60).stdout


def signature_of(pdf, tmp_path):
    """What OpenSSL reads in the CMS."""
    der = bytes.fromhex(re.search(rb"/Contents\s*<([0-9A-Fa-f]+)>", pdf)[1].decode())
    path = tmp_path / "signature.der"
    path.write_bytes(der)
    done = subprocess.run(["openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", path],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_readers_find_the_signature_valid(gateway, keys, kind, tmp_path):
    one = gateway(REGISTER + section() + keys(kind), {"certificate.svg": PLAIN})
    answer = httpx.get(f"{one.url}/certificate?name=Ada", timeout=60)
    pdf = issued(answer)
    said = readers_say(pdf, tmp_path)
    assert "Signature is Valid." in said and "Total document signed" in said, said
    assert "ETSI.CAdES.detached" in said and "The School of Sea Lore" in said
    assert "timeStampToken" not in signature_of(pdf, tmp_path)
    assert "Ada" in text_of(pdf)
    assert issued(httpx.get(f"{one.url}/certificate?name=Ada")) == pdf
    said = httpx.post(f"{one.url}/certificates/verify", content=pdf,
                      headers={**JSON, "content-type": "application/pdf"}).json()
    assert said["status"] == "valid"


def test_the_signers_name_is_a_field(gateway, keys):
    one = gateway(REGISTER + section() + keys(), {"certificate.svg": PLAIN.replace("on {{timestamp}}", "by {{signer}}")})
    assert "by The School of Sea Lore" in text_of(issued(httpx.get(f"{one.url}/certificate?name=Ada", timeout=60)))


def test_a_time_stamp_is_in_the_signature(gateway, keys, clock, tmp_path):
    one = gateway(REGISTER + section() + keys() + stamped(clock.url), {"certificate.svg": PLAIN})
    pdf = issued(httpx.get(f"{one.url}/certificate?name=Ada", timeout=60))
    assert "Signature is Valid." in readers_say(pdf, tmp_path)
    assert "timeStampToken" in signature_of(pdf, tmp_path)
    assert clock.asked == [("/tsa", "application/timestamp-query")]
    assert issued(httpx.get(f"{one.url}/certificate?name=Ada")) == pdf
    assert len(clock.asked) == 1  # a repeat asks nobody


@pytest.mark.parametrize("mode,status", [("error", 502), ("garbage", 502), ("hang", 504)])
def test_without_a_time_stamp_nothing_is_issued(gateway, keys, clock, mode, status):
    clock.mode = mode
    config = REGISTER + section() + keys() + stamped(clock.url).replace("5s", "500ms")
    one = gateway(config, {"certificate.svg": PLAIN})
    answer = httpx.get(f"{one.url}/certificate?name=Ada", headers=JSON, timeout=60)
    assert "nothing was issued" in refused(answer, status, "no-timestamp")["detail"]
    assert httpx.get(f"{one.url}/certificate?name=Ada", headers=JSON, timeout=60).status_code == status
    assert one.log().count("was not issued for want of a time stamp") == 1  # once a minute
    listed = command("certificate", "list", "-c", one.config, "--json")
    assert listed.returncode == 0 and listed.stdout == ""


def test_an_answer_to_somebody_else_is_none(gateway, keys, clock):
    clock.mode = "stale"
    one = gateway(REGISTER + section() + keys() + stamped(clock.url), {"certificate.svg": PLAIN})
    issued(httpx.get(f"{one.url}/certificate?name=Ada", timeout=60))
    answer = httpx.get(f"{one.url}/certificate?name=Bob", headers=JSON, timeout=60)
    refused(answer, 502, "no-timestamp")


@pytest.mark.parametrize("mode", ["error", "garbage"])
def test_or_it_is_issued_without_and_logged(gateway, keys, clock, mode, tmp_path):
    clock.mode = mode
    one = gateway(REGISTER + section() + keys() + stamped(clock.url, "sign"), {"certificate.svg": PLAIN})
    for name in ["Ada", "Bob"]:
        pdf = issued(httpx.get(f"{one.url}/certificate?name={name}", timeout=60))
        assert "Signature is Valid." in readers_say(pdf, tmp_path)
        assert "timeStampToken" not in signature_of(pdf, tmp_path)
    assert one.log().count("is signed without a time stamp") == 1


def test_an_authority_that_nobody_listens_at(gateway, keys, tmp_path):
    config = REGISTER + section() + keys() + stamped("http://127.0.0.1:1")
    one = gateway(config, {"certificate.svg": PLAIN})
    refused(httpx.get(f"{one.url}/certificate?name=Ada", headers=JSON, timeout=60), 502, "no-timestamp")


def test_clients_that_leave_while_the_authority_thinks(gateway, keys, clock):
    clock.mode = "hang"
    config = REGISTER + section() + keys() + stamped(clock.url)
    one = gateway(config, {"certificate.svg": PLAIN})

    def leave(i):
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{one.url}/certificate?name=n{i}", timeout=httpx.Timeout(1, connect=10))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(leave, range(8)))
    assert httpx.get(f"{one.url}/certificate", headers=JSON).status_code == 400  # it is alive


def test_a_key_that_cannot_be_used(tmp_path, keys):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "certificate.svg").write_text(PLAIN)
    good = section(more="register = false") + keys()
    rows = [(good.replace("p256.cert.pem", "p384.cert.pem"), "p384.cert.pem"),
            (good.replace("p256.key.pem", "none.pem"), "none.pem"),
            (good + 'rect = "1 2 3"\n', 'rect: "1 2 3" is not'),
            (good + 'timestamp = "nobody"\n', "timestamp: there is no [upstreams.nobody]")]
    keys("p384")
    for config, says in rows:
        (tmp_path / "one.toml").write_text(config)
        done = command("check", "-c", "one.toml", cwd=tmp_path)
        assert done.returncode == 78 and says in done.stderr, (says, done.stderr)
