"""The upload page in a real browser: choosing and dropping files, progress, cancelling, a connection
that drops, a reload in the middle, no JavaScript. Between browser and gateway stands a gate that lets
through as many bytes as a test wants, so nothing depends on how fast this machine is."""

import contextlib
import hashlib
import json
import random
import socket
import sqlite3
import struct
import threading

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gateway import command, until

CONFIG = """
[data]
dir = "data"
[uploads.main]
path = "/upload"
dir = "uploads"
auth = "%s"
fields = ["comment", "Größe, cm"]
max_files = 4
max_size = "64MiB"
redirect = "/upload?thanks"
%s
[downloads.main]
path = "/files"
from = "main"
"""

SECRET = "the-token-of-a-test"
TOKEN = f"""
[tokens.test]
digest = "sha256:{hashlib.sha256(SECRET.encode()).hexdigest()}"
"""

MIB = 1 << 20
SLICE = 16 * MIB  # the page's


class Gate:
    """A TCP proxy. open() lets everything through; let(n) n bytes more towards the gateway; cut() ends
    all connections as a dead network does; while `dead` is set new ones end at once, and a connection
    ends when an answer comes that has `unheard` in it, as long as `losing` more are to be lost."""

    def __init__(self, target):
        self.target = target
        self.changed = threading.Condition()
        self.budget, self.passed, self.dead = None, 0, False
        self.losing, self.unheard = 0, b""
        self.pairs = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # little waits in front of it
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def let(self, n):
        with self.changed:
            self.budget = n
            self.changed.notify_all()

    def open(self):
        self.let(None)

    def cut(self):
        with self.changed:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self.end(*pair)

    @staticmethod
    def end(*sockets):
        for one in sockets:
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended already
            one.close()

    def close(self):
        self.listener.close()
        self.open()
        self.cut()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.dead:
                self.end(client)
                continue
            pair = (client, socket.create_connection(self.target))
            with self.changed:
                self.pairs.append(pair)
            threading.Thread(target=self.towards, args=pair, daemon=True).start()
            threading.Thread(target=self.back, args=pair, daemon=True).start()

    def towards(self, client, server):
        try:
            while chunk := client.recv(65536):
                with self.changed:
                    self.changed.wait_for(lambda: self.budget is None or self.budget > 0)
                    if self.budget is not None:
                        self.budget -= len(chunk)
                    self.passed += len(chunk)
                server.sendall(chunk)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            self.end(client, server)  # cut, or one of them left

    def back(self, client, server):
        try:
            while chunk := server.recv(65536):
                if self.losing and self.unheard in chunk:
                    self.losing -= 1
                    self.end(client, server)
                    return
                client.sendall(chunk)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            self.end(client, server)


