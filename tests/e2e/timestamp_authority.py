"""A time stamp authority (RFC 3161): OpenSSL's, behind HTTP, and with faults on demand.

The path says how it behaves: /tsa grants, /broken answers 500, /garbage what is no answer, /stale the
first answer again whatever is asked, /late never in time.
"""

import http.server
import subprocess
import threading

CONFIG = """
[tsa]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class TimestampAuthority:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "tsa.key",
             "-out", folder / "tsa.pem", "-subj", "/CN=Clock of the tests", "-days", "30",
             "-addext", "extendedKeyUsage=critical,timeStamping", "-addext", "keyUsage=critical,digitalSignature"],
            check=True, capture_output=True)
        self.asked = []  # (path, content type, body)
        self.first = None
        self.lock = threading.Lock()
        self.ending = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer.serve(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()

    def grant(self, query):
        with self.lock:
            path = self.folder / "query.tsq"
            path.write_bytes(query)
            done = subprocess.run(
                ["openssl", "ts", "-reply", "-config", self.folder / "tsa.cnf", "-section", "tsa",
                 "-queryfile", path], check=True, capture_output=True)
            return done.stdout

    def serve(self, handler):
        query = handler.rfile.read(int(handler.headers["content-length"]))
        self.asked.append((handler.path, handler.headers["content-type"], query))
        status, body = 200, b""
        if handler.path == "/late":
            self.ending.wait(30)
        elif handler.path == "/broken":
            status, body = 500, b"out of order"
        elif handler.path == "/garbage":
            body = b"0\x82\x01\x00 no answer"
        elif handler.path == "/stale":
            self.first = self.first or self.grant(query)
            body = self.first
        else:
            body = self.grant(query)
        handler.send_response(status)
        handler.send_header("content-type", "application/timestamp-reply")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
