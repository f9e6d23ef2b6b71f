"""Pages whose parts need each other: order, conditions, elements, batches, bodies, fallbacks."""

import asyncio
import json
import re
import socket
import time

import httpx
import pytest

from faults import Faults, answer
from gateway import SANITIZED, until


class Services(Faults):
    """Answers by a table of the test's own: `serves(pattern, fn)`; fn(match, body) gives the JSON,
    or (JSON, seconds) or (JSON, seconds, status). `asked` holds (method, path, body)."""

    def __init__(self):
        super().__init__()
        self.table = []
        self.asked = []
        self.heads = []

    def serves(self, pattern, fn):
        self.table.append((re.compile(pattern), fn if callable(fn) else lambda match, body: fn))

    def paths(self, prefix=""):
        return [path for _, path, _ in self.asked if path.startswith(prefix)]

    async def behave(self, path, reader, writer):
        head = self.requests[-1][1]
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.asked.append((head.split(" ", 1)[0], path, body))
        self.heads.append(head)
        for pattern, fn in self.table:
            if match := pattern.fullmatch(path):
                break
        else:
            writer.write(answer(b'{"error":"unknown"}', status="404 Not Found"))
            return True
        given = fn(match, body)
        data, seconds, status = (given if isinstance(given, tuple) else (given,)) + (0, 200)[
            len(given) - 1 if isinstance(given, tuple) else 0 :
        ]
        if seconds:
            await self.wait(reader, seconds)
        text = data if isinstance(data, bytes) else json.dumps(data).encode()
        writer.write(answer(text, status=f"{status} As Asked"))
        await writer.drain()
        return True


@pytest.fixture
def services():
    one = Services().start()
    yield one
    one.stop()


def page(services, parts, more=""):
    return f"""
[upstreams.u]
url = "{services.url}"
timeout = "5s"
[upstreams.u.breaker]
error_share = 0
consecutive = 0
[upstreams.gone]
url = "http://127.0.0.1:1"
{more}
[pages.home]
path = "/"
deadline = "10s"
{parts}
"""


def part(name, keys, upstream="u"):
    return f'[pages.home.parts.{name}]\nupstream = "{upstream}"\n{keys}\n'


def fallback(name, keys):
    return f"[pages.home.parts.{name}.fallback]\n{keys}\n"


