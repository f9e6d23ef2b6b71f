"""keygen: files that only their owner may read, never over others, that openssl finds good."""

import re
import stat
import subprocess
import tomllib

import pytest

from gateway import command


def openssl(*arguments, cwd):
    return subprocess.run(["openssl", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("kind,shown", [
    (None, "ASN1 OID: prime256v1"),
    ("p256", "ASN1 OID: prime256v1"),
    ("p384", "ASN1 OID: secp384r1"),
    ("rsa-2048", "Public-Key: (2048 bit)"),
    ("rsa-3072", "Public-Key: (3072 bit)"),
])
def test_a_key_of_each_type_and_the_lines_that_name_it(tmp_path, kind, shown):
    made = command("keygen", *(["--type", kind] if kind else []), cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert tomllib.loads(made.stdout) == {"certificates": {"NAME": {"sign": {
        "key": "signing.key.pem", "certificate": "signing.cert.pem"}}}}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "signing.cert.pem", "signing.key.pem"]
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = openssl("x509", "-in", "signing.cert.pem", "-noout", "-text", cwd=tmp_path).stdout
    assert shown in text and "CN = Certificate issuer" in text
    key = openssl("pkey", "-in", "signing.key.pem", "-pubout", cwd=tmp_path).stdout
    assert key == openssl("x509", "-in", "signing.cert.pem", "-noout", "-pubkey", cwd=tmp_path).stdout
    assert openssl("verify", "-CAfile", "signing.cert.pem", "-purpose", "smimesign",
                   "signing.cert.pem", cwd=tmp_path).returncode == 0


def test_names_in_any_script_and_days_and_a_place_of_ones_own(tmp_path):
    (tmp_path / "keys").mkdir()
    made = command("keygen", "--name", "Zoë, 学院", "--organization", 'A "B", Ltd', "--days", "7",
                   "--out", 'keys/a "quoted" \\ one', cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    sign = tomllib.loads(made.stdout)["certificates"]["NAME"]["sign"]
    assert (tmp_path / sign["key"]).read_text().startswith("-----BEGIN EC PRIVATE KEY-----\n")
    shown = openssl("x509", "-in", sign["certificate"], "-noout", "-subject", "-dates", "-nameopt",
                    "utf8,sep_comma_plus", cwd=tmp_path).stdout
    assert 'subject=O=A "B", Ltd,CN=Zoë, 学院\n' in shown
    for seconds, ends in ((7 * 86400 - 600, 0), (7 * 86400 + 600, 1)):
        assert openssl("x509", "-in", sign["certificate"], "-noout", "-checkend", str(seconds),
                       cwd=tmp_path).returncode == ends


@pytest.mark.parametrize("there", ["signing.key.pem", "signing.cert.pem"])
def test_a_file_is_never_overwritten(tmp_path, there):
    (tmp_path / there).write_text("precious")
    made = command("keygen", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr == (f"gateway keygen: {there} is there already: remove it first, or choose "
                           "another --out\n")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_of_several_at_once_one_makes_the_files(tmp_path):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: command("keygen", cwd=tmp_path), range(8)))
    assert sorted(one.returncode for one in done) == [0] + 7 * [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "signing.cert.pem", "signing.key.pem"]
    key = openssl("pkey", "-in", "signing.key.pem", "-pubout", cwd=tmp_path).stdout
    assert key == openssl("x509", "-in", "signing.cert.pem", "-noout", "-pubkey", cwd=tmp_path).stdout


def test_a_folder_that_is_missing_is_told(tmp_path):
    made = command("keygen", "--out", "no/such", cwd=tmp_path)
    assert made.returncode == 1
    assert made.stderr == ("gateway keygen: no/such.key.pem cannot be written: "
                           "No such file or directory\n")


@pytest.mark.parametrize("arguments,code,reason", [
    (["--type", "dsa"], 2, '--type: expected p256, p384, rsa-2048 or rsa-3072, got "dsa"'),
    (["--days", "0"], 2, '--days: expected 1 to 36500, got "0"'),
    (["--days", "36501"], 2, '--days: expected 1 to 36500, got "36501"'),
    (["--days", "1e3"], 2, '--days: expected 1 to 36500, got "1e3"'),
    (["--days", ""], 2, '--days: expected 1 to 36500, got ""'),
    (["--name", ""], 1, "the name: empty"),
    (["--name", "x" * 65], 1, "the name: longer than 64 letters"),
    (["--organization", "a\nb"], 1, "the organization: a control character"),
    (["stray"], 2, "too many arguments"),
])
def test_wrong_arguments_are_refused_and_nothing_is_written(tmp_path, arguments, code, reason):
    made = command("keygen", *arguments, cwd=tmp_path)
    assert made.returncode == code
    assert re.match(re.escape(f"gateway keygen: {reason}"), made.stderr), made.stderr
    assert list(tmp_path.iterdir()) == []
