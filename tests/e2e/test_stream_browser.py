"""What a visitor sees of a page whose slowest part is late: Chromium paints before that part has come, a
deferred part takes its place, and without JavaScript it is there all the same."""

import threading

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from gateway import until
from scripted import Origin

STREAMED = """<!doctype html><html lang=en><head><title>t</title><link rel=icon href="data:,"></head><body>
<h1>{{fast.name}}</h1>
<ul id=list>{{#slow.items}}<li>{{.}}</li>{{/slow.items}}</ul>
<footer>end</footer>
</body></html>
"""
DEFERRED = """<!doctype html><html lang=en><head><title>t</title><link rel=icon href="data:,"></head><body>
<h1>{{fast.name}}</h1>
<main><h2>before</h2>
{{#defer.slow}}
<ul id=list>{{#slow.items}}<li>{{.}}</li>{{/slow.items}}</ul>
{{#parts.slow.is.error}}<p id=failed>not today</p>{{/parts.slow.is.error}}
{{/defer.slow}}
{{^defer.slow}}
<p id=waiting>one moment</p>
{{/defer.slow}}
{{^defer.other}}<p id=waiting2>and one</p>{{/defer.other}}
{{#defer.other}}<p id=other>{{other.name}}</p>{{/defer.other}}
<h2>after</h2></main>
<footer>end</footer>
</body></html>
"""


@pytest.fixture
def browser(tmp_path):
    """browser(javascript=False) for one that runs no scripts."""
    drivers = []

    def start(javascript=True):
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                         "--disable-background-networking", "--disable-component-update", "--disable-sync",
                         "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/profile{len(drivers)}"):
            options.add_argument(argument)
        options.binary_location = "/usr/bin/chromium"
        options.page_load_strategy = "none"  # who loads a page doesn't wait for its end
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        driver.set_page_load_timeout(60)
        if not javascript:
            driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        drivers.append(driver)
        return driver

    yield start
    for driver in drivers:
        driver.quit()


@pytest.fixture
def origin():
    one = Origin().start()
    one.gates = {name: threading.Event() for name in ("slow", "other")}
    one.serves("/fast", {"body": {"name": "Tern & Tide"}})
    one.serves("/slow", {"body": {"items": [1, 2]}, "until": one.gates["slow"]})
    one.serves("/other", {"body": {"name": "other"}, "until": one.gates["other"]})
    yield one
    for gate in one.gates.values():
        gate.set()
    one.stop()


def config(origin, page):
    text = f"""
[upstreams.shop]
url = "{origin.url}"
timeout = "30s"
[pages.home]
path = "/"
template = "page.html"
deadline = "30s"
{page}
"""
    for name in ("fast", "slow", "other"):
        text += f'[pages.home.parts.{name}]\nupstream = "shop"\npath = "/{name}"\n'
    return text


def text_of(driver, selector):
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector)


def appears(driver, selector):
    return until(lambda: driver.find_elements(By.CSS_SELECTOR, selector), selector, 30)


def painted(driver):
    return driver.execute_script(
        "return performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)")


def load_ends(driver):
    until(lambda: driver.execute_script("return document.readyState") == "complete", "the page's end", 30)


def complaints(driver):
    return [entry["message"] for entry in driver.get_log("browser")]


def test_it_paints_before_the_slow_part(gateway, origin, browser):
    origin.gates["other"].set()
    one = gateway(config(origin, "stream = true"), {"page.html": STREAMED})
    driver = browser()
    driver.get(one.url)
    appears(driver, "h1")
    until(lambda: painted(driver), "the first paint", 30)
    assert driver.execute_script("return document.readyState") == "loading"
    assert text_of(driver, "li") == [] and text_of(driver, "footer") == []
    origin.gates["slow"].set()
    load_ends(driver)
    assert text_of(driver, "h1") == ["Tern & Tide"] and text_of(driver, "li") == ["1", "2"]
    assert complaints(driver) == []


