"""What is shipped around the binary: make install, the systemd unit, compose and Kubernetes files."""

import os
import pathlib
import re
import shutil
import subprocess
import tomllib

import httpx
import pytest
import yaml

from conftest import free_port
from gateway import BINARY, ENVIRONMENT, Gateway, command, until

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """`make install` into a folder, with the binary under test."""
    folder = tmp_path_factory.mktemp("root")
    done = subprocess.run(
        ["make", "--no-print-directory", "-o", "build/gateway", "install",
         f"DESTDIR={folder}", "PREFIX=/usr"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.copy(BINARY, folder / "usr/bin/gateway")  # the one that is tested, sanitized or not
    return folder


def test_what_is_installed_serves(installed, tmp_path):
    config = installed / "etc/gateway/config.toml"
    environment = {"GATEWAY_LISTEN": f"127.0.0.1:{free_port()}",
                   "GATEWAY_ADMIN": f"127.0.0.1:{free_port()}", "GATEWAY_DATA": str(tmp_path)}
    done = subprocess.run([installed / "usr/bin/gateway", "check", "-c", config],
                          env={**ENVIRONMENT, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ["operations.md", "SECURITY.md", "kubernetes.yaml"]:
        assert (installed / "usr/share/doc/gateway" / name).stat().st_size > 1000


def test_installing_again_keeps_the_configuration(installed):
    config = installed / "etc/gateway/config.toml"
    text = config.read_text()
    config.write_text("# mine\n" + text)
    again = ["make", "--no-print-directory", "-o", "build/gateway", f"DESTDIR={installed}",
             "PREFIX=/usr"]
    subprocess.run([*again, "install"], cwd=ROOT, check=True, capture_output=True)
    assert config.read_text().startswith("# mine\n")
    shutil.copy(BINARY, installed / "usr/bin/gateway")
    config.write_text(text)


def test_the_unit_is_sound_and_hardened(installed, tmp_path):
    unit = installed / "usr/lib/systemd/system/gateway.service"
    text = unit.read_text()
    assert "@PREFIX@" not in text
    # systemd looks whether what it is to start is there
    there = tmp_path / "gateway.service"
    there.write_text(text.replace("/usr/bin/gateway", str(installed / "usr/bin/gateway")))
    shutil.copy(unit.with_suffix(".socket"), tmp_path)
    for name in ["gateway.service", "gateway.socket"]:
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / name],
                              capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if "gateway." in line]
        assert done.returncode == 0 and not said, done.stderr
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=25", there],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    for code in re.search(r"RestartPreventExitStatus=(.*)", text)[1].split():
        assert int(code) in (69, 78)


def test_compose_starts_what_the_image_has():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    assert set(services) == {"gateway", "promo", "recco"}
    settings = (ROOT / "config.toml").read_text()
    for name, url in services["gateway"]["environment"].items():
        assert "${%s:-" % name in settings
        service, port = re.fullmatch(r"http://(\w+):(\d+)", url).groups()
        inner = services[service]["command"][-1]
        stub = tomllib.loads((ROOT / inner.removeprefix("/")).read_text())
        assert stub["services"][service]["listen"] == f"0.0.0.0:{port}"
        for route in stub["services"][service]["routes"]:
            assert (ROOT / "examples/compose" / route["body"]).exists()
    for service in services.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"]


def test_the_example_for_kubernetes(tmp_path):
    parts = list(yaml.safe_load_all((ROOT / "packaging/kubernetes.yaml").read_text()))
    by_kind = {part["kind"]: part for part in parts}
    assert set(by_kind) == {"ConfigMap", "Deployment", "Service", "NetworkPolicy"}
    pod = by_kind["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    # its configuration, on addresses that are free here, with its probes as Kubernetes would ask
    data = by_kind["ConfigMap"]["data"]
    text = data["config.toml"]
    admin = free_port()
    for number, free in ((ports["http"], free_port()), (ports["admin"], admin)):
        assert f'"0.0.0.0:{number}"' in text
        text = text.replace(f'"0.0.0.0:{number}"', f'"127.0.0.1:{free}"')
    text = text.replace("unix:/data", f"unix:{tmp_path}")
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    one = Gateway(tmp_path / "pod", text, {"index.html": data["index.html"]}, env=environment)
    one.start()
    try:
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
            asked = container[probe]["httpGet"]
            assert asked["port"] == "admin"
            answer = httpx.get(f"http://127.0.0.1:{admin}{asked['path']}", trust_env=False)
            assert answer.status_code == 200
        assert httpx.get(one.url, trust_env=False).status_code == 200, "without its parts"
        one.process.terminate()
        until(lambda: httpx.get(f"http://127.0.0.1:{admin}/readyz",
                                trust_env=False).status_code == 503, "not ready")
        assert httpx.get(one.url, trust_env=False).status_code == 200, "in its drain_delay"
        one.process.terminate()
        assert one.process.wait(20) == 0
    finally:
        one.stop()
