"""sign-url and token: links and tokens as a program of another language would make and check them."""

import base64
import hashlib
import hmac
import re
import stat
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import command

SITE = """\
[data]
dir = "kept"
[uploads.main]
path = "/upload"
dir = "up"
auth = "signed"
[downloads.main]
path = "/files/"
from = "main"
auth = "signed"
[downloads.open]
path = "/open"
dir = "open"
"""


def hkdf(secret, purpose):
    """RFC 5869 with SHA-256, no salt, 32 bytes."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, purpose + b"\1", "sha256")


def signature(secret, *parts):
    text = b"".join(struct.pack(">Q", len(part)) + part for part in map(str.encode, parts))
    mac = hmac.digest(hkdf(secret, b"signed-url"), text, "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site.toml").write_text(SITE)

    def sign(*arguments, **options):
        return command("sign-url", "-c", "site.toml", *arguments, cwd=tmp_path, **options)

    sign.folder = tmp_path
    return sign


def taken_apart(done):
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"([^?]+)\?(?:(.*)&)?expires=(\d+)&sig=([\w-]{43})\n", done.stdout)
    assert found, done.stdout
    return found[1], found[2] or "", int(found[3]), found[4]


@pytest.mark.parametrize("arguments,right,path,query,seconds", [
    (["/files/1"], "read", "/files/1", "", 3600),
    (["/files"], "read", "/files", "", 3600),
    (["/files/1?size=big&b"], "read", "/files/1", "size=big&b", 3600),
    (["--write", "/upload"], "write", "/upload", "", 3600),
    (["--expires", "7d", "--write", "/upload/x"], "write", "/upload/x", "", 604800),
    (["--expires=1500ms", "/files/"], "read", "/files/", "", 2),
    (["/files/größe 1#<2>?a=ä"], "read", "/files/gr%C3%B6%C3%9Fe%201%23%3C2%3E", "a=%C3%A4", 3600),
    (["/files/a%2Fb%20c~"], "read", "/files/a%2Fb%20c~", "", 3600),
    (["/files/1?a=1&expires=5&sig=x"], "read", "/files/1", "a=1", 3600),
    (["/files/1?"], "read", "/files/1", "", 3600),
])
def test_a_link_is_what_it_says(site, arguments, right, path, query, seconds):
    before = int(time.time())
    done = site(*arguments)
    after = int(time.time())
    assert done.stderr == ""
    got_path, got_query, expires, sig = taken_apart(done)
    assert (got_path, got_query) == (path, query)
    assert before + seconds <= expires <= after + seconds
    secret = bytes.fromhex((site.folder / "kept" / "secret").read_text())
    assert sig == signature(secret, right, path, query, str(expires))


def test_the_secret_is_made_once_for_its_owner(site):
    site("/files/1")
    path = site.folder / "kept" / "secret"
    text = path.read_text()
    assert re.fullmatch(r"[0-9a-f]{64}\n", text)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    site("/files/1")
    assert path.read_text() == text
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


def test_commands_that_start_at_once_share_the_secret(site):
    with ThreadPoolExecutor(8) as pool:
        links = [taken_apart(done) for done in pool.map(site, ["/files/1"] * 16)]
    secret = bytes.fromhex((site.folder / "kept" / "secret").read_text())
    for path, query, expires, sig in links:
        assert sig == signature(secret, "read", path, query, str(expires))


def test_a_secret_from_the_environment_needs_no_file(site):
    text = SITE.replace('dir = "kept"', 'dir = "kept"\nsecret = "${LINK_SECRET}"')
    (site.folder / "site.toml").write_text(text)
    words = "correct horse battery staple now"
    path, query, expires, sig = taken_apart(site("/files/1", env={"LINK_SECRET": words}))
    secret = hashlib.sha256(words.encode()).digest()
    assert sig == signature(secret, "read", path, query, str(expires))
    assert not (site.folder / "kept").exists()
    done = site("/files/1", env={"LINK_SECRET": words[1:]})
    assert (done.returncode, done.stdout) == (78, "")
    assert "site.toml:3:10: error: secret: 31 bytes; at least 32 are needed" in done.stderr
    assert words[1:] not in done.stderr


@pytest.mark.parametrize("path", ["/open/1", "/elsewhere", "/filesystem", "/", "/uploads"])
def test_a_link_that_nothing_asks_for_comes_with_a_warning(site, path):
    done = site(path)
    taken_apart(done)
    assert done.stderr == (
        f"gateway sign-url: warning: nothing of site.toml at {path} asks for a signed link (an upload "
        'or a download with auth = "signed", a certificate that isn\'t open)\n'
    )


@pytest.mark.parametrize("arguments,message", [
    ([], "too few arguments"),
    (["/a", "/b"], "too many arguments"),
    (["files/1"], "the path must begin with /"),
    (["https://shop.example/files/1"], "the path must begin with /"),
    (["/files/100%"], "a % must begin an escape"),
    (["/files/%zz"], "a % must begin an escape"),
    (["/" + "x" * 8192], "the path is too long"),
    (["--expires", "soon", "/files/1"], 'expected a duration like "1h", at most 3650d, got "soon"'),
    (["--expires", "0s", "/files/1"], 'got "0s"'),
    (["--expires", "3651d", "/files/1"], 'got "3651d"'),
    (["--expires", "3600", "/files/1"], 'got "3600"'),
])
def test_what_cannot_be_signed_is_told(site, arguments, message):
    done = site(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (site.folder / "kept").exists()


def test_a_bad_configuration_or_secret_signs_nothing(site):
    (site.folder / "site.toml").write_text(SITE + "[server]\nlisen = []\n")
    done = site("/files/1")
    assert (done.returncode, done.stdout) == (78, "")
    assert 'did you mean "listen"?' in done.stderr
    (site.folder / "site.toml").write_text(SITE)
    (site.folder / "kept").mkdir()
    secret = site.folder / "kept" / "secret"
    secret.write_text("ab" * 32)
    secret.chmod(0o644)
    done = site("/files/1")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        f"site.toml:2:7: error: {secret}: others than its owner may use it (mode 0644): chmod 600 it\n"
    )
    secret.chmod(0o600)
    secret.write_text("open sesame")
    done = site("/files/1")
    assert (done.returncode, done.stdout) == (78, "")
    assert "not a secret: expected 64 hexadecimal digits" in done.stderr


def test_a_token_and_the_section_that_knows_it(tmp_path):
    first, second = command("token", "ci"), command("token")
    for done, name in ((first, "ci"), (second, "NAME")):
        assert done.returncode == 0
        token = done.stdout.removesuffix("\n")
        assert len(base64.urlsafe_b64decode(token + "=")) == 32
        digest = hashlib.sha256(token.encode()).hexdigest()
        assert done.stderr == f'[tokens.{name}]\ndigest = "sha256:{digest}"\n'
    assert first.stdout != second.stdout
    (tmp_path / "site.toml").write_text(first.stderr + second.stderr)
    done = command("check", "-c", "site.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["2x", "a.b", "a b", "", "ä", "x" * 65])
def test_a_token_s_name_is_one_for_the_configuration(name):
    done = command("token", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a name has letters, digits, - and _" in done.stderr
