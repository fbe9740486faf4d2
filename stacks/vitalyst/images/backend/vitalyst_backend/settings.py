# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's settings, read once from the environment."""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from .errors import SettingsError

DEVELOPMENT = "development"
_REQUIRED = ("DATABASE_URL", "REDIS_URL", "AUTH0_DOMAIN", "AUTH0_AUDIENCE", "NEO4J_AUTH_FILE", "REDIS_PASSWORD_FILE")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where things are; the passwords of Neo4j and Redis are empty in development only."""

    database_url: str
    redis_url: str
    auth0_domain: str
    auth0_audience: str
    neo4j_user: str
    neo4j_password: str = dataclasses.field(repr=False)
    redis_password: str = dataclasses.field(repr=False)
    is_development: bool
    log_level: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError that names everything that is missing or wrong at once."""
    development = environment.get("ENVIRONMENT", "production") == DEVELOPMENT
    faults = [f"{name} is missing" for name in _REQUIRED if not environment.get(name)]
    for name, schemes in (("DATABASE_URL", ("file", "bolt", "neo4j")), ("REDIS_URL", ("redis",))):
        faults += _url_fault(name, environment.get(name, ""), schemes)
    neo4j_auth = _secret(environment, "NEO4J_AUTH_FILE", development, faults)
    user, slash, password = neo4j_auth.partition("/")
    if neo4j_auth and not (user and slash and password):
        faults.append("the file of NEO4J_AUTH_FILE must hold user/password")
    redis_password = _secret(environment, "REDIS_PASSWORD_FILE", development, faults)
    log_level = environment.get("LOG_LEVEL", "info")
    if log_level not in ("debug", "info", "warning"):
        faults.append(f"LOG_LEVEL is {log_level!r}; allowed are debug, info, warning")
    if faults:
        raise SettingsError("; ".join(faults))
    return Settings(
        database_url=environment["DATABASE_URL"],
        redis_url=environment["REDIS_URL"],
        auth0_domain=environment["AUTH0_DOMAIN"],
        auth0_audience=environment["AUTH0_AUDIENCE"],
        neo4j_user=user,
        neo4j_password=password,
        redis_password=redis_password,
        is_development=development,
        log_level=log_level,
    )


def _url_fault(name: str, url: str, schemes: t.Sequence[str]) -> t.Iterator[str]:
    if not url:
        return
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc:  # before any message that would show it
        yield f"{name} holds a user or a password; they come from a file"
    elif parts.scheme not in schemes:
        yield f"{name} is {url!r}; allowed are URLs that start with {', '.join(f'{scheme}://' for scheme in schemes)}"
    elif parts.scheme != "file" and not parts.hostname:
        yield f"{name} is {url!r}, which names no host"


def _secret(environment: Mapping[str, str], name: str, may_be_empty: bool, faults: list[str]) -> str:
    """A secret comes from a file: an environment is shown by ``docker inspect``."""
    file = environment.get(name)
    if not file:
        return ""
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        faults.append(f"{name} is {file!r}, which cannot be read: {error}")
        return ""
    if not secret and not may_be_empty:
        faults.append(f"{name} is {file!r}, which is empty; write the secret into it")
    return secret
