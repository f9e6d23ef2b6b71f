"""Judges of a certificate's PDF: programs that other people wrote and that readers of PDFs use.

Each function takes the bytes of a PDF and says what a judge sees; none but picture() raises because
of what is in them, so that a test can ask for the good and for the bad. `authority` and `stranger` are fixtures:
two certificate authorities that don't know each other, made by openssl.
"""

import dataclasses
import functools
import hashlib
import http.server
import io
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time

import pytest
from PIL import Image, ImageChops

TIMEOUT = 120  # seconds; sanitizers and a busy machine included


def _run(*words, data=None, cwd=None):
    return subprocess.run([str(w) for w in words], input=data, cwd=cwd, timeout=TIMEOUT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _must(*words, data=None, cwd=None):
    done = _run(*words, data=data, cwd=cwd)
    assert done.returncode == 0, f"{words}: {done.stdout.decode(errors='replace')}"
    return done.stdout


@dataclasses.dataclass
class _File:
    """The PDF as a file, for judges that don't read from a pipe."""
    pdf: bytes

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name) / "judged.pdf"
        path.write_bytes(self.pdf)
        return path

    def __exit__(self, *_):
        self.folder.cleanup()


# -- what is in it -- #

def qpdf_check(pdf):
    """What qpdf finds wrong: "" = no fault."""
    with _File(pdf) as path:
        done = _run("qpdf", "--check", path)
    said = done.stdout.decode(errors="replace")
    return "" if done.returncode == 0 and "No syntax or stream encoding errors found" in said else said


def pdf_text(pdf):
    """What pdftotext reads, in the order of the page."""
    with _File(pdf) as path:
        return _run("pdftotext", "-enc", "UTF-8", "-nopgbrk", path, "-").stdout.decode(errors="replace")


def pdf_fonts(pdf):
    """A dict a font: name, type, encoding (text), embedded, subset, unicode (booleans)."""
    with _File(pdf) as path:
        lines = _run("pdffonts", path).stdout.decode(errors="replace").splitlines()
    ruler = next((i for i, line in enumerate(lines) if line.startswith("----")), len(lines))
    fonts = []
    for line in lines[ruler + 1:]:
        columns = [line[m.start():m.end()].strip() for m in re.finditer("-+", lines[ruler])]
        fonts.append(dict(zip(("name", "type", "encoding"), columns)) |
                     dict(zip(("embedded", "subset", "unicode"), (c == "yes" for c in columns[3:6]))))
    return fonts


def picture(pdf, dpi=100, page=1):
    """The page as pdftoppm draws it: a PIL image, RGB."""
    with _File(pdf) as path:
        drawn = subprocess.run(["pdftoppm", "-r", str(dpi), "-f", str(page), "-l", str(page), path],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=TIMEOUT).stdout
    assert drawn, "pdftoppm draws nothing"
    return Image.open(io.BytesIO(drawn)).convert("RGB")


def decode_qr(pdf, dpi=200):
    """What the codes on the first page say, as zbarimg reads them off its picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "page.png"
        picture(pdf, dpi).save(path)
        done = subprocess.run(["zbarimg", "--quiet", "--raw", path], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=TIMEOUT)
    return done.stdout.decode(errors="replace").splitlines()


# -- who signed it -- #

class Authority:
    """root -> intermediate -> signers, as openssl makes them, and databases for pdfsig."""

    KEYS = {"rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "rsa3072": ["RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
            "ec": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "p384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]}

    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder), name
        self.root = self._issue("root", f"{name} Root", None, "ec",
                                "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign")
        self.intermediate = self._issue(
            "intermediate", f"{name} Intermediate", "root", "ec",
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign")
        self.database("untrusted")
        nss = self.database("trusted")
        _must("certutil", "-A", "-d", f"sql:{nss}", "-n", "root", "-t", "CT,CT,CT", "-a", "-i", self.root)

    def _issue(self, name, common_name, issuer, kind, extensions, days=2):
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        _must("openssl", "genpkey", "-quiet", "-algorithm", *self.KEYS[kind], "-out", key)
        key.chmod(0o600)
        (self.folder / f"{name}.ext").write_text(
            f"{extensions}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        request = _must("openssl", "req", "-new", "-utf8", "-key", key, "-subj", f"/O={self.name}/CN={common_name}")
        signed_by = (["-CA", self.folder / f"{issuer}.pem", "-CAkey", self.folder / f"{issuer}.key"]
                     if issuer else ["-signkey", key])
        _must("openssl", "x509", "-req", "-sha256", "-days", days, "-extfile", self.folder / f"{name}.ext",
              *signed_by, "-out", certificate, data=request)
        return certificate

    @functools.cache
    def signer(self, kind="rsa", common_name=None):
        """(key, certificate followed by the intermediate's): paths of PEM files."""
        name = f"signer-{kind}" + (f"-{abs(hash(common_name))}" if common_name else "")
        leaf = self._issue(name, common_name or f"{self.name} Signer {kind}", "intermediate", kind,
                           "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,nonRepudiation\n"
                           "extendedKeyUsage=emailProtection")
        chain = self.folder / f"{name}-chain.pem"
        chain.write_bytes(leaf.read_bytes() + self.intermediate.read_bytes())
        return self.folder / f"{name}.key", chain

    def database(self, name):
        """An NSS database; "trusted" knows the root, "untrusted" nobody."""
        folder = self.folder / f"nss-{name}"
        if not folder.exists():
            folder.mkdir()
            _must("certutil", "-N", "-d", f"sql:{folder}", "--empty-password")
        return folder


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "Test Academy")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "Somebody Else")


