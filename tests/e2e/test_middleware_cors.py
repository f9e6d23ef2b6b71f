"""[cors.NAME]: what browsers of other sites are told, by the Fetch standard; and what a browser makes of it."""

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from conftest import free_port
from gateway import command
from scripted import Origin

SHOP = "https://shop.example"
ALLOWS = ["allow-origin", "allow-credentials", "allow-methods", "allow-headers", "max-age", "expose-headers"]


@pytest.fixture
def upstream():
    one = Origin().start()
    one.serves("/a", {"body": {"n": 1}})
    one.serves("/api/x", {"body": {"n": 2}, "headers": [("Access-Control-Allow-Origin", "https://its.own"),
                                                        ("Access-Control-Allow-Credentials", "true"),
                                                        ("Vary", "Accept-Language"), ("X-Total", "7")]})
    yield one
    one.stop()


def start(gateway, upstream, cors, server="", page="", route='middleware = ["cors.api"]', listen="127.0.0.1:0"):
    return gateway(f"""
{cors}
[upstreams.shop]
url = "{upstream.url}"
[pages.home]
path = "/"
{page}
[pages.home.parts.shop]
path = "/a"
[routes.api]
path = "/api"
upstream = "shop"
{route}
[routes.rest]
path = "/rest"
upstream = "shop"
methods = ["GET", "DELETE"]
""", header=f"""
[server]
listen = ["{listen}"]
{server}
[admin]
listen = ""
control = ""
[log]
access = "off"
""")


def of(answer):
    return {name: answer.headers[f"access-control-{name}"] for name in ALLOWS
            if f"access-control-{name}" in answer.headers}


def preflight(one, path, origin=SHOP, method="PUT", **headers):
    return httpx.options(one.url + path, trust_env=False, verify=False, headers={
        "Origin": origin, "Access-Control-Request-Method": method, **headers})


def get(one, path, origin=None, method="GET"):
    return httpx.request(method, one.url + path, trust_env=False, verify=False, headers={"Origin": origin} if origin else {})


API = """[cors.api]
origins = ["https://shop.example", "https://*.partner.example"]
methods = ["GET", "PUT"]
headers = ["Content-Type", "X-Token"]
expose = ["X-Total", "X-Page"]
credentials = true
max_age = "90s"
"""


def test_a_preflight_is_answered_without_asking_anybody(gateway, upstream):
    one = start(gateway, upstream, API)
    for origin in (SHOP, "https://a.partner.example"):
        answer = preflight(one, "/api/x", origin, **{"Access-Control-Request-Headers": "x-token"})
        assert answer.status_code == 204 and answer.content == b""
        assert of(answer) == {"allow-origin": origin, "allow-credentials": "true", "allow-methods": "GET, PUT",
                              "allow-headers": "Content-Type, X-Token", "max-age": "90",
                              "expose-headers": "X-Total, X-Page"}
        assert answer.headers["vary"] == "Origin"
    assert upstream.methods == []


@pytest.mark.parametrize("origin", ["https://evil.example", "https://shop.example.evil", "null", "https://partner.example",
                                    "https://evil.test#.partner.example"])
def test_strangers_get_a_no_and_handlers_still_run(gateway, upstream, origin):
    one = start(gateway, upstream, API)
    answer = preflight(one, "/api/x", origin)
    assert answer.status_code == 204 and of(answer) == {} and answer.headers["vary"] == "Origin"
    answer = get(one, "/api/x", origin)
    assert answer.status_code == 200 and of(answer) == {}
    assert answer.headers.get_list("vary") == ["Accept-Language", "Origin"]


def test_answers_say_what_the_section_says_and_not_the_upstream(gateway, upstream):
    one = start(gateway, upstream, API)
    answer = get(one, "/api/x", SHOP)
    assert answer.json() == {"n": 2}
    assert of(answer) == {"allow-origin": SHOP, "allow-credentials": "true", "expose-headers": "X-Total, X-Page"}
    assert answer.headers.get_list("access-control-allow-origin") == [SHOP]
    # who has no origin gets an answer that a cache must not give to one who has
    answer = get(one, "/api/x")
    assert of(answer) == {} and "Origin" in answer.headers["vary"]
    # OPTIONS without the fields of a preflight is a request like others
    assert get(one, "/api/x", SHOP, "OPTIONS").json() == {"n": 2}


def test_errors_can_be_read_too(gateway, upstream):
    one = start(gateway, upstream, API, server='middleware = ["cors.api"]')
    for path, status in [("/nowhere", 404), ("/%00", 400), ("/rest/gone", 404), ("/", 405)]:
        answer = get(one, path, SHOP, "POST" if status == 405 else "GET")
        assert answer.status_code == status and of(answer)["allow-origin"] == SHOP
        assert "Origin" in answer.headers["vary"]


