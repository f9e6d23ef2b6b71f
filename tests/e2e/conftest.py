"""What end-to-end tests share: the real gateway, nginx, a faulty upstream, each on a free port."""

import itertools
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


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
