"""A newcomer's view: the demo homepage in a real browser, with its two services running."""

import pathlib
import subprocess
import time

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from conftest import HEADER, free_port
from gateway import BINARY, ENVIRONMENT

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def services(tmp_path):
    """`gateway stub` with the example data, on free ports."""
    promo, recco = free_port(), free_port()
    text = (ROOT / "examples" / "stub.toml").read_text()
    text = text.replace("127.0.0.1:9101", f"127.0.0.1:{promo}").replace("127.0.0.1:9102", f"127.0.0.1:{recco}")
    folder = tmp_path / "examples"
    folder.mkdir()
    for file in (ROOT / "examples").glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "stub.toml").write_text(text)
    process = subprocess.Popen([BINARY, "stub", "-c", folder / "stub.toml"], env=ENVIRONMENT,
                               stdout=open(tmp_path / "stub.out", "wb"), stderr=subprocess.STDOUT)
    for port in (promo, recco):
        for _ in range(500):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                assert process.poll() is None, (tmp_path / "stub.out").read_text()
                time.sleep(0.02)  # between two looks
    yield f"http://127.0.0.1:{promo}", f"http://127.0.0.1:{recco}"
    process.terminate()
    assert process.wait(15) == 0


def demo(gateway, promo, recco):
    """The project's own config.toml, on a free port."""
    text = (ROOT / "config.toml").read_text()
    pages = text[text.index("[upstreams.promo]"):]
    pages = pages.replace('"examples/assets"', f'"{ROOT}/examples/assets"')
    templates = {str(f.relative_to(ROOT / "templates")): f.read_text()
                 for f in (ROOT / "templates").rglob("*.*")}
    header = HEADER.replace("workers = 1", 'workers = 1\nerror_template = "error.html"')
    return gateway(pages, templates, header=header,
                   env={"PROMO_SERVICE_URL": promo, "RECCO_SERVICE_URL": recco})


def test_the_browser_shows_both_sections(gateway, services, browser):
    one = demo(gateway, *services)
    browser.get(one.url)
    promo = httpx.get(services[0] + "/promo").json()
    recco = httpx.get(services[1] + "/recco").json()
    text = browser.find_element(By.TAG_NAME, "body").text
    strings = lambda value: ([value] if isinstance(value, str) else
                             [s for v in (value.values() if isinstance(value, dict) else value)
                              for s in strings(v)] if isinstance(value, (dict, list)) else [])
    assert any(s in text for s in strings(promo) if len(s) > 8), "the promo's words"
    assert sum(item["name"] in text for item in recco["items"]) == len(recco["items"]) >= 6
    pictures = browser.find_elements(By.TAG_NAME, "img")
    assert len(pictures) >= len(recco["items"])
    broken = browser.execute_async_script(
        "const done = arguments[0]; Promise.all([...document.images].map(i => { i.loading = 'eager';"
        " return i.decode().then(() => null, () => i.src); })).then(r => done(r.filter(x => x)));")
    assert broken == []
    severe = [e for e in browser.get_log("browser") if e["level"] == "SEVERE" and "favicon" not in e["message"]]
    assert severe == []


def test_the_homepage_leads_to_the_upload_page_and_back(gateway, services, browser):
    one = demo(gateway, *services)
    browser.get(one.url)
    browser.find_element(By.PARTIAL_LINK_TEXT, "photo of your pot").send_keys(Keys.ENTER)
    assert browser.current_url == one.url + "/upload"
    assert browser.find_element(By.ID, "drop").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, "#summary a").get_attribute("href") == one.url + "/"


def test_the_page_fits_a_phone(gateway, services, browser):
    one = demo(gateway, *services)
    browser.set_window_size(500, 900)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True})
    browser.get(one.url)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_a_dead_service_leaves_a_page_to_look_at(gateway, services, browser):
    dead = f"http://127.0.0.1:{free_port()}"
    one = demo(gateway, services[0], dead)
    browser.get(one.url)
    assert browser.find_elements(By.TAG_NAME, "h1") or browser.find_elements(By.TAG_NAME, "h2")
    assert httpx.get(one.url).headers["x-page-completed"] == "false"
    browser.get(one.url + "/no-such-page")
    assert "404" in browser.page_source