def test_a_preflight_passes_the_list_of_the_route_that_it_is_about(gateway, upstream):
    one = start(gateway, upstream, API, page='middleware = ["cors.api"]', route="")
    # The page doesn't take OPTIONS: nobody does there.
    assert of(preflight(one, "/", method="GET"))["allow-origin"] == SHOP
    # Nobody takes PUT there either, so nobody's list says anything.
    answer = preflight(one, "/", method="PUT")
    assert answer.status_code == 204 and of(answer) == {} and "GET" in answer.headers["allow"]
    # A route without a list: http/ answers where OPTIONS isn't among its methods, else the upstream does.
    assert of(preflight(one, "/rest/x", method="DELETE")) == {}
    assert preflight(one, "/api/x").json() == {"n": 2}
    assert upstream.methods == [("OPTIONS", "/api/x")]


def test_a_star_is_one_answer_for_everybody(gateway, upstream):
    one = start(gateway, upstream, '[cors.api]\norigins = ["*"]\nmethods = ["*"]\nheaders = ["*"]\nexpose = ["*"]\n')
    everything = {"allow-origin": "*", "expose-headers": "*"}
    for origin in (None, SHOP, "null"):
        answer = get(one, "/api/x", origin)
        assert of(answer) == everything and answer.headers["vary"] == "Accept-Language"
    assert of(preflight(one, "/api/x", "null")) == {**everything, "allow-methods": "*", "allow-headers": "*",
                                                    "max-age": "600"}


def test_null_is_an_origin_where_it_is_listed(gateway, upstream):
    one = start(gateway, upstream, '[cors.api]\norigins = ["null"]\n')
    assert of(get(one, "/api/x", "null")) == {"allow-origin": "null"}
    assert of(get(one, "/api/x", SHOP)) == {}


def test_mistakes_are_told_where_they_stand(tmp_path):
    (tmp_path / "config.toml").write_text("""[cors.a]
origins = ["*", "https://a.example"]
[cors.b]
origins = ["*"]
credentials = true
headers = ["*"]
[cors.c]
origins = ["https://Shop.example", "https://shop.example/"]
methods = ["GET POST"]
[cors.d]
origins = []
[cors.e]
""")
    done = command("check", "-c", tmp_path / "config.toml")
    assert done.returncode == 78
    errors = [line.partition("config.toml:")[2] for line in done.stderr.splitlines()]
    assert errors == [
        '2:11: error: origins: "*" is everybody, there can be nothing beside it',
        "4:11: error: origins: with credentials = true any site could act for a visitor: name the origins",
        '6:11: error: headers: "*" means nothing to browsers where credentials = true: name them',
        '8:12: error: origins: "https://Shop.example": expected "https://host" or "https://host:port", in lower case',
        '8:36: error: origins: "https://shop.example/": an origin has no path, and no \'/\' at its end',
        '9:12: error: methods: "GET POST" is no name',
        "11:11: error: origins: at least one is needed",
        '12:1: error: missing key "origins": "https://shop.example", "https://*.shop.example", "null"; or "*" alone',
    ]


ASKS = """
const [url, done] = [arguments[0], arguments[1]];
fetch(url, {method: 'PUT', credentials: 'include', headers: {'X-Token': '1'}, body: 'x'})
    .then(async r => done([r.status, r.headers.get('x-total'), r.headers.get('x-request-id'), await r.text()]))
    .catch(e => done(String(e)));
"""


def test_a_browser_agrees(gateway, upstream, tmp_path):
    here, there = free_port(), free_port()
    upstream.serves("/index", {"body": b"<!doctype html><title>shop</title>",
                               "headers": [("Content-Type", "text/html")]})
    listed = API.replace("https://shop.example", f"http://127.0.0.1:{here}")
    start(gateway, upstream, listed, listen=f"127.0.0.1:{there}")
    start(gateway, upstream, listed, listen=f"127.0.0.1:{here}",
          route='middleware = ["cors.api"]\n[routes.page]\npath = "/index"\nupstream = "shop"')
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                     "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                     f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    try:
        driver.set_page_load_timeout(60)
        driver.set_script_timeout(60)
        driver.get(f"http://127.0.0.1:{here}/index")
        upstream.methods.clear()
        answer = driver.execute_async_script(ASKS, f"http://127.0.0.1:{there}/api/x")
        assert answer == [200, "7", None, '{"n": 2}']  # what isn't exposed can't be read
        assert upstream.methods == [("PUT", "/api/x")]
        answer = driver.execute_async_script(ASKS, f"http://localhost:{there}/rest/x")
        assert "TypeError" in answer  # no list there
        assert upstream.methods == [("PUT", "/api/x")]
    finally:
        driver.quit()
