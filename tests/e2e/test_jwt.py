"""Tokens that others signed, made by PyJWT: who is let in, where the keys come from, what upstreams
see of the claims."""

import base64
import concurrent.futures
import json
import subprocess
import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway import BINARY, until
from scripted import Origin

SECRET = "correct horse battery staple, twice"
RSA, OTHER_RSA = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC, OTHER_EC = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key, kid):
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) \
        else jwt.algorithms.ECAlgorithm
    if algorithm is jwt.algorithms.RSAAlgorithm:
        return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}
    numbers = key.public_key().public_numbers()
    b64 = lambda n: base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode()
    return {"kty": "EC", "crv": "P-256", "x": b64(numbers.x), "y": b64(numbers.y), "kid": kid}


def token(key=SECRET, algorithm="HS256", kid=None, **claims):
    claims = {"sub": "ada", "exp": int(time.time()) + 600, **claims}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)


@pytest.fixture
def origin():
    one = Origin().start()
    one.serves("/x", {})
    one.serves("/part", {"body": {"n": 1}})
    yield one
    one.stop()


def start(gateway, origin, section, claims="", more="", **options):
    return gateway(f"""
[upstreams.shop]
url = "{origin.url}"
forward_headers = ["X-User", "X-Roles"]
[jwt.site]
{section}
[jwt.site.claims]
{claims}
[routes.shop]
path = "/"
middleware = ["jwt.site"]
{more}
""", env={"SECRET": SECRET}, **options)


def ask(one, bearer=None, path="/x", **options):
    headers = dict(options.pop("headers", {}))
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    return httpx.get(one.url + path, headers=headers, trust_env=False, timeout=60, **options)


HS256 = 'algorithms = ["HS256"]\nsecret = "${SECRET}"'


