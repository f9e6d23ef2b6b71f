"""What the measurements share: servers pinned to a core, wrk on another, medians with their spread."""

import contextlib
import http.client
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
GATEWAY = pathlib.Path(os.environ.get("GATEWAY", "build/gateway")).resolve()
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, OTHER_CORE = CORES[-1], CORES[0]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path="/"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def wait_for(port, process):
    for _ in range(500):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if process.poll() is not None:
            sys.exit(f"a server ended at once with {process.returncode}")
        time.sleep(0.02)
    sys.exit(f"nobody listens on port {port}")


def cpu_seconds(process):
    """By the process's own clock (the kernel's number for it is made of the process id), to the nanosecond:
    /proc counts in hundredths of a second."""
    return time.clock_gettime(~process.pid << 3 | 2)


class Servers:
    """Processes that are started one by one and end together. `core`: one, "0,1", or None for any."""

    def __init__(self):
        self.running = []

    def start(self, core, *arguments, **options):
        command = ["taskset", "-c", str(core), *map(str, arguments)] if core is not None else arguments
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, **options)
        self.running.append(process)
        return process

    def stop(self, *processes):
        for process in processes or list(self.running):
            if process in self.running:
                self.running.remove(process)
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wrk(port, path, connections, seconds, core=OTHER_CORE, script=None, arguments=(), scheme="http"):
    """The command of a load; wrk_result() reads what it printed."""
    return [*(["taskset", "-c", str(core)] if core is not None else []),
            "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s",
            *(["-s", str(script)] if script else []), f"{scheme}://127.0.0.1:{port}{path}",
            *(["--", *map(str, arguments)] if arguments else [])]


def wrk_result(printed):
    assert "Non-2xx" not in printed and "Socket errors" not in printed, printed
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    quantile = {
        int(q): float(value) * unit[u]
        for q, value, u in re.findall(r"^\s+(50|75|90|99)%\s+([\d.]+)(us|ms|s)", printed, re.M)
    }
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1]),
        "count": int(re.search(r"(\d+) requests in", printed)[1]),
        "p50": quantile[50], "p99": quantile[99],
    }


def load(*arguments, **options):
    """A load to its end; arguments as wrk()'s."""
    return wrk_result(subprocess.run(wrk(*arguments, **options), capture_output=True, text=True, check=True).stdout)


def spread(values):
    return f"{statistics.median(values):8.2f}   ({min(values):.2f} to {max(values):.2f})"


def verdict(label, values, target, more=True):
    middle = statistics.median(values)
    good = middle >= target if more else middle <= target
    print(f"  {label:<46}{spread(values)}   {'reached' if good else 'MISSED'}: {'at least' if more else 'at most'} {target}")
    return good
