"""A small collector: takes OTLP/HTTP in JSON, and holds each batch against the specification
(opentelemetry-proto's trace.proto in its JSON mapping, and the semantic conventions for HTTP)."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gateway import until

INTERNAL, SERVER, CLIENT = 1, 2, 3
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "_OTHER"}
# Attributes that a span of the kind must have, and all that any may, with their types.
REQUIRED = {
    SERVER: {"http.request.method", "url.scheme", "url.path"},
    CLIENT: {"http.request.method", "url.full", "server.address"},
    INTERNAL: set(),
}
KNOWN = {
    "http.request.method": str, "http.request.method_original": str, "http.route": str,
    "http.response.status_code": int, "http.request.resend_count": int,
    "http.response.body.size": int, "url.scheme": str, "url.path": str, "url.query": str,
    "url.full": str, "server.address": str, "server.port": int, "client.address": str,
    "network.peer.address": str, "network.protocol.version": str, "user_agent.original": str,
    "error.type": str, "gw.request_id": str, "gw.part": str, "gw.part.state": str,
    "gw.part.attempts": int, "gw.upstream": str, "gw.hedge": str,
}


def read_attributes(items):
    """As a dict; each is one value of one type, no key twice."""
    found = {}
    for item in items:
        assert set(item) == {"key", "value"}, item
        ((kind, value),) = item["value"].items()
        assert kind in ("stringValue", "intValue"), item
        assert isinstance(value, str), item  # 64-bit integers are strings in JSON
        assert item["key"] not in found, item
        found[item["key"]] = int(value) if kind == "intValue" else value
    return found


class Span:
    def __init__(self, raw):
        allowed = {"traceId", "spanId", "parentSpanId", "flags", "name", "kind",
                   "startTimeUnixNano", "endTimeUnixNano", "attributes", "status"}
        assert set(raw) <= allowed, raw
        self.trace, self.id = raw["traceId"], raw["spanId"]
        self.parent = raw.get("parentSpanId", "")
        assert re.fullmatch("[0-9a-f]{32}", self.trace) and int(self.trace, 16), raw
        assert re.fullmatch("[0-9a-f]{16}", self.id) and int(self.id, 16), raw
        assert self.parent == "" or re.fullmatch("[0-9a-f]{16}", self.parent), raw
        assert self.parent != self.id, raw
        self.name, self.kind = raw["name"], raw["kind"]
        assert self.name and self.kind in REQUIRED, raw
        assert raw["flags"] & 0x1 and raw["flags"] & 0x100, raw
        self.remote_parent = bool(raw["flags"] & 0x200)
        assert isinstance(raw["startTimeUnixNano"], str), raw
        self.begin, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        assert 0 < self.begin <= self.end, raw
        self.attributes = read_attributes(raw.get("attributes", []))
        self.status = raw.get("status", {})
        self.check()

    def __getitem__(self, key):
        return self.attributes[key]

    def get(self, key):
        return self.attributes.get(key)

    def check(self):
        for key, value in self.attributes.items():
            assert type(value) is KNOWN[key], (key, value)
        assert REQUIRED[self.kind] <= set(self.attributes), self
        if self.kind != INTERNAL:
            assert self["http.request.method"] in METHODS, self
            method = self["http.request.method"].replace("_OTHER", "HTTP")
            route = self.get("http.route")
            assert self.name == (f"{method} {route}" if route else method), self
            code = self.get("http.response.status_code")
            failed = code is not None and code >= (500 if self.kind == SERVER else 400)
            assert not failed or self.get("error.type"), self
        # an error has a type, and what has a type is an error
        assert set(self.status) <= {"code", "message"}, self
        assert (self.status.get("code") == 2) == ("error.type" in self.attributes), self
        if self.kind == CLIENT:
            assert re.match("https?://", self["url.full"]) and "@" not in self["url.full"], self

    def __repr__(self):
        return (f"<{self.trace} {self.parent or '-'} > {self.id} {self.name!r} {self.kind} "
                f"{(self.end - self.begin) / 1e6:.3f} ms {self.attributes} {self.status}>")


class Collector:
    """`answer(n, body)` may say otherwise than 200 for the n-th batch: a status, or (status, body)."""

    def __init__(self, answer=None):
        self.spans, self.batches, self.heads, self.resources = [], [], [], []
        self.faults = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                said = answer(len(collector.heads), body) if answer else 200
                collector.heads.append(dict(self.headers))
                status, text = said if isinstance(said, tuple) else (said, b"{}")
                if status < 300:
                    collector.take(self.path, self.headers, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        assert not self.faults, self.faults
        self.check_tree()

    def take(self, path, headers, body):
        try:
            assert path.endswith("/v1/traces"), path
            assert headers["Content-Type"] == "application/json"
            root = json.loads(body)
            assert set(root) == {"resourceSpans"}, root
            for one in root["resourceSpans"]:
                assert set(one) == {"resource", "scopeSpans"}, one
                resource = read_attributes(one["resource"]["attributes"])
                assert resource["service.name"] and resource["telemetry.sdk.language"], resource
                self.resources.append(resource)
                for scope in one["scopeSpans"]:
                    assert scope["scope"]["name"] == "gateway" and scope["scope"]["version"]
                    assert scope["spans"]
                    spans = [Span(raw) for raw in scope["spans"]]
                    self.batches.append(len(spans))
                    self.spans += spans
        except Exception as fault:  # told by stop(): the handler's thread has nobody to tell
            self.faults.append(repr(fault))
            raise

    def check_tree(self):
        """Ids are unique; each parent is the client's, or a span of the same trace that lasts as
        long."""
        by_id = {}
        for span in self.spans:
            assert span.id not in by_id, (span, by_id[span.id])
            by_id[span.id] = span
        for span in self.spans:
            if span.kind == SERVER:
                assert span.remote_parent == bool(span.parent), span
                continue
            assert not span.remote_parent, span
            parent = by_id[span.parent]
            assert parent.trace == span.trace and parent.kind != CLIENT, (span, parent)
            slack = 2_000_000  # clocks of two batches, and of the loop's turn
            assert parent.begin - slack <= span.begin, (span, parent)
            assert span.end <= parent.end + slack, (span, parent)

    def wait(self, count=1, matching=lambda span: True, seconds=15):
        """At least so many spans that match."""
        def found():
            assert not self.faults, self.faults
            return [span for span in list(self.spans) if matching(span)]
        until(lambda: len(found()) >= count, f"{count} spans ({len(self.spans)} came)", seconds)
        return found()

    def trace(self, parts=0, **options):
        """The spans of the one trace that was sent, its request's first."""
        self.wait(1, lambda span: span.kind == SERVER, **options)
        assert len({span.trace for span in self.spans}) == 1, self.spans
        return sorted(self.spans, key=lambda span: (span.kind != SERVER, span.begin))
