"""The judges of PDFs say yes to what is good and no to what isn't, before anything of ours stands
before them: the documents here are written by hand and signed by poppler."""

import ctypes
import subprocess

import httpx
import pytest

import pdf_judges as judges
from pdf_judges import authority, clock, stranger  # noqa: F401  (fixtures)
from test_browser import browser  # noqa: F401

QR = "https://example.org/certificates/8K3QF-2M7XR-V0P4N-J6T9W"


class Code(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int), ("width", ctypes.c_int), ("data", ctypes.POINTER(ctypes.c_ubyte))]


def code_as_rectangles(text, x, y, size):
    library = ctypes.CDLL("libqrencode.so.4")
    library.QRcode_encodeString.restype = ctypes.POINTER(Code)
    code = library.QRcode_encodeString(text.encode(), 0, 1, 2, 1).contents
    return "".join(f"{x + size * (i % code.width)} {y - size * (i // code.width)} {size} {size} re f\n"
                   for i in range(code.width ** 2) if code.data[i] & 1)


def document(text="Ada Lovelace"):
    drawing = (f".8 .9 1 rg 0 0 300 200 re f 1 g 180 40 110 110 re f 0 g\n"
               f"BT /F1 24 Tf 10 160 Td ({text}) Tj ET\n{code_as_rectangles(QR, 195, 135, 2.5)}")
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R /Resources << /Font << /F1 "
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
               f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream"]
    pdf, offsets = b"%PDF-1.4\n", []
    for number, entry in enumerate(objects, 1):
        offsets.append(len(pdf))
        pdf += f"{number} 0 obj\n{entry}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return pdf + (f"xref\n0 5\n0000000000 65535 f \n{table}trailer\n<< /Size 5 /Root 1 0 R >>\n"
                  f"startxref\n{len(pdf)}\n%%EOF\n").encode()


@pytest.fixture(scope="session")
def signed(authority, tmp_path_factory):
    """signed("rsa"): the document as poppler signs it with the authority's signer."""
    folder = tmp_path_factory.mktemp("poppler")
    nss = authority.database("poppler")
    (folder / "plain.pdf").write_bytes(document())

    def sign(kind):
        key, chain = authority.signer(kind)
        for words in (
                ["openssl", "pkcs12", "-export", "-inkey", key, "-in", chain, "-name", kind, "-passout", "pass:x",
                 "-out", folder / "p12"],
                ["pk12util", "-i", folder / "p12", "-W", "x", "-K", "", "-d", f"sql:{nss}"],
                ["pdfsig", folder / "plain.pdf", folder / f"{kind}.pdf", "-add-signature", "-nssdir", nss,
                 "-nick", kind]):
            subprocess.run([str(w) for w in words], check=True, stdout=subprocess.DEVNULL, timeout=60)
        return (folder / f"{kind}.pdf").read_bytes()

    return sign


def test_a_document_is_looked_at():
    pdf = document()
    assert judges.qpdf_check(pdf) == ""
    assert judges.pdf_text(pdf).split() == ["Ada", "Lovelace"]
    assert judges.pdf_fonts(pdf) == [{"name": "Helvetica", "type": "Type 1", "encoding": "Standard",
                                      "embedded": False, "subset": False, "unicode": False}]
    assert judges.decode_qr(pdf) == [QR]
    seen = judges.picture(pdf, 72)
    assert seen.size == (300, 200) and seen.getpixel((5, 195)) == (204, 229, 255)
    assert judges.picture(document("Ada Lovelacf"), 72) != seen
    assert judges.signed_parts(pdf) == []


def test_faults_are_named():
    pdf = document()
    shifted = pdf.replace(b"Ada Lovelace", b"Ada King-Noel Lovelace")
    assert "WARNING" in judges.qpdf_check(shifted)
    assert judges.qpdf_check(b"%PDF-1.4 and nothing") != "" != judges.qpdf_check(b"")
    assert judges.pdf_fonts(b"") == [] and judges.pdf_text(b"nothing").find("Ada") < 0
    assert judges.decode_qr(pdf.replace(b" re f\n", b" re n\n")) == []


@pytest.mark.parametrize("kind", ["rsa", "rsa3072"])
def test_signatures_are_told_apart(authority, stranger, signed, kind):
    pdf = signed(kind)
    assert judges.qpdf_check(pdf) == ""
    one, = judges.pdfsig(pdf, authority)
    assert (one["signature"], one["certificate"]) == ("Signature is Valid.", "Certificate is Trusted.")
    assert one["whole"] and one["type"] == "adbe.pkcs7.detached" and one["name"] == f"Test Academy Signer {kind}"
    assert one["ranges"][0][0] == 0 and one["ranges"][1][1] == len(pdf)
    assert judges.openssl_verify(pdf, authority, cades=False) == [""]

    for reader, trusted in ((authority, False), (stranger, True)):
        one, = judges.pdfsig(pdf, reader, trusted)
        assert (one["signature"], one["certificate"]) == ("Signature is Valid.", "Certificate issuer is unknown.")
    assert judges.openssl_verify(pdf, stranger, cades=False) != [""]

    tampered = pdf.replace(b"(Ada Lovelace)", b"(Bob Lovelace)")
    one, = judges.pdfsig(tampered, authority)
    assert one["signature"] == "Digest Mismatch." and one["whole"]
    said, = judges.openssl_verify(tampered, authority, cades=False)
    assert "verify error" in said

    appended = pdf + b"%more\n"
    one, = judges.pdfsig(appended, authority)
    assert one["signature"] == "Signature is Valid." and not one["whole"]
    assert judges.openssl_verify(appended, authority, cades=False) == [""]


def test_the_clock_stamps_or_does_not(authority, stranger, clock, signed, tmp_path):
    def openssl(*words):
        return subprocess.run(["openssl", "ts", *words], cwd=tmp_path, capture_output=True, timeout=60).returncode == 0

    def stamped(mode, root):
        clock.mode = mode
        answer = httpx.post(clock.url, content=(tmp_path / "query").read_bytes(),
                            headers={"Content-Type": "application/timestamp-query"})
        (tmp_path / "reply").write_bytes(answer.content)
        return answer.status_code == 200 and openssl("-verify", "-in", "reply", "-queryfile", "query", "-CAfile", root)

    assert openssl("-query", "-digest", "5a" * 32, "-cert", "-out", "query")
    assert stamped("stamp", authority.root) and not stamped("stamp", stranger.root)
    clock.patience = 0.1
    assert [mode for mode in ("refuse", "garbage", "error", "hang", "other", "nonce", "purpose")
            if stamped(mode, authority.root)] == []
    assert len(clock.asked) == 9
    assert judges.timestamps(signed("rsa"), authority) == [None]


def test_unsigned_is_not_signed(authority):
    assert judges.pdfsig(document(), authority) == [] == judges.openssl_verify(document(), authority)


def test_the_browser_shows_it_or_does_not(browser):
    assert judges.chromium_opens(browser, document())
    other = document().replace(b" 1 g 180 40", b" 0 g 180 40")
    assert not judges.chromium_opens(browser, document(), like=other, seconds=3)
    assert not judges.chromium_opens(browser, document()[:400] + b"%%EOF", like=document(), seconds=3)
