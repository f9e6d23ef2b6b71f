"""Parts whose answers are kept: freshness, validation, stale answers, who may share what."""

import asyncio
import json
import threading
import time

import httpx
import pytest

from gateway import until
from scripted import Origin


@pytest.fixture
def origin():
    one = Origin().start()
    yield one
    one.stop()


def config(origin, cache="", part="", page="", upstream="", more=""):
    return f"""
{more}
[upstreams.shop]
url = "{origin.url}"
{upstream}
[pages.home]
path = "/{{name}}"
{page}
[pages.home.parts.shop]
path = "/{{path.name}}{{?query.q}}"
{part}
[pages.home.parts.shop.cache]
enabled = true
{cache}
"""


def get(gateway, path, **headers):
    answer = httpx.get(f"{gateway.url}{path}", headers={k.replace("_", "-"): v for k, v in headers.items()},
                       trust_env=False, timeout=20)
    part = answer.json()["meta"]["parts"]["shop"] if answer.status_code == 200 else None
    return answer, part


FRESH = [("Cache-Control", "max-age=60")]


def test_what_is_fresh_is_asked_for_once(gateway, origin):
    origin.serves("/a", {"headers": FRESH})
    one = gateway(config(origin))
    first, part = get(one, "/a")
    assert part["cache"] == "miss" and part["attempts"] == 1 and part["age"] == 0
    second, part = get(one, "/a")
    assert part["cache"] == "hit" and part["state"] == "ok" and part["attempts"] == 0
    assert first.json()["data"] == second.json()["data"]
    assert origin.asked("/a") == 1
    assert second.headers["cache-status"].startswith("gateway; hit; ttl=")
    assert second.headers["cache-status"].endswith("detail=shop")
    assert first.headers["cache-status"] == "gateway; fwd=miss; fwd-status=200; stored; detail=shop"


def test_another_query_is_another_answer(gateway, origin):
    origin.serves("/a", {"headers": FRESH})
    one = gateway(config(origin))
    for query in ("?q=1", "?q=2", "", "?q=1"):
        get(one, f"/a{query}")
    assert origin.asked("/a") == 3


NEVER_KEPT = {
    "nothing said": [],
    "no-store": [("Cache-Control", "max-age=60, no-store")],
    "private": [("Cache-Control", "private, max-age=60")],
    "private with fields": [("Cache-Control", 'max-age=60, private="set-cookie"')],
    "a cookie": [*FRESH, ("Set-Cookie", "a=b")],
    "vary by all": [*FRESH, ("Vary", "*")],
    "stale from the start": [("Cache-Control", "max-age=0")],
    "too old": [*FRESH, ("Age", "60")],
    "s-maxage 0": [("Cache-Control", "max-age=60, s-maxage=0")],
    "expired": [("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")],
    "expires 0": [("Expires", "0")],
    "malformed max-age": [("Cache-Control", "max-age=a")],
    "two max-ages": [("Cache-Control", "max-age=60, max-age=0")],
    "no-cache without a validator": [("Cache-Control", "no-cache, max-age=60")],
}


@pytest.mark.parametrize("headers", NEVER_KEPT.values(), ids=NEVER_KEPT.keys())
def test_what_may_not_be_used_again_is_asked_for_again(gateway, origin, headers):
    origin.serves("/a", {"headers": headers})
    one = gateway(config(origin))
    for _ in range(2):
        _, part = get(one, "/a")
        assert part["state"] == "ok" and part["cache"] == "miss"
    assert origin.asked("/a") == 2


KEPT = {
    "s-maxage over max-age": [("Cache-Control", "max-age=0, s-maxage=60")],
    "quoted": [("Cache-Control", 'max-age="60"')],
    "upper case": [("CACHE-CONTROL", "MAX-AGE=60")],
    "two lines": [("Cache-Control", "public"), ("Cache-Control", "max-age=60")],
    "expires": [("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Cache-Control", "max-age=2000000000")],
    "huge": [("Cache-Control", "max-age=99999999999999999999")],
    "unknown directive": [("Cache-Control", "max-age=60, fancy=1")],
}


