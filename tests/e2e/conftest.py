"""What end-to-end tests share: the real gateway, nginx, a faulty upstream, each on a free port."""

import itertools
import os
import socket

import pytest

from fault_proxy import FaultProxy
from faults import Faults
from gateway import Gateway
from nginx import Nginx
from origin import Origin

HEADER = """
[server]
listen = ["127.0.0.1:0"]
workers = 1
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
format = "json"
"""


# Below those that the kernel hands out by itself, so that nobody is given one between its finding
# and its use; each of the processes that share the tests has its own.
PORTS_EACH = 1200
_first_port = 20000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8 * PORTS_EACH
_ports = itertools.cycle(range(_first_port, _first_port + PORTS_EACH))


def free_port():
    for port in itertools.islice(_ports, PORTS_EACH):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody's, or of a test before
        return port
    raise AssertionError("no port is free")


@pytest.fixture
def gateway(tmp_path):
    """gateway(config, templates) starts one; its end is checked (exit code 0, no report)."""
    running = []
    numbers = itertools.count()

    def start(config, templates=None, header=HEADER, **options):
        one = Gateway(tmp_path / f"gateway{next(numbers)}", header + config, templates, **options)
        running.append(one)
        return one.start()

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def nginx(tmp_path):
    running = []
    numbers = itertools.count()

    def start(files, extra="", **options):
        one = Nginx(tmp_path / f"nginx{next(numbers)}", free_port(), files, extra, **options)
        running.append(one)
        return one.start()

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def faults():
    one = Faults().start()
    yield one
    one.stop()


@pytest.fixture
def origin():
    """origin(handler) starts an upstream that answers as the test says."""
    running = []

    def start(handler, **options):
        running.append(Origin(handler, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def fault_proxy():
    """fault_proxy(server.port) puts one in front of a server."""
    running = []

    def start(port, seed=None):
        running.append(FaultProxy(port, seed).start())
        return running[-1]

    yield start
    for one in running:
        one.stop()
