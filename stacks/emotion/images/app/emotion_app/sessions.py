# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions without accounts: a signed token says who somebody is, and nothing about whom."""

from __future__ import annotations

import time
import typing as t
import uuid
from dataclasses import dataclass

import jwt

LIFETIME_SECONDS = 12 * 3600
_ALGORITHM = "HS256"


class TokenError(Exception):
    """A token cannot be taken. Answered with 401."""


@dataclass(frozen=True)
class Session:
    user: uuid.UUID
    session: uuid.UUID


class Tokens:
    """Makes and reads tokens with one secret."""

    def __init__(self, secret: str, clock: t.Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def issue(self) -> str:
        """A token of a new user and session."""
        now = int(self._clock())
        claims = {"sub": str(uuid.uuid4()), "sid": str(uuid.uuid4()), "iat": now, "exp": now + LIFETIME_SECONDS}
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def read(self, header: str) -> Session:
        """The session of an Authorization header. Raises TokenError."""
        kind, _blank, token = header.partition(" ")
        if kind.lower() != "bearer":
            raise TokenError("Authorization must be: Bearer <token of POST /sessions>")
        try:
            required = {"require": ["sub", "sid", "exp"], "verify_exp": False, "verify_iat": False}
            claims = jwt.decode(token, self._secret, algorithms=[_ALGORITHM], options=required)  # type: ignore[arg-type]  # a TypedDict of its own
            if claims["exp"] <= self._clock():
                raise TokenError("the session has ended; begin another one with POST /sessions")
            return Session(uuid.UUID(claims["sub"]), uuid.UUID(claims["sid"]))
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            raise TokenError("the token is not one of this service") from error