def fetch(one, path="/", **options):
    answer = httpx.get(one.url + path, timeout=30, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"], answer.json()["meta"]


def test_a_dependent_part_starts_when_its_input_is_in(gateway, services):
    services.serves("/promo", ({"kind": "hats & caps", "id": 7}, 0.1))
    services.serves("/recco.*", ({"items": [1]}, 0.1))
    services.serves("/other", ({"x": 1}, 0.18))
    one = gateway(page(
        services,
        part("recco", 'path = "/recco{?promo.kind}"') + part("promo", 'path = "/promo"')
        + part("other", 'path = "/other"'),
    ))
    times = []
    for _ in range(3):
        began = time.monotonic()
        data, meta = fetch(one)
        times.append(time.monotonic() - began)
        assert data == {"recco": {"items": [1]}, "promo": {"kind": "hats & caps", "id": 7},
                        "other": {"x": 1}}
        assert meta["completed"] is True
    assert services.paths("/recco") == ["/recco?kind=hats%20%26%20caps"] * 3
    assert 0.2 <= min(times) < 0.2 + (1 if SANITIZED else 0.12)


def test_what_an_input_gave_decides_about_its_dependents(gateway, services):
    services.serves("/promo", {"id": 7, "none": None, "list": [1], "dots": "..", "long": "x" * 9000,
                               "yes": True, "line": "a\r\nb: c", "text": "é\"\\"})
    services.serves("/(a|b|c)/.*|/[abc].*", lambda match, body: {"path": match[0]})
    parts = {
        "number": ("/a/{promo.id}", "ok"),
        "flag": ("/a/{promo.yes}", "ok"),
        "text": ("/a/{promo.text}", "ok"),
        "whole": ("/a/{promo}", "skipped"),
        "null": ("/a/{promo.none}", "skipped"),
        "list": ("/a/{promo.list}", "skipped"),
        "missing": ("/a/{promo.no.such}", "skipped"),
        "left_out": ("/b{?promo.none,promo.id}", "ok"),
        "left_out_path": ("/c{/promo.none}", "ok"),
        "dots": ("/a/{promo.dots}", "skipped"),
        "long": ("/a/{promo.long}", "skipped"),
        "chain": ("/a/{missing.path}", "skipped"),
        "line": ("/a/{promo.line}", "ok"),
    }
    one = gateway(page(services, part("promo", 'path = "/promo"')
                       + "".join(part(n, f'path = "{p}"') for n, (p, _) in parts.items())))
    data, meta = fetch(one)
    assert {n: meta["parts"][n]["state"] for n in parts} == {n: s for n, (_, s) in parts.items()}
    assert data["number"]["path"] == "/a/7"
    assert data["flag"]["path"] == "/a/true"
    assert data["text"]["path"] == "/a/%C3%A9%22%5C"
    assert data["left_out"]["path"] == "/b?id=7"
    assert data["left_out_path"]["path"] == "/c"
    assert data["line"]["path"] == "/a/a%0D%0Ab%3A%20c"
    assert data["null"] is None
    assert meta["parts"]["missing"]["because"] == "promo"
    assert meta["parts"]["chain"]["because"] == "missing"
    assert meta["completed"] is False
    assert len(services.asked) == 1 + sum(state == "ok" for _, state in parts.values())


@pytest.mark.parametrize("need,status", [("optional", 200), ("required", 504)])
def test_a_failed_input_skips_its_dependents(gateway, services, need, status):
    services.serves("/late", ({}, 3))
    services.serves("/ok", {"a": 1})
    one = gateway(page(
        services,
        part("promo", 'path = "/late"\ntimeout = "150ms"')
        + part("recco", f'path = "/ok?{{promo.id}}"\nneed = "{need}"')
        + part("asks", 'path = "/ok"\nwhen = "!promo.id"'),
    ))
    answer = httpx.get(one.url, timeout=30)
    assert answer.status_code == status
    record = one.access()[0]
    states = {p["name"]: p["state"] for p in record["parts"]}
    assert states["promo"] == "timeout" and states["recco"] == "skipped"
    if need == "optional":
        assert states["asks"] == "ok"
        assert answer.json()["meta"]["parts"]["recco"]["because"] == "promo"
        assert services.paths("/ok") == ["/ok"]
    else:
        assert "promo" in answer.json()["detail"] and "recco" in answer.json()["detail"]
    until(lambda: "promo timed out" in one.log(), "the log's line")


def test_when_skips_without_taking_anything(gateway, services):
    services.serves("/promo", {"kind": "banner"})
    services.serves("/x.*", {"a": 1})
    one = gateway(page(
        services,
        part("promo", 'path = "/promo"')
        + part("debug", 'path = "/x"\nneed = "required"\nwhen = "query.debug"')
        + part("banner", "path = \"/x\"\nwhen = \"promo.kind == 'banner' && !query.plain\"")
        + part("needs", 'path = "/x?{debug.a}"\nneed = "required"'),
    ))
    data, meta = fetch(one)
    assert (data["debug"], data["banner"], data["needs"]) == (None, {"a": 1}, None)
    states = {name: (it["state"], it.get("because")) for name, it in meta["parts"].items()}
    assert states["debug"] == ("skipped", "when")
    assert states["needs"] == ("skipped", "debug")
    assert meta["completed"] is True  # nothing is missing
    data, meta = fetch(one, "/?debug=1&plain=1")
    assert (data["debug"], data["banner"], data["needs"]) == ({"a": 1}, None, {"a": 1})
    assert meta["completed"] is True
    answer = httpx.get(one.url + "/?debug=1&plain=1")
    assert answer.headers["x-page-completed"] == "true"
    assert "proxy-status" not in answer.headers


def test_a_value_of_the_request_is_refused_before_anybody_is_asked(gateway, services):
    services.serves("/promo", {"kind": "a"})
    one = gateway(page(services, part("promo", 'path = "/promo"')
                       + part("recco", 'path = "/r/{query.user}/{promo.kind}"')))
    assert httpx.get(one.url + "/?user=..").status_code == 400
    assert services.asked == []
    assert httpx.get(one.url + "/?user=a").status_code == 200


# -- each ------------------------------------------------------------------------------------------


def test_each_keeps_order_and_concurrency(gateway, services):
    services.serves("/items", {"items": [{"id": i} for i in range(50)]})
    services.serves("/stock/(.*)", lambda m, body: ({"n": int(m[1])}, 0.05 - int(m[1]) % 5 / 100))
    one = gateway(page(
        services,
        part("recco", 'path = "/items"')
        + part("stock", 'path = "/stock/{item.id}"\neach = "recco.items"\ninto = "stock"\n'
                        'concurrency = 10\nselect = "n"'),
    ))
    began = time.monotonic()
    data, meta = fetch(one)
    took = time.monotonic() - began
    assert data == {"recco": {"items": [{"id": i, "stock": i} for i in range(50)]}}
    assert services.busy_peak == 10
    assert took < 50 * 0.03 / 2
    assert meta["completed"] is True
    assert meta["parts"]["stock"]["state"] == "ok"
    assert meta["parts"]["stock"]["calls"] == 50 and meta["parts"]["stock"]["failed"] == 0
    assert meta["parts"]["stock"]["attempts"] == 50


def test_each_without_into_is_a_list_and_names_its_failures(gateway, services):
    services.serves("/items", ["a", "b", None, "..", {"x": 1}, "c", "late", "b"])
    services.serves("/x/b", ({"error": 1}, 0, 503))
    services.serves("/x/late", ({}, 5))
    services.serves("/x/(.*)", lambda m, body: {"is": m[1], "cost": 1})
    one = gateway(page(
        services,
        part("list", 'path = "/items"')
        + part("each", 'path = "/x/{it}"\neach = "list"\nas = "it"\ntimeout = "300ms"\n'
                       'deny = ["cost"]'),
    ))
    data, meta = fetch(one)
    assert data["each"] == [{"is": "a"}, None, None, None, None, {"is": "c"}, None, None]
    state = meta["parts"]["each"]
    assert (state["state"], state["status"]) == ("error", 503)
    assert (state["calls"], state["failed"]) == (4, 2)
    assert meta["completed"] is False
    assert sorted(services.paths("/x/")) == ["/x/a", "/x/b", "/x/c", "/x/late"]


@pytest.mark.parametrize("items,state,value,status", [
    ([], "ok", [], 200),
    (None, "skipped", None, 502),
    ({"a": 1}, "error", None, 502),
    ("text", "error", None, 502),
    ([{"id": "bad"}, {"id": "bad"}], "error", None, 502),
    ([{"id": "bad"}, {"id": 1}], "error", [None, {"a": 1}], 200),
    ([{}, {"x": 1}], "skipped", None, 502),
    ([{}, {"id": 1}], "ok", [None, {"a": 1}], 200),
    ([1, [2], "x"], "skipped", None, 502),
])
def test_each_over_anything(gateway, services, items, state, value, status):
    services.serves("/items", {"items": items})
    services.serves("/x/bad", ({}, 0, 500))
    services.serves("/x/1", {"a": 1})
    for need, expected in ("optional", 200), ("required", status):
        one = gateway(page(services, part("list", 'path = "/items"')
                           + part("each", f'path = "/x/{{item.id}}"\neach = "list.items"\n'
                                          f'need = "{need}"')))
        answer = httpx.get(one.url, timeout=30)
        assert answer.status_code == expected
        if expected == 200:
            assert answer.json()["meta"]["parts"]["each"]["state"] == state
            assert answer.json()["data"]["each"] == value


def test_more_elements_than_max_items_are_shed(gateway, services):
    services.serves("/items", [{"id": i} for i in range(10000)])
    services.serves("/x/(.*)", lambda m, body: {"n": int(m[1])})
    one = gateway(page(services, part("list", 'path = "/items"')
                       + part("each", 'path = "/x/{item.id}"\neach = "list"\nmax_items = 30')))
    for _ in range(2):
        data, meta = fetch(one)
        assert data["each"][:31] == [{"n": i} for i in range(30)] + [None]
        assert meta["parts"]["each"]["state"] == "shed"
        assert meta["completed"] is False
    assert len(services.paths("/x/")) == 60
    assert one.log().count("part failed") == 1 and "10000 elements" in one.log()


def test_ten_thousand_elements(gateway, services):
    services.serves("/items", [{"id": i % 5000} for i in range(10000)])
    services.serves("/x/(.*)", lambda m, body: {"n": int(m[1])})
    one = gateway(page(
        services,
        part("list", 'path = "/items"')
        + part("each", 'path = "/x/{item.id}"\neach = "list"\nmax_items = 10000\n'
                       'concurrency = 200\ninto = "r"'),
    ).replace('deadline = "10s"', 'deadline = "60s"'))
    data, meta = fetch(one)
    assert data["list"] == [{"id": i % 5000, "r": {"n": i % 5000}} for i in range(10000)]
    assert meta["parts"]["each"]["calls"] == 5000
    assert len(services.paths("/x/")) == 5000


def test_each_of_each(gateway, services):
    services.serves("/items", {"items": [{"id": 1}, {"id": 2}]})
    services.serves("/stock/(.*)", lambda m, body: {"depot": "d" + m[1]})
    services.serves("/depot/(.*)", lambda m, body: {"name": m[1].upper()})
    one = gateway(page(
        services,
        part("list", 'path = "/items"')
        + part("stock", 'path = "/stock/{item.id}"\neach = "list.items"\ninto = "stock"')
        + part("depot", 'path = "/depot/{s.depot}"\neach = "stock"\nas = "s"\ninto = "depot"'),
    ))
    data, _ = fetch(one)
    assert data == {"list": {"items": [
        {"id": i, "stock": {"depot": {"name": f"D{i}"}}} for i in (1, 2)]}}


# -- batches ---------------------------------------------------------------------------------------


def test_batches_join_keys_and_spread_answers(gateway, services):
    ids = [3, "3", 1, 2, 2, 5, None, 4]
    services.serves("/items", {"items": [{"id": i} for i in ids]})

    def prices(match, body):
        wanted = json.loads(body)["ids"]
        return [{"id": str(i), "price": int(i) * 10, "cost": 1} for i in reversed(wanted) if i != 5]

    services.serves("/prices", prices)
    services.serves(r"/stock\?ids=(.*)", lambda m, body: {i: {"n": i} for i in m[1].split(",")})
    one = gateway(page(
        services,
        part("recco", 'path = "/items"')
        + part("prices", 'path = "/prices"\nmethod = "POST"\nbatch = 2\nby = "id"\n'
                         'each = "recco.items"\ninto = "price"\nallow = ["price"]\n'
                         'body = \'{"ids": "{item.id}", "currency": "{query.currency}"}\'')
        + part("stock", 'path = "/stock?ids={item.id}"\nbatch = 100\neach = "recco.items"'),
    ))
    data, meta = fetch(one, "/?currency=%22EUR%22")
    assert data["recco"]["items"] == [
        {"id": i, "price": None if i in (5, None) else {"price": int(i) * 10}} for i in ids]
    assert data["stock"] == [None if i is None else {"n": str(i)} for i in ids]
    posts = [json.loads(body) for method, _, body in services.asked if method == "POST"]
    assert sorted(p["ids"] for p in posts) == [[2, 5], [3, 1], [4]]
    assert all(p["currency"] == '"EUR"' for p in posts)
    assert services.paths("/stock") == ["/stock?ids=3,1,2,5,4"]
    assert meta["completed"] is True
    assert meta["parts"]["prices"]["calls"] == 3


def test_a_batch_whose_answer_has_the_wrong_type_fails(gateway, services):
    services.serves("/items", [{"id": 1}])
    services.serves("/p.*", {"1": 5})
    one = gateway(page(services, part("list", 'path = "/items"')
                       + part("p", 'path = "/p{?item.id*}"\nbatch = 5\nby = "id"\neach = "list"')))
    data, meta = fetch(one)
    assert data["p"] is None
    assert meta["parts"]["p"]["error"] == "http_protocol_error"
    assert services.paths("/p") == ["/p?id=1"]


# -- calls -----------------------------------------------------------------------------------------


def test_identical_calls_are_made_once_whoever_asks(gateway, services):
    services.serves("/items", ({"items": [{"id": 1}, {"id": 1}, {"id": 2}], "title": "t"}, 0.05))
    services.serves("/x/(.*)", lambda m, body: ({"n": m[1]}, 0.02))
    one = gateway(page(
        services,
        part("a", 'path = "/items"\nselect = "items"')
        + part("b", 'path = "/items"\nselect = "title"')
        + part("c", 'path = "/items"\nselect = "nothing"')
        + part("posted", 'path = "/items"\nmethod = "POST"\nbody = "{}"\nselect = "title"')
        + part("each", 'path = "/x/{item.id}"\neach = "a"')
        + part("late", 'path = "/x/{b}"\nwhen = "each"')
        + part("again", 'path = "/x/1"\nwhen = "each"'),
    ))
    data, meta = fetch(one)
    assert data["a"] == [{"id": 1}, {"id": 1}, {"id": 2}]
    assert data["b"] == "t" and data["posted"] == "t"
    assert meta["parts"]["c"]["error"] == "http_protocol_error"
    assert data["each"] == [{"n": "1"}, {"n": "1"}, {"n": "2"}]
    assert data["late"] == {"n": "t"} and data["again"] == {"n": "1"}
    assert sorted(services.paths()) == ["/items", "/items", "/x/1", "/x/2", "/x/t"]
    assert meta["parts"]["each"]["calls"] == 2
    assert sum(p["attempts"] for p in meta["parts"].values()) == 5


def test_own_headers_and_bodies(gateway, services):
    services.serves("/me", {"id": "u-1", "line": "a\r\nX-Evil: 1", "tags": ["a", {"b": 'q"'}]})
    services.serves("/cart", lambda m, body: json.loads(body))
    services.serves("/empty", {"ok": 1})
    one = gateway(page(
        services,
        part("me", 'path = "/me"')
        + part("cart", 'path = "/cart"\nmethod = "POST"\nbody = \'{"tags": "{me.tags}", "note": '
                       '"for {me.id}: {query.note}", "none": "{me.none}", "n": "{query.n}", '
                       '"brace": "{{x}}"}\'')
        + '[pages.home.parts.cart.headers]\nX-User = "{me.id}"\nX-Line = "{me.line}"\n'
          'X-None = "{query.none}"\nAccept-Language = "xx"\n'
        + part("empty", 'path = "/empty"\nmethod = "POST"'),
    ))
    data, _ = fetch(one, "/?note=%22%2C%22a%22%3A1&n=1", headers={"Accept-Language": "de"})
    assert data["cart"] == {"tags": ["a", {"b": 'q"'}], "note": 'for u-1: ","a":1', "none": None,
                            "n": "1", "brace": "{x}"}
    head = next(h for h in services.heads if h.startswith("POST /cart")).lower()
    assert "\r\nx-user: u-1\r\n" in head and "content-type: application/json\r\n" in head
    assert "x-line" not in head and "x-none" not in head and "x-evil" not in head
    assert head.count("accept-language") == 1 and "accept-language: xx" in head
    assert ("POST", "/empty", b"") in services.asked


def test_a_large_answer_in_a_thousand_calls(gateway, services):
    services.serves("/big", b'{"blob":"' + b"x" * (7 << 20) + b'","key":"k","mid":"'
                    + b"\\u0041" * 100000 + b'","ids":['
                    + b",".join(b"%d" % i for i in range(1000)) + b"]}")
    services.serves("/x/.*", lambda m, body: {"n": len(body)})
    one = gateway(page(
        services,
        part("big", 'path = "/big"')
        + part("each", 'path = "/x/{item}/{big.key}"\neach = "big.ids"\nmax_items = 1000\n'
                       'concurrency = 50\nallow = ["n"]')
        + part("bodies", 'path = "/x/b/{item}"\nmethod = "POST"\neach = "big.ids"\n'
                         'max_items = 1000\nbody = \'{"mid": "{big.mid}"}\'')
        + part("whole", 'path = "/x/w/{item}"\nmethod = "POST"\neach = "big.ids"\n'
                        'max_items = 1000\nbody = \'{"all": "{big}"}\''),
        ).replace('timeout = "5s"', 'timeout = "20s"\nmax_body = "16MiB"')
        .replace('deadline = "10s"', 'deadline = "60s"'))
    before = one.status("VmRSS")
    answer = httpx.get(one.url, timeout=90)
    data, meta = answer.json()["data"], answer.json()["meta"]["parts"]
    assert meta["each"]["state"] == "ok" and data["each"] == [{"n": 0}] * 1000
    assert meta["whole"]["state"] == "skipped" and meta["whole"]["because"] == "big"
    assert meta["bodies"]["state"] == "shed"  # more than a page may write
    assert 50 < meta["bodies"]["calls"] < 1000
    if not SANITIZED:
        assert one.status("VmHWM") - before < 400 * 1024


@pytest.mark.parametrize("keys", [
    'path = "/x/{item.id}"',
    'path = "/x/{item.id}"\nconcurrency = 1000',
    'path = "/batch?ids={item.id}"\nbatch = 100',
], ids=["one-by-one", "all-at-once", "batch"])
def test_an_answer_counts_for_each_element_that_shares_it(gateway, services, keys):
    services.serves("/list", {"items": [{"id": "k"}] * 1000})
    services.serves("/x/.*", b'{"blob":"' + b"x" * (512 << 10) + b'"}')
    services.serves("/batch.*", b'{"k":"' + b"x" * (512 << 10) + b'"}')
    one = gateway(page(
        services,
        part("list", 'path = "/list"')
        + part("each", f'{keys}\neach = "list.items"\nmax_items = 1000\ninto = "more"'),
    ))
    answer = httpx.get(one.url, timeout=60)
    assert len(answer.content) < (64 << 20) + (1 << 20)  # not 500 MiB
    meta = answer.json()["meta"]["parts"]["each"]
    assert meta["state"] == "shed" and meta["error"] == "http_response_body_size"
    assert meta["attempts"] == 1


@pytest.mark.parametrize("keys", ['select = "price"', 'allow = ["list.x"]'], ids=["taken", "filtered"])
def test_a_shared_answer_is_read_once(gateway, services, keys):
    services.serves("/list", {"items": [{"id": "k"}] * 300})
    services.serves("/x/k", b'{"price":1,"list":[' + b",".join([b"{}"] * 100000) + b"]}")
    one = gateway(page(
        services,
        part("first", 'path = "/x/k"\nselect = "price"')
        + part("list", 'path = "/list"\nwhen = "first"')
        + part("each", f'path = "/x/{{item.id}}"\neach = "list.items"\nmax_items = 300\n{keys}'),
    ))
    before = one.status("VmHWM")
    answer = httpx.get(one.url, timeout=60, headers={"Accept": "application/json"})
    assert answer.status_code == 200 and len(services.paths("/x/")) == 1
    assert len(answer.json()["data"]["each"]) == 300
    assert one.status("VmHWM") - before < 500 * 1024  # a reading for each takes gigabytes


def test_what_a_filter_empties_takes_no_memory(gateway, services):
    services.serves("/x", b'{"list":[' + b",".join([b"{}"] * 1000000) + b"]}")
    one = gateway(page(services, part("x", 'path = "/x"\nallow = ["list.price"]')))
    before = one.status("VmHWM")
    assert httpx.get(one.url, timeout=60).json()["data"]["x"] == {"list": [{}] * 1000000}
    assert one.status("VmHWM") - before < 200 * 1024


def test_small_answers_are_shared_by_thousands(gateway, services):
    services.serves("/list", {"items": [{"id": "k"}] * 5000})
    services.serves("/x/.*", {"blob": "x" * 10000, "price": 1})
    services.serves("/batch.*", {"k": {"price": 1}})
    one = gateway(page(
        services,
        part("list", 'path = "/list"')
        + part("each", 'path = "/x/{item.id}"\neach = "list.items"\nmax_items = 5000\n'
                       'select = "price"\ninto = "price"')
        + part("batch", 'path = "/batch?ids={item.id}"\neach = "list.items"\nmax_items = 5000\n'
                        'batch = 100'),
    ))
    data, meta = fetch(one)
    assert meta["completed"]
    assert data["list"]["items"] == [{"id": "k", "price": 1}] * 5000
    assert data["batch"] == [{"price": 1}] * 5000


# -- what stands in --------------------------------------------------------------------------------


LADDER = [
    # own path, fallback's keys, state, data, error, status
    ("/ok", 'path = "/popular"\nstatic = {from = "file"}', "ok", {"a": 1}, None, 200),
    ("/503", 'path = "/popular"\nstatic = {from = "file"}', "fallback", {"p": 1}, None, 503),
    ("/503", 'path = "/503?2"\nstatic = {from = "file"}', "static", {"from": "file"}, None, 503),
    ("/late", 'path = "/popular"', "fallback", {"p": 1}, "http_response_timeout", 0),
    ("/late", 'path = "/late?2"\ntimeout = "100ms"\nstatic = "[1]"', "static", [1],
     "http_response_timeout", 0),
    ("/503", 'path = "/503?2"', "error", None, None, 503),
    ("/503", 'static_file = "FILE"', "static", {"in": ["a", "file"]}, None, 503),
    ("/503", 'path = "/{query.none}{?query.none}popular"\nstatic = 1', "fallback", {"p": 1}, None,
     503),
]


@pytest.mark.parametrize("path,keys,state,data,error,status", LADDER)
def test_the_fallbacks_ladder(gateway, services, tmp_path, path, keys, state, data, error, status):
    (tmp_path / "data.json").write_text('{"in": ["a", "file"]}')
    services.serves("/ok", {"a": 1})
    services.serves("/popular", {"p": 1})
    services.serves("/503.*", ({}, 0, 503))
    services.serves("/late.*", ({}, 5))
    keys = keys.replace("FILE", str(tmp_path / "data.json")).replace("{?query.none}", "")
    one = gateway(
        page(services, part("a", f'path = "{path}"\ntimeout = "200ms"\nneed = "required"')
             + fallback("a", keys)).replace('path = "/"', 'path = "/"\ntemplate = "a.html"'),
        {"a.html": "{{parts.a.state}}{{#parts.a.is.static}} flag{{/parts.a.is.static}}"})
    answer = httpx.get(one.url, timeout=30, headers={"Accept": "application/json"})
    if state == "error":
        assert answer.status_code == 502
    else:
        assert answer.status_code == 200
        assert answer.json()["data"]["a"] == data
        meta = answer.json()["meta"]["parts"]["a"]
        assert (meta["state"], meta.get("error"), meta["status"]) == (state, error, status)
        assert answer.json()["meta"]["completed"] is (state == "ok")
        html = httpx.get(one.url, timeout=30, headers={"Accept": "text/html"}).text
        assert html == state + (" flag" if state == "static" else "")
    assert one.access()[0]["parts"][0]["state"] == state
    if state in ("fallback", "static"):
        assert 'next-hop="u"' in answer.headers["proxy-status"]


def test_another_upstream_stands_in_and_gets_no_credentials(gateway, services):
    services.serves("/popular", {"p": 1})
    services.serves("/503", ({}, 0, 503))
    one = gateway(page(services, part("a", 'path = "/x"', "gone")
                       + '[pages.home.parts.a.headers]\nX-Key = "{query.key}"\n'
                       + fallback("a", 'upstream = "u"\npath = "/popular"')
                       + part("b", 'path = "/503"')
                       + '[pages.home.parts.b.headers]\nX-Key = "{query.key}"\n'
                       + fallback("b", 'path = "/popular?b"')))
    services.serves(r"/popular\?b", {"p": 2})
    data, meta = fetch(one, "/?key=s")
    assert (data["a"], data["b"]) == ({"p": 1}, {"p": 2})
    assert meta["parts"]["a"]["error"] == "connection_refused"
    heads = {h.split(" ", 2)[1]: h.lower() for h in services.heads}
    assert "x-key" not in heads["/popular"] and "x-key: s" in heads["/popular?b"]


def test_at_the_deadline_static_data_stands_in_at_once(gateway, services):
    services.serves("/late.*", ({}, 5))
    services.serves("/items", [1, 2])
    services.serves("/x/1", {"a": 1})
    services.serves("/x/2", ({}, 5))
    one = gateway(page(
        services,
        part("a", 'path = "/late"') + fallback("a", 'static = {s = 1}')
        + part("b", 'path = "/late?b={a.s}"')
        + part("c", 'path = "/late?c"\ntimeout = "100ms"')
        + fallback("c", 'path = "/late?d"\nstatic = 3')
        + part("d", 'path = "/late?{late.x}"')
        + part("late", 'path = "/late?late"')
        + part("e", 'path = "/x/1?e"\nwhen = "late.x"')
        + part("list", 'path = "/items"')
        + part("each", 'path = "/x/{item}"\neach = "list"'),
    ).replace('deadline = "10s"', 'deadline = "500ms"'))
    began = time.monotonic()
    data, meta = fetch(one)
    assert time.monotonic() - began < (3 if SANITIZED else 0.8)
    states = {name: it["state"] for name, it in meta["parts"].items()}
    assert states == {"a": "static", "b": "timeout", "c": "static", "d": "skipped",
                      "late": "timeout", "e": "skipped", "list": "ok", "each": "timeout"}
    assert meta["parts"]["e"]["because"] == "when"
    assert data["a"] == {"s": 1} and data["c"] == 3 and data["each"] == [{"a": 1}, None]
    assert meta["parts"]["c"]["attempts"] == 2
    until(lambda: services.open == 0 or services.busy == 0, "the cut calls' end")


def test_what_stands_in_for_an_each_is_one_value(gateway, services):
    services.serves("/items", [{"id": 1}, {"id": 2}])
    services.serves("/all", {"n": 0})
    one = gateway(page(
        services,
        part("list", 'path = "/items"')
        + part("stock", 'path = "/x/{item.id}"\neach = "list"\ninto = "stock"')
        + fallback("stock", 'static = \'"unknown"\'')
        + part("more", 'path = "/y/{item.id}"\neach = "list"\nneed = "required"')
        + fallback("more", 'path = "/all"'),
    ))
    data, meta = fetch(one)
    assert data == {"list": [{"id": 1, "stock": "unknown"}, {"id": 2, "stock": "unknown"}],
                    "more": {"n": 0}}
    assert meta["parts"]["stock"]["state"] == "static"
    assert meta["parts"]["more"]["state"] == "fallback"
    assert meta["parts"]["more"]["failed"] == 2


@pytest.mark.parametrize("state", ["fallback", "static"])
def test_what_stands_in_for_many_elements_is_put_into_so_many_bytes(
        gateway, services, tmp_path, state):
    services.serves("/items", [{"id": 1}] * 1000)
    text = "x" * (512 << 10)
    services.serves("/all", b'"%s"' % text.encode())
    (tmp_path / "all.json").write_text(f'"{text}"')
    keys = 'path = "/all"' if state == "fallback" else f'static_file = "{tmp_path}/all.json"'
    one = gateway(page(
        services,
        part("list", 'path = "/items"')
        + part("stock", 'path = "/x/{item.id}"\neach = "list"\ninto = "stock"')
        + fallback("stock", keys),
    ))
    answer = httpx.get(one.url, timeout=60)
    assert len(answer.content) < (64 << 20) + (1 << 20)  # not 500 MiB
    data, meta = answer.json()["data"], answer.json()["meta"]
    assert data["list"][0] == {"id": 1, "stock": text} and len(data["list"]) == 1000
    assert data["list"][-1] == {"id": 1}
    assert meta["parts"]["stock"]["state"] == state


def test_something_stands_in_for_a_part_without_its_input(gateway, services):
    services.serves("/popular", {"p": 1})
    one = gateway(page(
        services,
        part("promo", 'path = "/gone"')
        + part("a", 'path = "/{promo.id}"\nneed = "required"') + fallback("a", "static = {s = 1}")
        + part("b", 'path = "/{promo.id}"') + fallback("b", 'path = "/popular"')
        + part("c", 'path = "/popular"\nwhen = "query.c"') + fallback("c", "static = 1"),
    ))
    data, meta = fetch(one)
    assert (data["a"], data["b"], data["c"]) == ({"s": 1}, {"p": 1}, None)
    states = {name: (it["state"], it.get("because")) for name, it in meta["parts"].items()}
    assert states["a"] == ("static", "promo") and states["b"] == ("fallback", "promo")
    assert states["c"] == ("skipped", "when")


# -- the client leaves -----------------------------------------------------------------------------


def test_a_client_that_leaves_midway_leaves_nothing_behind(gateway, services):
    services.serves("/items", [{"id": i} for i in range(100)])
    services.serves("/x/(.*)", lambda m, body: ({}, 0 if int(m[1]) < 20 else 30))
    one = gateway(page(
        services,
        part("list", 'path = "/items"')
        + part("each", 'path = "/x/{item.id}"\neach = "list"\nconcurrency = 10\ntimeout = "9s"')
        + part("after", 'path = "/x/{each.0}"'),
    ))
    fetch_files = one.open_files()
    for turn in range(1, 4):
        with socket.create_connection(one.host_port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: len(services.paths("/x/")) == 30 * turn, "ten calls under way")
        until(lambda: services.aborted == 10 * turn, "the calls' end")
    until(lambda: one.open_files() <= fetch_files + 12, "the descriptors' return")
    records = one.access(3)
    assert [r["status"] for r in records] == [499] * 3
    assert {p["state"] for p in records[0]["parts"]} == {"ok", "skipped"}
    assert len(services.paths("/x/")) == 90


def test_an_upstream_that_answers_after_its_page_is_gone_is_told_once(gateway, services):
    services.serves("/late", ({"x": 1}, 1))
    services.serves("/soon", {"y": 2})
    one = gateway(page(services, part("late", 'path = "/late"') + part("soon", 'path = "/soon"'))
                  .replace('deadline = "10s"', 'deadline = "100ms"'))
    for turn in range(1, 6):
        data, meta = fetch(one)
        assert data == {"late": None, "soon": {"y": 2}} and meta["completed"] is False
        assert {name: it["state"] for name, it in meta["parts"].items()} == {"late": "timeout", "soon": "ok"}
        until(lambda: services.aborted == turn, "the end of its call: there is nobody to answer")
    lines = [line for line in one.log().splitlines() if "part failed" in line]
    assert len(lines) == 1 and json.loads(lines[0])["part"] == "late", lines