def test_a_token_lets_in(gateway, origin):
    one = start(gateway, origin, HS256)
    assert ask(one, token()).status_code == 200
    answer = ask(one)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="site"'
    assert answer.headers["cache-control"] == "no-store"
    answer = ask(one, token("another secret that is long enough"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == \
        'Bearer realm="site", error="invalid_token", error_description="the signature is not good"'
    assert ask(one, headers={"Authorization": "Basic YTpi"}).status_code == 401
    assert [line.get("user") for line in one.access(4)] == ["jwt:ada", None, None, None]
    assert len(origin.heads) == 1
    assert origin.heads[0][1]["authorization"].startswith("Bearer ")


@pytest.mark.parametrize("algorithm, key, other",
                         [("RS256", RSA, OTHER_RSA), ("ES256", EC, OTHER_EC)])
def test_public_keys_from_a_file(gateway, origin, tmp_path, algorithm, key, other):
    (tmp_path / "key.pem").write_bytes(pem(key))
    one = start(gateway, origin,
                f'algorithms = ["{algorithm}"]\npublic_key = "{tmp_path}/key.pem"\nforward = false')
    good, bad = token(key, algorithm), token(other, algorithm)
    for _ in range(3):
        assert ask(one, good).status_code == 200
        assert ask(one, bad).status_code == 401
    head, claims, signature = good.split(".")
    forged = base64.urlsafe_b64encode(json.dumps({"sub": "root", "exp": 2 ** 33}).encode())
    assert ask(one, f"{head}.{forged.rstrip(b'=').decode()}.{signature}").status_code == 401
    assert ask(one, f"{head}.{claims}.").status_code == 401
    # The key's public text as a secret; no signature at all; another algorithm.
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    assert ask(one, f"{none}.{claims}.").status_code == 401
    hs256 = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=").decode()
    import hashlib
    import hmac
    mac = hmac.new(pem(key), f"{hs256}.{claims}".encode(), hashlib.sha256).digest()
    confused = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    assert ask(one, f"{hs256}.{claims}.{confused}").status_code == 401
    assert len(origin.heads) == 3
    assert all("authorization" not in fields for _, fields in origin.heads)


def test_times_and_rules(gateway, origin):
    one = start(gateway, origin, HS256 + '\nissuer = "https://id"\naudience = ["shop", "admin"]\n'
                                         'required = ["exp", "sub"]\nleeway = "5s"')
    good = {"iss": "https://id", "aud": ["x", "shop"]}
    now = int(time.time())
    assert ask(one, token(**good)).status_code == 200
    for claims, why in [({"exp": now - 6}, "the token has expired"),
                        ({"nbf": now + 60}, "the token is not valid yet"),
                        ({"iat": now + 60}, "the token was made in the future"),
                        ({"iss": "https://other"}, "the issuer is another"),
                        ({"aud": "shops"}, "the token is for somebody else"),
                        ({"sub": None}, "a claim is missing"),
                        ({"exp": None}, "a claim is missing")]:
        answer = ask(one, token(**{**good, **claims}))
        assert answer.status_code == 401
        assert f'error_description="{why}"' in answer.headers["www-authenticate"], claims


def test_a_cookie_holds_the_token(gateway, origin):
    one = start(gateway, origin, HS256 + '\nfrom = "cookie:session"')
    assert ask(one, headers={"Cookie": f"a=1; session={token()}; b=2"}).status_code == 200
    assert ask(one, headers={"Cookie": f"sessions={token()}"}).status_code == 401
    assert ask(one, token()).status_code == 401
    assert origin.heads[0][1]["cookie"].startswith("a=1; session=")


def test_upstreams_are_told_of_claims_and_of_nothing_else(gateway, origin):
    one = start(gateway, origin, HS256, 'sub = "X-User"\nroles = "X-Roles"', more="""
[pages.page]
path = "/page"
middleware = ["jwt.site"]
[pages.page.parts.shop]
path = "/part"
""")
    spoofed = {"X-User": "root", "x_user": "root", "X-Roles": "admin",
               "Connection": "close, X-User, X-Roles"}
    for path in ["/x", "/page"]:
        assert ask(one, token(roles=["a", "b"]), path, headers=spoofed).status_code == 200
        assert ask(one, token(sub="x\r\ny: z"), path, headers=spoofed).status_code == 200
    assert len(origin.heads) == 4
    for _, fields in origin.heads:
        assert "x_user" not in fields and "y" not in fields
        assert (fields.get("x-user"), fields.get("x-roles")) in [("ada", "a,b"), (None, None)]
    assert [fields.get("x-user") for _, fields in origin.heads] == ["ada", None] * 2


def test_what_says_who_asks_is_kept_for_nobody_else(gateway, origin):
    """Though the upstream is told by a header that it doesn't name in Vary."""
    origin.serves("/who", lambda _, fields: {"body": {"who": fields["x-user"]},
                                             "headers": [("Cache-Control", "max-age=60")]})
    one = start(gateway, origin, HS256 + "\nforward = false", 'sub = "X-User"', more="""
[routes.shop.cache]
enabled = true
[pages.page]
path = "/page"
middleware = ["jwt.site"]
[pages.page.parts.shop]
path = "/who"
[pages.page.parts.shop.cache]
enabled = true
ttl = "60s"
""")
    for path in ["/who", "/page"]:
        for name in ["ada", "bob", "ada"]:
            answer = ask(one, token(sub=name), path, headers={"Accept": "application/json"})
            assert name in answer.text
            assert "private" in answer.headers["cache-control"]


# -- keys that somebody else keeps --

JWKS = 'algorithms = ["RS256", "ES256"]\nupstream = "shop"\njwks = "/keys"\njwks_refetch = "100ms"'


def keys(*items):
    return {"body": {"keys": list(items)}}


def test_keys_are_fetched_once_for_all(gateway, origin):
    origin.serves("/keys", {**keys(jwk(RSA, "r1"), jwk(EC, "e1")), "after": 0.3})
    one = start(gateway, origin, JWKS.replace("100ms", "1h"))
    tokens = [token(RSA, "RS256", "r1"), token(EC, "ES256", "e1")] * 6
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda t: ask(one, t), tokens)]
    assert statuses == [200] * 12
    assert origin.asked("/keys") == 1
    # A key's name leads to that key alone; without a name the only one of its kind is meant.
    assert ask(one, token(RSA, "RS256")).status_code == 200
    for wrong in [token(OTHER_RSA, "RS256", "r1"), token(RSA, "RS256", "e1"),
                  token(EC, "ES256", "r1"), token(RSA, "RS256", "nobody")]:
        assert ask(one, wrong).status_code == 401
    assert origin.asked("/keys") == 1


