"""A small OpenID provider, as a real HTTP server: discovery, keys, authorization code with PKCE, ID tokens by RS256.

>>> with OpenIdServer() as provider:  # doctest: +SKIP
...     provider.person = {"sub": "7", "preferred_username": "ann", "groups": ["desk"]}
...     provider.forge = {"nonce": "another"}  # what the next ID token says wrongly
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT_ID, CLIENT_SECRET = "lenswatch", "only the two of us know"


class OpenIdServer:
    def __init__(self) -> None:
        self.person: dict[str, Any] = {}
        """Claims of whoever signs in."""
        self.forge: dict[str, Any] = {}
        """Claims that an ID token says instead; None leaves one out."""
        self.key = RSAKey.generate_key(2048, {"kid": "first"})
        """Signs; `jwks` publishes its public half."""
        self.published = [self.key]
        self.algorithm = "RS256"
        """Or `HS256`, `none`: forgeries."""
        self.asked: list[str] = []
        """Paths, in order."""
        self.codes: dict[str, dict[str, str]] = {}
        """Code -> what was asked when it was given; each is good for once."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def documents(self) -> dict[str, Any]:
        metadata = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        keys = KeySet(self.published).as_dict(private=False)
        return {"/.well-known/openid-configuration": metadata, "/keys": keys}

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser goes back to; whoever she is, she is signed in here already."""
        assert asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, authorization: str, asked: dict[str, str]) -> dict[str, Any] | None:
        """The ID token for a code; None where client, code, address or verifier are wrong."""
        basic = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        begun = self.codes.pop(asked.get("code", ""), None)
        if authorization != basic or begun is None or asked["redirect_uri"] != begun["redirect_uri"]:
            return None
        if _digest(asked["code_verifier"]) != begun["code_challenge"]:
            return None
        access = secrets.token_urlsafe(16)
        return {"access_token": access, "token_type": "Bearer", "id_token": self._id_token(begun["nonce"], access)}

    def _id_token(self, nonce: str, access: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce}
        claims |= {"at_hash": _half_digest(access)} | self.person | self.forge
        said = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm == "RS256":
            return jwt.encode({"alg": "RS256", "kid": self.key.kid}, said, self.key)
        return _by_hand({"alg": self.algorithm, "kid": self.key.kid}, said, self.key.as_pem(private=False))


def _by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    """What no library signs: with `none`, or by HMAC with a public key."""
    body = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
    return f"{body}.{_base64(hmac.digest(key, body.encode(), 'sha256')) if header['alg'] == 'HS256' else ''}"


def _handler(provider: OpenIdServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            provider.asked.append(path)
            if path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(_flat(query)))
                self.end_headers()
            else:
                self._answer(provider.documents().get(path))

        def do_POST(self) -> None:
            provider.asked.append(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(provider.token(self.headers.get("Authorization", ""), _flat(body)))

        def _answer(self, document: dict[str, Any] | None) -> None:
            self.send_response(200 if document else 400)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document or {"error": "invalid_grant"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _digest(text: str) -> str:
    return _base64(hashlib.sha256(text.encode()).digest())


def _half_digest(text: str) -> str:
    return _base64(hashlib.sha256(text.encode()).digest()[:16])


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
