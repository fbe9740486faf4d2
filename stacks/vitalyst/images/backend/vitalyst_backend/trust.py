# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who asks, and what they may do. Every request brings a token, and every token is checked: nobody is trusted for
being near.

Tokens are those of Auth0 (RS256, with audience and issuer); the keys come from its address. In development the service
issues tokens itself, with a key that ends with the process, and checks them by the same code.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from .errors import ScopeError, TokenError

READ, WRITE = "read:graph", "write:graph"
_ALGORITHM = "RS256"
_REQUIRED = ["exp", "iat", "sub", "aud", "iss"]
LIFETIME_SECONDS = 3600

FindKey = t.Callable[[str], t.Any]


@dataclass(frozen=True)
class Caller:
    subject: str
    scopes: frozenset[str]

    def may(self, scope: str) -> None:
        """Raises ScopeError."""
        if scope not in self.scopes:
            raise ScopeError(f"this token lacks the scope {scope}")


class Guard:
    """Reads tokens of one issuer for one audience."""

    def __init__(self, domain: str, audience: str, find_key: FindKey) -> None:
        self._issuer = f"https://{domain}/"
        self._audience = audience
        self._find_key = find_key

    def caller(self, header: str | None) -> Caller:
        """Who an Authorization header speaks for. Raises TokenError that does not say more than it must."""
        kind, _blank, token = (header or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise TokenError("send a token: Authorization: Bearer …")
        try:
            claims = jwt.decode(
                token,
                self._find_key(token),
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenError("the token has expired; get another one") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenError("the token is not valid here") from error
        return Caller(str(claims["sub"]), frozenset(str(claims.get("scope", "")).split()))


def auth0_keys(domain: str) -> FindKey:
    """Look keys up at Auth0, and keep them."""
    client = jwt.PyJWKClient(f"https://{domain}/.well-known/jwks.json", timeout=3, cache_keys=True)
    return lambda token: client.get_signing_key_from_jwt(token).key


class DevelopmentIssuer:
    """Issues tokens to whoever asks. Only ever made where ENVIRONMENT is development."""

    def __init__(self, domain: str, audience: str) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._claims = {"iss": f"https://{domain}/", "aud": audience, "sub": "developer", "scope": f"{READ} {WRITE}"}

    def find_key(self, _token: str) -> t.Any:
        return self._key.public_key()

    def issue(self) -> str:
        now = int(time.time())
        claims = {**self._claims, "iat": now, "exp": now + LIFETIME_SECONDS}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)