@pytest.mark.parametrize("headers", KEPT.values(), ids=KEPT.keys())
def test_what_may_be_used_again_is(gateway, origin, headers):
    origin.serves("/a", {"headers": headers})
    one = gateway(config(origin))
    get(one, "/a")
    _, part = get(one, "/a")
    assert part["cache"] == "hit"
    assert origin.asked("/a") == 1


def test_a_configured_ttl_where_the_upstream_says_nothing(gateway, origin):
    origin.serves("/a", {})
    origin.serves("/private", {"headers": [("Cache-Control", "private")]})
    origin.serves("/zero", {"headers": [("Cache-Control", "max-age=0")]})
    one = gateway(config(origin, cache='ttl = "1m"'))
    for path, asked in (("/a", 1), ("/private", 2), ("/zero", 2)):
        get(one, path)
        get(one, path)
        assert origin.asked(path) == asked, path


def test_negative_answers(gateway, origin):
    origin.serves("/gone", {"status": 404})
    origin.serves("/broken", {"status": 500})
    one = gateway(config(origin, cache='ttl = "1m"\nnegative_ttl = "1m"'))
    for path, asked in (("/gone", 1), ("/broken", 2)):
        for _ in range(2):
            _, part = get(one, path)
            assert part["state"] == "error"
        assert origin.asked(path) == asked, path


def test_a_304_brings_an_answer_up_to_date(gateway, origin):
    def validated(path, fields):
        if fields.get("if-none-match") == '"one"':
            return {"status": 304, "headers": [("Cache-Control", "max-age=60"), ("ETag", '"one"')]}
        return {"headers": [("Cache-Control", "max-age=0"), ("ETag", '"one"')], "body": {"n": "first"}}

    origin.serves("/a", validated)
    one = gateway(config(origin))
    first, _ = get(one, "/a")
    second, part = get(one, "/a")
    assert part["cache"] == "revalidated" and part["status"] == 200 and part["state"] == "ok"
    assert second.headers["cache-status"] == "gateway; fwd=stale; fwd-status=304; stored; detail=shop"
    third, part = get(one, "/a")
    assert part["cache"] == "hit"
    assert first.json()["data"] == second.json()["data"] == third.json()["data"]
    assert origin.asked("/a") == 2


def test_a_304_about_something_else_is_asked_again(gateway, origin):
    def lying(path, fields):
        if "if-none-match" in fields:
            return {"status": 304, "headers": [("ETag", '"other"')]}
        return {"headers": [("Cache-Control", "max-age=0"), ("ETag", '"one"')]}

    origin.serves("/a", lying)
    one = gateway(config(origin))
    get(one, "/a")
    _, part = get(one, "/a")
    assert part["state"] == "ok" and part["cache"] == "miss"
    assert origin.asked("/a") == 3


def test_vary_keeps_answers_apart(gateway, origin):
    origin.serves("/a", lambda path, fields: {
        "headers": [*FRESH, ("Vary", "Accept-Language")],
        "body": {"language": fields.get("accept-language", "none")}})
    one = gateway(config(origin))
    for language in ("de", "fr", "de", "fr"):
        answer, _ = get(one, "/a", Accept_Language=language)
        assert answer.json()["data"]["shop"]["language"] == language
        assert "accept-language" in answer.headers["vary"].lower()
    answer, _ = get(one, "/a", Accept_Language="")
    assert origin.asked("/a") == 3


def test_credentials_are_never_shared(gateway, origin):
    origin.serves("/a", lambda path, fields: {"headers": FRESH, "body": {"who": fields["cookie"]}})
    one = gateway(config(origin, upstream='forward_headers = ["Cookie"]'))
    for who in ("user=1", "user=2", "user=1"):
        answer, _ = get(one, "/a", Cookie=who)
        assert answer.json()["data"]["shop"]["who"] == who
        assert "private" in answer.headers["cache-control"]
    assert origin.asked("/a") == 3


def test_own_headers_keep_answers_apart(gateway, origin):
    origin.serves("/a", lambda path, fields: {"headers": FRESH, "body": {"who": fields["x-user"]}})
    one = gateway(config(origin) + '[pages.home.parts.shop.headers]\nX-User = "{query.user}"\n')
    for who in ("1", "2", "1"):
        answer, _ = get(one, f"/a?user={who}")
        assert answer.json()["data"]["shop"]["who"] == who
    assert origin.asked("/a") == 2


