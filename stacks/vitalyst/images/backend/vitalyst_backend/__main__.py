# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the service: ``python -m vitalyst_backend``."""

from __future__ import annotations

import logging
import os
import sys
import urllib.parse
from pathlib import Path

import uvicorn

from .app import Service, create_app
from .cache import Cache
from .embedded import EmbeddedStore
from .errors import SettingsError
from .graph import Store
from .seeds import plant
from .server import Neo4jStore
from .settings import Settings, read_settings
from .trust import DevelopmentIssuer, Guard, auth0_keys

PORT = 8000
GRACE_SECONDS = 5  # for requests that run when the service is told to stop


def open_store(settings: Settings) -> Store:
    """The graph that the settings name, with the seeds where it is in a folder. Raises StoreError."""
    address = urllib.parse.urlsplit(settings.database_url)
    if address.scheme != "file":
        return Neo4jStore(settings)
    store = EmbeddedStore(Path(address.path))
    plant(store)
    return store


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"vitalyst_backend: {error}", file=sys.stderr)
        return 78  # EX_CONFIG
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    domain, audience = settings.auth0_domain, settings.auth0_audience
    issuer = DevelopmentIssuer(domain, audience) if settings.is_development else None
    guard = Guard(domain, audience, issuer.find_key if issuer else auth0_keys(domain))
    cache = Cache(settings.redis_url, settings.redis_password)
    uvicorn.run(
        create_app(Service(lambda: open_store(settings), cache, guard, issuer)),
        host="0.0.0.0",
        port=PORT,
        log_config=None,
        access_log=False,  # the audit log has every request that is somebody's
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
