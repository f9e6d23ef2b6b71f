"""The gateway's main job: a page from two services, asked at the same time."""

import httpx

PROMO = {"banner": {"title": "Autumn <sale> & more", "link": "/sale?a=1&b=2"}, "price": 1.10}
RECCO = {"items": [{"id": n, "title": f"Item {n}", "big": 12345678901234567890} for n in range(8)]}

TEMPLATES = {
    "index.html": "<h1>{{promo.banner.title}}</h1><a href=\"{{promo.banner.link}}\">{{promo.price}}</a>"
    "<ul>{{#recco.items}}{{>card}}{{/recco.items}}</ul>"
    "{{^parts.recco.is.ok}}<p>no recommendations: {{parts.recco.state}}</p>{{/parts.recco.is.ok}}"
    "<i>{{page.name}} {{page.complete}} {{request.path}} {{request.query.user}}</i>",
    "card.html": "<li>{{id}}: {{title}} {{big}}</li>",
}


def config(promo, recco, more=""):
    return f"""
[upstreams.promo]
url = "{promo}"
[upstreams.recco]
url = "{recco}"
[pages.home]
path = "/"
template = "index.html"
deadline = "5s"
[pages.home.parts.promo]
path = "/promo.json"
[pages.home.parts.recco]
path = "/recco.json{{?query.user}}"
{more}
"""


def test_page_holds_both_services_escaped(gateway, nginx):
    upstream = nginx({"promo.json": PROMO, "recco.json": RECCO})
    page = httpx.get(gateway(config(upstream.url, upstream.url), TEMPLATES).url + "/?user=a%26b")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-page-completed"] == "true"
    assert "proxy-status" not in page.headers
    assert page.text == (
        "<h1>Autumn &lt;sale&gt; &amp; more</h1>"
        '<a href="/sale?a=1&amp;b=2">1.1</a><ul>'
        + "".join(f"<li>{n}: Item {n} 12345678901234567890</li>" for n in range(8))
        + "</ul><i>home true / a&amp;b</i>"
    )
    asked = {record["uri"] for record in upstream.requests(2)}
    assert asked == {"/promo.json", "/recco.json?user=a%26b"}


def test_json_keeps_the_upstreams_bytes_and_order(gateway, nginx):
    promo = b'{"z":1.10, "a":12345678901234567890123,\n "u":"\\u00e9","a":2}'
    recco = b'[ 1e400 , -0.0 ]'
    upstream = nginx({"promo.json": promo, "recco.json": recco})
    one = gateway(config(upstream.url, upstream.url), TEMPLATES)
    page = httpx.get(one.url, headers={"Accept": "application/json", "X-Request-Id": "abc-1"})
    assert page.status_code == 200
    assert page.headers["content-type"] == "application/json"
    assert page.content.startswith(b'{"data":{"promo":' + promo + b',"recco":' + recco + b'},"meta":{')
    meta = page.json()["meta"]
    assert meta["completed"] is True
    assert meta["request_id"] == "abc-1" == page.headers["x-request-id"]
    assert meta["generated_at"].endswith("Z")
    assert list(meta["parts"]) == ["promo", "recco"]
    for part in meta["parts"].values():
        assert part["state"] == "ok" and part["status"] == 200 and part["attempts"] == 1
        assert part["ms"] >= 0


def test_parts_overlap_in_time(gateway, nginx):
    """Shown by the upstreams' own logs: each call starts before the other ends."""
    slow = "location / { limit_rate 16k; }"
    body = {"items": [], "filler": "x" * 40000}
    first, second = nginx({"promo.json": body}, slow), nginx({"recco.json": body}, slow)
    text = config(first.url, second.url).replace('recco]\nurl', 'recco]\ntimeout = "9s"\nurl')
    text = text.replace('promo]\nurl', 'promo]\ntimeout = "9s"\nurl').replace('"5s"', '"10s"')
    one = gateway(text, TEMPLATES)
    assert httpx.get(one.url, timeout=20).status_code == 200
    promo, recco = first.requests(1)[0], second.requests(1)[0]
    assert promo["took"] > 0.3 and recco["took"] > 0.3
    assert promo["start"] < recco["end"] and recco["start"] < promo["end"]
    record = one.access(1)[0]
    assert record["ms"] / 1000 < promo["took"] + recco["took"]


def test_a_missing_service_leaves_the_page_standing(gateway, nginx):
    upstream = nginx({"promo.json": PROMO})  # no recco.json: nginx answers 404
    one = gateway(config(upstream.url, upstream.url), TEMPLATES)
    page = httpx.get(one.url)
    assert page.status_code == 200
    assert page.headers["x-page-completed"] == "false"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["proxy-status"] == (
        'gateway; next-hop="recco"; received-status=404; details="recco error"')
    assert "<p>no recommendations: error</p>" in page.text
    record = one.access(1)[0]
    states = {part["name"]: (part["state"], part["status"]) for part in record["parts"]}
    assert states == {"promo": ("ok", 200), "recco": ("error", 404)}


