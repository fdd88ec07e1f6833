"""An OpenID Connect provider, as somebody who signs in there goes through it: authorization code flow with PKCE.

The browser is sent to the provider and comes back with a code. We change the code for an ID token, from server to
server, and believe the token only where signature, issuer, audience, time and nonce are right.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from pipeline.errors import RetryableError
from pipeline.people import Role
from pipeline.settings import SignInSettings

TIMEOUT = 5
"""s; of each request to the provider."""
LEEWAY = 60
"""s; that its clock may differ from ours."""
KEEP_METADATA, KEEP_KEYS = 3600, 60
"""s. Keys are asked for again sooner, but only when a token names one that we do not know."""
PAUSE = 10
"""s; so long it is not asked again after it did not answer: waiting for it would hold threads that pages need."""
ALGORITHMS = ["RS256", "PS256", "ES256"]
"""Signatures with a provider's public key; never `none`, nor HS256, whose key would be no secret."""


class ProviderAway(RetryableError):
    """The OpenID provider did not answer, or not as one does."""


class TokenRefused(Exception):
    """What came back does not prove who signed in; or she was refused there."""


class NoRole(Exception):
    """Who she is, is proven; but none of her groups has a role here."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in under way. The browser keeps a random token; all that must not be guessed follows from it.

    So nothing of it is stored here, and any web process can go on where another began.
    """

    token: str

    @property
    def state(self) -> str:
        """Comes back with the browser: the answer is one to a question of this browser."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """Comes back in the ID token: it was made for this sign-in."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """PKCE: who changes the code for a token is who asked for the code."""
        return self._derived("verifier")

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    subject: str
    """`<issuer> <sub>`"""
    role: Role
    names: tuple[str, ...]
    """What she may be called, best first."""


class OpenIdProvider:
    """Asks for nothing before the first sign-in."""

    def __init__(self, settings: SignInSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ValueError where no provider is configured."""
        if settings.oidc_issuer is None:
            raise ValueError("no OpenID provider is configured")
        self._settings = settings
        self._issuer = str(settings.oidc_issuer).rstrip("/")
        self._http = httpx.Client(timeout=TIMEOUT, headers={"Accept": "application/json"})
        self._remembered = _Remembered(self._http, clock)

    def close(self) -> None:
        self._http.close()

    def address(self, flow: Flow, redirect_uri: str) -> str:
        """Where to send the browser. Raises ProviderAway."""
        client = self._client(redirect_uri)
        address, _ = client.create_authorization_url(
            self._metadata()["authorization_endpoint"],
            state=flow.state,
            nonce=flow.nonce,
            code_verifier=flow.verifier,
        )
        return str(address)

    def identify(self, flow: Flow, code: str, redirect_uri: str) -> Identity:
        """Who came back with this code. Raises TokenRefused, NoRole, ProviderAway."""
        secret = self._settings.oidc_client_secret
        auth = httpx.BasicAuth(self._settings.oidc_client_id, secret.get_secret_value()) if secret else httpx.Auth()
        public = {} if secret else {"client_id": self._settings.oidc_client_id}
        with _translated():
            answer = self._client(redirect_uri).fetch_token(
                self._metadata()["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                redirect_uri=redirect_uri,
                code_verifier=flow.verifier,
                auth=auth,
                **public,
            )
            return self._identity(self._validated(answer, flow))

    def _client(self, redirect_uri: str) -> OAuth2Client:
        return OAuth2Client(
            self._http,
            client_id=self._settings.oidc_client_id,
            redirect_uri=redirect_uri,
            scope=self._settings.oidc_scopes,
            code_challenge_method="S256",
        )

    def _metadata(self) -> Mapping[str, Any]:
        found = self._remembered.get(f"{self._issuer}/.well-known/openid-configuration", KEEP_METADATA)
        if str(found.get("issuer", "")).rstrip("/") != self._issuer:
            raise ProviderAway(f"the document of {self._issuer} is another issuer's")
        return found

    def _validated(self, answer: Mapping[str, Any], flow: Flow) -> CodeIDToken:
        token = self._decoded(str(answer.get("id_token", "")))
        options = {
            "iss": {"essential": True, "value": self._metadata()["issuer"]},
            "aud": {"essential": True, "value": self._settings.oidc_client_id},
        }
        known = {
            "nonce": flow.nonce,
            "client_id": self._settings.oidc_client_id,
            "access_token": answer.get("access_token"),
        }
        claims = CodeIDToken(token.claims, token.header, options, known)
        claims.validate(leeway=LEEWAY)
        return claims

    def _decoded(self, token: str) -> jwt.Token:
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            return jwt.decode(token, self._keys(KEEP_METADATA), registry=registry)
        except InvalidKeyIdError:  # it has new keys
            return jwt.decode(token, self._keys(KEEP_KEYS), registry=registry)

    def _keys(self, keep: float) -> KeySet:
        keys: Any = self._remembered.get(self._metadata()["jwks_uri"], keep)
        return KeySet.import_key_set(keys)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        said = claims.get(self._settings.oidc_role_claim, [])
        groups = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        roles = [role for group, role in self._settings.oidc_roles.items() if group in groups]
        if not roles:
            raise NoRole(str(claims["sub"]))
        names = (claims.get(claim) for claim in ("preferred_username", "email", "name", "sub"))
        return Identity(
            subject=f"{claims['iss']} {claims['sub']}",
            role=max(roles, key=list(Role).index),
            names=tuple(name for name in names if isinstance(name, str) and name),
        )


class _Remembered:
    """JSON documents, each asked for once in a while; while one asks, the others do not wait for long."""

    def __init__(self, http: httpx.Client, clock: Callable[[], float]) -> None:
        self._http, self._clock = http, clock
        self._documents: dict[str, tuple[float, dict[str, Any]]] = {}
        self._failed_at = -float("inf")
        self._lock = threading.Lock()

    def get(self, url: str, keep: float) -> dict[str, Any]:
        """At most `keep` seconds old. Raises ProviderAway."""
        asked_at, document = self._documents.get(url, (-float("inf"), {}))
        if self._clock() - asked_at <= keep:
            return document
        if self._clock() - self._failed_at <= PAUSE or not self._lock.acquire(timeout=1):
            raise ProviderAway("the OpenID provider did not answer a moment ago")
        try:
            self._documents[url] = (self._clock(), document := self._ask(url))
        finally:
            self._lock.release()
        return document

    def _ask(self, url: str) -> dict[str, Any]:
        try:
            with _translated():
                document = self._http.get(url).raise_for_status().json()
        except ProviderAway:
            self._failed_at = self._clock()
            raise
        if not isinstance(document, dict):
            raise ProviderAway(f"{url} holds no JSON object")
        return document


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OAuth2Error, JoseError) as error:
        raise TokenRefused(f"{type(error).__name__}: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError) as error:
        raise ProviderAway(f"{type(error).__name__}: {error}") from error
