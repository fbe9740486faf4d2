# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's settings, read once from the environment."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import FeedError, SettingsError
from .fetching import check_url


@dataclasses.dataclass(frozen=True)
class Settings:
    database: str
    password: str = dataclasses.field(repr=False)  # empty where the database trusts its network
    cache: str
    feeds: tuple[str, ...]  # to begin with
    inside: tuple[str, ...]  # feeds on the stack's own network
    log_level: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError naming the variable, its value and what is allowed."""
    return Settings(
        database=_server(environment, "DATABASE_URL", "postgresql"),
        password=_secret(environment, "DATABASE_PASSWORD_FILE", _choice(environment, "ENVIRONMENT", _ENVIRONMENTS)),
        cache=_server(environment, "REDIS_URL", "redis"),
        feeds=_addresses(environment, "FEEDS"),
        inside=_addresses(environment, "INSIDE_FEEDS"),
        log_level=_choice(environment, "LOG_LEVEL", ("info", "debug", "warning")),
    )


_ENVIRONMENTS = ("production", "development")


def _server(environment: Mapping[str, str], name: str, scheme: str) -> str:
    url = environment.get(name, "")
    try:
        parts = urllib.parse.urlsplit(url)
        password = parts.password
    except ValueError as error:
        raise SettingsError(f"{name} is no URL: {error}") from error
    if password is not None:  # before any message that would show it
        raise SettingsError(f"{name} holds a password; a password comes from a file")
    if parts.scheme != scheme or not parts.hostname:
        raise SettingsError(f"{name} is {url!r}; write {scheme}://[user@]host[:port][/name]")
    return url


def _secret(environment: Mapping[str, str], name: str, kind: str) -> str:
    """A secret comes from a file: an environment is shown by ``docker inspect``. Only development does without one."""
    file = environment.get(name, "")
    try:
        secret = Path(file).read_text(encoding="utf-8").rstrip("\r\n") if file else ""
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name} is {file!r}, which cannot be read: {error}") from error
    if not secret and kind != "development":
        raise SettingsError(f"{name} is {file!r}, which holds no password; write one into it")
    return secret


def _addresses(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    try:
        return tuple(check_url(url) for url in environment.get(name, "").replace(",", " ").split())
    except FeedError as error:
        raise SettingsError(f"{name} is {environment[name]!r}: {error}") from error


def _choice(environment: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    """One of ``choices``, of which the first is the default."""
    value = environment.get(name, choices[0])
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; allowed are {', '.join(choices)}")
    return value
