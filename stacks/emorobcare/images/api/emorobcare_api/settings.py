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

T = t.TypeVar("T")
Scheme = t.Literal["sqlite", "mongodb", "file", "http", "https"]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a store is: a path on this machine, or a server's address."""

    scheme: Scheme
    url: str
    path: Path

    @property
    def is_remote(self) -> bool:
        return self.scheme in ("mongodb", "http", "https")


@dataclasses.dataclass(frozen=True)
class Settings:
    model: Path
    documents: Place
    vectors: Place
    triples: Place
    password: str | None  # of the documents' server
    seed: bool
    log_level: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError naming the variable, its value and what is allowed."""
    documents = _place(environment, "DOCUMENTS_URL", ("sqlite", "mongodb"), "sqlite:///data/documents.db")
    return Settings(
        model=Path(environment.get("MODEL_DIR", "/models/all-minilm-l6-v2")),
        documents=documents,
        vectors=_place(environment, "VECTORS_URL", ("file", "http", "https"), "file:///data/vectors"),
        triples=_place(environment, "TRIPLES_URL", ("file", "http", "https"), "file:///triples"),
        password=_secret(environment, "DOCUMENTS_PASSWORD_FILE") if documents.is_remote else None,
        seed=_choice(environment, "SEED", {"yes": True, "no": False}, "yes"),
        log_level=_choice(environment, "LOG_LEVEL", {level: level for level in ("debug", "info", "warning")}, "info"),
    )


def _place(environment: Mapping[str, str], name: str, schemes: tuple[Scheme, ...], default: str) -> Place:
    url = environment.get(name, default)
    try:
        parts = urllib.parse.urlsplit(url)
        password = parts.password
    except ValueError as error:
        raise SettingsError(f"{name} is {url!r}, which is not a URL: {error}") from error
    if password is not None:  # before any message that would show it
        raise SettingsError(f"{name} holds a password; put it into the file that DOCUMENTS_PASSWORD_FILE names")
    scheme = next((known for known in schemes if known == parts.scheme), None)
    if scheme is None:
        allowed = ", ".join(f"{known}://" for known in schemes)
        raise SettingsError(f"{name} is {url!r}; allowed are URLs that start with {allowed}")
    place = Place(scheme, url.rstrip("/"), Path(parts.path))
    if place.is_remote and not parts.hostname:
        raise SettingsError(f"{name} is {url!r}, which names no host; write {scheme}://host:port/…")
    if not place.is_remote and (parts.netloc or not parts.path.strip("/")):
        raise SettingsError(f"{name} is {url!r}; write an absolute path after three slashes, {scheme}:///data/…")
    return place


def _secret(environment: Mapping[str, str], name: str) -> str | None:
    """A secret comes from a file: an environment is shown by ``docker inspect``."""
    if name not in environment:
        return None
    file = Path(environment[name])
    try:
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name} is {str(file)!r}, which cannot be read: {error}") from error
    if not secret:
        raise SettingsError(f"{name} is {str(file)!r}, which is empty; write the secret into it")
    return secret


def _choice(environment: Mapping[str, str], name: str, choices: Mapping[str, T], default: str) -> T:
    value = environment.get(name, default)
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; allowed are {', '.join(choices)}")
    return choices[value]