def test_stale_while_it_is_asked_for_anew(gateway, origin):
    gate = threading.Event()
    origin.serves("/a",
                  {"headers": [("Cache-Control", "max-age=60, stale-while-revalidate=60"), ("Age", "70")],
                   "body": {"n": "old"}},
                  {"headers": FRESH, "body": {"n": "new"}, "until": gate})
    one = gateway(config(origin))
    get(one, "/a")
    for _ in range(3):  # answered at once, though the new one isn't there
        answer, part = get(one, "/a")
        assert part["state"] == "stale" and part["cache"] == "stale" and part["age"] >= 70
        assert answer.json()["data"]["shop"]["n"] == "old"
        assert answer.headers["x-page-completed"] == "true"
        assert "ttl=-" in answer.headers["cache-status"]
    gate.set()
    until(lambda: get(one, "/a")[0].json()["data"]["shop"]["n"] == "new")
    assert origin.asked("/a") == 2
    assert "no-store" not in get(one, "/a")[0].headers["cache-control"]


@pytest.mark.parametrize("failing", [{"status": 503}, {"body": b"not JSON"}, {"after": 30}],
                         ids=["status", "garbage", "timeout"])
def test_stale_when_asking_fails(gateway, origin, failing):
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=60"), ("Age", "70")], "body": {"n": "old"}},
                  failing)
    one = gateway(config(origin, cache='stale_if_error = "1h"', part='timeout = "500ms"',
                         upstream="[upstreams.shop.retry]\nattempts = 1"))
    get(one, "/a")
    answer, part = get(one, "/a")
    assert part["state"] == "stale" and part["age"] >= 70
    assert answer.json()["data"]["shop"]["n"] == "old"
    assert answer.headers["x-page-completed"] == "false"
    assert answer.headers["cache-control"] == "no-store"
    assert 'details="shop stale"' in answer.headers["proxy-status"]


def test_a_404_is_an_answer_and_no_failure(gateway, origin):
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=60"), ("Age", "70")]}, {"status": 404})
    one = gateway(config(origin, cache='stale_if_error = "1h"'))
    get(one, "/a")
    _, part = get(one, "/a")
    assert part["state"] == "error" and part["status"] == 404


def test_a_deadline_cuts_and_what_is_kept_stands_in(gateway, origin):
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=60"), ("Age", "70")]}, {"after": 30})
    one = gateway(config(origin, cache='stale_if_error = "1h"', page='deadline = "500ms"',
                         upstream='timeout = "20s"'))
    get(one, "/a")
    _, part = get(one, "/a")
    assert part["state"] == "stale"
    until(lambda: origin.aborted >= 1, "the call's end")


def test_must_revalidate_is_never_stale(gateway, origin):
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=60, must-revalidate"), ("Age", "70")]},
                  {"status": 503})
    one = gateway(config(origin, cache='stale_if_error = "1h"\nstale_while_revalidate = "1h"'))
    get(one, "/a")
    _, part = get(one, "/a")
    assert part["state"] == "error"


# -- asking together --


def at_once(gateway, count, path="/a", headers=lambda i: {}):
    async def all_of_them():
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(client.get(gateway.url + path, headers=headers(i))
                                          for i in range(count)))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("workers", [1, 3])
def test_who_asks_for_the_same_waits_for_the_same(gateway, origin, workers):
    gate = threading.Event()
    origin.serves("/a", {"headers": FRESH, "until": gate})
    one = gateway(config(origin), header=f"""
[server]
listen = ["127.0.0.1:0"]
workers = {workers}
[admin]
listen = "127.0.0.1:0"
control = ""
[log]
format = "json"
""")
    timer = threading.Timer(0.5, gate.set)
    timer.start()
    answers = at_once(one, 60)
    words = [answer.json()["meta"]["parts"]["shop"]["cache"] for answer in answers]
    assert origin.asked("/a") == 1
    assert words.count("miss") == 1 and set(words) <= {"miss", "collapsed", "hit"}
    assert len({answer.json()["data"]["shop"]["n"] for answer in answers}) == 1