class Page:
    """What a visitor sees and does."""

    def __init__(self, driver, url):
        self.driver = driver
        driver.get(url if "?" in url else url + "/upload")

    def find(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def choose(self, *paths):
        self.find("#files")[0].send_keys("\n".join(map(str, paths)))

    def submit(self):
        self.find("#submit")[0].click()

    def press(self, label):
        next(b for b in self.find("button") if b.get_attribute("aria-label") == label).click()

    def rows(self):
        """{name: (state, what it says)}"""
        return {r.find_element(By.CLASS_NAME, "name").text:
                (r.get_attribute("class"), r.find_element(By.CLASS_NAME, "meta").text) for r in self.find("#list li")}

    def states(self):
        return {name: state for name, (state, _) in self.rows().items()}

    def all_done(self, *names):
        def ended():
            states = self.states()
            assert not {"failed", "stopped"} & set(states.values()), self.rows()
            return states == {name: "done" for name in names}

        try:
            until(ended, f"{names} done", 60)
        except AssertionError as error:
            raise AssertionError(self.rows()) from error

    def percent(self):
        bars = self.find("#overall progress")
        return float(bars[0].get_attribute("value")) / 10 if bars[0].is_displayed() else None

    def text(self, id):
        element = self.driver.find_element(By.ID, id)
        return element.text if element.is_displayed() else ""

    def link(self, name):
        return next(a for a in self.find("#list .name a") if a.text == name).get_attribute("href")

    def download(self, name):
        answer = httpx.get(self.link(name))
        assert answer.status_code == 200
        return answer.content


@pytest.fixture
def visit(tmp_path):
    """visit(url): the upload page there, in a fresh browser. At its end there must have been nothing that
    the page's policy forbids."""
    drivers = []

    def start(url, javascript=True):
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                         "--disable-background-networking", "--disable-component-update", "--disable-sync",
                         "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/profile{len(drivers)}"):
            options.add_argument(argument)
        if not javascript:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = "/usr/bin/chromium"
        driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        driver.set_page_load_timeout(60)
        drivers.append(driver)
        return Page(driver, url)

    yield start
    logs = [entry["message"] for driver in drivers for entry in driver.get_log("browser")]
    for driver in drivers:
        driver.quit()
    bad = [m for m in logs if "Content Security Policy" in m or "Uncaught" in m or "TypeError" in m]
    assert bad == []


@pytest.fixture
def site(gateway):
    """site(more, auth): a gateway that takes uploads, with its gate and the folder where they go."""
    gates = []

    def start(more="", auth="public"):
        one = gateway(CONFIG % (auth, more) + TOKEN)
        gate = Gate(one.host_port)
        gates.append(gate)
        return gate, one.folder / "uploads"

    yield start
    for gate in gates:
        gate.close()


@pytest.fixture
def make(tmp_path):
    """make(name, size): a file of random bytes; its path."""
    folder = tmp_path / "files"
    folder.mkdir()

    def write(name, size):
        path = folder / name
        path.write_bytes(random.Random(name).randbytes(size))
        return path

    return write


def kept(folder):
    return [p for p in folder.iterdir() if p.is_file()]


def fields_of(folder):
    [database] = (folder.parent / "data").glob("*.db")
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        return [fields for [fields] in store.execute("SELECT fields FROM files")]


def left_behind(folder):
    return [p for sub in (".tmp", ".partial") if (folder / sub).is_dir() for p in (folder / sub).iterdir()]


def test_chosen_files_are_uploaded_and_linked(site, visit, make):
    gate, folder = site()
    page = visit(gate.url)
    small, odd, large = make("notes.txt", 1000), make('a "b" ü%22 😀.bin', 3 * MIB), make("film.mp4", 20 * MIB)
    assert not page.find("#submit")[0].is_enabled()
    page.choose(small, odd)
    page.choose(large)
    assert page.states() == {p.name: "ready" for p in (small, odd, large)}
    assert page.find("#submit")[0].text == "Upload 3 files (23 MiB)"
    page.find("[name=comment]")[0].send_keys("for you")
    page.find("[name='Größe, cm']")[0].send_keys("12")
    page.submit()
    page.all_done(small.name, odd.name, large.name)
    until(lambda: page.text("summary"), "a summary")
    assert page.text("summary").startswith("3 files uploaded.")
    for path in (small, odd, large):
        assert page.download(path.name) == path.read_bytes()
    for path in (small, large):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        words = page.rows()[path.name][1]
        assert f"sha256 {sha256[:12]}" in words
        type = httpx.head(page.link(path.name)).headers["content-type"]
        assert f" · {type} · " in words
    assert len(kept(folder)) == 3 and left_behind(folder) == []
    assert [json.loads(fields) for fields in fields_of(folder)] == [{"comment": "for you", "Größe, cm": "12"}] * 3


