# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the service: ``python -m newscast_api``."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from .app import Service, create_app
from .cache import SpeechCache
from .errors import SettingsError
from .fetching import Fetcher
from .news import Newsroom
from .settings import read_settings
from .speech import Studio
from .store import PostgresStore
from .telemetry import Metrics

PORT = 8000
GRACE_SECONDS = 5  # for requests that run when the service is told to stop


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"newscast_api: {error}", file=sys.stderr)
        return 78  # EX_CONFIG
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it warns at each try; /ready says it once
    metrics = Metrics()
    store = PostgresStore(settings.database, settings.password, metrics.registry)
    cache = SpeechCache(settings.cache, metrics.registry)
    newsroom = Newsroom(store, Fetcher(settings.inside), metrics.registry)
    service = Service(newsroom, Studio(cache, metrics.registry), cache, metrics, settings.feeds)
    store.open()
    try:
        uvicorn.run(
            create_app(service),
            host="0.0.0.0",
            port=PORT,
            log_config=None,
            access_log=False,  # the health checks alone would fill it; /metrics counts requests
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    finally:
        store.close()
        cache.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