def test_private_answers_separate_who_waited(gateway, origin):
    gate = threading.Event()
    count = 0

    def personal(path, fields):
        nonlocal count
        count += 1
        return {"headers": [("Cache-Control", "private")], "body": {"n": count}, "until": gate}

    origin.serves("/a", personal)
    one = gateway(config(origin, page='deadline = "20s"', part='timeout = "20s"'))
    threading.Timer(0.5, gate.set).start()
    answers = at_once(one, 20)
    assert len({answer.json()["data"]["shop"]["n"] for answer in answers}) == 20


def test_who_leaves_takes_nobody_along(gateway, origin):
    gate = threading.Event()
    origin.serves("/a", {"headers": FRESH, "until": gate, "body": {"n": 1}})
    one = gateway(config(origin, page='deadline = "20s"', part='timeout = "20s"'))

    async def some_leave():
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            first = asyncio.create_task(client.get(one.url + "/a"))
            while origin.asked("/a") == 0:
                await asyncio.sleep(0.01)
            others = [asyncio.create_task(client.get(one.url + "/a")) for _ in range(10)]
            await asyncio.sleep(0.3)
            first.cancel()
            for task in others[:5]:
                task.cancel()
            await asyncio.sleep(0.3)
            gate.set()
            return await asyncio.gather(*others[5:])

    answers = asyncio.run(some_leave())
    assert [answer.json()["data"]["shop"]["n"] for answer in answers] == [1] * 5
    assert origin.asked("/a") == 1


def test_when_all_leave_nobody_is_asked_any_more(gateway, origin):
    origin.serves("/a", {"headers": FRESH, "after": 30})
    one = gateway(config(origin, page='deadline = "25s"', part='timeout = "25s"'))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(one.url + "/a", timeout=0.5, trust_env=False)
    until(lambda: origin.aborted == 1, "the call's end")


# -- the page --


def test_the_page_says_what_its_parts_leave(gateway, origin):
    origin.serves("/a", {"headers": [("Cache-Control", "max-age=60"), ("Age", "20")]})
    one = gateway(config(origin, page='template = "page.html"'), {"page.html": "<p>{{shop.n}}</p>"})
    answer = httpx.get(one.url + "/a", trust_env=False)
    assert answer.headers["cache-control"] in ("public, max-age=40", "public, max-age=39")
    etag = answer.headers["etag"]
    again = httpx.get(one.url + "/a", headers={"If-None-Match": etag}, trust_env=False)
    assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == etag
    other = httpx.get(one.url + "/a", headers={"If-None-Match": '"other"'}, trust_env=False)
    assert other.status_code == 200 and other.text == answer.text


def entries(gateway):
    return httpx.get(gateway.admin + "/cache", trust_env=False).json()["entries"]


def test_what_was_rendered_of_the_same_answers_is_sent_again(gateway, origin):
    for path in ("/a", "/b"):
        origin.serves(path, *({"headers": FRESH, "body": {"n": f"{path}{i} &" + "x" * 2000}} for i in range(3)))
    one = gateway(config(origin, page='template = "page.html"').replace('"/{name}"', '"/{name}/page"'), {"page.html": "<p>{{shop.n}}</p>"})

    def page(path="/a", **headers):
        return httpx.get(one.url + path + "/page", headers=headers, trust_env=False)

    plain = {"Accept-Encoding": "identity"}
    first = page(**plain)
    assert entries(one) == 1  # the answer, which had just come
    again = page(**plain)
    assert entries(one) == 2
    for answer in (again, page(**plain)):
        assert answer.text == first.text == "<p>/a0 &amp;" + "x" * 2000 + "</p>"
        assert answer.headers["etag"] == first.headers["etag"]
        assert answer.headers["cache-status"].startswith("gateway; hit; ttl=")
        assert answer.headers["content-type"] == first.headers["content-type"]
        assert "content-encoding" not in answer.headers
    coded = page(**{"Accept-Encoding": "gzip"})
    for answer in (coded, page(**{"Accept-Encoding": "gzip"})):
        assert answer.headers["content-encoding"] == "gzip" and answer.text == first.text
        assert answer.headers["etag"] == coded.headers["etag"] != first.headers["etag"]
        assert int(answer.headers["content-length"]) < 200
    assert entries(one) == 3
    for answer in (page(**plain, **{"If-None-Match": first.headers["etag"]}),
                   page(**{"Accept-Encoding": "gzip", "If-None-Match": coded.headers["etag"]})):
        assert answer.status_code == 304 and answer.content == b"" and "content-encoding" not in answer.headers
    assert page("/b", **plain).text.startswith("<p>/b0")
    assert page(**plain, Accept="application/json").json()["data"]["shop"]["n"].startswith("/a0")
    assert page(**plain, **{"Cache-Control": "no-cache"}).text.startswith("<p>/a0")  # ours isn't the client's


