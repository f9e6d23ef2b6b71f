"""Certificates for tests, made with openssl: an authority, and what it signs."""

import pathlib
import subprocess

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(folder, *arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, timeout=60,
                          capture_output=True, **options)


DATED = """[ca]
default_ca = it
[it]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
"""


class Authority:
    """`folder` holds NAME.pem and NAME.key of it and of all that it signed."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder)
        self.name = name
        openssl(folder, "req", "-x509", *EC, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN=Test {name}", "-days", 2)

    @property
    def pem(self):
        return self.folder / f"{self.name}.pem"

    def sign(self, name, subject=None, hosts=(), days=2, new_key=EC):
        """NAME.pem, the chain included, and NAME.key."""
        openssl(self.folder, "req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={subject or name}")
        (self.folder / f"{name}.ext").write_text(
            "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts) + "\n" if hosts else "")
        openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey",
                f"{self.name}.key", "-set_serial", abs(hash((name, subject))) % 2**31 + 1, "-out",
                f"{name}.pem", "-days", days, "-extfile", f"{name}.ext")
        (self.folder / f"{name}.key").chmod(0o600)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def sign_dated(self, name, begin, end):
        """One for a time of its own: "20200101000000Z"."""
        openssl(self.folder, "req", *EC, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self.folder / "ca.cnf").write_text(DATED)
        (self.folder / "index").write_text("")
        (self.folder / "serial").write_text("01\n")
        openssl(self.folder, "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert",
                f"{self.name}.pem", "-keyfile", f"{self.name}.key", "-in", f"{name}.csr", "-out",
                f"{name}.pem", "-startdate", begin, "-enddate", end)
        (self.folder / f"{name}.key").chmod(0o600)