def test_a_new_key_is_fetched_when_a_token_names_it(gateway, origin):
    origin.serves("/keys", keys(jwk(RSA, "old")), keys(jwk(OTHER_RSA, "new")))
    one = start(gateway, origin, JWKS)
    old, new = token(RSA, "RS256", "old"), token(OTHER_RSA, "RS256", "new")
    assert ask(one, old).status_code == 200
    until(lambda: ask(one, new).status_code == 200, "the new key")
    assert ask(one, old).status_code == 401  # withdrawn, however often it was verified before
    asked = origin.asked("/keys")
    began = time.monotonic()
    for _ in range(30):
        assert ask(one, token(RSA, "RS256", "nobody")).status_code == 401
    assert origin.asked("/keys") - asked <= (time.monotonic() - began) / 0.1 + 2


def test_another_key_of_the_same_name(gateway, origin):
    """What was verified with the old one is nothing to the new one."""
    origin.serves("/keys", keys(jwk(RSA, "k")), keys(jwk(OTHER_RSA, "k")))
    one = start(gateway, origin, JWKS)
    old = token(RSA, "RS256", "k")
    assert [ask(one, old).status_code for _ in range(2)] == [200, 200]
    until(lambda: ask(one, token(RSA, "RS256", "nobody")).status_code == 401 and
          origin.asked("/keys") > 1, "the new key")
    assert ask(one, old).status_code == 401
    assert ask(one, token(OTHER_RSA, "RS256", "k")).status_code == 200


def test_keys_stay_while_the_upstream_is_down(gateway, origin):
    origin.serves("/keys", keys(jwk(RSA, "r1")), {"status": 503}, {"body": b"<html>"},
                  {"body": {"keys": []}}, {"status": 503})
    one = start(gateway, origin, JWKS)
    good = token(RSA, "RS256", "r1")
    assert ask(one, good).status_code == 200
    def unknown():
        assert ask(one, token(RSA, "RS256", "nobody")).status_code == 401
        return origin.asked("/keys") >= 5
    until(unknown, "four more fetches")
    assert ask(one, good).status_code == 200
    assert "keys for tokens were not fetched" in one.log()


def test_without_any_keys_nobody_is_let_in(gateway, origin):
    origin.serves("/keys", {"status": 500}, keys(jwk(EC, "e1")))
    one = start(gateway, origin, JWKS)
    answer = ask(one, token(EC, "ES256", "e1"))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert ask(one, "no token").status_code == 401
    until(lambda: ask(one, token(EC, "ES256", "e1")).status_code == 200, "the keys")
    assert len([1 for path, _ in origin.heads if path == "/x"]) == 1


def test_clients_that_leave_while_keys_are_fetched_are_no_trouble(gateway, origin):
    origin.serves("/keys", {**keys(jwk(RSA, "r1")), "after": 0.5})
    one = start(gateway, origin, JWKS)
    for _ in range(3):
        with pytest.raises(httpx.TimeoutException):
            httpx.get(one.url + "/x", trust_env=False, timeout=0.05,
                      headers={"Authorization": f"Bearer {token(RSA, 'RS256', 'r1')}"})
    assert ask(one, token(RSA, "RS256", "r1")).status_code == 200
    assert origin.asked("/keys") == 1


