# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Who we are to an OCI registry: what it asks for in a 401, and the token that answers it.

Formats: WWW-Authenticate (RFC 9110, section 11.6.1) and the token protocol of the CNCF distribution project.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_error import refused
from ansible_collections.emorobcare.fleet.plugins.module_utils._loopback import is_loopback
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import Transport
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import OciSource, redact_url

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|$|(?=,))")
_SHORTEST_LIFE = 60.0  # seconds that a token is good for when the server does not say
_MARGIN = 10.0  # seconds before its end at which a token is not used any more


@dataclass(frozen=True)
class Challenge:
    """What a registry asks for: a scheme in lower case, and its parameters."""

    scheme: str
    parameters: t.Mapping[str, str] = field(default_factory=dict)


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """Read a WWW-Authenticate header, which may hold several challenges; what cannot be read ends it."""
    challenges: list[Challenge] = []
    place = 0
    while True:
        scheme = _SCHEME.match(text, place)
        if not scheme or scheme.end() == place:
            return tuple(challenges)
        place = scheme.end()
        parameters: dict[str, str] = {}
        while True:
            match = _PARAMETER.match(text, place)
            if not match:
                break
            quoted, plain = match[2], match[3]
            parameters[match[1].lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            comma = re.compile(r"\s*,").match(text, match.end())
            place = comma.end() if comma else match.end()
        challenges.append(Challenge(scheme[1].lower(), parameters))


class Authorizer:
    """Answers the challenges of registries. Threads share the answers; of several that need one, one asks."""

    def __init__(self, network: Network, transport: Transport) -> None:
        self._transport = transport
        self._username = network.registry_username
        self._password = network.registry_password
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], tuple[str, float]] = {}  # registry, repository: header, good until

    @property
    def with_credentials(self) -> bool:
        return self._username is not None and self._password is not None

    def header(self, source: OciSource) -> str:
        """Return the Authorization header for a repository, "" when none was asked for so far."""
        with self._lock:
            answer, until = self._answers.get((source.registry, source.repository), ("", 0.0))
            return answer if time.monotonic() < until else ""

    def renew(self, source: OciSource, used: str, challenge: t.Callable[[], str]) -> str:
        """Return another Authorization header than the one that was refused.

        `challenge` gets the WWW-Authenticate header. It is called only if no other thread was here in the meantime.

        Raises:
            ModelError: with reason `unavailable`; the registry asks for what we do not have.
        """
        with self._lock:
            key = (source.registry, source.repository)
            answer, until = self._answers.get(key, ("", 0.0))
            if answer and answer != used and time.monotonic() < until:
                return answer
            answer, life = self._answer(source, parse_challenges(challenge()))
            if answer == used:
                raise self.refusal(source)
            self._answers[key] = (answer, time.monotonic() + life)
            return answer

    def _answer(self, source: OciSource, challenges: t.Sequence[Challenge]) -> tuple[str, float]:
        """Return the Authorization header that a registry wants, and for how many seconds it is good."""
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        if "bearer" in by_scheme:
            return self._token(source, by_scheme["bearer"])
        if "basic" in by_scheme and self.with_credentials:
            return self._basic(), float("inf")
        raise self.refusal(source)

    def _token(self, source: OciSource, challenge: Challenge) -> tuple[str, float]:
        realm = challenge.parameters.get("realm", "")
        self._check_realm(source, realm)
        query = {"scope": challenge.parameters.get("scope") or f"repository:{source.repository}:pull"}
        if "service" in challenge.parameters:
            query["service"] = challenge.parameters["service"]
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
        headers = {"Authorization": self._basic()} if self.with_credentials else {}
        answer = self._transport.get_small(url, headers, shown=source.shown)
        if answer.status in (400, 401, 403):
            raise self.refusal(source)
        if answer.status != 200:
            raise refused(f"{source.shown}: {redact_url(realm)}", answer.status, answer.reason, answer.headers)
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
            life = float(document.get("expires_in") or _SHORTEST_LIFE)
        except (ValueError, AttributeError, TypeError):
            token, life = None, 0.0
        if not isinstance(token, str) or not token:
            raise ModelError(
                f"{source.shown}: {redact_url(realm)} answers without a token; is it the registry's token service?",
                reason="unavailable",
                source=source.shown,
            )
        return f"Bearer {token}", max(life, _SHORTEST_LIFE) - _MARGIN

    def _check_realm(self, source: OciSource, realm: str) -> None:
        """Refuse to send credentials, or ask for a token, in the clear over a network."""
        try:
            parts = urlsplit(realm)
            host = parts.hostname or ""
        except ValueError:
            parts, host = urlsplit(""), ""
        if parts.scheme == "https" and host and "@" not in parts.netloc:
            return
        if parts.scheme == "http" and is_loopback(host) and is_loopback(registry_host(source.registry)):
            return
        raise ModelError(
            f"{source.shown}: the registry sends us to {redact_url(realm)!r} for a token, where no credentials are "
            "sent: only https:// is trusted with them",
            reason="unavailable",
            source=source.shown,
        )

    def _basic(self) -> str:
        pair = f"{self._username}:{self._password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def refusal(self, source: OciSource) -> ModelError:
        """Return the error for a registry that does not let us in."""
        given = "refuses registry_username and registry_password" if self.with_credentials else "wants credentials"
        hint = (
            "are they right, and may they read it?"
            if self.with_credentials
            else "give them as registry_username and registry_password"
        )
        return ModelError(
            f"{source.shown}: the registry {given} for repository {source.repository}; {hint}",
            reason="unavailable",
            source=source.shown,
            status=401,
        )


def registry_host(registry: str) -> str:
    """Return the host out of host[:port] or [address][:port]."""
    return urlsplit(f"//{registry}").hostname or ""
