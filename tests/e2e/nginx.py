"""A real nginx as an upstream: files answered as JSON, with an access log that tells when."""

import json
import pathlib
import subprocess
import time

CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    types {{ application/json json; text/html html; }}
    default_type application/json;
    log_format timed escape=json '{{"uri":"$request_uri","end":$msec,"took":$request_time,'
        '"status":$status,"connection":"$connection","headers":"$http_x_request_id",'
        '"host":"$host","cookie":"$http_cookie","language":"$http_accept_language",'
        '"forwarded":"$http_forwarded","xff":"$http_x_forwarded_for",'
        '"traceparent":"$http_traceparent","authorization":"$http_authorization"}}';
    access_log {folder}/access.log timed;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000;
    server {{
        {listen}
        root {folder}/www;
        {extra}
    }}
}}
"""


class Nginx:
    def __init__(self, folder, port, files, extra="", listen=None):
        """files: URL path -> JSON-able value or bytes. extra: more of the server block."""
        self.folder = pathlib.Path(folder)
        self.port = port
        (self.folder / "www").mkdir(parents=True)
        for path, value in files.items():
            target = self.folder / "www" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        (self.folder / "nginx.conf").write_text(
            CONFIG.format(folder=self.folder, extra=extra, listen=listen or f"listen 127.0.0.1:{port};")
        )
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(
            ["nginx", "-c", self.folder / "nginx.conf", "-p", self.folder],
            stderr=open(self.folder / "stderr", "wb"),
        )
        end = time.monotonic() + 15
        while not (self.folder / "nginx.pid").exists() or not (
            self.folder / "nginx.pid"
        ).read_text().strip():
            assert self.process.poll() is None, (self.folder / "stderr").read_text()
            assert time.monotonic() < end, "nginx did not start"
            time.sleep(0.01)  # between two looks
        return self

    def requests(self, count=0):
        """What it answered, as its own log tells: start and end in seconds since the epoch."""
        end = time.monotonic() + 15
        while True:
            lines = (self.folder / "access.log").read_text().splitlines()
            if len(lines) >= count or time.monotonic() > end:
                break
            time.sleep(0.02)  # between two looks
        assert len(lines) >= count, f"nginx answered {len(lines)} requests, not {count}"
        records = [json.loads(line) for line in lines]
        for record in records:
            record["start"] = record["end"] - record["took"]
        return records

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)