@pytest.mark.parametrize("order", [["slow", "other"], ["other", "slow"]], ids=["in order", "the last first"])
@pytest.mark.parametrize("csp", ["", "csp = \"default-src 'self'; img-src data:\""], ids=["", "policy"])
def test_deferred_parts_take_their_places(gateway, origin, browser, order, csp):
    one = gateway(config(origin, f'defer = ["slow", "other"]\n{csp}'), {"page.html": DEFERRED})
    driver = browser()
    driver.get(one.url)
    appears(driver, "footer")
    until(lambda: painted(driver), "the first paint", 30)
    shown = ["Tern & Tide", "before", "one moment", "and one", "after"]
    assert text_of(driver, "h1, h2, p, li") == shown  # all that isn't deferred
    landed = {"slow": (["one moment"], ["1", "2"]), "other": (["and one"], ["other"])}
    for name in order:
        waiting, there = landed[name]
        at = shown.index(waiting[0])
        shown[at:at + 1] = there
        origin.gates[name].set()
        until(lambda: text_of(driver, "h1, h2, p, li") == shown, f"{name} in its place", 30)
    load_ends(driver)
    assert text_of(driver, "h1, h2, p, li") == shown
    assert driver.find_elements(By.CSS_SELECTOR, "body > :last-child")[0].tag_name == "footer"
    assert driver.find_elements(By.CSS_SELECTOR, "[data-gw-place], [data-gw-part], script") == []
    assert complaints(driver) == []  # of the policy, too


def test_a_deferred_part_that_fails_says_so_in_its_place(gateway, origin, browser):
    origin.serves("/slow", {"status": 500, "until": origin.gates["slow"]})
    origin.serves("/other", {"status": 500, "until": origin.gates["slow"]})
    one = gateway(config(origin, 'defer = ["slow", "other"]'), {"page.html": DEFERRED})
    driver = browser()
    driver.get(one.url)
    appears(driver, "footer")
    origin.gates["slow"].set()
    load_ends(driver)
    assert text_of(driver, "main > h2, main > p") == ["before", "not today", "", "after"]


def test_without_scripts_it_is_there_at_the_end(gateway, origin, browser):
    one = gateway(config(origin, 'defer = ["slow", "other"]'), {"page.html": DEFERRED})
    driver = browser(javascript=False)
    driver.get(one.url)
    appears(driver, "footer")
    origin.gates["other"].set()
    appears(driver, "#other")
    origin.gates["slow"].set()
    until(lambda: text_of(driver, "li") == ["1", "2"], "the part", 30)
    assert text_of(driver, "footer, footer ~ * p, footer ~ * li") == ["end", "other", "1", "2"]


def test_scripts_of_others_stay_out(gateway, origin, browser):
    """The policy that lets the gateway's own script run lets no other one."""
    origin.serves("/slow", {"body": {"items": ["<script>document.title = 'in'</script>"]}, "until": origin.gates["slow"]})
    origin.gates["other"].set()
    template = DEFERRED.replace("{{.}}", "{{{.}}}").replace("<footer>", "<script>document.title = 'in'</script><footer>")
    one = gateway(config(origin, 'defer = ["slow", "other"]'), {"page.html": template})
    driver = browser()
    driver.get(one.url)
    appears(driver, "footer")
    origin.gates["slow"].set()
    load_ends(driver)
    assert driver.title == "t" and driver.find_elements(By.CSS_SELECTOR, "main #list")
    assert len([one for one in complaints(driver) if "Content Security Policy" in one]) == 2


def test_preloads_are_for_what_the_page_uses(gateway, origin, browser, tmp_path):
    files = tmp_path / "assets"
    files.mkdir()
    (files / "site.css").write_text("h1 { color: rgb(1, 2, 3) }")
    more = f'[static.assets]\npath = "/assets"\ndir = "{files}"\n'
    template = STREAMED.replace("<footer>", '<link rel=stylesheet href="/assets/site.css"><footer>')
    one = gateway(config(origin, 'stream = true\npreload = ["/assets/site.css"]') + more, {"page.html": template})
    driver = browser()
    driver.get(one.url)
    appears(driver, "h1")
    entries = "return performance.getEntriesByType('resource').filter(e => e.name.endsWith('site.css')).map(e => e.initiatorType)"
    assert until(lambda: driver.execute_script(entries), "the stylesheet", 30)[0] in ("link", "early-hints", "other")
    assert text_of(driver, "footer") == []  # nothing has named it yet but the head
    origin.gates["other"].set()
    origin.gates["slow"].set()
    load_ends(driver)
    color = driver.execute_script("return getComputedStyle(document.querySelector('h1')).color")
    assert color == "rgb(1, 2, 3)"