def test_dropped_files_are_uploaded(site, visit):
    gate, _ = site()
    page = visit(gate.url)
    page.driver.execute_script("""
        const data = new DataTransfer();
        data.items.add(new File(["one"], "one.txt", {type: "text/plain"}));
        data.items.add(new File(["two"], "two.txt", {type: "text/plain"}));
        const say = (type) => document.getElementById("drop").dispatchEvent(
            new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
        say("dragenter"); say("dragover");
        window.wasOver = document.getElementById("drop").classList.contains("over");
        say("drop");""")
    assert page.driver.execute_script("return window.wasOver") is True
    assert page.states() == {"one.txt": "ready", "two.txt": "ready"}
    assert page.find("#drop")[0].get_attribute("class") == "drop"
    page.submit()
    page.all_done("one.txt", "two.txt")
    assert page.download("two.txt") == b"two"


def test_progress_is_shown(site, visit, make):
    gate, _ = site()
    page = visit(gate.url)
    page.choose(make("film.mp4", 40 * MIB))
    gate.let(10 * MIB)
    page.submit()
    until(lambda: (page.percent() or 0) > 10, "progress", 60)
    state, words = page.rows()["film.mp4"]
    assert state == "sending" and "%" in words
    until(lambda: "MiB/s" in page.text("numbers"), "a speed")
    assert "of 40 MiB" in page.text("numbers") and "left" in page.text("numbers")
    assert page.percent() < 60, "the gate has let pass 10 MiB of 40, and buffers hold little"
    gate.open()
    page.all_done("film.mp4")
    assert page.percent() is None
    assert "uploaded" in page.driver.find_element(By.ID, "live").get_attribute("textContent")


def test_one_of_several_is_cancelled(site, visit, make):
    gate, folder = site()
    page = visit(gate.url)
    wanted = make("wanted.bin", 2 * MIB)
    page.choose(wanted, make("unwanted.bin", 8 * MIB), make("film.mp4", 30 * MIB))
    gate.let(MIB)
    page.submit()
    until(lambda: page.states()["wanted.bin"] == "sending", "the first to be under way")
    page.press("Cancel unwanted.bin")
    gate.let(20 * MIB)
    until(lambda: page.states()["wanted.bin"] == "done", "the other one done", 60)
    until(lambda: page.states()["film.mp4"] == "sending" and left_behind(folder), "the film to be under way")
    page.press("Cancel film.mp4")
    gate.open()
    until(lambda: page.text("summary"), "the end")
    assert page.states() == {"wanted.bin": "done", "unwanted.bin": "cancelled", "film.mp4": "cancelled"}
    assert page.download("wanted.bin") == wanted.read_bytes()
    until(lambda: left_behind(folder) == [], "what was cancelled to be removed")
    assert len(kept(folder)) == 1


def test_all_is_cancelled_and_tried_again(site, visit, make):
    gate, folder = site()
    page = visit(gate.url)
    page.choose(make("a.bin", 8 * MIB), make("film.mp4", 30 * MIB))
    gate.let(MIB)
    page.submit()
    until(lambda: page.states()["a.bin"] == "sending", "it to begin")
    page.find("#cancel")[0].click()
    until(lambda: set(page.states().values()) == {"cancelled"}, "both cancelled")
    gate.open()
    until(lambda: left_behind(folder) == [], "what was cancelled to be removed")
    assert kept(folder) == []
    page.press("Try again: a.bin")
    until(lambda: page.states()["a.bin"] == "done", "it done", 60)


def test_a_route_with_tokens_asks_for_one(site, visit, make):
    gate, folder = site(auth="token")
    page = visit(gate.url)
    small, film = make("a.bin", 1000), make("film.mp4", 20 * MIB)
    page.choose(small, film)
    token = page.find("#token")[0]
    token.send_keys("wrong")
    page.submit()
    until(lambda: set(page.states().values()) == {"failed"}, "the refusal")
    assert kept(folder) == [] and left_behind(folder) == []
    token.clear()
    token.send_keys(SECRET)
    assert page.find("#submit")[0].text == "Try again (2 files)"
    page.submit()
    page.all_done("a.bin", "film.mp4")
    assert page.download("film.mp4") == film.read_bytes()


