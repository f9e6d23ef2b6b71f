"""What an operator changes while it runs: the access log's file, the log's level."""

import json
import os
import signal
import threading

import httpx
import pytest

from gateway import until
from scripted import Origin


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1}})
    yield one
    one.stop()


def start(gateway, origin, folder, access):
    return gateway(f"""
[upstreams.shop]
url = "{origin.url}"
[pages.home]
path = "/"
[pages.home.parts.shop]
path = "/a"
""", header=f"""
[server]
listen = ["127.0.0.1:0"]
workers = 2
[admin]
listen = ""
control = "unix:{folder}/control.sock"
[log]
format = "json"
access = "{access}"
""")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_renamed_log_is_opened_again_without_losing_a_line(gateway, origin, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    one = start(gateway, origin, folder, folder / "access.log")
    over, asked = threading.Event(), []

    def ask():
        with httpx.Client(trust_env=False) as client:
            while not over.is_set():
                assert client.get(one.url + "/").status_code == 200
                asked.append(1)

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    for turn in range(5):
        before = len(asked)
        until(lambda: len(asked) > before + 30, "some requests")
        os.rename(folder / "access.log", folder / f"access.log.{turn}")
        one.process.send_signal(signal.SIGUSR1)
        until(lambda: (folder / "access.log").exists(), "a new file")
    over.set()
    for client in clients:
        client.join()

    def all_lines():
        return [line for path in folder.glob("access.log*") for line in lines(path)]

    until(lambda: len(all_lines()) == len(asked), "the last line")
    assert len({line["id"] for line in all_lines()}) == len(asked)
    assert len(list(folder.glob("access.log*"))) == 6
    assert one.log().count("access log reopened") == 5


def test_a_log_that_cannot_be_opened_again_goes_on(gateway, origin, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    one = start(gateway, origin, tmp_path, folder / "access.log")
    os.rename(folder, tmp_path / "away")
    one.process.send_signal(signal.SIGUSR1)
    until(lambda: "access log not reopened" in one.log(), "an error")
    assert httpx.get(one.url + "/", trust_env=False).status_code == 200
    until(lambda: len(lines(tmp_path / "away/access.log")) == 1, "the line")
    os.rename(tmp_path / "away", folder)
    one.process.send_signal(signal.SIGUSR1)
    until(lambda: "access log reopened" in one.log(), "the file")


@pytest.mark.parametrize("access", ["stdout", "off"])
def test_without_a_file_nothing_happens(gateway, origin, tmp_path, access):
    one = start(gateway, origin, tmp_path, access)
    one.process.send_signal(signal.SIGUSR1)
    until(lambda: "access log reopened" in one.log(), "the signal")
    assert httpx.get(one.url + "/", trust_env=False).status_code == 200


def test_the_level_can_be_changed(gateway, origin, tmp_path):
    one = start(gateway, origin, tmp_path, "off")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "control.sock")), base_url="http://gateway") as control:
        assert control.get("/log").json() == {"level": "info"}
        assert control.post("/log", params={"level": "error"}).json() == {"level": "error"}
        assert control.get("/log").json() == {"level": "error"}
        assert control.post("/log", params={"level": "debug"}).json() == {"level": "debug"}
        until(lambda: "log level changed" in one.log(), "the change")
        for bad in ({}, {"level": ""}, {"level": "loud"}, {"level": "INFO"}):
            answer = control.post("/log", params=bad)
            assert answer.status_code == 400 and answer.json()["type"].endswith("bad-level"), bad
        assert control.get("/log").json() == {"level": "debug"}
    assert one.log().count("log level changed") == 1  # the other one was beneath the level