def test_another_answer_is_another_page(gateway, origin):
    origin.serves("/a", *({"headers": [("Cache-Control", "max-age=1")], "body": {"n": i}} for i in range(1000)))
    one = gateway(config(origin, page='template = "page.html"'), {"page.html": "{{shop.n}}"})
    shown, end = [], time.monotonic() + 2.5
    while time.monotonic() < end:
        shown.append(int(httpx.get(one.url + "/a", trust_env=False).text))
    assert shown == sorted(shown) and len(set(shown)) == origin.asked("/a") >= 2


def test_what_shows_the_request_is_rendered_each_time(gateway, origin):
    origin.serves("/a", {"headers": FRESH})
    one = gateway(config(origin, page='template = "page.html"'), {"page.html": "{{shop.n}} {{request.id}}"})
    assert len({httpx.get(one.url + "/a", trust_env=False).text for _ in range(5)}) == 5
    assert entries(one) == 1


def test_a_kept_page_is_sent_again(gateway, origin):
    origin.serves("/a", {"headers": [*FRESH, ("Vary", "Accept-Language")]})
    one = gateway(config(origin, page='template = "page.html"\nmicro_cache = "1m"'),
                  {"page.html": "<p>{{shop.n}} {{request.host}}</p>"})
    first = httpx.get(one.url + "/a", trust_env=False)
    again = httpx.get(one.url + "/a", trust_env=False)
    assert "age" not in first.headers and "age" in again.headers
    assert again.text == first.text and again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-status"] == "gateway; hit; detail=page"
    assert again.headers["x-page-completed"] == "true"
    for headers in ({"Accept-Language": "fr"}, {"Host": "other.example"}, {"Accept": "application/json"}):
        other = httpx.get(one.url + "/a", headers=headers, trust_env=False)
        assert "age" not in other.headers, headers


def test_bad_configuration(gateway, origin, tmp_path):
    from gateway import command
    file = tmp_path / "bad.toml"
    file.write_text(config(origin, more='[cache]\nmax_size = "1MiB"',
                           part='method = "POST"', page='micro_cache = "1s"')
                    + '[pages.home.parts.other]\nupstream = "shop"\n')
    result = command("check", "-c", file)
    assert result.returncode == 78
    text = result.stderr
    assert "less than one answer" in text
    assert "only answers to a GET are kept" in text
    assert "part 'other' isn't kept" in text


# -- purging --


def test_purging_by_url_and_by_tag(gateway, origin, tmp_path):
    origin.serves("/a", {"headers": FRESH})
    origin.serves("/b", {"headers": FRESH})
    control = tmp_path / "control.sock"
    one = gateway(config(origin, cache='tags = ["shop"]'), header=f"""
[server]
listen = ["127.0.0.1:0"]
workers = 2
[admin]
listen = "127.0.0.1:0"
control = "unix:{control}"
[log]
format = "json"
""")

    def purge(**query):
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(control))) as client:
            return client.post("http://gateway/cache/purge", params=query)

    for path in ("/a", "/a?q=1", "/b"):
        get(one, path)
    assert httpx.get(one.admin + "/cache", trust_env=False).json()["entries"] == 3
    assert purge(upstream="shop", path="/a").json() == {"purged": 1}
    assert get(one, "/a")[1]["cache"] == "miss"
    assert get(one, "/a?q=1")[1]["cache"] == "hit"
    assert purge(tag="shop").json() == {"purged": 3}
    assert purge(tag="shop").json() == {"purged": 0}
    assert get(one, "/b")[1]["cache"] == "miss"
    assert purge(upstream="shop").json() == {"purged": 1}
    for bad in ({}, {"tag": "a", "upstream": "b"}, {"upstream": "shop", "path": "a"}):
        assert purge(**bad).status_code == 400, bad
    stats = httpx.get(one.admin + "/cache", trust_env=False).json()
    assert stats["hits"] == 1 and stats["misses"] == 5 and stats["entries"] == 0


