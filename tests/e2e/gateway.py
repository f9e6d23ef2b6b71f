"""Starts the real binary on a configuration of the test's own and tells where it listens."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import tomllib

BINARY = pathlib.Path(os.environ.get("GATEWAY", "build/gateway")).resolve()
TOOLS = pathlib.Path(os.environ.get("TOOLS", "build/tools")).resolve()
SANITIZED = bool(os.environ.get("SAN"))

ENVIRONMENT = {
    **os.environ,
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "LSAN_OPTIONS": f"suppressions={pathlib.Path(__file__).parents[1]}/lsan.supp:print_suppressions=0",
    "TSAN_OPTIONS": f"suppressions={pathlib.Path(__file__).parents[1]}/tsan.supp:halt_on_error=1:exitcode=99",
}


def until(condition, what="it", seconds=15):
    """Waits until the condition holds; fails when it doesn't in time."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.01)  # between two looks
    return result


class Gateway:
    """One running gateway. `folder` holds gateway.toml, templates/ and what it writes."""

    def __init__(self, folder, config, templates=None, env=None, preload=None, arguments=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "templates").mkdir(exist_ok=True)
        for name, text in (templates or {}).items():
            path = self.folder / "templates" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.config = self.folder / "gateway.toml"
        self.config.write_text(config)
        self.env = {**ENVIRONMENT, **(env or {})}
        self.env.pop("http_proxy", None)
        if preload is not None:
            self.env["LD_PRELOAD"] = str(TOOLS / preload)
            self.env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        self.arguments = arguments
        self.process = None
        self.addresses = []
        self.admin = None

    def start(self):
        self.stdout = open(self.folder / "stdout", "wb")
        self.stderr = open(self.folder / "stderr", "wb")
        self.process = subprocess.Popen(
            [BINARY, "run", "-c", self.config, *self.arguments],
            stdout=self.stdout, stderr=self.stderr, env=self.env,
        )
        end = time.monotonic() + 30
        while not re.search(r'"?msg"?[=:]"ready"', self.log()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the gateway did not start: {self.log()}")
            time.sleep(0.01)  # between two looks
        found = re.findall(r'"?msg"?[=:]"listening".*?address"?[=:]"?([^\s",]+)', self.log())
        server = tomllib.loads(self.config.read_text())["server"]
        public = len(server["listen"])
        others = public + len(server.get("listen_tls", []))
        self.addresses = found[:public]
        self.tls_ports = [int(a.rpartition(":")[2]) for a in found[public:others]]
        self.admin = next((f"http://{a}" for a in found[others:] if not a.startswith("unix:")), None)
        return self

    @property
    def url(self):
        return f"http://{self.address}"

    @property
    def address(self):
        return next(a for a in self.addresses if not a.startswith("unix:"))

    @property
    def host_port(self):
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    def log(self):
        """The operational log (stderr)."""
        return (self.folder / "stderr").read_text(errors="replace")

    def access(self, count=1, matching=lambda record: True):
        """The access log's records; waits until `count` of them match."""
        end = time.monotonic() + 15
        while True:
            lines = (self.folder / "stdout").read_bytes().splitlines(keepends=True)
            records = [json.loads(line) for line in lines if line.endswith(b"\n")]
            records = [record for record in records if matching(record)]
            if len(records) >= count or time.monotonic() > end:
                assert len(records) >= count, f"{len(records)} access records, not {count}"
                return records
            time.sleep(0.02)  # between two looks

    def status(self, field):
        """A number of /proc/PID/status, in KiB where the kernel says kB ("RssAnon")."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.M)[1])

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def terminate(self, timeout=30):
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the gateway did not stop") from None
        self.stdout.close()
        self.stderr.close()
        assert "Sanitizer" not in self.log(), self.log()
        assert "runtime error" not in self.log(), self.log()
        assert "assertion failed" not in self.log(), self.log()
        assert self.process.returncode == 0, (self.process.returncode, self.log())


def command(*arguments, cwd=None, env=None, timeout=60):
    """Runs a gateway command to its end."""
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        cwd=cwd,
        env={**ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