def pdfsig(pdf, authority, trusted=True):
    """What pdfsig says to a reader who knows the authority's root, or who doesn't: a dict a signature.
    `field`, `name`, `time`, `hash`, `type`, `ranges` [(from, to), …], `whole` (is the whole document
    covered), `signature` ("Signature is Valid.", "Digest Mismatch.", …) and `certificate`
    ("Certificate is Trusted.", "Certificate issuer is unknown.", or when the file brings the root
    along "Certificate issuer isn't Trusted."; "" when the signature isn't valid).

    Not with -no-ocsp: poppler 22.12 trusts nobody then, and our certificates name no server to ask."""
    with _File(pdf) as path:
        said = _run("pdfsig", "-nssdir", authority.database("trusted" if trusted else "untrusted"), path).stdout.decode(errors="replace")
    signatures = []
    for part in re.split(r"^Signature #\d+:\n", said, flags=re.M)[1:]:
        line = lambda label: (re.search(rf"^  - {label}: (.*)$", part, re.M) or [0, ""])[1]
        signatures.append({
            "field": line("Signature Field Name"),
            "name": line("Signer Certificate Common Name"),
            "time": line("Signing Time"),
            "hash": line("Signing Hash Algorithm"),
            "type": line("Signature Type"),
            "ranges": [(int(a), int(b)) for a, b in re.findall(r"\[(\d+) - (\d+)\]", line("Signed Ranges"))],
            "whole": "  - Total document signed" in part,
            "signature": line("Signature Validation"),
            "certificate": line("Certificate Validation"),
        })
    return signatures


def signed_parts(pdf):
    """Cuts each signature out by its /ByteRange: [(DER of the CMS, what is signed), …]."""
    parts = []
    for found in re.finditer(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]", pdf):
        start, first, second, rest = (int(n) for n in found.groups())
        hole = pdf[start + first:second]
        if not re.fullmatch(rb"<[0-9A-Fa-f\s]*>", hole):
            continue
        der = bytes.fromhex(hole[1:-1].decode())
        if len(der) > 4 and der[:2] == b"\x30\x82":  # a CMS takes between 256 and 65535 bytes
            der = der[:4 + int.from_bytes(der[2:4], "big")]
        parts.append((der, pdf[start:start + first] + pdf[second:second + rest]))
    return parts


def openssl_verify(pdf, authority, cades=True):
    """What `openssl cms -verify` says of each signature: "" = good, and by somebody whom the
    authority's root vouches for. `cades`: the signed attributes must name the certificate."""
    said = []
    for der, content in signed_parts(pdf):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "content").write_bytes(content)
            done = _run("openssl", "cms", "-verify", "-binary", *(["-cades"] if cades else []), "-inform", "DER",
                        "-content", "content", "-CAfile", authority.root, "-purpose", "any", "-out", os.devnull, data=der, cwd=folder)
        said.append("" if done.returncode == 0 else done.stdout.decode(errors="replace"))
    return said


# -- when -- #