def test_a_signed_link_is_all_that_it_takes(site, visit, make):
    gate, folder = site(auth="signed")
    link = command("sign-url", "-c", folder.parent / "gateway.toml", "--write", "/upload").stdout.strip()
    assert link.startswith("/upload?")
    small, film = make("a.bin", 1000), make("film.mp4", 20 * MIB)
    page = visit(gate.url + link)
    page.choose(small, film)
    page.submit()
    page.all_done("a.bin", "film.mp4")
    assert page.download("film.mp4") == film.read_bytes()
    page = Page(page.driver, gate.url)  # without the signature
    page.choose(small)
    page.submit()
    until(lambda: page.states() == {"a.bin": "failed"}, "the refusal")
    assert len(kept(folder)) == 2


def test_a_dropped_connection_goes_on_where_it_stopped(site, visit, make):
    gate, folder = site()
    page = visit(gate.url)
    film = make("film.mp4", 24 * MIB)
    page.choose(film)
    gate.let(20 * MIB)
    page.submit()
    until(lambda: gate.passed >= 19 * MIB and gate.budget <= 0, "the second slice to be under way", 60)
    gate.cut()
    before = gate.passed
    gate.open()
    page.all_done("film.mp4")
    assert gate.passed - before < SLICE, "the first slice was not sent again"
    assert page.download("film.mp4") == film.read_bytes()
    assert len(kept(folder)) == 1
    assert page.driver.execute_script("return localStorage.length") == 0


def test_what_is_sent_again_after_a_lost_answer_is_there_once(site, visit, make):
    """Chromium repeats a request whose answer was lost, also a POST, before any script hears of it."""
    gate, folder = site()
    page = visit(gate.url)
    first, second = make("a.bin", 1000), make("b.bin", 2000)
    page.choose(first, second)
    gate.unheard, gate.losing = b"content-location:", 3  # what tells that a file is whole
    page.submit()
    page.all_done("a.bin", "b.bin")
    assert gate.losing == 0
    assert sorted(p.read_bytes() for p in kept(folder)) == sorted(p.read_bytes() for p in (first, second))
    assert page.download("a.bin") == first.read_bytes() and left_behind(folder) == []


