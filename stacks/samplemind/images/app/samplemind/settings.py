# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of all four services, read once from the environment."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import SettingsError


@dataclass(frozen=True)
class Settings:
    library_url: str
    library_password: str = field(repr=False)
    queue_url: str
    index_url: str
    log_level: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError that names everything that is wrong at once."""
    faults: list[str] = []
    library = _url(environment, "LIBRARY_URL", ("sqlite", "mongodb"), faults)
    settings = Settings(
        library_url=library,
        library_password=_secret(environment, faults) if library.startswith("mongodb:") else "",
        queue_url=_url(environment, "QUEUE_URL", ("redis",), faults),
        index_url=_url(environment, "INDEX_URL", ("http", "https"), faults),
        log_level=environment.get("LOG_LEVEL", "info"),
    )
    if settings.log_level not in ("debug", "info", "warning"):
        faults.append(f"LOG_LEVEL is {settings.log_level!r}; allowed are debug, info, warning")
    if faults:
        raise SettingsError("; ".join(faults))
    return settings


def _url(environment: Mapping[str, str], name: str, schemes: tuple[str, ...], faults: list[str]) -> str:
    url = environment.get(name, "")
    parts = urllib.parse.urlsplit(url)
    if parts.password is not None:  # before any message that would show it
        faults.append(f"{name} holds a password; it comes from the file that LIBRARY_PASSWORD_FILE names")
    elif parts.scheme not in schemes or not (parts.path.strip("/") if parts.scheme == "sqlite" else parts.hostname):
        allowed = " or ".join(f"{scheme}://…" for scheme in schemes)
        faults.append(f"{name} is {url!r}; allowed are URLs such as {allowed}")
    return url.rstrip("/")


def _secret(environment: Mapping[str, str], faults: list[str]) -> str:
    """A secret comes from a file: an environment is shown by ``docker inspect``."""
    file = environment.get("LIBRARY_PASSWORD_FILE", "")
    try:
        secret = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        faults.append(f"LIBRARY_PASSWORD_FILE is {file!r}, which cannot be read: {error}")
        return ""
    if not secret:
        faults.append(f"LIBRARY_PASSWORD_FILE is {file!r}, which is empty; write the password into it")
    return secret