def test_connections_to_services_are_kept(gateway, nginx):
    upstream = nginx({"promo.json": PROMO, "recco.json": RECCO})
    one = gateway(config(upstream.url, upstream.url), TEMPLATES)
    with httpx.Client() as client:
        for _ in range(20):
            assert client.get(one.url).status_code == 200
    records = upstream.requests(40)
    assert len({record["connection"] for record in records}) == 2


def test_server_timing_only_when_asked_for(gateway, nginx):
    upstream = nginx({"promo.json": PROMO, "recco.json": RECCO})
    quiet = gateway(config(upstream.url, upstream.url), TEMPLATES)
    assert "server-timing" not in httpx.get(quiet.url).headers
    header = (
        '[server]\nlisten = ["127.0.0.1:0"]\nworkers = 1\nserver_timing = true\n'
        '[admin]\nlisten = ""\ncontrol = ""\n[log]\nformat = "json"\n'
    )
    loud = gateway(config(upstream.url, upstream.url), TEMPLATES, header=header)
    timing = httpx.get(loud.url).headers["server-timing"]
    for name in ("promo;dur=", "recco;dur=", "total;dur="):
        assert name in timing


def test_head_has_the_headers_of_get_without_its_body(gateway, nginx):
    upstream = nginx({"promo.json": PROMO, "recco.json": RECCO})
    one = gateway(config(upstream.url, upstream.url), TEMPLATES)
    got, head = httpx.get(one.url), httpx.head(one.url)
    assert head.status_code == 200 and head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]


def test_parts_are_placed_selected_and_filtered(gateway, nginx):
    upstream = nginx(
        {
            "promo.json": {"shop": {"name": "A", "open": True}, "secret": 1, "x": {"y": 1}},
            "recco.json": {"data": {"items": [{"id": 1, "cost": 5}, {"id": 2, "cost": 6}]}},
            "extra.json": {"shop": {"name": "B"}, "x": 2},
        }
    )
    text = f"""
[upstreams.s]
url = "{upstream.url}"
[pages.home]
path = "/"
[pages.home.parts.promo]
upstream = "s"
path = "/promo.json"
into = "."
deny = ["secret"]
[pages.home.parts.recco]
upstream = "s"
path = "/recco.json"
select = "data.items"
deny = ["*.cost"]
into = "shop.items"
[pages.home.parts.extra]
upstream = "s"
path = "/extra.json"
into = "."
"""
    one = gateway(text)
    for _ in range(5):  # the same every time, whoever answers first
        data = httpx.get(one.url).json()["data"]
        assert data == {
            "shop": {"name": "B", "open": True, "items": [{"id": 1}, {"id": 2}]},
            "x": 2,
        }
        assert list(data) == ["shop", "x"]
    assert one.log().count("shop.name") == 1, "a collision is logged once"


def test_values_of_the_request_cannot_leave_their_segment(gateway, faults):
    text = f"""
[upstreams.s]
url = "{faults.url}"
[pages.product]
path = "/product/{{id}}"
[pages.product.parts.product]
upstream = "s"
path = "/head/{{path.id}}{{?query.q,header.accept-language}}"
[pages.tenant]
path = "/tenant"
[pages.tenant.parts.tenant]
upstream = "s"
path = "/head/{{query.name}}"
"""
    one = gateway(text)
    line = lambda target, **kw: httpx.get(one.url + target, **kw).json()["data"]["product"]["line"]
    assert line("/product/a%2Fb%3Fc%23d") == "GET /head/a%2Fb%3Fc%23d HTTP/1.1"
    assert line("/product/%C3%A9?q=%26x%3D1%0d%0aHost:%20evil") == (
        "GET /head/%C3%A9?q=%26x%3D1%0D%0AHost%3A%20evil HTTP/1.1"
    )
    assert line("/product/1", headers={"Accept-Language": "de, en"}).endswith(
        "?accept-language=de%2C%20en HTTP/1.1"
    )
    refused = httpx.get(one.url + "/product/%2e%2e")
    assert refused.status_code == 400
    refused = httpx.get(one.url + "/tenant?name=%2e.")
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"] == "query.name would leave its segment of a path"


def test_a_page_that_cannot_be_rendered_whole_is_not_sent_by_half(gateway, nginx):
    upstream = nginx({"promo.json": PROMO, "recco.json": RECCO})
    endless = {"index.html": "<p>{{#promo.banner}}{{>index}}{{/promo.banner}}</p>"}
    one = gateway(config(upstream.url, upstream.url), endless)
    page = httpx.get(one.url)
    assert page.status_code == 500
    assert page.headers["x-page-completed"] == "false"
    assert page.headers["cache-control"] == "no-store"
    assert "<p><p>" not in page.text
    assert one.access(1)[0]["status"] == 500
    assert "template too deep" in one.log()