def test_after_five_tries_the_visitor_is_asked(site, visit, make):
    gate, _ = site()
    page = visit(gate.url)
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": """
        const wait = setTimeout, waits = window.waits = [];
        window.setTimeout = (fn, ms) => { waits.push(ms); return wait(fn, ms / 20); };"""})
    page = Page(page.driver, gate.url)
    film = make("film.mp4", 24 * MIB)
    page.choose(film)
    gate.let(20 * MIB)
    page.submit()
    until(lambda: gate.passed >= 19 * MIB and gate.budget <= 0, "the second slice to be under way", 60)
    gate.dead = True
    gate.cut()
    until(lambda: page.states() == {"film.mp4": "stopped"}, "the last try", 60)
    waits = page.driver.execute_script("return waits.filter((ms) => ms < 60000)")
    assert [ms for ms in waits if ms >= 500][-5:] == [500, 1000, 2000, 4000, 8000]
    assert "connection was lost" in page.rows()["film.mp4"][1]
    gate.dead = False
    before = gate.passed
    gate.open()
    page.press("Resume: film.mp4")
    page.all_done("film.mp4")
    assert gate.passed - before < SLICE, "the first slice was not sent again"
    assert page.download("film.mp4") == film.read_bytes()


def test_a_busy_server_is_tried_again(site, visit, make):
    gate, _ = site("max_concurrent = 1")
    page = visit(gate.url)
    with socket.create_connection(gate.target) as holder:
        holder.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun")
        page.choose(make("a.bin", 1000))
        until(lambda: httpx.put(gate.url + "/upload", content=b"x").status_code == 503, "the place to be taken")
        page.submit()
        until(lambda: "Trying again" in page.rows()["a.bin"][1], "the refusal")
    page.all_done("a.bin")


def test_a_reloaded_page_goes_on_with_the_same_file(site, visit, make):
    gate, folder = site()
    page = visit(gate.url)
    film = make("film.mp4", 24 * MIB)
    page.choose(film)
    gate.let(20 * MIB)
    page.submit()
    until(lambda: gate.passed >= 19 * MIB and gate.budget <= 0, "the second slice to be under way", 60)
    gate.open()
    gate.cut()
    page.driver.get("about:blank")
    page = Page(page.driver, gate.url)
    until(lambda: "“film.mp4”" in page.text("begun"), "what was begun to be told of")
    before = gate.passed
    page.choose(film)
    page.submit()
    page.all_done("film.mp4")
    assert gate.passed - before < SLICE, "the first slice was not sent again"
    assert page.download("film.mp4") == film.read_bytes()
    assert len(kept(folder)) == 1


def test_what_is_not_taken_is_told_in_words(site, visit, make, tmp_path):
    gate, folder = site('allow_types = ["image/*"]')
    page = visit(gate.url)
    picture = tmp_path / "dot.png"
    picture.write_bytes(bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
        "0000000d49444154789c6260000000000500010d0a2db40000000049454e44ae426082"))
    program = tmp_path / "program.png"
    program.write_bytes(b"#!/bin/sh\necho this is no picture\n" * 50)
    page.choose(picture, program)
    page.submit()
    until(lambda: "failed" in page.states().values(), "the refusal")
    until(lambda: page.states() == {"dot.png": "done", "program.png": "failed"}, "the picture alone to be taken")
    words = page.rows()["program.png"][1]
    assert len(words) > 20 and "{" not in words and "415" not in words, words
    assert len(kept(folder)) == 1


def test_too_large_and_too_many_are_told_before_anything_is_sent(site, visit, make):
    gate, _ = site()
    page = visit(gate.url)
    page.choose(make("huge.bin", 64 * MIB + 1))
    assert "huge.bin" in page.text("note") and "64 MiB" in page.text("note")
    page.choose(*[make(f"{n}.bin", 10) for n in range(5)])
    assert len(page.rows()) == 4 and "4.bin" in page.text("note")


def test_without_javascript_it_is_a_form(site, visit, make):
    gate, folder = site()
    page = visit(gate.url, javascript=False)
    assert page.find("html.js") == []
    path = make("ünicode 😀.bin", 300_000)
    page.find("[name=comment]")[0].send_keys("by hand")
    page.choose(path)
    page.submit()
    until(lambda: page.driver.current_url == gate.url + "/upload?thanks", "the redirect")
    assert [p.read_bytes() for p in kept(folder)] == [path.read_bytes()]


def test_the_page_fits_a_phone_in_light_and_dark(site, visit):
    gate, _ = site()
    page = visit(gate.url)
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True})
    colours = set()
    for scheme in ("light", "dark"):
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                    {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        page.driver.get(gate.url + "/upload")
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 360
        colours.add(page.driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2


def test_the_keyboard_reaches_everything_and_everything_has_a_name(site, visit, make):
    gate, _ = site()
    page = visit(gate.url)
    page.choose(make("a.bin", 10))
    nameless = page.driver.execute_script("""
        return [...document.querySelectorAll("input:not([type=hidden]), button, progress")].filter((e) =>
            !(e.labels && e.labels.length) && !e.getAttribute("aria-label") && !e.textContent.trim()).map((e) => e.outerHTML)""")
    assert nameless == []
    reached = set()
    for _ in range(8):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.add(page.driver.switch_to.active_element.get_attribute("id") or
                    page.driver.switch_to.active_element.get_attribute("aria-label"))
    assert {"files", "submit", "Remove a.bin"} <= reached