def test_what_was_asked_for_before_a_purge_is_not_kept(gateway, origin, tmp_path):
    gate = threading.Event()
    origin.serves("/a", {"headers": FRESH, "until": gate, "body": {"n": "old"}}, {"headers": FRESH, "body": {"n": "new"}})
    control = tmp_path / "control.sock"
    one = gateway(config(origin, cache='tags = ["shop"]', page='deadline = "20s"', part='timeout = "20s"'), header=f"""
[server]
listen = ["127.0.0.1:0"]
workers = 1
[admin]
listen = "127.0.0.1:0"
control = "unix:{control}"
[log]
format = "json"
""")
    asking = threading.Thread(target=get, args=(one, "/a"))
    asking.start()
    until(lambda: origin.asked("/a") == 1, "the call")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(control))) as client:
        assert client.post("http://gateway/cache/purge?tag=shop").json() == {"purged": 0}
    gate.set()
    asking.join()
    answer, part = get(one, "/a")
    assert part["cache"] == "miss" and answer.json()["data"]["shop"]["n"] == "new"


def two_parts(origin):
    return config(origin, more="") + """
[pages.order]
path = "/order"
[pages.order.parts.shop]
upstream = "shop"
method = "POST"
path = "/a"
body = '{"n": 1}'
"""


def test_what_a_post_changes_is_asked_for_anew(gateway, origin):
    origin.serves("/a", {"headers": FRESH})
    one = gateway(two_parts(origin))
    assert get(one, "/a")[1]["cache"] == "miss"
    assert get(one, "/a")[1]["cache"] == "hit"
    assert get(one, "/order")[1]["state"] == "ok"
    assert get(one, "/a")[1]["cache"] == "miss"
    origin.serves("/a", {"status": 500})
    assert get(one, "/order")[1]["state"] != "ok"
    assert get(one, "/a")[1]["cache"] == "hit"  # what failed changed nothing


def test_what_was_asked_for_before_a_post_is_for_nobody_who_asks_after_it(gateway, origin):
    gate = threading.Event()
    origin.serves("/a", {"headers": FRESH, "until": gate, "body": {"n": "old"}},
                  {"body": {}}, {"headers": FRESH, "body": {"n": "new"}})
    one = gateway(two_parts(origin).replace("[pages.home]", "[pages.home]\ndeadline = \"20s\"")
                  .replace("[pages.home.parts.shop]", "[pages.home.parts.shop]\ntimeout = \"20s\""))
    asking = threading.Thread(target=get, args=(one, "/a"))
    asking.start()
    until(lambda: origin.asked("/a") == 1, "the call")
    assert get(one, "/order")[1]["state"] == "ok"
    answer, part = get(one, "/a")
    assert part["cache"] == "miss" and answer.json()["data"]["shop"]["n"] == "new"
    gate.set()
    asking.join()
    answer, part = get(one, "/a")
    assert part["cache"] == "hit" and answer.json()["data"]["shop"]["n"] == "new"