def test_a_gateway_that_ends_while_keys_are_fetched(gateway, origin):
    origin.serves("/keys", {**keys(jwk(RSA, "r1")), "after": 20})
    one = start(gateway, origin, JWKS, header="""
[server]
listen = ["127.0.0.1:0"]
workers = 2
drain_timeout = "100ms"
[admin]
listen = ""
control = ""
""")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, one, token(RSA, "RS256", "r1"))
        until(lambda: origin.asked("/keys") == 1)
        one.stop()  # asserts that it ends well
        with pytest.raises(httpx.HTTPError):
            waiting.result()


def test_many_tokens_of_es256_at_once(gateway, origin, tmp_path):
    """More than are checked at once: who is refused is told to come again, nobody is let in or kept
    out by mistake."""
    (tmp_path / "key.pem").write_bytes(pem(EC))
    one = start(gateway, origin, f'algorithms = ["ES256"]\npublic_key = "{tmp_path}/key.pem"')
    tokens = [(token(EC, "ES256", jti=number), 200) for number in range(30)] + \
             [(token(OTHER_EC, "ES256", jti=number), 401) for number in range(30)]
    limits = httpx.Limits(max_connections=30)
    with httpx.Client(trust_env=False, timeout=60, limits=limits) as http, \
            concurrent.futures.ThreadPoolExecutor(30) as pool:
        def until_told(one_of):
            text, expected = one_of
            for _ in range(200):
                answer = http.get(one.url + "/x", headers={"Authorization": f"Bearer {text}"})
                if answer.status_code != 503:
                    return answer.status_code == expected
                time.sleep(0.02)  # as it says, in short
            return False
        assert all(pool.map(until_told, tokens))


def test_what_is_wrong_is_told_where_it_stands(tmp_path):
    (tmp_path / "rsa.pem").write_bytes(pem(RSA))
    (tmp_path / "no.pem").write_text("nothing")
    config = tmp_path / "config.toml"
    config.write_text("""[jwt.a]
algorithms = ["HS256", "none"]
from = "cookie:"
public_key = "no.pem"
[jwt.b]
algorithms = ["ES256"]
public_key = "rsa.pem"
[jwt.c]
algorithms = ["HS256"]
secret = "0123456789abcdef0123456789abcdef"
[jwt.d]
algorithms = ["RS256"]
upstream = "nobody"
jwks = "keys"
[jwt.e]
algorithms = []
[jwt.f]
algorithms = ["RS256"]
public_key = "rsa.pem"
[jwt.f.claims]
sub = "Host"
a = "X-User"
b = "x_user"
[jwt.g]
[jwt.h]
algorithms = ["HS256"]
secret = "${SHORT}"
""")
    done = subprocess.run([BINARY, "check", "-c", config], capture_output=True, text=True,
                          env={"SHORT": "too short"})
    assert done.returncode == 78
    for line in ['2:24: error: algorithms: expected "HS256", "RS256" or "ES256", got "none"',
                 '3:8: error: from: expected "header" or "cookie:NAME", got "cookie:"',
                 '4:14: error: public_key: ',
                 '6:14: error: algorithms: ES256 needs public_key, of that kind, or jwks',
                 '6:14: error: algorithms: the key is for RS256, which isn\'t listed',
                 '10:10: error: secret: a secret may not stand in the file',
                 '13:12: error: unknown upstream "nobody"',
                 '14:8: error: jwks: a path after the upstream\'s url',
                 '16:14: error: algorithms: at least one is needed',
                 '21:7: error: Host: not the name of a header that may be set',
                 '23:5: error: x_user is set from two claims',
                 '24:1: error: missing key "algorithms"',
                 '27:10: error: secret: 9 bytes; at least 32 are needed']:
        assert f"config.toml:{line}" in done.stderr, (line, done.stderr)
