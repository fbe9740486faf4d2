# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's settings, read once from the environment."""

from __future__ import annotations

import dataclasses
import secrets
import typing as t
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from .errors import SettingsError

LEAST_SECRET = 32  # bytes of a key for HS256, RFC 7518 section 3.2


@dataclasses.dataclass(frozen=True)
class Server:
    """Where a server is, and as whom to talk to it."""

    host: str
    port: int
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Settings:
    model: Path
    database: Server
    cache: Server
    jwt_secret: str = dataclasses.field(repr=False)
    allowed_origins: tuple[str, ...]
    rate_limit: int  # looks in 15 minutes and address
    log_level: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError that names every variable that is wrong, and what is allowed."""
    reader = _Reader(environment)
    development = reader.choice("ENVIRONMENT", ("development", "production"), "production") == "development"
    settings = Settings(
        model=Path(environment.get("MODEL_DIR", "/models/fer")),
        database=reader.server("DATABASE_URL", "mysql", 3306, reader.secret("DATABASE_PASSWORD_FILE", development)),
        cache=reader.server("REDIS_URL", "redis", 6379, ""),
        jwt_secret=reader.secret("JWT_SECRET_FILE", development, LEAST_SECRET) or secrets.token_hex(LEAST_SECRET),
        allowed_origins=reader.origins("ALLOWED_ORIGINS"),
        rate_limit=reader.number("RATE_LIMIT", 100, 1, 1_000_000),
        log_level=reader.choice("LOG_LEVEL", ("debug", "info", "warning"), "info"),
    )
    if reader.faults:
        raise SettingsError("; ".join(reader.faults))
    return settings


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.faults: list[str] = []

    def choice(self, name: str, choices: t.Sequence[str], default: str) -> str:
        value = self._environment.get(name, default)
        if value not in choices:
            self.faults.append(f"{name} is {value!r}; allowed are {', '.join(choices)}")
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        value = self._environment.get(name, str(default))
        if not value.isdecimal() or not least <= int(value) <= most:
            self.faults.append(f"{name} is {value!r}; allowed are whole numbers from {least} to {most}")
            return default
        return int(value)

    def origins(self, name: str) -> tuple[str, ...]:
        origins = tuple(filter(None, (part.strip() for part in self._environment.get(name, "").split(","))))
        for origin in origins:
            parts = urllib.parse.urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
                self.faults.append(f"{name} has {origin!r}; allowed are origins such as https://example.org")
        return origins

    def server(self, name: str, scheme: str, port: int, password: str) -> Server:
        url = self._environment.get(name, "")
        try:
            parts = urllib.parse.urlsplit(url)
            if parts.password is not None:  # before any message that would show it
                self.faults.append(f"{name} holds a password; a password comes from a file")
            elif parts.scheme == scheme and parts.hostname:
                name_of = parts.path.strip("/")
                return Server(parts.hostname, parts.port or port, parts.username or "", password, name_of)
            else:
                self.faults.append(f"{name} is {url!r}; write {scheme}://[user@]host[:port][/name]")
        except ValueError as error:
            self.faults.append(f"{name} is no URL: {error}")
        return Server("", port)

    def secret(self, name: str, may_be_empty: bool, least: int = 1) -> str:
        """A secret comes from a file: an environment is shown by ``docker inspect``."""
        file = self._environment.get(name)
        try:
            secret = Path(file).read_text(encoding="utf-8").rstrip("\r\n") if file else ""
        except (OSError, ValueError) as error:
            self.faults.append(f"{name} is {file!r}, which cannot be read: {error}")
            return ""
        if not secret and may_be_empty:
            return ""
        if len(secret.encode()) < least:
            self.faults.append(f"{name} must name a file with a secret of at least {least} bytes")
        return secret