class TimestampAuthority:
    """An RFC 3161 authority on a free port of 127.0.0.1, `openssl ts` behind HTTP. `mode` can be
    changed while it runs: "stamp", "refuse" (its answer says no), "garbage", "error" (500), "hang"
    (seconds without an answer: set `patience`), "other" (a good stamp, of something else), "nonce" (a
    good stamp that answers another question about the same thing), "stale" (the first answer given in
    this mode, again and again), "purpose" (signed by a certificate that isn't for time stamping).
    `asked`: of each request path and content type."""

    def __init__(self, authority):
        self.authority, self.folder, self.root = authority, authority.folder, authority.root
        self.mode, self.patience, self.asked, self.stale = "stamp", 30.0, [], None
        self.ending = threading.Event()
        if not (self.folder / "tsa.pem").exists():
            authority._issue("tsa", f"{authority.name} Clock", "intermediate", "rsa",
                             "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                             "extendedKeyUsage=critical,timeStamping")
            (self.folder / "tsa.cnf").write_text(
                "[tsa]\ndefault_tsa=clock\n[clock]\nserial=tsa.serial\nsigner_cert=tsa.pem\nsigner_key=tsa.key\n"
                "certs=intermediate.pem\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\n"
                "digests=sha256,sha384,sha512\naccuracy=secs:1\ness_cert_id_alg=sha256\n")
        answer = self.answer

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                status, body = answer(self.rfile.read(int(self.headers["Content-Length"])), self.path,
                                      self.headers["Content-Type"])
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.lock = threading.Lock()  # of tsa.serial
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, query, path, content_type):
        self.asked.append((path, content_type))
        if content_type != "application/timestamp-query":
            return 415, b""
        if self.mode == "hang":
            self.ending.wait(self.patience)
        if self.mode in ("hang", "error"):
            return 500, b""
        if self.mode == "garbage":
            return 200, b"0\x03not a stamp"
        if self.mode == "refuse":
            query = b"0\x00"
        if self.mode == "stale" and self.stale:
            return 200, self.stale
        with self.lock, tempfile.TemporaryDirectory() as folder:
            asked, reply = pathlib.Path(folder) / "query", pathlib.Path(folder) / "reply"
            asked.write_bytes(query)
            digest = {"other": "00" * 32, "nonce": query[query.find(b"\x04\x20") + 2:][:32].hex()}.get(self.mode)
            if digest:
                _must("openssl", "ts", "-query", "-digest", digest, "-sha256", "-cert", "-out", asked)
            _run("openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", asked, "-out", reply, cwd=self.folder)
            self.stale = reply.read_bytes() if self.mode == "stale" else None
            return 200, self.resigned(reply) if self.mode == "purpose" else reply.read_bytes()

    def resigned(self, reply):
        """The same stamp, signed by a certificate for e-mail: `openssl ts` itself refuses to do that."""
        key, chain = self.authority.signer("rsa")
        token, content = reply.with_suffix(".token"), reply.with_suffix(".content")
        _must("openssl", "ts", "-reply", "-in", reply, "-token_out", "-out", token)
        _must("openssl", "cms", "-verify", "-noverify", "-inform", "DER", "-in", token, "-out", content)
        der = _must("openssl", "cms", "-sign", "-binary", "-nodetach", "-cades", "-md", "sha256", "-signer", chain,
                    "-inkey", key, "-econtent_type", "1.2.840.113549.1.9.16.1.4", "-outform", "DER", "-in", content)
        der = b"\x30\x03\x02\x01\x00" + der  # granted
        return b"\x30\x82" + len(der).to_bytes(2, "big") + der

    def stop(self):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def clock(authority):
    one = TimestampAuthority(authority)
    yield one
    one.stop()


def timestamps(pdf, authority):
    """What `openssl ts -verify` says of each signature's time stamp: "" = good, of this signature, by
    an authority whom the root vouches for; None = there is none."""
    said = []
    for der, _ in signed_parts(pdf):
        oid = bytes.fromhex("060b2a864886f70d010910020e")  # id-aa-timeStampToken
        at = der.rfind(oid)
        if at < 0:
            said.append(None)
            continue
        token = der[at + len(oid):]
        token = token[2 if token[1] < 0x80 else 2 + (token[1] & 0x7f):]  # out of its SET
        token = token[:4 + int.from_bytes(token[2:4], "big")]
        printed = _must("openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", data=der).decode()
        dump = re.search(r"^ {8}signature: *\n((?: {10}[0-9a-f]{4} - .*\n)+)", printed, re.M).group(1)
        value = bytes.fromhex("".join(re.findall(r" - ((?:[0-9a-f]{2}[ -]){1,16})", dump)).replace("-", " "))
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "token").write_bytes(token)
            done = _run("openssl", "ts", "-verify", "-token_in", "-in", "token", "-CAfile", authority.root,
                        "-digest", hashlib.sha256(value).hexdigest(), cwd=folder)
        said.append("" if done.returncode == 0 else done.stdout.decode(errors="replace"))
    return said


# -- a browser -- #

def _apart(shot, page):
    """The share of a page that looks different in a screenshot of the viewer, 0 to 1. What isn't of
    the desk's colour, that of the corner, is the page; its shadow is darker than the desk."""
    lighter = ImageChops.subtract(shot, Image.new("RGB", shot.size, shot.getpixel((0, 0))))
    box = lighter.point(lambda value: 255 * (value > 40)).getbbox()
    if not box or abs((box[2] - box[0]) / (box[3] - box[1]) / (page.width / page.height) - 1) > 0.03:
        return 1
    size = (32, round(32 * page.height / page.width))  # coarse: another font for one that isn't embedded will do
    small = ImageChops.difference(shot.crop(box).resize(size, Image.BOX), page.resize(size, Image.BOX))
    return sum(small.convert("L").histogram()[48:]) / (size[0] * size[1])


def chromium_opens(browser, pdf, like=None, seconds=20):
    """Does Chromium's viewer, in a Selenium driver, show what pdftoppm draws of it (or of `like`)?"""
    page = picture(like or pdf, 60)
    until = time.monotonic() + seconds
    with _File(pdf) as path:
        browser.get(f"file://{path}#toolbar=0&navpanes=0&view=Fit")
        while time.monotonic() < until:
            shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
            if _apart(shot, page) < 0.02:
                return True
            time.sleep(0.1)  # between two looks
    return False
