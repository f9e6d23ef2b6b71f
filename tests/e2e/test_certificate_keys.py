"""Idempotency-Key: once it was answered with a certificate, whoever was first to ask for that one, it stands
for its fields for a day: after a restart, after kill -9, for a gateway of the version after."""

import concurrent.futures
import itertools
import signal
import sqlite3

import httpx
import pytest

import pdf_templates
from gateway import until

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="200mm" height="100mm" viewBox="0 0 800 400">
<text x="20" y="80" font-size="40" font-family="DejaVu Sans">{{name}} {{serial}}</text>
</svg>
"""
CONFIG = """
[certificates.drawn]
path = "/drawn"
template = "drawn.svg"
open = true
rate_limit = ""
[certificates.filled]
path = "/filled"
template = "filled.pdf"
open = true
rate_limit = ""
[certificates.narrow]
path = "/narrow"
template = "filled.pdf"
open = true
rate_limit = ""
quota = "QUOTA"
[register]
url = "https://shop.example/certificates"
"""
TEMPLATES = {"drawn.svg": SVG, "filled.pdf": pdf_templates.plain(name="%name% %serial%")}
PATHS = ("/drawn", "/filled")


@pytest.fixture
def start(gateway):
    def run(quota="1GiB"):
        one = gateway(CONFIG.replace("QUOTA", quota), TEMPLATES)
        one.database = one.folder / "data" / "gateway.db"
        return one

    return run


@pytest.fixture
def site(start):
    return start()


def ask(site, path, name, key=None, client=httpx):
    headers = {"accept": "application/json"}
    if key is not None:
        headers["idempotency-key"] = f'"{key}"'
    return client.post(site.url + path, json={"name": name}, headers=headers, timeout=30)


def issued(answer):
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"%PDF")
    return answer.content


def refused(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == f"/problems/{kind}"
    return answer


def assert_tied(site, path, name, key, pdf):
    """The key gives that certificate, and nothing else."""
    assert issued(ask(site, path, name, key)) == pdf
    refused(ask(site, path, name + "!", key), 422, "idempotency-key-reused")
    assert issued(ask(site, path, name, key)) == pdf


def sql(site, *statements):
    """All in one transaction; gives the rows of the last one."""
    with sqlite3.connect(site.database, timeout=30) as database:
        for statement in statements:
            rows = database.execute(statement).fetchall()
    database.close()
    return rows


def kill(site):
    site.process.send_signal(signal.SIGKILL)
    site.process.wait()
    site.process = None


@pytest.mark.parametrize("path", PATHS)
def test_a_key_that_comes_for_a_certificate_that_is_there_is_its_from_then_on(site, path):
    pdf = issued(ask(site, path, "Ada"))
    for i in range(3):
        assert_tied(site, path, "Ada", f"late {i}", pdf)
    # The one that it was issued with is no other.
    bob = issued(ask(site, path, "Bob", "early"))
    assert bob != pdf
    assert_tied(site, path, "Bob", "early", bob)
    refused(ask(site, path, "Bob", "late 0"), 422, "idempotency-key-reused")
    # What was refused issued nothing: "Ada!" and "Bob!" have no certificate.
    assert sql(site, "SELECT count(*) FROM certificates") == [(2,)]


def test_a_key_is_its_sections_own(site):
    ada = issued(ask(site, "/drawn", "Ada", "one"))
    bob = issued(ask(site, "/filled", "Bob", "one"))
    assert_tied(site, "/drawn", "Ada", "one", ada)
    assert_tied(site, "/filled", "Bob", "one", bob)


@pytest.mark.parametrize("path", PATHS)
def test_keys_outlive_a_restart_and_a_kill(site, path):
    pdf = issued(ask(site, path, "Ada"))
    bob = issued(ask(site, path, "Bob", "early"))
    assert issued(ask(site, path, "Ada", "late")) == pdf
    kill(site)
    site.start()
    assert_tied(site, path, "Ada", "late", pdf)
    assert_tied(site, path, "Bob", "early", bob)
    assert issued(ask(site, path, "Ada", "later")) == pdf
    assert site.terminate() == 0
    site.start()
    for key in ("late", "later"):
        assert_tied(site, path, "Ada", key, pdf)


def test_every_key_that_was_answered_outlives_a_kill_under_load(site):
    """Keys that come with new certificates and keys that come for old ones; killed amid them."""
    old = issued(ask(site, "/filled", "old"))
    answered = {}
    numbers = itertools.count()

    def send(_):
        with httpx.Client() as client:
            while True:
                number = next(numbers)
                name = "old" if number % 2 else f"new {number}"
                try:
                    answer = ask(site, "/filled", name, f"key {number}", client)
                except httpx.TransportError:
                    return
                answered[f"key {number}"] = name, issued(answer)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send, i) for i in range(8)]
        until(lambda: len(answered) >= 200, "200 answers", 60)
        kill(site)
        for sender in senders:
            sender.result()
    site.start()
    with httpx.Client() as client:
        for key, (name, pdf) in answered.items():
            refused(ask(site, "/filled", "another", key, client), 422, "idempotency-key-reused")
            assert issued(ask(site, "/filled", name, key, client)) == pdf
            assert name != "old" or pdf == old


@pytest.mark.parametrize("path", PATHS)
def test_requests_that_race_with_a_key_get_one_certificate(site, path):
    for fields in ("the same", "their own"):
        for round_ in range(5):
            names = [f"{round_} {i if fields == 'their own' else ''}" for i in range(8)]
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda name: ask(site, path, name, f"{fields} {round_}"), names))
            given = {answer.content for answer in answers if answer.status_code == 200}
            assert len(given) == 1
            for answer in answers:
                if answer.status_code != 200:
                    refused(answer, 422, "idempotency-key-reused")
            assert all(answer.status_code == 200 for answer in answers) == (fields == "the same")
    assert sql(site, "SELECT count(*) FROM certificates") == [(10,)]


def test_keys_that_race_for_a_certificate_that_is_there_are_all_tied(site):
    for path in PATHS:
        pdf = issued(ask(site, path, "Ada"))
        keys = [f"key {i % 16}" for i in range(48)]  # each comes three times
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for answer in pool.map(lambda key: ask(site, path, "Ada", key), keys):
                assert issued(answer) == pdf
        for key in set(keys):
            refused(ask(site, path, "Bob", key), 422, "idempotency-key-reused")


def test_a_key_of_the_day_before_is_free(site):
    ada = issued(ask(site, "/filled", "Ada", "one"))
    assert_tied(site, "/filled", "Ada", "one", ada)
    sql(site, "UPDATE certificate_keys SET made_ms = made_ms - 24 * 60 * 60 * 1000")
    bob = issued(ask(site, "/filled", "Bob", "one"))
    assert bob != ada
    assert_tied(site, "/filled", "Bob", "one", bob)
    assert issued(ask(site, "/filled", "Ada")) == ada
    assert sql(site, "SELECT count(*) FROM certificate_keys") == [(1,)]


def test_what_one_client_can_make_grow_has_an_end(site):
    pdf = issued(ask(site, "/filled", "Ada", "first"))
    sql(
        site,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9998)"
        " INSERT INTO certificate_keys SELECT randomblob(32), client, number, made_ms"
        " FROM n, (SELECT * FROM certificate_keys)",
    )
    assert issued(ask(site, "/filled", "Ada", "last")) == pdf
    for path in PATHS:  # one share for all sections
        for name in ("Ada", "Bob"):
            answer = refused(ask(site, path, name, "one more"), 429, "too-many-keys")
            assert answer.headers["retry-after"] == "3600"
    assert sql(site, "SELECT count(*) FROM certificates") == [(1,)]
    assert_tied(site, "/filled", "Ada", "first", pdf)
    assert issued(ask(site, "/filled", "Ada")) == pdf
    issued(ask(site, "/filled", "Bob"))
    # After their day there is room again.
    sql(site, "UPDATE certificate_keys SET made_ms = made_ms - 24 * 60 * 60 * 1000")
    assert_tied(site, "/filled", "Ada", "one more", pdf)


def test_keys_count_to_the_quota(start):
    site = start("24KiB")
    pdf = issued(ask(site, "/narrow", "Ada"))
    answers = [ask(site, "/narrow", "Ada", f"key {i}") for i in range(24 * 4 + 1)]
    assert issued(answers[0]) == pdf
    refused(answers[-1], 507, "register-full")
    assert {answer.status_code for answer in answers} == {200, 507}
    assert issued(ask(site, "/narrow", "Ada")) == pdf
    assert issued(ask(site, "/narrow", "Ada", "key 0")) == pdf


def test_a_certificate_that_is_forgotten_frees_its_keys(site):
    ada = issued(ask(site, "/filled", "Ada", "one"))
    sql(site, "DELETE FROM certificates")
    bob = issued(ask(site, "/filled", "Bob", "one"))
    assert_tied(site, "/filled", "Bob", "one", bob)
    assert issued(ask(site, "/filled", "Ada")) != ada


def as_the_version_before(site):
    """Makes the database what a gateway with one key a certificate had."""
    names = [name for name, in sql(site, "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND (name LIKE"
                                         " 'certificate_key%' OR name IN ('certificate_forgotten',"
                                         " 'certificate_added_before'))")]
    assert len(names) == 4
    sql(
        site,
        *(f"DROP TRIGGER {name}" for name in names),
        "UPDATE certificates SET key = (SELECT k.key FROM certificate_keys AS k WHERE k.number = certificates.number)",
        "UPDATE certificate_routes SET bytes = bytes - 256 * (SELECT count(*) FROM certificate_keys)",
        "DROP TABLE certificate_keys",
        "DROP TABLE certificate_clients",
        "PRAGMA user_version = 2",
    )


def test_keys_of_the_version_before_are_taken_over(site):
    ada = issued(ask(site, "/filled", "Ada", "one"))
    bob = issued(ask(site, "/filled", "Bob"))
    assert site.terminate() == 0
    as_the_version_before(site)
    site.start()
    assert_tied(site, "/filled", "Ada", "one", ada)
    assert_tied(site, "/filled", "Bob", "two", bob)
    assert sql(site, "PRAGMA integrity_check") == [("ok",)]
    assert sql(site, "SELECT count(*) FROM certificate_keys") == [(2,)]