def test_a_crowd_on_answers_of_all_kinds(gateway, origin, tmp_path):
    """Four loops, a few keys whose answers change between shared, private and failing, clients who
    leave at any moment, purges and changes in between: nobody gets what isn't theirs, and all who
    stay get something."""
    kinds = [{"headers": [("Cache-Control", "max-age=0, stale-while-revalidate=1")], "after": 0.002},
             {"headers": [("Cache-Control", "private, max-age=60")], "after": 0.005},
             {"headers": [("Cache-Control", "max-age=1")]},
             {"headers": [("Cache-Control", "no-store")], "after": 0.001},
             {"status": 500}]
    counts = {}

    def answer(path, fields):
        kind = counts[path] = (counts.get(path, 0) + 1) % len(kinds)
        return {**kinds[kind], "body": {"path": path}}

    for name in "abcd":
        origin.serves(f"/{name}", answer)
    control = tmp_path / "control.sock"
    one = gateway(two_parts(origin), header=f"""
[server]
listen = ["127.0.0.1:0"]
workers = 4
[admin]
control = "unix:{control}"
[log]
format = "json"
""")
    wrong, ended = [], []

    async def client(number):
        limits = httpx.Limits(max_connections=40, max_keepalive_connections=40)
        async with httpx.AsyncClient(trust_env=False, timeout=20, limits=limits) as http:
            for turn in range(12):
                asked = [f"/{'abcd'[(number + turn + i) % 4]}" for i in range(20)]
                tasks = [asyncio.create_task(http.get(one.url + path)) for path in asked]
                await asyncio.sleep(0.001 * (turn % 4))
                for task in tasks[::3]:
                    task.cancel()
                for path, task in zip(asked, tasks):
                    try:
                        answer = await task
                    except asyncio.CancelledError:
                        continue
                    ended.append(answer.status_code)
                    data = answer.json()["data"]["shop"] if answer.status_code == 200 else None
                    if data is not None and data != {"path": path}:
                        wrong.append((path, data))

    async def changes():
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http, \
                httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(control))) as controlling:
            for turn in range(25):
                await http.get(one.url + "/order")
                await controlling.post("http://gateway/cache/purge?upstream=shop" + ("&path=/b" if turn % 2 else ""))
                await asyncio.sleep(0.01)

    async def crowd():
        await asyncio.gather(*(client(number) for number in range(4)), changes())

    asyncio.run(crowd())
    assert not wrong and len(ended) > 500 and set(ended) <= {200, 502, 503}
    answer, part = get(one, "/a")
    assert answer.status_code in (200, 502)


# -- last good answers --


def last_good_config(origin, folder):
    return config(origin, cache='stale_if_error = "1h"\nlast_good = true', part='timeout = "500ms"',
                  upstream="[upstreams.shop.retry]\nattempts = 1",
                  more=f'[cache]\nlast_good = "{folder}"')


def test_the_last_good_answer_outlives_kill_9(gateway, origin, tmp_path):
    folder = tmp_path / "kept"
    origin.serves("/a", {"headers": FRESH, "body": {"n": "good"}})
    one = gateway(last_good_config(origin, folder))
    get(one, "/a")
    until(lambda: [f for f in folder.iterdir() if f.suffix != ".tmp"], "the file")
    one.process.kill()
    one.process.wait()
    one.process = None
    origin.serves("/a", {"status": 503})
    two = gateway(last_good_config(origin, folder))
    answer, part = get(two, "/a")
    assert part["state"] == "stale" and answer.json()["data"]["shop"]["n"] == "good"
    assert answer.headers["x-page-completed"] == "false"
    origin.serves("/a", {"headers": FRESH, "body": {"n": "new"}})
    answer, part = get(two, "/a")  # never instead of an answer that can be had
    assert part["state"] == "ok" and answer.json()["data"]["shop"]["n"] == "new"


def test_a_damaged_last_good_file_is_left_out(gateway, origin, tmp_path):
    folder = tmp_path / "kept"
    origin.serves("/a", {"headers": FRESH})
    origin.serves("/b", {"headers": FRESH})
    one = gateway(last_good_config(origin, folder))
    get(one, "/a")
    get(one, "/b")
    files = until(lambda: len(list(folder.glob("?" * 32))) == 2 and list(folder.glob("?" * 32)), "the files")
    one.stop()
    damaged = files[0].read_bytes()
    files[0].write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    (folder / "somebody-elses").write_text("mine")
    (folder / ("0" * 32)).symlink_to("/etc/passwd")
    origin.serves("/a", {"status": 503})
    origin.serves("/b", {"status": 503})
    two = gateway(last_good_config(origin, folder))
    assert sorted(get(two, path)[1]["state"] for path in ("/a", "/b")) == ["error", "stale"]
    assert two.log().count("last good answer ignored") == 2
    assert (folder / "somebody-elses").exists() and not files[0].exists()


def test_a_folder_that_cannot_be_used(gateway, origin, tmp_path):
    from gateway import command
    (tmp_path / "file").write_text("")
    file = tmp_path / "bad.toml"
    file.write_text('[server]\nlisten = ["127.0.0.1:0"]\n' + last_good_config(origin, tmp_path / "file"))
    result = command("run", "-c", file)
    assert result.returncode == 78 and "can't use the folder" in result.stderr
